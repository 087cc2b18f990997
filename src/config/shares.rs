//! How each limit is shared by the gateways of a fleet, and whether what that needs
//! is written.
//!
//! Owns what limits and `fleet` have to do with each other. What one of them says by
//! itself is its `rules`'.

use std::collections::HashSet;

use super::{
    Config, Problems, Source, Sourced,
    limit::{LimitSpec, OnStoreErrorSpec, ScopeSpec, ShareSpec},
};

/// How a limit is shared.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Share {
    /// Not at all: each gateway counts for itself.
    Instance,
    /// Each gateway has the same part of it.
    Divided,
    /// Each gateway may take all that is left, and they settle up in the store.
    Leased,
}

impl Share {
    /// As it is written and told.
    pub fn word(self) -> &'static str {
        match self {
            Self::Instance => "instance",
            Self::Divided => "divided",
            Self::Leased => "leased",
        }
    }
}

impl Config {
    /// How a limit of this configuration is shared, as written or by default.
    pub fn share_of(&self, limit: &LimitSpec) -> Share {
        match (limit.scope, limit.share) {
            (ScopeSpec::Instance, _) => Share::Instance,
            (ScopeSpec::Fleet, Some(ShareSpec::Divided)) => Share::Divided,
            (ScopeSpec::Fleet, Some(ShareSpec::Leased)) => Share::Leased,
            (ScopeSpec::Fleet, None) if limit.concurrency.is_some() => Share::Divided,
            (ScopeSpec::Fleet, None) if self.fleet.store.is_some() => Share::Leased,
            (ScopeSpec::Fleet, None) => Share::Divided,
        }
    }
}

/// Tells of limits that need what `fleet` does not say, and of a store that none
/// needs. Where a part is broken itself, nothing is said that may follow from it.
pub(super) fn check(config: &Config, problems: &mut Problems) {
    let (fleet_broken, limits_broken) = (problems.has_errors_in("fleet"), problems.has_errors_in("limits"));
    let bad: HashSet<Source> = problems.iter().map(|problem| problem.source.clone()).collect();
    for limit in &config.limits {
        let is_broken = |key: &str| bad.contains(&limit.source.key(key));
        if ["scope", "share", "rate", "concurrency"].into_iter().any(is_broken) {
            continue;
        }
        check_keys(config, limit, problems);
        if !fleet_broken {
            check_needs(config, limit, problems);
        }
    }
    let leased = |limit: &Sourced<LimitSpec>| config.share_of(&limit.spec) == Share::Leased;
    if config.fleet.store.is_some() && !limits_broken && !fleet_broken && !config.limits.iter().any(leased) {
        let text = "no limit is leased from it; write `scope: fleet` at one, or remove the key";
        problems.warn(&config.main.key("fleet").key("store"), text);
    }
}

/// Keys beside each other in one limit.
fn check_keys(config: &Config, limit: &Sourced<LimitSpec>, problems: &mut Problems) {
    let (spec, source) = (&limit.spec, &limit.source);
    if spec.scope == ScopeSpec::Instance && spec.share.is_some() {
        let text = "each gateway counts for itself here, and nothing is shared; write `scope: fleet` too, or remove the key";
        problems.error(&source.key("share"), text);
    }
    if spec.concurrency.is_some() && spec.share == Some(ShareSpec::Leased) && spec.scope == ScopeSpec::Fleet {
        let text = "what is under way cannot be leased; write `divided`, or remove the key";
        problems.error(&source.key("share"), text);
        return;
    }
    if spec.on_store_error != OnStoreErrorSpec::Local && config.share_of(spec) != Share::Leased {
        let text = "only a leased limit needs the store; write `scope: fleet` and `share: leased` too, or remove the key";
        problems.error(&source.key("on_store_error"), text);
    }
}

/// What a limit needs of `fleet`.
fn check_needs(config: &Config, limit: &Sourced<LimitSpec>, problems: &mut Problems) {
    let (spec, source) = (&limit.spec, &limit.source);
    let fleet = &config.fleet;
    match config.share_of(spec) {
        Share::Leased if spec.concurrency.is_none() && fleet.store.is_none() => {
            let text = "there is no store to lease from; write `fleet.store`, or `share: divided`";
            problems.error(&source.key("share"), text);
        }
        Share::Divided if fleet.gateways.is_none() && fleet.gateways_file.is_none() => {
            let (key, or) = match spec.share {
                None if spec.concurrency.is_none() => ("scope", ", or the `fleet.store` to lease it from"),
                None => ("scope", ""),
                Some(_) => ("share", ""),
            };
            let text = format!(
                "nothing says among how many gateways it is divided; write `fleet.gateways` or `fleet.gateways_file`{or}"
            );
            problems.error(&source.key(key), text);
        }
        Share::Divided => warn_of_parts(config, limit, problems),
        Share::Instance | Share::Leased => {}
    }
}

/// A part is never less than one, and a cost never more than a part.
fn warn_of_parts(config: &Config, limit: &Sourced<LimitSpec>, problems: &mut Problems) {
    let (spec, source) = (&limit.spec, &limit.source);
    let Some(gateways) = config.fleet.gateways.filter(|gateways| *gateways > 0) else { return };
    let (key, most) = match spec.concurrency {
        Some(most) => ("concurrency", most),
        None => ("burst", spec.burst()),
    };
    if most < gateways {
        let text = format!(
            "`{most}` is less than the {gateways} gateways, and each lets at least one through: {gateways} together; write at least `{gateways}`"
        );
        problems.warn(&source.key(key), text);
        return;
    }
    let part = most.div_ceil(gateways);
    for (index, cost) in spec.costs.iter().enumerate().filter(|(_, cost)| cost.cost > part) {
        let text = format!(
            "`{}` is more than a gateway's part of the burst, {part} of {most}, and counts as that; write a `burst` of at least `{}`",
            cost.cost,
            u64::from(cost.cost - 1) * u64::from(gateways) + 1
        );
        problems.warn(&source.key("costs").entry(index).key("cost"), text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_shared_as_written_or_as_the_fleet_can() {
        let share = |fleet: &str, limit: &str| {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("tollgate.yaml");
            let text = format!(
                "listeners: [{{ name: web, address: '127.0.0.1:0' }}]\nfleet: {fleet}\nlimits: [{{ name: a, {limit} }}]"
            );
            std::fs::write(&path, text).unwrap();
            let config = crate::config::load(&path).unwrap().config;
            config.share_of(&config.limits[0].spec)
        };
        let (alone, store) = ("{ gateways: 1 }", "{ gateways: 1, store: { addresses: ['[::1]:1'] } }");

        assert_eq!(share(store, "rate: 1/s"), Share::Instance);
        assert_eq!(share(alone, "rate: 1/s, scope: fleet"), Share::Divided);
        assert_eq!(share(store, "rate: 1/s, scope: fleet"), Share::Leased);
        assert_eq!(share(store, "rate: 1/s, scope: fleet, share: divided"), Share::Divided);
        assert_eq!(share(store, "concurrency: 1, scope: fleet"), Share::Divided);
    }
}
