//! What-ifs as tables, and that they agree with what traffic then does.

use std::time::Duration;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::upstream::{Found, UpstreamLive};

/// An upstream with its spec and place: what `Seen` borrows.
struct Scene {
    spec: UpstreamSpec,
    upstream: Upstream,
    place: Place,
}

impl Scene {
    /// `zones` says how many endpoints each of `z1`, `z2`, … has; `west` how many
    /// there are in another region. The gateway is in `z1` of `east`.
    fn new(zones: &[usize], west: usize, more: Value) -> Self {
        let at = |zone: usize, region: &'static str| move |n: usize| json!({ "address": format!("10.0.{zone}.{n}:80"), "zone": format!("z{zone}"), "region": region });
        let near = zones.iter().enumerate().flat_map(|(nth, count)| (0..*count).map(at(nth + 1, "east")));
        let endpoints: Vec<_> = near.chain((0..west).map(at(9, "west"))).collect();
        Self::of(
            json!(endpoints),
            Place { zone: Some("z1".into()), region: Some("east".into()), ..Place::default() },
            more,
        )
    }

    fn of(endpoints: Value, place: Place, more: Value) -> Self {
        let mut whole = json!({ "name": "u", "endpoints": endpoints });
        whole.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let spec: UpstreamSpec = serde_json::from_value(whole).unwrap();
        let live = Arc::<UpstreamLive>::default();
        let upstream = Upstream::new(&spec, Found::default().resolve(&spec, None), None, &place, live);
        upstream.endpoints().iter().for_each(|endpoint| endpoint.assume(Health::Healthy));
        Self { spec, upstream, place }
    }

    fn seen(&self) -> Seen<'_> {
        Seen { spec: &self.spec, upstream: &self.upstream, home: &self.place, place: &self.place }
    }

    fn ask(&self, what_if: &WhatIf) -> Simulation {
        self.seen().simulate(what_if, 50_000, Instant::now())
    }
}

fn zone_down(zone: &str) -> WhatIf {
    WhatIf { zones_down: vec![zone.into()], ..WhatIf::default() }
}

fn probed() -> Value {
    json!({ "health_check": { "path": "/" } })
}

fn after(simulation: &Simulation) -> Vec<(String, f64)> {
    simulation.zones.iter().map(|zone| (zone.zone.clone(), (zone.after * 1e3).round() / 1e3)).collect()
}

#[test]
fn a_zone_that_fails_gives_its_share_to_the_others() {
    let scene = Scene::new(&[2, 2, 2], 2, probed());

    let told = scene.ask(&zone_down("z1"));

    assert_eq!((told.before.spill, told.before.max_share, told.before.max_load), (0.0, 0.5, 1.0));
    assert_eq!((told.after.spill, told.after.max_share, told.after.max_load), (1.0, 0.25, 0.5));
    assert_eq!((told.after.region_spill, told.after.unserved, told.after.to_dead), (0.0, 0.0, 0.0));
    let zones = [("z1", 0.0), ("z2", 0.5), ("z3", 0.5), ("z9", 0.0)];
    assert_eq!(after(&told), zones.map(|(zone, share)| (zone.to_owned(), share)));
    assert!(told.drawn_off < 0.01 && told.notes.is_empty() && told.at_once.is_none(), "{told:?}");
    assert!(told.endpoints[..2].iter().all(|e| e.state == "down" && e.drawn_after == 0.0), "{told:?}");
}

#[test]
fn half_of_the_own_zone_keeps_what_it_can_carry() {
    let scene = Scene::new(&[4, 2, 2], 0, probed());
    let half = WhatIf {
        endpoints_down: vec!["10.0.1.0:80".parse().unwrap(), "10.0.1.1:80".parse().unwrap()],
        ..WhatIf::default()
    };

    let told = scene.ask(&half);

    assert!((1.0 - told.after.spill - 0.5 / 0.72).abs() < 1e-5, "{:?}", told.after);
    assert!((told.after.max_load - 0.25 / 0.72 / 0.25).abs() < 1e-5, "{:?}", told.after);
}

#[test]
fn a_region_that_fails_leaves_the_other_one() {
    let scene = Scene::new(&[2, 2], 2, probed());

    let told = scene.ask(&WhatIf { regions_down: vec!["east".into()], ..WhatIf::default() });

    assert_eq!((told.after.spill, told.after.region_spill, told.after.panic), (1.0, 1.0, false));
    // Who writes no region for its endpoints has them in the gateway's own.
    let written =
        json!([{ "address": "10.0.0.1:80", "zone": "z1" }, { "address": "10.0.0.2:80", "region": "west" }]);
    let told = Scene::of(written, scene.place, probed())
        .ask(&WhatIf { regions_down: vec!["east".into()], ..WhatIf::default() });
    assert_eq!((told.endpoints[0].state.as_str(), told.after.region_spill), ("down", 1.0));
}

