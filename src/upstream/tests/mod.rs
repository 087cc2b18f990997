//! Picks, tier by tier, with time as an argument.

use std::time::Duration;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::telemetry::metrics::OwnZone;

mod ejecting;
mod queueing;
mod telling;
mod unreachable;

fn upstream(spec: Value) -> Upstream {
    seen_from(&Place::default(), spec)
}

fn seen_from(place: &Place, spec: Value) -> Upstream {
    let mut whole = json!({ "name": "u" });
    whole.as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
    let spec = serde_json::from_value(whole).unwrap();
    Upstream::new(&spec, Found::default().resolve(&spec, None), None, place, Arc::default())
}

fn weights(weights: &[u16]) -> Upstream {
    let endpoint = |(i, weight)| json!({ "address": format!("127.0.0.1:{}", 1000 + i), "weight": weight });
    upstream(json!({ "endpoints": weights.iter().enumerate().map(endpoint).collect::<Vec<_>>() }))
}

/// So many endpoints in each of three zones; the gateway is in `z1`.
fn zones(counts: [usize; 3], more: Value) -> Upstream {
    let zone = |(zone, count): (usize, usize)| {
        (0..count).map(move |i| json!({ "address": format!("10.0.{}.{i}:80", zone + 1), "zone": format!("z{}", zone + 1) }))
    };
    let endpoints: Vec<_> = counts.into_iter().enumerate().flat_map(zone).collect();
    let mut spec = json!({ "endpoints": endpoints });
    spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    seen_from(&Place { zone: Some("z1".into()), ..Place::default() }, spec)
}

fn picks(upstream: &Upstream, tried: &Tried, now: Instant) -> Vec<usize> {
    let mut random = fastrand::Rng::with_seed(7);
    (0..100_000).filter_map(|_| upstream.pick(tried, random.u64(..), now).ok()).map(|l| l.index()).collect()
}

fn share(picks: &[usize], indexes: std::ops::Range<usize>) -> f64 {
    picks.iter().filter(|index| indexes.contains(*index)).count() as f64 / picks.len() as f64
}

fn down(upstream: &Upstream, indexes: std::ops::Range<usize>) {
    upstream.endpoints()[indexes].iter().for_each(|endpoint| endpoint.live.set_health(Health::Unhealthy));
}

fn tried(indexes: &[usize]) -> Tried {
    let mut tried = Tried::default();
    indexes.iter().for_each(|index| tried.insert(*index));
    tried
}

#[test]
fn the_weights_share_the_traffic() {
    let all = picks(&weights(&[3, 1]), &Tried::default(), Instant::now());

    assert!((share(&all, 0..1) - 0.75).abs() < 0.01, "{}", share(&all, 0..1));
}

#[test]
fn weight_zero_is_never_picked_even_when_all_others_were_tried() {
    let (upstream, now) = (weights(&[0, 1, 0]), Instant::now());

    assert!(picks(&upstream, &Tried::default(), now).iter().all(|i| *i == 1));
    assert_eq!(upstream.pick(&tried(&[1]), 0, now).err(), Some(Unavailable::NoEndpoint));
}

#[test]
fn weight_zero_is_never_picked_in_panic() {
    let (upstream, now) = (weights(&[0, 1, 1, 0]), Instant::now());
    down(&upstream, 1..3);

    let all = picks(&upstream, &Tried::default(), now);

    assert!(upstream.view(now).panic && all.len() == 100_000);
    assert!(all.iter().all(|index| [1, 2].contains(index)));
}

#[test]
fn a_tried_endpoint_gives_way_to_the_others() {
    let all = picks(&weights(&[1, 1, 1]), &tried(&[0, 2]), Instant::now());

    assert!(all.len() == 100_000 && all.iter().all(|index| *index == 1));
}

