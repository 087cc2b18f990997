//! Which upstream of a route gets a request.
//!
//! Owns the order: an override, then the sticky key, then a draw by weight. Does
//! not own which endpoint of the upstream. An upstream of weight 0 gets nothing
//! but what an override sends there.

use http::{HeaderName, HeaderValue};

use super::{Facts, build::Site, cookie, sticky::Sticky};
use crate::config::{
    route::{OverrideSpec, RouteSpec},
    types::{FieldValue, Name},
};

/// The upstreams of a route and their shares.
#[derive(Debug)]
pub struct Split {
    /// All but the last: below `until`, which grow, the draw is this one's.
    pub(super) shares: Box<[Share]>,
    pub(super) last: UpstreamIndex,
    /// The sum of all weights; never 0.
    pub(super) total: u64,
    /// What few routes have.
    pub(super) preference: Option<Box<Preference>>,
}

/// The number of an upstream, given by whoever builds the snapshot.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct UpstreamIndex(pub usize);

impl Split {
    /// The upstream for a request. `draw` is any number, each as likely as any
    /// other; it decides when no override applies and there is no sticky key.
    pub fn choose(&self, facts: &Facts<'_>, draw: u64) -> UpstreamIndex {
        let preferred = self.preference.as_ref().and_then(|preference| preference.of(facts));
        match preferred {
            Some(Preferred::Upstream(upstream)) => upstream,
            Some(Preferred::Draw(hash)) => self.by_weight(hash),
            None => self.by_weight(draw),
        }
    }

    pub(super) fn by_weight(&self, draw: u64) -> UpstreamIndex {
        // The high half of the product is the draw scaled to 0..total.
        let scaled = (u128::from(draw) * u128::from(self.total)) >> u64::BITS;
        let share = self.shares.iter().find(|share| scaled < u128::from(share.until));
        share.map_or(self.last, |share| share.upstream)
    }

    /// `None` when any of it is not usable.
    pub(super) fn build(spec: &RouteSpec, site: &mut Site<'_>) -> Option<Self> {
        let targets = targets(spec, site);
        let overrides = spec.overrides.iter().enumerate();
        let overrides: Vec<_> =
            overrides.map(|(i, o)| Override::build(o, &format!("overrides[{i}]"), site)).collect();
        let sticky = spec.sticky.as_ref().map(|sticky| Sticky::build(sticky, site));
        let overrides: Box<[Override]> = overrides.into_iter().collect::<Option<_>>()?;
        let sticky = match sticky {
            Some(sticky) => Some(sticky?),
            None => None,
        };
        let has_preference = !overrides.is_empty() || sticky.is_some();
        let preference = has_preference.then(|| Box::new(Preference { overrides, sticky }));
        Self::of(targets?, preference)
    }

    /// By name, so that the order in the file decides nothing.
    fn of(mut targets: Vec<Target<'_>>, preference: Option<Box<Preference>>) -> Option<Self> {
        targets.retain(|target| target.weight > 0);
        targets.sort_unstable_by_key(|target| target.name);
        let mut total = 0;
        let shares = targets.iter().map(|target| {
            total += u64::from(target.weight);
            Share { until: total, upstream: target.upstream }
        });
        let mut shares: Vec<_> = shares.collect();
        let last = shares.pop()?.upstream;
        Some(Self { shares: shares.into_boxed_slice(), last, total, preference })
    }
}

/// A part of the draws.
#[derive(Debug)]
pub(super) struct Share {
    pub(super) until: u64,
    pub(super) upstream: UpstreamIndex,
}

/// What decides before the weights do.
#[derive(Debug)]
pub(super) struct Preference {
    pub(super) overrides: Box<[Override]>,
    pub(super) sticky: Option<Sticky>,
}

/// What a preference decides.
pub(super) enum Preferred {
    /// An override.
    Upstream(UpstreamIndex),
    /// The sticky key's hash: the same draw each time.
    Draw(u64),
}

impl Preference {
    /// `None` leaves it to the draw.
    pub(super) fn of(&self, facts: &Facts<'_>) -> Option<Preferred> {
        let taken = self.overrides.iter().find(|o| o.applies(facts));
        let taken = taken.map(|taken| Preferred::Upstream(taken.upstream));
        taken.or_else(|| self.sticky.as_ref()?.hash(facts).map(Preferred::Draw))
    }
}

/// Requests with this value go there, whatever the weights.
#[derive(Debug)]
pub(super) struct Override {
    pub(super) key: Key,
    pub(super) value: HeaderValue,
    pub(super) upstream: UpstreamIndex,
}

#[derive(Debug)]
pub(super) enum Key {
    Header(HeaderName),
    Cookie(Box<str>),
}

