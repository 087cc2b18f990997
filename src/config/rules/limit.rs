//! Rules for `limits`.

use std::collections::HashSet;

use super::{At, Rules};
use crate::config::{
    limit::{CostSpec, KeyPartSpec, LimitSpec},
    types::{ByteSize, Rate},
};

impl Rules for LimitSpec {
    fn check(&self, at: &mut At<'_>) {
        check_kind(self, at);
        if at.is_whole("key") {
            check_key(self, at);
        }
        if let Some(rate) = self.rate {
            check_burst(self, rate, at);
        }
        if at.is_whole("costs") {
            check_costs(self, at);
        }
        at.range("memory", self.memory, ByteSize::new(4 << 10), ByteSize::new(4 << 30));
    }
}

fn check_kind(limit: &LimitSpec, at: &mut At<'_>) {
    let whole = at.is_whole("rate") && at.is_whole("concurrency");
    match (limit.rate, limit.concurrency) {
        (None, None) if whole => {
            at.error("rate", "nothing is limited; write `rate`, as `100/s`, or `concurrency`");
        }
        (Some(_), Some(_)) => {
            at.error("concurrency", "a limit is of one kind; write a second one for `concurrency`");
        }
        (None, Some(0)) => {
            at.error("concurrency", "`0` lets nobody in; write at least 1, or `deny` at a route")
        }
        _ => {}
    }
    let only_concurrency = limit.rate.is_none() && limit.concurrency.is_some();
    let of_rates = [("burst", limit.burst.is_some()), ("costs", !limit.costs.is_empty())];
    for (key, _) in of_rates.iter().filter(|(_, written)| *written && whole && only_concurrency) {
        at.error(key, "only a limit with `rate` has this; remove it, or write `rate`");
    }
}

fn check_key(limit: &LimitSpec, at: &mut At<'_>) {
    let mut seen = HashSet::new();
    for (index, part) in limit.key.iter().enumerate() {
        let key = format!("key[{index}]");
        if !seen.insert(part) {
            at.error(&key, "this part is in the key already; remove it");
        }
        match part {
            KeyPartSpec::Cookie(name) if !is_token(name) => {
                at.error(
                    key,
                    format!("`{name}` is not the name of a cookie; write letters, digits, `-` and `_`"),
                );
            }
            KeyPartSpec::Query(name) if name.is_empty() => {
                at.error(key, "a parameter has a name; write it, as `{ query: api_key }`");
            }
            _ => {}
        }
    }
}

fn check_burst(limit: &LimitSpec, rate: Rate, at: &mut At<'_>) {
    let Some(burst) = limit.burst else { return };
    if burst == 0 {
        at.error("burst", "`0` lets nobody in; write at least 1");
        return;
    }
    at.range("burst", burst, 1, MOST_AT_ONCE);
    if burst < rate.per_second() {
        let text = format!(
            "`{burst}` is less than a second of `{rate}`: who sends a second's requests together is refused some; write at least {}, or remove the key",
            rate.per_second()
        );
        at.warn("burst", text);
    }
}

fn check_costs(limit: &LimitSpec, at: &mut At<'_>) {
    let known = limit.rate.is_some() && limit.burst != Some(0) && at.is_whole("burst");
    for (index, cost) in limit.costs.iter().enumerate() {
        let key = format!("costs[{index}]");
        if cost.methods.is_empty() && cost.routes.is_empty() {
            at.error(&key, "nothing says what it is the cost of; write `methods`, `routes` or both");
        }
        let says = |other: &&CostSpec| !other.methods.is_empty() || !other.routes.is_empty();
        let before: Vec<_> = limit.costs.iter().take(index).filter(says).collect();
        check_methods(cost, &before, &key, at);
        check_routes(cost, &before, &key, at);
        if known && cost.cost > limit.burst() {
            let text = format!(
                "`{}` is more than the burst, and could never be had; write at most {}, or a larger `burst`",
                cost.cost,
                limit.burst()
            );
            at.error(format!("{key}.cost"), text);
        }
    }
}

/// Tells of methods that have a cost already, on every route that is meant here.
fn check_methods(cost: &CostSpec, before: &[&CostSpec], key: &str, at: &mut At<'_>) {
    let everywhere = |other: &CostSpec| {
        let named = |route| other.routes.contains(route);
        other.routes.is_empty() || (!cost.routes.is_empty() && cost.routes.iter().all(named))
    };
    for (nth, name) in cost.methods.iter().enumerate() {
        let has = |other: &&CostSpec| {
            (other.methods.is_empty() || other.methods.contains(name)) && everywhere(other)
        };
        if cost.methods.iter().take(nth).any(|other| other == name) || before.iter().any(has) {
            let text = format!("`{name}` has a cost already; write it once");
            at.error(format!("{key}.methods[{nth}]"), text);
        }
    }
}

/// Tells of routes that have a cost already, whatever the method.
fn check_routes(cost: &CostSpec, before: &[&CostSpec], key: &str, at: &mut At<'_>) {
    for (nth, name) in cost.routes.iter().enumerate() {
        let has = |other: &&CostSpec| {
            cost.methods.is_empty() && other.methods.is_empty() && other.routes.contains(name)
        };
        if cost.routes.iter().take(nth).any(|other| other == name) || before.iter().any(has) {
            let text = format!("`{name}` has a cost already; write it once");
            at.error(format!("{key}.routes[{nth}]"), text);
        }
    }
}

fn is_token(name: &str) -> bool {
    let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !name.is_empty() && name.bytes().all(token)
}

/// What a limit still counts exactly whatever its rate.
const MOST_AT_ONCE: u32 = 1_000_000;