#[test]
fn the_less_busy_of_two_draws_is_picked() {
    let (upstream, now) = (weights(&[1, 1]), Instant::now());
    let busy: Vec<_> = (0..100).filter_map(|_| upstream.pick(&Tried::default(), 0, now).ok()).collect();

    let next = upstream.pick(&Tried::default(), 0xffff_ffff, now).unwrap();

    assert_eq!((busy.len(), next.index()), (100, 1));
}

#[test]
fn a_dropped_lease_is_no_longer_in_flight() {
    let upstream = weights(&[1]);
    let lease = upstream.pick(&Tried::default(), 0, Instant::now());
    assert_eq!(upstream.endpoints()[0].in_flight(), 1);

    drop(lease);

    assert_eq!(upstream.endpoints()[0].in_flight(), 0);
}

#[test]
fn the_own_zone_takes_everything_while_it_can() {
    let (upstream, now) = (zones([4, 4, 4], json!({})), Instant::now());

    assert!((share(&picks(&upstream, &Tried::default(), now), 0..4) - 1.0).abs() < 1e-9);
    // Three of four are more than 72 of 100.
    down(&upstream, 0..1);
    assert!((share(&picks(&upstream, &Tried::default(), now), 1..4) - 1.0).abs() < 1e-9);
}

#[test]
fn half_of_the_own_zone_takes_its_part_and_the_rest_spills() {
    let (upstream, now) = (zones([4, 4, 4], json!({})), Instant::now());
    upstream.view(now);
    down(&upstream, 0..2);

    let all = picks(&upstream, &Tried::default(), now);

    assert!((share(&all, 2..4) - 0.5 / 0.72).abs() < 0.01, "{}", share(&all, 2..4));
    assert!((share(&all, 4..8) - share(&all, 8..12)).abs() < 0.01);
    let told: f64 = upstream.view(now).shares[2..4].iter().sum();
    assert!((told - share(&all, 2..4)).abs() < 0.01, "{told}");
}

#[test]
fn who_leaves_the_own_zone_knows_what_that_had() {
    let (upstream, now) = (zones([2, 2, 0], json!({})), Instant::now());
    let left = |tried: &Tried| upstream.pick(tried, 7, now).unwrap().leaves_zone();
    assert_eq!((left(&Tried::default()), left(&tried(&[0]))), (None, Some(OwnZone::InService)));

    down(&upstream, 0..2);

    assert_eq!(left(&Tried::default()), Some(OwnZone::None));
    let nowhere = weights(&[1]);
    assert_eq!(nowhere.pick(&Tried::default(), 7, now).unwrap().leaves_zone(), None);
}

#[test]
fn a_zone_that_comes_back_waits_and_rises() {
    let (upstream, start) = (zones([2, 2, 0], json!({})), Instant::now());
    let own = |second| {
        let now = start + Duration::from_secs(second);
        upstream.view(now).tiers[0].share
    };
    own(0);
    down(&upstream, 0..2);
    assert_eq!(own(1), 0.0);
    upstream.endpoints()[..2].iter().for_each(|endpoint| endpoint.live.set_health(Health::Healthy));

    assert_eq!([own(2), own(5)], [0.0, 0.0]);
    let rising: Vec<_> = (6..20).map(own).collect();
    assert!(rising[0] > 0.0 && rising[0] < 0.2, "{rising:?}");
    assert!(rising.windows(2).all(|pair| pair[0] <= pair[1]) && rising.last() == Some(&1.0), "{rising:?}");
}

#[test]
fn what_was_held_back_serves_when_there_is_nothing_else() {
    let (upstream, start) = (zones([2, 2, 0], json!({})), Instant::now());
    upstream.view(start);
    down(&upstream, 0..4);
    upstream.view(start);
    upstream.endpoints()[0].live.set_health(Health::Healthy);
    upstream.endpoints()[1].live.set_health(Health::Healthy);

    let view = upstream.view(start + Duration::from_secs(1));

    assert_eq!((view.panic, view.tiers[0].share), (false, 1.0), "{view:?}");
}

