//! All limits give or none does, alone and among threads.

use std::{
    sync::atomic::{AtomicU32, Ordering},
    thread,
};

use proptest::prelude::*;

use super::*;
use crate::limit::Terms;

fn limit(per_second: u32, burst: u32) -> RateLimit {
    RateLimit::new(Terms::new(per_second, Duration::from_secs(1), burst), 1 << 14)
}

fn key(tag: u64) -> KeyHash {
    KeyHash::from_tag(tag).unwrap()
}

fn ask(limit: &RateLimit, cost: u32) -> Ask<'_> {
    Ask { limit, terms: limit.terms(), key: key(1), cost }
}

fn remaining(limit: &RateLimit) -> u32 {
    limit.standing(key(1), NOW).remaining()
}

#[test]
fn a_request_that_one_limit_refuses_takes_from_none() {
    let (wide, narrow) = (limit(10, 10), limit(1, 1));
    let asks = [ask(&wide, 2), ask(&narrow, 1)];

    assert!(decide(&asks, NOW).unwrap().is_admitted());
    let refused = decide(&asks, NOW).unwrap();

    assert_eq!(refused.standing().limit(), 1);
    assert_eq!((remaining(&wide), remaining(&narrow)), (8, 0));
}

#[test]
fn the_wait_is_that_of_the_limit_that_takes_longest() {
    let (fast, slow) = (limit(10, 1), limit(1, 1));
    let asks = [ask(&fast, 1), ask(&slow, 1), ask(&fast, 1)];
    decide(&asks[..2], NOW);

    let refused = decide(&asks, NOW).unwrap();

    let Verdict::Refused { standing, retry_after } = refused else { panic!("{refused:?}") };
    assert_eq!((standing.limit(), retry_after), (1, Duration::from_secs(1)));
}

#[test]
fn an_admitted_request_is_told_of_the_limit_with_the_fewest_tokens_left() {
    let (wide, narrow) = (limit(10, 100), limit(1, 3));

    let admitted = decide(&[ask(&wide, 1), ask(&narrow, 1)], NOW).unwrap();

    assert_eq!((admitted.standing().limit(), admitted.standing().remaining()), (1, 2));
    assert_eq!(admitted.standing().reset_after(), Duration::from_secs(1));
    assert!(decide(&[], NOW).is_none());
}

#[test]
fn a_cost_of_nothing_passes_and_takes_nothing() {
    let limit = limit(1, 1);
    decide(&[ask(&limit, 1)], NOW);

    assert!(decide(&[ask(&limit, 0)], NOW).unwrap().is_admitted());
    assert!(decide(&[ask(&limit, 0), ask(&limit, 0)], NOW).unwrap().is_admitted());
    assert_eq!(remaining(&limit), 0);
}

/// The same limit twice: each time the look finds room for one, the second take
/// does not.
#[test]
fn a_lost_race_gives_back_what_was_taken() {
    let (wide, narrow) = (limit(1, 10), limit(1, 1));

    let refused = decide(&[ask(&wide, 3), ask(&narrow, 1), ask(&narrow, 1)], NOW).unwrap();

    assert!(!refused.is_admitted());
    assert_eq!((remaining(&wide), remaining(&narrow)), (10, 1));
}

#[test]
fn threads_that_race_for_two_limits_take_from_both_or_from_none() {
    let (wide, narrow) = (limit(1, 20_000), limit(1, 3_000));
    let admitted = AtomicU32::new(0);
    let work = || {
        let asks = [ask(&wide, 1), ask(&narrow, 1)];
        let mine = (0..4_000).filter(|_| decide(&asks, NOW).unwrap().is_admitted()).count();
        admitted.fetch_add(u32::try_from(mine).unwrap(), Ordering::Relaxed);
    };

    thread::scope(|scope| (0..4).for_each(|_| drop(scope.spawn(work))));

    assert_eq!(admitted.into_inner(), 3_000);
    assert_eq!((remaining(&wide), remaining(&narrow)), (17_000, 0));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn all_limits_give_or_none(
        bursts in prop::collection::vec(1..20u32, 1..5),
        costs in prop::collection::vec((0..6u32, 0..400_000_000u64), 1..60),
    ) {
        let limits: Vec<_> = bursts.iter().map(|burst| limit(7, *burst)).collect();
        let standings = |now| -> Vec<_> { limits.iter().map(|l| l.standing(key(1), now)).collect() };
        let mut now = NOW;

        for (cost, pause) in costs {
            now = Moment(now.0 + pause);
            let (before, asks) = (standings(now), limits.iter().map(|l| ask(l, cost)).collect::<Vec<_>>());
            let fits = limits.iter().zip(&before).all(|(limit, standing)| {
                cost == 0 || standing.left() >= f64::from(cost.min(limit.terms().burst()))
            });

            let verdict = decide(&asks, now).unwrap();

            prop_assert_eq!(verdict.is_admitted(), fits);
            if let Verdict::Refused { retry_after, .. } = verdict {
                prop_assert_eq!(standings(now), before);
                now = Moment(now.0 + u64::try_from(retry_after.as_nanos()).unwrap());
                prop_assert!(decide(&asks, now).unwrap().is_admitted());
            }
        }
    }
}

const NOW: Moment = Moment(5_000_000_000);