impl Override {
    pub(super) fn applies(&self, facts: &Facts<'_>) -> bool {
        match &self.key {
            Key::Header(name) => facts.headers.get_all(name).iter().any(|value| value == self.value),
            Key::Cookie(name) => cookie::values(facts.headers, name).any(|value| self.value == *value),
        }
    }

    fn build(spec: &OverrideSpec, at: &str, site: &mut Site<'_>) -> Option<Self> {
        let key = match (&spec.header, &spec.cookie) {
            (Some(header), None) => Some(Key::Header(header.header().clone())),
            (None, Some(name)) if cookie::is_name(name) => Some(Key::Cookie(name.as_str().into())),
            (None, Some(name)) => {
                let text = format!("`{name}` is not a cookie name; write letters, digits, `-` and `_`");
                site.error(&format!("{at}.cookie"), text);
                None
            }
            (Some(_), Some(_)) => {
                site.error(at, "`header` and `cookie` are two overrides; write one for each");
                None
            }
            (None, None) => {
                site.error(at, "it does not say what decides; write `header` or `cookie`");
                None
            }
        };
        let possible = spec.cookie.is_none() || cookie::is_value(&spec.value);
        let value = spec.value.parse::<FieldValue>().ok().filter(|_| possible);
        if value.is_none() {
            let text =
                "no request can have this value; write visible ASCII, for a cookie without space and `;`";
            site.error(&format!("{at}.value"), text);
        }
        let upstream = site.upstream(&spec.upstream, &format!("{at}.upstream"));
        Some(Self { key: key?, value: value?.value().clone(), upstream: upstream? })
    }
}

/// An entry of `to` whose upstream is known.
struct Target<'a> {
    name: &'a Name,
    upstream: UpstreamIndex,
    weight: u16,
}