#[test]
fn nothing_left_is_panic_and_the_policy_decides() {
    let everything = WhatIf { zones_down: vec!["z1".into(), "z2".into()], ..WhatIf::default() };
    let with = |policy: &str| {
        let more = json!({ "health_check": { "path": "/" }, "locality": { "on_panic": policy } });
        Scene::new(&[2, 2], 0, more).ask(&everything).after
    };

    let (spread, fail) = (with("spread"), with("fail"));

    // Not even panic sends to who cannot be reached.
    assert_eq!((spread.panic, spread.unserved, spread.to_dead), (true, 1.0, 0.0));
    assert_eq!((fail.panic, fail.unserved, fail.to_dead, fail.max_share), (true, 1.0, 0.0, 0.0));
}

#[test]
fn who_watches_nothing_goes_on_sending_to_the_dead() {
    let told = Scene::new(&[2, 2], 0, json!({})).ask(&zone_down("z1"));

    assert_eq!((told.after.to_dead, told.after.spill), (1.0, 0.0));
    assert!(told.notes[0].contains("health_check"), "{:?}", told.notes);
    // Of three quarters, outlier detection ejects two; the third is not reached.
    let told = Scene::new(&[3, 1], 0, json!({ "outlier_detection": {} })).ask(&zone_down("z1"));
    assert_eq!((told.after.to_dead, told.after.spill, told.notes.len()), (0.0, 1.0, 0), "{told:?}");
    let blind = json!({ "outlier_detection": { "consecutive_5xx": 0, "consecutive_gateway_errors": 0 } });
    let told = Scene::new(&[3, 1], 0, blind).ask(&zone_down("z1"));
    assert!(told.after.to_dead == 1.0 && told.notes[0].contains("outlier_detection"), "{told:?}");
}

#[test]
fn a_drained_zone_gets_nothing_in_panic_too() {
    let scene = Scene::new(&[2, 2], 0, probed());
    let what_if =
        WhatIf { zones_down: vec!["z2".into()], zones_drained: vec!["z1".into()], ..WhatIf::default() };

    let told = scene.ask(&what_if);

    assert!(told.after.panic && told.after.unserved == 1.0, "{told:?}");
    assert!(told.endpoints[..2].iter().all(|e| e.state == "drained" && e.drawn_after == 0.0), "{told:?}");
    // Probes fail there, though it can be reached.
    scene.upstream.endpoints()[2..].iter().for_each(|e| e.assume(Health::Unhealthy));
    let told = scene.ask(&WhatIf { zones_drained: vec!["z1".into()], ..WhatIf::default() });
    assert!(told.after.panic && told.zones[0].after == 0.0 && told.zones[1].after == 1.0, "{told:?}");
}

#[test]
fn another_zones_view_is_its_own_and_gateways_count() {
    let mut scene = Scene::new(&[1, 3, 2], 1, probed());
    scene.place.gateways = [("z1", 2), ("z2", 2), ("z3", 2)].map(|(zone, n)| (zone.into(), n)).into();
    let from = |zone: &str, region: &str| {
        let place = Place { zone: Some(zone.into()), region: Some(region.into()), ..scene.place.clone() };
        let seen = Seen { place: &place, home: &scene.place, ..scene.seen() };
        seen.simulate(&WhatIf::default(), 0, Instant::now()).before
    };

    let spills =
        [("z1", "east"), ("z2", "east"), ("z9", "west")].map(|(zone, region)| from(zone, region).spill);

    assert!((spills[0] - 0.5).abs() < 1e-5 && spills[1..] == [0.0, 0.0], "{spills:?}");
}

#[test]
fn asking_changes_nothing_and_knows_what_is_known() {
    let scene = Scene::new(&[2, 2], 0, probed());
    let now = Instant::now();
    scene.upstream.view(now);
    scene.upstream.endpoints()[0].assume(Health::Unhealthy);
    let before = scene.upstream.view(now);

    let told = scene.ask(&zone_down("z2"));

    assert_eq!(scene.upstream.view(now), before);
    assert!(
        scene.upstream.endpoints()[2..].iter().all(|e| e.health() == Health::Healthy && e.in_flight() == 0)
    );
    assert_eq!(told.before.tiers[0].in_service, 0.5);
    assert_eq!((told.endpoints[0].state.as_str(), told.endpoints[1].after), ("unhealthy", 1.0));
}

#[test]
fn what_rises_is_told_as_it_is_and_as_it_will_be() {
    let scene = Scene::new(&[2, 2], 0, probed());
    let start = Instant::now();
    scene.upstream.view(start);
    scene.upstream.endpoints()[..2].iter().for_each(|e| e.assume(Health::Unhealthy));
    scene.upstream.view(start);
    scene.upstream.endpoints()[..2].iter().for_each(|e| e.assume(Health::Healthy));

    let told = scene.seen().simulate(&WhatIf::default(), 0, start + Duration::from_secs(1));

    assert_eq!((told.before.spill, told.after.spill), (1.0, 0.0));
    assert_eq!(told.at_once.unwrap().spill, 1.0);
}