#[test]
fn too_few_anywhere_is_panic_and_the_policy_decides() {
    let now = Instant::now();
    let (spreads, fails) =
        (zones([4, 4, 0], json!({})), zones([4, 4, 0], json!({ "locality": { "on_panic": "fail" } })));
    for upstream in [&spreads, &fails] {
        down(upstream, 0..3);
        assert!(!upstream.view(now).panic);
        down(upstream, 4..7);
        assert!(upstream.view(now).panic);
    }

    assert!((share(&picks(&spreads, &Tried::default(), now), 0..4) - 0.5).abs() < 0.01);
    assert_eq!(fails.pick(&Tried::default(), 0, now).err(), Some(Unavailable::Panic));
}

#[test]
fn a_retry_goes_to_another_zone_first_and_never_to_another_region_before() {
    let place = Place { zone: Some("z1".into()), region: Some("east".into()), ..Place::default() };
    let endpoint = |n: u16, zone: &str, region: &str| json!({ "address": format!("10.0.0.1:{n}"), "zone": zone, "region": region });
    let endpoints = [
        endpoint(1, "z1", "east"),
        endpoint(2, "z1", "east"),
        endpoint(3, "z2", "east"),
        endpoint(4, "z9", "west"),
    ];
    let (upstream, now) = (seen_from(&place, json!({ "endpoints": endpoints })), Instant::now());
    let after = |done: &[usize]| {
        let mut found = picks(&upstream, &tried(done), now);
        found.sort_unstable();
        found.dedup();
        found
    };

    assert_eq!(after(&[0]), [2]);
    assert_eq!(after(&[0, 2]), [1]);
    assert_eq!(after(&[0, 2, 1]), [3]);
}

#[test]
fn gateways_of_a_small_zone_do_not_crush_it() {
    let gateways = vec![("z1".into(), 2), ("z2".into(), 2), ("z3".into(), 2)];
    let place = Place { zone: Some("z1".into()), region: None, gateways, ..Place::default() };
    let endpoint = |n: u16, zone: &str| json!({ "address": format!("10.0.0.1:{n}"), "zone": zone });
    let endpoints = [
        endpoint(1, "z1"),
        endpoint(2, "z2"),
        endpoint(3, "z2"),
        endpoint(4, "z2"),
        endpoint(5, "z3"),
        endpoint(6, "z3"),
    ];
    let upstream = seen_from(&place, json!({ "endpoints": endpoints }));

    let all = picks(&upstream, &Tried::default(), Instant::now());

    // A sixth of the endpoints and a third of the gateways: half goes on, and only
    // to where something is to spare.
    assert!((share(&all, 0..1) - 0.5).abs() < 0.01, "{}", share(&all, 0..1));
    assert!((share(&all, 1..4) - 0.5).abs() < 0.01, "{}", share(&all, 1..4));
}

#[test]
fn turns_are_exact() {
    let spec = json!({ "balance": "round_robin", "endpoints": [
        { "address": "10.0.0.1:1", "weight": 2 }, { "address": "10.0.0.1:2", "weight": 1 }, { "address": "10.0.0.1:3", "weight": 0 }
    ] });

    let all = picks(&upstream(spec), &Tried::default(), Instant::now());

    assert_eq!(all[..6], [0, 1, 0, 0, 1, 0]);
    assert_eq!(all.iter().filter(|index| **index == 1).count(), 33_333);
}

#[test]
fn a_key_stays_on_its_endpoint_until_that_has_too_much() {
    let endpoints: Vec<_> = (0..4).map(|n| json!({ "address": format!("10.0.0.1:{}", n + 1) })).collect();
    let balance = json!({ "consistent_hash": { "key": "client_address" } });
    let (upstream, now) = (upstream(json!({ "endpoints": endpoints, "balance": balance })), Instant::now());
    let key = hash(b"alice");
    let home = upstream.pick(&Tried::default(), key, now).unwrap().index();
    assert!((0..100).all(|_| upstream.pick(&Tried::default(), key, now).unwrap().index() == home));

    let held: Vec<_> = (0..40).map(|_| upstream.pick(&Tried::default(), key, now).unwrap()).collect();

    let most = upstream.endpoints().iter().map(Endpoint::in_flight).max().unwrap();
    assert!(held.len() == 40 && most <= 13, "{most}");
    drop(held);
    upstream.endpoints()[home].live.set_health(Health::Unhealthy);
    assert_ne!(upstream.pick(&Tried::default(), key, now).unwrap().index(), home);
}

