//! What is told of a first pick is what a first pick does.

use super::*;

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_told_is_what_is_picked(
        counts in [0..4_usize, 0..4_usize, 0..3_usize].prop_filter("some", |counts| counts.iter().sum::<usize>() > 0),
        ill in prop::collection::vec(0..11_usize, 0..8),
        hashed: bool,
        fails: bool,
        most in (prop::option::of(1..6_u32), prop::option::of(1..3_u32)),
        busy in 0..12_u64,
        draws in prop::collection::vec(any::<u64>(), 20),
    ) {
        let balance = if hashed { json!({ "consistent_hash": { "key": "client_address" } }) } else { json!("least_request") };
        let upstream = zones(counts, json!({
            "balance": balance,
            "locality": { "on_panic": if fails { "fail" } else { "spread" } },
            "max_in_flight": { "upstream": most.0, "endpoint": most.1 }
        }));
        let (now, all) = (Instant::now(), upstream.endpoints().len());
        ill.iter().for_each(|index| down(&upstream, index % all..index % all + 1));
        let held: Vec<_> = (0..busy).filter_map(|n| upstream.pick(&Tried::default(), super::super::ring::spread(n), now).ok()).collect();

        for draw in draws {
            let (told, key) = (upstream.unavailable(now), upstream.keyed(draw, now).map(|e| e.address));
            let picked = upstream.pick(&Tried::default(), draw, now);

            prop_assert_eq!(told, picked.as_ref().err().copied());
            let went = picked.ok().and_then(|lease| upstream.endpoint(&lease).map(|e| e.address));
            prop_assert_eq!(key, went.filter(|_| hashed));
        }
        prop_assert_eq!(upstream.endpoints().iter().map(|e| e.in_flight()).sum::<u32>() as usize, held.len());
    }
}