#[test]
fn keys_are_drawn_as_the_ring_has_them() {
    let more = json!({ "health_check": { "path": "/" }, "balance": { "consistent_hash": { "key": "client_address" } } });

    let told = Scene::new(&[3, 3], 0, more).ask(&zone_down("z2"));

    let drawn: f64 = told.endpoints.iter().map(|e| e.after).sum();
    assert!((drawn - 1.0).abs() < 1e-9 && told.drawn_off == 0.0, "{told:?}");
    assert!(told.endpoints[..3].iter().all(|e| e.after == e.drawn_after && e.after == e.before), "{told:?}");
}

#[test]
fn a_zone_is_not_taken_from_who_cannot_do_without() {
    let now = Instant::now();
    let overload = |scene: &Scene, zone| scene.seen().without_zone(zone, now).map(|effect| effect.overload);
    let thin = json!({ "health_check": { "path": "/" }, "locality": { "spill_below": "40%" } });

    let cases = [
        (Scene::new(&[2, 2, 2], 0, probed()), None),
        (Scene::new(&[2, 0, 0], 0, probed()), Some(crate::upstream::Overload::NothingLeft)),
        (Scene::new(&[3, 1, 1], 0, probed()), Some(crate::upstream::Overload::TooThin)),
        (Scene::new(&[3, 0, 0], 3, thin), Some(crate::upstream::Overload::TooThin)),
    ];
    for (nth, (scene, wanted)) in cases.iter().enumerate() {
        assert_eq!(overload(scene, "z1"), Some(*wanted), "{nth}");
        assert_eq!(overload(scene, "z5"), None);
    }
    // Of z2 and z3, three of five are down: without z1 what is left is too little.
    let scene = Scene::new(
        &[5, 5, 5],
        5,
        json!({ "health_check": { "path": "/" }, "locality": { "panic_below": "10%" } }),
    );
    scene.upstream.endpoints()[5..13].iter().for_each(|e| e.assume(Health::Unhealthy));
    assert_eq!(overload(&scene, "z1"), Some(Some(crate::upstream::Overload::LeavesRegion)));
    assert_eq!(scene.seen().without_zone("z1", now).unwrap().in_service, 7);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn shares_are_whole_or_unserved_and_draws_agree(
        endpoints in prop::collection::vec((0u16..5, 0u8..4, 0u8..3, 0u8..4), 1..24),
        balance in 0u8..3, policy: bool, watched in 0u8..3,
        down in prop::collection::vec(0u8..4, 0..3), drained in prop::collection::vec(0u8..4, 0..2),
    ) {
        let written = endpoints.iter().enumerate().map(|(n, (weight, zone, region, _))| {
            let region = if *region == 2 { "west" } else { "east" };
            json!({ "address": format!("10.0.0.1:{}", n + 1), "weight": weight, "zone": format!("z{zone}"), "region": region })
        });
        let mut more = json!({ "locality": { "on_panic": if policy { "spread" } else { "fail" } } });
        let balance = [json!("least_request"), json!("round_robin"), json!({ "consistent_hash": { "key": "tenant" } })][usize::from(balance)].clone();
        more["balance"] = balance;
        match watched {
            0 => {}
            1 => more["health_check"] = json!({ "path": "/" }),
            _ => more["outlier_detection"] = json!({}),
        }
        let place = Place { zone: Some("z1".into()), region: Some("east".into()), ..Place::default() };
        let scene = Scene::of(json!(written.collect::<Vec<_>>()), place, more);
        for (endpoint, (.., health)) in scene.upstream.endpoints().iter().zip(&endpoints) {
            if *health == 0 { endpoint.assume(Health::Unhealthy) }
        }
        let names = |list: &[u8]| list.iter().map(|zone| format!("z{zone}").into()).collect::<Vec<Arc<str>>>();
        let what_if = WhatIf { zones_down: names(&down), zones_drained: names(&drained), ..WhatIf::default() };

        let told = scene.seen().simulate(&what_if, 20_000, Instant::now());

        let sum = |of: fn(&EndpointSplit) -> f64| told.endpoints.iter().map(of).sum::<f64>();
        prop_assert!((sum(|e| e.before) + told.before.unserved - 1.0).abs() < 1e-5, "{told:?}");
        prop_assert!((sum(|e| e.after) + told.after.unserved - 1.0).abs() < 1e-5, "{told:?}");
        prop_assert!(told.drawn_off < 0.015, "{told:?}");
        for endpoint in &told.endpoints {
            let out = endpoint.weight == 0 || endpoint.state == "drained";
            prop_assert!(!out || (endpoint.after == 0.0 && endpoint.drawn_after == 0.0), "{endpoint:?}");
            prop_assert!(endpoint.after > 0.0 || endpoint.drawn_after == 0.0, "{endpoint:?}");
            prop_assert!(endpoint.state != "down" || watched == 0 || endpoint.after == 0.0);
        }
    }
}