#[test]
fn beyond_what_may_be_in_flight_nobody_is_picked() {
    let endpoints = json!([{ "address": "10.0.0.1:1" }, { "address": "10.0.0.1:2" }]);
    let now = Instant::now();
    for (most, allowed) in [(json!({ "endpoint": 3 }), 6), (json!({ "upstream": 5 }), 5)] {
        let upstream = upstream(json!({ "endpoints": endpoints, "max_in_flight": most }));

        let mut held: Vec<_> =
            (0..allowed).map(|_| upstream.pick(&Tried::default(), 0, now).unwrap()).collect();

        assert_eq!(upstream.pick(&Tried::default(), 0, now).err(), Some(Unavailable::Full));
        held.pop();
        assert!(upstream.pick(&Tried::default(), 0, now).is_ok());
    }
}

#[test]
fn who_was_never_probed_neither_serves_nor_counts_as_lost() {
    let (mut upstream, now) = (zones([4, 2, 0], json!({})), Instant::now());
    upstream.probed = true;
    upstream.endpoints()[..1].iter().for_each(|endpoint| endpoint.live.set_health(Health::Healthy));

    let all = picks(&upstream, &Tried::default(), now);

    assert!(all.len() == 100_000 && all.iter().all(|index| *index == 0));
    upstream.endpoints()[1].live.set_health(Health::Unhealthy);
    upstream.endpoints()[4].live.set_health(Health::Healthy);
    assert!((upstream.view(now).shares[4] - (1.0 - 0.5 / 0.72)).abs() < 1e-9);
}

/// Endpoints of `z1` and `z2`, seen from `z1`; `drained` is taken out.
fn taken_out(live: &Arc<UpstreamLive>, drained: Option<&str>) -> Upstream {
    let endpoint =
        |n: u16| json!({ "address": format!("10.0.0.1:{n}"), "zone": format!("z{}", n.div_ceil(2)) });
    let spec = json!({ "name": "u", "outlier_detection": {}, "endpoints": (1..=6).map(endpoint).collect::<Vec<_>>() });
    let spec = serde_json::from_value(spec).unwrap();
    let place = Place {
        zone: Some("z1".into()),
        drained: drained.map(Arc::from).into_iter().collect(),
        ..Place::default()
    };
    Upstream::new(&spec, Found::default().resolve(&spec, None), None, &place, live.clone())
}

#[test]
fn a_zone_that_was_taken_out_gets_nothing_in_panic_too_and_counts_for_nothing() {
    let (live, now) = (Arc::<UpstreamLive>::default(), Instant::now());
    taken_out(&live, None).view(now);
    let upstream = taken_out(&live, Some("z1"));

    let all = picks(&upstream, &Tried::default(), now);
    assert!(all.len() == 100_000 && share(&all, 0..2) == 0.0);
    assert_eq!(upstream.live.book.lock().unwrap().in_service, 4);
    down(&upstream, 2..6);
    let all = picks(&upstream, &Tried::default(), now);
    assert!(upstream.view(now).panic && all.len() == 100_000 && share(&all, 0..2) == 0.0);
    let again = picks(&upstream, &tried(&[2, 3, 4]), now);
    assert!(again.len() == 100_000 && share(&again, 5..6) == 1.0);
}

#[test]
fn the_own_zone_comes_back_in_steps_after_it_was_taken_out() {
    let (live, start) = (Arc::<UpstreamLive>::default(), Instant::now());
    taken_out(&live, None).view(start);
    taken_out(&live, Some("z1")).view(start);

    let upstream = taken_out(&live, None);
    let own = |second| upstream.view(start + Duration::from_secs(second)).tiers[0].share;

    assert_eq!([own(1), own(4)], [0.0, 0.0]);
    let rising: Vec<_> = (5..20).map(own).collect();
    assert!(rising[0] > 0.0 && rising[0] < 0.2, "{rising:?}");
    assert!(rising.windows(2).all(|pair| pair[0] <= pair[1]) && rising.last() == Some(&1.0), "{rising:?}");
}

