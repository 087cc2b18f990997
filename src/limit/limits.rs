//! The limits of a snapshot: each at work, and which hold for a route.
//!
//! Owns their order and what is told of them in an answer's header. Does not own
//! who is asked about which request: the gateway takes keys and asks. Everything is
//! found by index.

use std::{collections::HashMap, fmt::Write, net::IpAddr, sync::Arc, time::Duration};

use http::HeaderValue;
use ipnet::IpNet;

use super::{
    Basis, Clock, Counts, Freshness, KeyNames, KeySeeds, Lease, LimitKey, LimitLive, RateLimit, Standing,
    Terms,
    costs::{Costs, RouteIndexes},
};
use crate::config::{
    Config, Share,
    limit::{LimitSpec, OnStoreErrorSpec},
    route::RouteSpec,
    tenant::TenantIndex,
    types::Name,
};

/// The limits of a snapshot.
pub struct Limits {
    all: Vec<Limit>,
    /// Which of `lists` is a route's. Most routes have the same, and then every request
    /// finds it where the last one left it.
    routes: Box<[u32]>,
    lists: Vec<RouteLimits>,
    /// The time that they count in.
    pub clock: Clock,
    /// The seeds of their keys.
    pub seeds: KeySeeds,
}

impl Limits {
    /// The limits of a configuration in which every name stands for something,
    /// with the counts that `live` has of them, shared by so many gateways where that
    /// is known.
    pub fn new(config: &Config, gateways: Option<u32>, live: &LimitLive) -> Self {
        let routes = config.routes.iter().enumerate();
        let around = Around {
            config,
            gateways,
            routes: routes.map(|(index, route)| (&route.spec.name, index)).collect(),
            live,
        };
        let all: Vec<_> = config.limits.iter().filter_map(|limit| Limit::new(&limit.spec, &around)).collect();
        let (routes, lists) = lists(config, &all);
        Self { all, routes, lists, clock: live.clock, seeds: live.seeds.clone() }
    }

    /// Every limit, in the order of the configuration.
    pub fn iter(&self) -> impl Iterator<Item = &Limit> {
        self.all.iter()
    }

    /// A limit by its place in [`iter`](Self::iter).
    pub fn get(&self, index: usize) -> Option<&Limit> {
        self.all.get(index)
    }

    /// Those that settle up with the fleet.
    pub fn leases(&self) -> Vec<Arc<Lease>> {
        let lease = |limit: &Limit| match &limit.counts {
            Counts::Leased(lease, _) => Some(lease.clone()),
            Counts::Rate(..) | Counts::Concurrency(..) => None,
        };
        self.all.iter().filter_map(lease).collect()
    }

    /// The limits that hold for a route.
    pub fn of(&self, route: usize) -> Option<&RouteLimits> {
        self.lists.get(*self.routes.get(route)? as usize)
    }

    /// A limit as the field `RateLimit-Policy` tells it; `None` of one without rate.
    pub fn policy_of(&self, index: usize) -> Option<HeaderValue> {
        policy(self.all.get(index).into_iter())
    }

    /// The limits that were in `before` too and begin afresh here.
    pub fn afresh<'a>(&'a self, before: &'a Self) -> impl Iterator<Item = &'a str> {
        let were = |new: &Limit| before.all.iter().find(|old| old.name == new.name);
        let changed = move |new: &&Limit| were(new).is_some_and(|old| !old.counts.are(&new.counts));
        self.all.iter().filter(changed).map(|limit| &*limit.name)
    }
}

/// The lists of all routes, each once, and which is whose.
fn lists(config: &Config, all: &[Limit]) -> (Box<[u32]>, Vec<RouteLimits>) {
    let mut places: HashMap<Vec<usize>, u32, ahash::RandomState> = HashMap::default();
    let mut lists = Vec::new();
    let mut place = |order: Vec<usize>| {
        let next = lists.len() as u32;
        *places.entry(order).or_insert_with_key(|order| {
            lists.push(RouteLimits::new(order, all));
            next
        })
    };
    let routes = config.routes.iter().map(|route| place(order(&route.spec, all))).collect();
    (routes, lists)
}

/// The limits that hold for a route: the global ones first, then those that it names, each
/// once.
fn order(route: &RouteSpec, all: &[Limit]) -> Vec<usize> {
    let global = all.iter().enumerate().filter(|(_, limit)| limit.spec.global).map(|(index, _)| index);
    let named = |name: &Name| all.iter().position(|limit| limit.spec.name == *name);
    let mut order: Vec<usize> = global.collect();
    for index in route.limits.iter().filter_map(named) {
        if !order.contains(&index) {
            order.push(index);
        }
    }
    order
}

