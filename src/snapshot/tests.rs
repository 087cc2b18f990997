//! What a refreshed snapshot keeps, and what it costs.

use std::{net::SocketAddr, time::Duration};

use super::*;
use crate::upstream::{EndpointSource, FoundSet, Outcome, Resolved, Tried};

struct Bed {
    _folder: tempfile::TempDir,
    live: LiveState,
    metrics: Arc<Metrics>,
    snapshot: Snapshot,
}

impl Bed {
    /// With the upstream `u` of `orders.internal:80`, which stands for these.
    fn new(addresses: &[SocketAddr]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tollgate.yaml");
        let text = "listeners: [{ name: web, address: '127.0.0.1:0' }]\nupstreams:\n\
                    - { name: u, endpoints: [{ address: 'orders.internal:80' }], outlier_detection: {} }\n\
                    - { name: fixed, endpoints: [{ address: '10.9.9.9:80' }] }\n";
        std::fs::write(&path, text).unwrap();
        let (live, metrics) = (LiveState::default(), Metrics::new().unwrap());
        find(&live, addresses);
        let snapshot = Snapshot::load(&path, 1, &live, &metrics, |_| {}).unwrap().0;
        Self { _folder: folder, live, metrics, snapshot }
    }

    fn refreshed(&self, addresses: &[SocketAddr]) -> Option<Snapshot> {
        find(&self.live, addresses);
        self.snapshot.refreshed(&self.live, &self.metrics)
    }
}

fn find(live: &LiveState, addresses: &[SocketAddr]) {
    let source = EndpointSource::Host("orders.internal".into(), 80);
    live.found.learn(&source, FoundSet::Addresses(addresses.to_vec()));
}

fn addresses(range: std::ops::Range<usize>) -> Vec<SocketAddr> {
    range.map(|n| format!("10.{}.{}.{}:80", n / 62_500, n / 250 % 250, n % 250).parse().unwrap()).collect()
}

#[test]
fn what_stays_keeps_its_ejection_and_what_is_on_its_way_to_it() {
    let (bed, now) = (Bed::new(&addresses(0..4)), Instant::now());
    let upstream = &bed.snapshot.upstreams[0];
    (0..5).for_each(|_| drop(upstream.observe(2, Outcome::ServerError, now)));
    let lease = upstream.pick(&Tried::default(), 0, now).unwrap();
    let busy = upstream.endpoint(&lease).unwrap().address;

    // Others come before it, so that it has another place.
    let new = bed.refreshed(&addresses(0..9).into_iter().rev().collect::<Vec<_>>()).unwrap();

    let new = &new.upstreams[0];
    assert_eq!(new.endpoints().len(), 9);
    for endpoint in new.endpoints() {
        let was_ejected = endpoint.address == addresses(2..3)[0];
        assert_eq!(endpoint.ejected_for(now).is_some(), was_ejected, "{}", endpoint.address);
        assert_eq!(endpoint.in_flight(), u32::from(endpoint.address == busy), "{}", endpoint.address);
    }
    drop(lease);
    assert!(new.endpoints().iter().all(|endpoint| endpoint.in_flight() == 0));
}

#[test]
fn only_what_changed_is_made_anew() {
    let bed = Bed::new(&addresses(0..4));

    assert!(bed.refreshed(&addresses(0..4)).is_none());
    let new = bed.refreshed(&addresses(1..4)).unwrap();

    assert!(!Arc::ptr_eq(&new.upstreams[0], &bed.snapshot.upstreams[0]));
    assert!(Arc::ptr_eq(&new.upstreams[1], &bed.snapshot.upstreams[1]));
    assert_eq!(new.generation, bed.snapshot.generation);
}

#[test]
fn a_gateway_more_or_less_keeps_what_limits_counted() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tollgate.yaml");
    let text = "listeners: [{ name: web, address: '127.0.0.1:0' }]\nfleet: { gateways_file: gateways.yaml }\n\
                limits: [{ name: a, rate: 1/h, burst: 4, scope: fleet }]\n";
    std::fs::write(&path, text).unwrap();
    let (live, metrics) = (LiveState::default(), Metrics::new().unwrap());
    let source = EndpointSource::File(folder.path().join("gateways.yaml"));
    let list = |count: usize, out: usize| {
        let weight = |n: usize| u16::from(n >= out);
        let entry = |(n, address)| Resolved { address, zone: None, region: None, weight: weight(n) };
        let set = addresses(0..count).into_iter().enumerate().map(entry);
        live.found.learn(&source, FoundSet::Endpoints(set.collect()));
    };

    let first = Snapshot::load(&path, 1, &live, &metrics, |_| {}).unwrap().0;
    assert_eq!(first.gateways(), None);
    list(3, 1);
    let second = first.refreshed(&live, &metrics).unwrap();
    list(2, 0);
    assert!(second.refreshed(&live, &metrics).is_none(), "another list of as many");
    list(2, 2);
    let third = second.refreshed(&live, &metrics).unwrap();

    assert_eq!((second.gateways(), third.gateways()), (Some(2), Some(1)));
    assert_eq!(second.rate_limits.afresh(&first.rate_limits).count(), 0);
    assert_eq!(third.rate_limits.afresh(&first.rate_limits).count(), 0);
}