#[test]
fn another_zone_of_the_region_comes_back_in_steps_too() {
    let (live, start) = (Arc::<UpstreamLive>::default(), Instant::now());
    taken_out(&live, None).view(start);
    let upstream = taken_out(&live, Some("z2"));
    down(&upstream, 0..2);
    assert_eq!(upstream.view(start).shares[2..], [0.0, 0.0, 0.5, 0.5]);

    let upstream = taken_out(&live, None);
    let back = |second| upstream.view(start + Duration::from_secs(second)).shares[2];

    assert!((back(20) - 1.0 / 22.0).abs() < 1e-9, "{}", back(20));
    assert_eq!(back(40), 0.25);
}

#[test]
fn a_new_endpoint_of_an_upstream_at_work_rises() {
    let live = Arc::<UpstreamLive>::default();
    let build = |count: u16| {
        let endpoints: Vec<_> = (1..=count).map(|n| json!({ "address": format!("10.0.0.1:{n}") })).collect();
        let spec = serde_json::from_value(json!({ "name": "u", "endpoints": endpoints })).unwrap();
        let endpoints = Found::default().resolve(&spec, None);
        Upstream::new(&spec, endpoints, None, &Place::default(), live.clone())
    };
    let later = Instant::now() + Duration::from_secs(60);
    let first = build(1);
    assert_eq!(first.view(Instant::now()).shares, [1.0]);

    let shares = build(2).view(later).shares;

    assert!((shares[1] - 1.0 / 11.0).abs() < 1e-9, "{shares:?}");
}

proptest! {
    #[test]
    fn shares_are_whole_and_who_has_no_weight_has_none(
        weights in prop::collection::vec((0u16..5, 0u8..4, 0u8..3, 0u8..3), 1..40),
        gateways in prop::collection::vec(0u32..4, 3),
        draw: u64,
    ) {
        let endpoint = |(n, (weight, zone, region, _)): (usize, &(u16, u8, u8, u8))| {
            let region = if *region == 2 { "west" } else { "east" };
            json!({ "address": format!("10.0.0.1:{}", n + 1), "weight": weight, "zone": format!("z{zone}"), "region": region })
        };
        let endpoints: Vec<_> = weights.iter().enumerate().map(endpoint).collect();
        let gateways = gateways.iter().enumerate().map(|(zone, count)| (format!("z{zone}").into(), *count));
        let place = Place { zone: Some("z1".into()), region: Some("east".into()), gateways: gateways.collect(), ..Place::default() };
        let upstream = seen_from(&place, json!({ "endpoints": endpoints }));
        for (endpoint, (.., health)) in upstream.endpoints().iter().zip(&weights) {
            endpoint.live.set_health(if *health == 0 { Health::Unhealthy } else { Health::Healthy });
        }
        let now = Instant::now();

        let view = upstream.view(now);

        let possible = weights.iter().any(|(weight, ..)| *weight > 0);
        let total: f64 = view.shares.iter().sum();
        prop_assert!((total - f64::from(u8::from(possible))).abs() < 1e-6, "{:?}", view);
        prop_assert!(view.shares.iter().all(|share| share.is_finite() && *share >= 0.0));
        for (share, (weight, .., health)) in view.shares.iter().zip(&weights) {
            prop_assert!(*weight > 0 || *share == 0.0);
            prop_assert!(*health > 0 || *share == 0.0 || view.panic);
        }
        match upstream.pick(&Tried::default(), draw, now) {
            Ok(lease) => prop_assert!(view.shares[lease.index()] > 0.0),
            Err(_) => prop_assert!(!possible),
        }
    }
}