/// What a limit is built from beside its own words.
struct Around<'a> {
    config: &'a Config,
    gateways: Option<u32>,
    routes: RouteIndexes<'a>,
    live: &'a LimitLive,
}

/// A limit at work.
pub struct Limit {
    /// What logs and metrics call it.
    pub name: Arc<str>,
    /// Per what it counts.
    pub key: LimitKey,
    /// What it counted, and what it grants by now.
    pub counts: Counts,
    /// What operators call its keys.
    pub names: Arc<KeyNames>,
    costs: Costs,
    spec: LimitSpec,
    exempt_networks: Vec<IpNet>,
    exempt_tenants: Vec<TenantIndex>,
}

impl Limit {
    fn new(spec: &LimitSpec, around: &Around<'_>) -> Option<Self> {
        let tenants = &around.config.tenants;
        let tenant = |name: &Name| tenants.iter().position(|tenant| tenant.spec.name == *name);
        let share = around.config.share_of(spec);
        let (counts, names) = around.live.counts(&Basis::of(spec, share)?);
        Some(Self {
            name: spec.name.as_str().into(),
            key: LimitKey::from(spec),
            counts: if share == Share::Instance { counts } else { counts.among(around.gateways) },
            names,
            costs: Costs::new(&spec.costs, &around.routes),
            exempt_networks: spec.exempt.networks.clone(),
            exempt_tenants: spec.exempt.tenants.iter().filter_map(tenant).map(TenantIndex).collect(),
            spec: spec.clone(),
        })
    }

    /// Whether it does not hold for this client, who comes through a VPC endpoint or
    /// not and is of this tenant.
    pub fn exempts(&self, client: IpAddr, through_endpoint: bool, tenant: Option<TenantIndex>) -> bool {
        let network = || self.exempt_networks.iter().any(|network| network.contains(&client));
        tenant.is_some_and(|tenant| self.exempt_tenants.contains(&tenant)) || (!through_endpoint && network())
    }

    /// What a request with this method on this route takes of a rate.
    pub fn cost(&self, method: &http::Method, route: usize) -> u32 {
        self.costs.of(method, route)
    }

    /// Who is asked for a rate now; `None` of what counts what is under way.
    pub fn source(&self) -> Option<Source<'_>> {
        match &self.counts {
            Counts::Rate(cells, terms) => Some(Source::Cells { cells, terms: *terms, lease: None }),
            Counts::Leased(lease, gateways) => {
                Some(Source::leased(lease, *gateways, self.spec.on_store_error))
            }
            Counts::Concurrency(..) => None,
        }
    }

    /// In which of a route's lists it stands.
    pub fn kind(&self) -> LimitKind {
        match &self.counts {
            _ if !self.spec.enforce => LimitKind::OnTrial,
            Counts::Concurrency(..) => LimitKind::AtOnce,
            Counts::Rate(..) | Counts::Leased(..) => LimitKind::Rate,
        }
    }

    /// What the operator wrote.
    pub fn spec(&self) -> &LimitSpec {
        &self.spec
    }

    /// How a key stands here, as the field `RateLimit` tells it.
    pub fn told(&self, standing: &Standing) -> Option<HeaderValue> {
        let mut number = itoa::Buffer::new();
        // Exactly as long as it can become: a name, and two numbers.
        let mut text = Vec::with_capacity(self.name.len() + 2 * LONGEST_NUMBER + 8);
        text.push(b'"');
        text.extend_from_slice(self.name.as_bytes());
        text.extend_from_slice(b"\";r=");
        text.extend_from_slice(number.format(standing.remaining()).as_bytes());
        text.extend_from_slice(b";t=");
        text.extend_from_slice(number.format(whole_seconds(standing.reset_after())).as_bytes());
        HeaderValue::from_bytes(&text).ok()
    }
}

/// Which kind of limit it is, as lists of a route tell them apart.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum LimitKind {
    /// It counts what is under way.
    AtOnce,
    /// It has a rate.
    Rate,
    /// Of either kind, and only counts what it would refuse.
    OnTrial,
}