fn targets<'a>(spec: &'a RouteSpec, site: &mut Site<'_>) -> Option<Vec<Target<'a>>> {
    let mut targets = Vec::with_capacity(spec.to.len());
    for (i, target) in spec.to.iter().enumerate() {
        let key = || format!("to[{i}].upstream");
        let before = spec.to.iter().take(i);
        if let Some(first) = before.map(|t| &t.upstream).position(|name| *name == target.upstream) {
            site.error(
                &key(),
                format!("`{}` is to[{first}] already; write it once, with both weights", target.upstream),
            );
        }
        let upstream = site.upstream(&target.upstream, &key());
        targets.extend(upstream.map(|upstream| Target {
            name: &target.upstream,
            upstream,
            weight: target.weight,
        }));
    }
    if spec.to.iter().all(|target| target.weight == 0) {
        site.error("to", "every weight is 0, so that no request can go anywhere; give one of them a weight");
    }
    (targets.len() == spec.to.len()).then_some(targets)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use crate::route::{
        Action, Router,
        testing::{Request, UPSTREAMS, problems, router},
    };

    fn route(rest: &Value) -> Value {
        let mut route = json!({ "name": "a" });
        route.as_object_mut().unwrap().extend(rest.as_object().unwrap().clone());
        json!([route])
    }

    fn choose(router: &Router, request: &Request, draw: u64) -> &'static str {
        let found = router.find(&request.facts()).unwrap();
        let Action::Forward(split) = &found.route.action else { panic!("{:?}", found.route.action) };
        UPSTREAMS[split.choose(&request.facts(), draw).0]
    }

    /// Numbers that look drawn, the same each time.
    fn draws(count: u64) -> impl Iterator<Item = u64> {
        (0..count).map(|n| (n + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    #[test]
    fn a_weight_is_a_share_and_zero_is_never() {
        let router = router(route(&json!({ "to": [
            { "upstream": "orders", "weight": 95 },
            { "upstream": "billing", "weight": 0 },
            { "upstream": "orders-canary", "weight": 5 }
        ] })));
        let request = Request::get("h", "/");

        let count = |name| draws(100_000).filter(|draw| choose(&router, &request, *draw) == name).count();

        assert_eq!(count("billing"), 0);
        assert!((94_900..95_100).contains(&count("orders")), "{}", count("orders"));
        assert_eq!(count("orders") + count("orders-canary"), 100_000);
        assert_eq!(choose(&router, &request, 0), "orders");
        assert_eq!(choose(&router, &request, u64::MAX), "orders-canary");
    }

    #[test]
    fn an_upstream_of_weight_zero_at_the_end_is_never_drawn() {
        let router = router(route(&json!({ "to": [
            { "upstream": "billing" }, { "upstream": "orders", "weight": 0 }
        ] })));

        assert!(
            draws(100_000)
                .chain([u64::MAX])
                .all(|draw| choose(&router, &Request::get("h", "/"), draw) == "billing")
        );
    }

    #[test]
    fn an_override_wins_over_weight_and_sticky_and_the_first_wins() {
        let router = router(route(&json!({
            "to": [{ "upstream": "orders" }, { "upstream": "orders-canary", "weight": 0 }],
            "sticky": "client_address",
            "overrides": [
                { "header": "x-canary", "value": "yes", "upstream": "orders-canary" },
                { "cookie": "side", "value": "b", "upstream": "billing" }
            ]
        })));
        let with = |name, value| Request::get("h", "/").header(name, value);

        assert_eq!(choose(&router, &with("x-canary", "yes"), 0), "orders-canary");
        assert_eq!(choose(&router, &with("x-canary", "no").header("x-canary", "yes"), 0), "orders-canary");
        assert_eq!(choose(&router, &with("x-canary", "yes!"), 0), "orders");
        assert_eq!(choose(&router, &with("cookie", "a=1").header("cookie", "c=2; side=b"), 0), "billing");
        assert_eq!(choose(&router, &with("cookie", "side=b").header("x-canary", "yes"), 0), "orders-canary");
        assert_eq!(choose(&router, &with("cookie", "xside=b; side=bb"), 0), "orders");
    }

    #[test]
    fn the_same_key_stays_on_its_upstream_whatever_is_drawn() {
        let both =
            json!([{ "upstream": "orders", "weight": 50 }, { "upstream": "orders-canary", "weight": 50 }]);
        let turned = json!([both[1], both[0]]);
        let router_of = |to| router(route(&json!({ "sticky": { "cookie": "id" }, "to": to })));
        let (router, again) = (router_of(both), router_of(turned));
        let request = |n: u32| Request::get("h", "/").header("cookie", &format!("id={n}"));

        let first = |n| choose(&router, &request(n), 0);

        assert!((0..200).all(|n| draws(20).all(|draw| choose(&again, &request(n), draw) == first(n))));
        assert!((70..130).contains(&(0..200).filter(|n| first(*n) == "orders").count()));
    }

    #[test]
    fn more_weight_only_brings_keys_and_takes_none() {
        let canary = |weight: u32| {
            let to = json!([{ "upstream": "orders", "weight": 100 - weight }, { "upstream": "orders-canary", "weight": weight }]);
            router(route(&json!({ "sticky": { "header": "x-user" }, "to": to })))
        };
        let (before, after) = (canary(5), canary(20));
        let request = |n: u32| Request::get("h", "/").header("x-user", &n.to_string());
        let on_canary = |router| {
            (0..1000).filter(|n| choose(router, &request(*n), 0) == "orders-canary").collect::<Vec<_>>()
        };

        let (few, many) = (on_canary(&before), on_canary(&after));

        assert!(few.iter().all(|n| many.contains(n)));
        assert!(
            (20..90).contains(&few.len()) && (150..250).contains(&many.len()),
            "{} {}",
            few.len(),
            many.len()
        );
    }

    #[test]
    fn a_request_without_the_key_draws() {
        let router = router(route(&json!({
            "to": [{ "upstream": "orders" }, { "upstream": "orders-canary" }], "sticky": { "cookie": "id" }
        })));
        let request = Request::get("h", "/").header("cookie", "id=");

        assert_eq!(choose(&router, &request, 0), "orders");
        assert_eq!(choose(&router, &request, u64::MAX), "orders-canary");
    }

    #[test]
    fn everything_wrong_with_a_split_is_told() {
        let told = problems(route(&json!({
            "to": [{ "upstream": "ordres", "weight": 0 }, { "upstream": "billing", "weight": 0 }, { "upstream": "billing", "weight": 0 }],
            "sticky": { "cookie": "a b" },
            "overrides": [
                { "value": "1", "upstream": "orders" },
                { "header": "x", "cookie": "x", "value": "1", "upstream": "orders" },
                { "cookie": "x", "value": "a;b", "upstream": "nowhere-near" },
                { "header": "x", "value": "a\nb", "upstream": "orders" }
            ]
        })));

        let wanted = [
            "routes[0].to[0].upstream: there is no upstream `ordres`; write `orders` if you mean that",
            "routes[0].to: every weight is 0",
            "routes[0].to[2].upstream: `billing` is to[1] already",
            "routes[0].sticky: `a b` is not a cookie name",
            "routes[0].overrides[0]: it does not say what decides",
            "routes[0].overrides[1]: `header` and `cookie` are two overrides",
            "routes[0].overrides[2].value: no request can have this value",
            "routes[0].overrides[2].upstream: there is no upstream `nowhere-near`; known are",
            "routes[0].overrides[3].value: no request can have this value",
        ];
        assert!(wanted.iter().all(|line| told.contains(line)), "{told}");
        assert_eq!(told.lines().count(), wanted.len(), "{told}");
    }
}