const LISTENER: &str = "listeners: [{ name: web, address: '127.0.0.1:0' }]\n";
const UPSTREAMS: &str = "upstreams:\n- { name: a, endpoints: [] }\n- { name: b, endpoints: [] }\n";
const ROUTES: &str = "routes:\n\
    - { name: one, match: { path: /1 }, to: [{ upstream: a }] }\n\
    - { name: two, match: { path: /2 }, to: [{ upstream: b }], rewrite: { strip_prefix: /no } }\n\
    - { name: three, match: { path: /3 }, respond: { status: 200 } }\n\
    - { name: last, respond: { status: 200 } }\n";

fn write(path: &Path, text: &str) {
    std::fs::write(path, text.replace("[]", "[{ address: '10.0.0.1:80' }]")).unwrap();
}

/// The routes that are the same with this in the place of that.
fn kept(that: &str, this: &str) -> Vec<String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tollgate.yaml");
    let (live, metrics) = (LiveState::default(), Metrics::new().unwrap());
    let text = [LISTENER, UPSTREAMS, ROUTES].concat();
    write(&path, &text);
    let before = Snapshot::load(&path, 1, &live, &metrics, |_| {}).unwrap().0;
    assert!(that.is_empty() || text.contains(that), "{that}");
    write(&path, &text.replacen(that, this, 1));

    let after = Snapshot::load_after(&path, &before, &live, &metrics, |_| {}).unwrap().0;

    assert_eq!(after.generation, 2);
    let is_kept =
        |route: &Arc<crate::route::Route>| before.router.routes().any(|was| Arc::ptr_eq(was, route));
    after.router.routes().filter(|route| is_kept(route)).map(|route| route.name.to_string()).collect()
}

#[test]
fn a_route_is_used_again_where_all_that_it_follows_from_is_as_it_was() {
    // Of the second there is a warning to tell again; the last ends by what is behind it.
    assert_eq!(kept("", "# a remark\n"), ["one", "three"]);
    assert_eq!(kept("path: /3", "path: /4"), ["one"]);
    assert_eq!(kept("status: 200 } }\n- { name: last", "status: 204 } }\n- { name: last"), ["one"]);
    // Their places are others, and logs tell them.
    assert_eq!(
        kept("routes:\n", "routes:\n- { name: new, match: { path: /n }, respond: { status: 200 } }\n"),
        [""; 0]
    );
    // What they refer to has another place, is another or is more.
    assert_eq!(
        kept("{ name: a, endpoints: [] }\n- { name: b,", "{ name: b, endpoints: [] }\n- { name: a,"),
        [""; 0]
    );
    assert_eq!(kept("upstreams:\n", "upstreams:\n- { name: c, endpoints: [] }\n"), [""; 0]);
    // What holds where they do not say.
    assert_eq!(kept("upstreams:\n", "requests: { max_body: 1KiB }\nupstreams:\n"), [""; 0]);
}

#[test]
fn what_is_told_of_a_route_is_told_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tollgate.yaml");
    let (live, metrics) = (LiveState::default(), Metrics::new().unwrap());
    write(&path, &[LISTENER, UPSTREAMS, ROUTES].concat());
    let (first, told) = Snapshot::load(&path, 1, &live, &metrics, |_| {}).unwrap();

    let (second, again) = Snapshot::load_after(&path, &first, &live, &metrics, |_| {}).unwrap();

    assert!(told.to_string().contains("has the prefix `/no`"), "{told}");
    assert_eq!(told, again);
    assert_eq!(Snapshot::load_after(&path, &second, &live, &metrics, |_| {}).unwrap().1, told);
}

#[test]
fn ten_thousand_endpoints_change_in_a_moment() {
    let bed = Bed::new(&addresses(0..10_000));

    let began = Instant::now();
    let new = bed.refreshed(&addresses(1..10_001)).unwrap();
    let took = began.elapsed();

    println!("10,000 endpoints, one of them another: {took:?}");
    assert_eq!(new.upstreams[0].endpoints().len(), 10_000);
    // 35 ms, and 41 with optimisation, on a busy machine; anything quadratic takes
    // minutes.
    assert!(took < Duration::from_secs(5), "{took:?}");
}