/// Who is asked for a rate.
pub enum Source<'a> {
    /// These cells.
    Cells {
        /// Where each key stands.
        cells: &'a RateLimit,
        /// By what terms.
        terms: Terms,
        /// Who is told what an admitted request took.
        lease: Option<&'a Lease>,
    },
    /// Nobody: the store does not answer, and everybody passes.
    Nobody,
    /// The store, which does not answer: nobody passes.
    Store,
}

impl<'a> Source<'a> {
    fn leased(lease: &'a Lease, gateways: Option<u32>, on_error: OnStoreErrorSpec) -> Self {
        match (lease.fleet().freshness(), on_error) {
            (Freshness::Fresh, _) => {
                Self::Cells { cells: lease.cells(), terms: lease.terms(), lease: Some(lease) }
            }
            // A store that nobody has asked yet is not down.
            (Freshness::Stale, on_error)
                if on_error == OnStoreErrorSpec::Local || !lease.fleet().was_asked() =>
            {
                Self::Cells { cells: lease.alone(), terms: lease.share(gateways), lease: None }
            }
            (Freshness::Stale, OnStoreErrorSpec::Allow) => Self::Nobody,
            (Freshness::Stale, OnStoreErrorSpec::Local | OnStoreErrorSpec::Deny) => Self::Store,
        }
    }
}

/// The limits that hold for some routes, by their index: the global ones first, then
/// those that the routes name, in the order in which they are written.
#[derive(Default)]
pub struct RouteLimits {
    /// Those that count what is under way.
    pub at_once: Box<[usize]>,
    /// Those with a rate.
    pub rates: Box<[usize]>,
    /// Those of both kinds that only count what they would refuse.
    pub on_trial: Box<[usize]>,
    /// The rates, as the field `RateLimit-Policy` tells them.
    pub policy: Option<HeaderValue>,
}

impl RouteLimits {
    fn new(order: &[usize], all: &[Limit]) -> Self {
        let (mut at_once, mut rates, mut on_trial) = (Vec::new(), Vec::new(), Vec::new());
        for (index, limit) in order.iter().filter_map(|index| Some((*index, all.get(*index)?))) {
            match limit.kind() {
                LimitKind::OnTrial => on_trial.push(index),
                LimitKind::AtOnce => at_once.push(index),
                LimitKind::Rate => rates.push(index),
            }
        }
        let policy = policy(rates.iter().filter_map(|index| all.get(*index)));
        Self { at_once: at_once.into(), rates: rates.into(), on_trial: on_trial.into(), policy }
    }

    /// Whether no limit holds.
    pub fn is_empty(&self) -> bool {
        self.at_once.is_empty() && self.rates.is_empty() && self.on_trial.is_empty()
    }
}

/// The quota is the burst, and its window the time in which all of it comes back:
/// what is left (`r`) is never more than the one, and its return (`t`) never takes
/// longer than the other.
fn policy<'a>(rates: impl Iterator<Item = &'a Limit>) -> Option<HeaderValue> {
    let mut text = String::new();
    for limit in rates {
        let terms = match &limit.counts {
            Counts::Rate(_, terms) => *terms,
            Counts::Leased(lease, _) => lease.terms(),
            Counts::Concurrency(..) => continue,
        };
        let window = whole_seconds(terms.interval().saturating_mul(terms.burst()));
        let comma = if text.is_empty() { "" } else { ", " };
        // Writing into a `String` cannot fail.
        let _ = write!(text, "{comma}\"{}\";q={};w={window}", limit.name, terms.burst());
    }
    (!text.is_empty()).then(|| HeaderValue::try_from(text).ok()).flatten()
}

/// A span in whole seconds, rounded up: who waits so long has waited long enough. At
/// least 1.
pub fn whole_seconds(span: Duration) -> u64 {
    span.as_secs().saturating_add(u64::from(span.subsec_nanos() > 0)).max(1)
}

/// Of 64 bits, in digits.
const LONGEST_NUMBER: usize = 20;

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    fn limits_in(fleet: &str, limits: &str, route: &str, live: &LimitLive) -> Limits {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tollgate.yaml");
        let text = format!(
            "listeners: [{{ name: l, address: 127.0.0.1:80 }}]\nfleet: {fleet}\nlimits: {limits}\nroutes: [{route}]\n"
        );
        std::fs::write(&path, text).unwrap();
        let config = crate::config::load(&path).unwrap().config;
        Limits::new(&config, config.fleet.gateways, live)
    }

    fn limits(limits: &str, route: &str) -> Limits {
        limits_in("{}", limits, route, &LimitLive::new(Instant::now()))
    }

    const LIMITS: &str = "[
        { name: a, rate: 100/s, burst: 20 },
        { name: b, rate: 10/m, global: true },
        { name: c, concurrency: 5 },
        { name: d, rate: 1/s, enforce: false }]";

    #[test]
    fn global_limits_come_first_and_each_once() {
        let limits = limits(LIMITS, "{ name: r, limits: [d, c, a, b], respond: { status: 200 } }");

        let of = limits.of(0).unwrap();

        assert_eq!((&*of.rates, &*of.at_once, &*of.on_trial), (&[1, 0][..], &[2][..], &[3][..]));
        assert_eq!(of.policy.as_ref().unwrap(), "\"b\";q=1;w=6, \"a\";q=20;w=1");
    }

    #[test]
    fn routes_with_the_same_limits_share_one_list() {
        let route = |name: &str, limits: &str| {
            format!(
                "{{ name: {name}, match: {{ path: /{name} }}, limits: {limits}, respond: {{ status: 200 }} }}"
            )
        };
        let routes = [route("q", "[a]"), route("r", "[c, a]"), route("s", "[b, a]"), route("t", "[]")];
        let limits = limits(LIMITS, &routes.join(", "));

        let rates = |route| &*limits.of(route).unwrap().rates;

        assert_eq!([0, 1, 2, 3].map(rates), [&[1, 0][..], &[1, 0], &[1, 0], &[1]]);
        assert!(std::ptr::eq(rates(0), rates(2)) && !std::ptr::eq(rates(0), rates(1)));
        assert_eq!(limits.lists.len(), 3);
        assert!(limits.of(4).is_none());
    }

    fn asked(limits: &Limits) -> Option<(Terms, bool)> {
        match limits.get(0).unwrap().source() {
            Some(Source::Cells { terms, lease, .. }) => Some((terms, lease.is_some())),
            _ => None,
        }
    }

    #[test]
    fn a_divided_limit_is_this_gateways_part_and_keeps_its_cells() {
        let live = LimitLive::new(Instant::now());
        let divided = |fleet| {
            let limit = "[{ name: a, rate: 100/s, burst: 20, scope: fleet }]";
            limits_in(fleet, limit, "{ name: r, limits: [a], respond: { status: 200 } }", &live)
        };
        let (two, four) = (divided("{ gateways: 2 }"), divided("{ gateways: 4 }"));

        let whole = Terms::new(100, Duration::from_secs(1), 20);
        assert_eq!(
            (asked(&two), asked(&four)),
            (Some((whole.divided(2), false)), Some((whole.divided(4), false)))
        );
        assert_eq!(two.afresh(&four).count(), 0);
        assert_eq!(four.of(0).unwrap().policy.as_ref().unwrap(), "\"a\";q=5;w=1");
    }

    #[test]
    fn a_lease_says_who_is_asked_while_the_store_does_not_answer() {
        let live = LimitLive::new(Instant::now());
        let leased = |on_error: &str| {
            let limit =
                format!("[{{ name: a, rate: 100/s, burst: 20, scope: fleet, on_store_error: {on_error} }}]");
            let fleet = "{ gateways: 4, store: { addresses: [127.0.0.1:6379] } }";
            limits_in(fleet, &limit, "{ name: r, limits: [a], respond: { status: 200 } }", &live)
        };
        let whole = Terms::new(100, Duration::from_secs(1), 20);

        for on_error in ["local", "allow", "deny"] {
            assert_eq!(asked(&leased(on_error)), Some((whole.divided(4), false)), "{on_error}");
        }
        live.fleet.stand(Freshness::Stale);
        assert_eq!(asked(&leased("local")), Some((whole.divided(4), false)));
        assert!(matches!(leased("allow").get(0).unwrap().source(), Some(Source::Nobody)));
        assert!(matches!(leased("deny").get(0).unwrap().source(), Some(Source::Store)));

        live.fleet.stand(Freshness::Fresh);
        for on_error in ["local", "allow", "deny"] {
            assert_eq!(asked(&leased(on_error)), Some((whole, true)), "{on_error}");
        }
    }

    #[test]
    fn seconds_are_rounded_up_and_never_0() {
        for (millis, seconds) in [(0, 1), (1, 1), (1000, 1), (1001, 2), (59_999, 60)] {
            assert_eq!(whole_seconds(Duration::from_millis(millis)), seconds);
        }
    }
}
