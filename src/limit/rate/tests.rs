//! A rate limit beside a model that is too simple to be wrong: one number a key.

use std::{
    collections::HashMap,
    sync::atomic::{AtomicU32, Ordering},
    thread,
    time::Duration,
};

use proptest::prelude::*;

use super::*;
use crate::limit::KeySeeds;
use crate::limit::{Ask, Verdict, decide};

/// When each key owes nothing any more, in nanoseconds.
struct Model {
    token: u64,
    burst: u64,
    due: HashMap<u64, u64>,
}

impl Model {
    fn new(terms: &Terms) -> Self {
        let token = u64::try_from(terms.interval().as_nanos()).unwrap();
        Self { token, burst: terms.burst().into(), due: HashMap::new() }
    }

    /// Whether it is granted, the tokens left, the nanoseconds until all are back
    /// and until this would have been granted.
    fn draw(&mut self, key: u64, cost: u64, now: u64) -> (bool, u64, u64, u64) {
        let owed = self.due.get(&key).copied().unwrap_or(0).saturating_sub(now);
        let (wanted, most) = (owed + cost.min(self.burst) * self.token, self.burst * self.token);
        let granted = wanted <= most || cost == 0;
        let after = if granted { wanted } else { owed };
        self.due.insert(key, now + after);
        (granted, (most - after) / self.token, after, if granted { 0 } else { wanted - most })
    }
}

/// What `decide` says, as the model does.
fn draw(limit: &RateLimit, key: u64, cost: u32, now: u64) -> (bool, u64, u64, u64) {
    let verdict = decide(&[Ask { limit, terms: limit.terms(), key: hash(key), cost }], Moment(now)).unwrap();
    let wait = match &verdict {
        Verdict::Admitted(_) => Duration::ZERO,
        Verdict::Refused { retry_after, .. } => *retry_after,
    };
    let (standing, nanos) = (verdict.standing(), |d: Duration| d.as_nanos().try_into().unwrap_or(u64::MAX));
    (verdict.is_admitted(), standing.remaining().into(), nanos(standing.reset_after()), nanos(wait))
}

/// Spread over sets as a real one is.
fn hash(key: u64) -> KeyHash {
    KeyHash::from_tag((key + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15)).unwrap()
}

fn terms() -> impl Strategy<Value = Terms> {
    let rate = prop_oneof![
        Just((1, 86_400)),
        Just((1_000_000, 1)),
        (1..1_000u32, prop_oneof![Just(1u64), Just(60), Just(3_600)])
    ];
    (rate, 1..30u32).prop_map(|((events, secs), burst)| Terms::new(events, Duration::from_secs(secs), burst))
}

/// Time that goes by, in thousandths of a token; key; cost.
fn requests(keys: u64) -> impl Strategy<Value = Vec<(u64, u64, u32)>> {
    let pause = prop_oneof![6 => Just(0), 3 => 0..3_000u64, 1 => 0..100_000u64];
    prop::collection::vec((pause, 0..keys, prop_oneof![4 => Just(1u32), 1 => 0..35u32]), 1..300)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_decision_is_the_models(terms in terms(), requests in requests(5)) {
        let (limit, mut model, mut now) = (RateLimit::new(terms, 1 << 14), Model::new(&terms), 0);

        for (pause, key, cost) in requests {
            now += pause * model.token / 1_000;
            prop_assert_eq!(draw(&limit, key, cost, now), model.draw(key, cost.into(), now));
        }
        prop_assert_eq!(limit.overflowed(), 0);
    }

    #[test]
    fn whoever_waits_as_long_as_told_is_admitted(terms in terms(), requests in requests(2)) {
        let (limit, token, mut now) = (RateLimit::new(terms, 1 << 14), Model::new(&terms).token, 0);

        for (pause, key, cost) in requests {
            now += pause * token / 1_000;
            let (granted, _, _, wait) = draw(&limit, key, cost, now);
            if !granted {
                prop_assert!(wait > 0 && !draw(&limit, key, cost, now + wait - 1).0);
                now += wait;
                prop_assert!(draw(&limit, key, cost, now).0);
            }
        }
    }

    /// One set, and five times the keys that it holds.
    #[test]
    fn whoever_stays_below_is_never_refused_in_a_table_that_is_too_small(
        terms in terms(), requests in requests(40),
    ) {
        let (limit, mut model, mut now) = (RateLimit::new(terms, 0), Model::new(&terms), 0);
        let mut granted = HashMap::<u64, u64>::new();

        for (pause, key, cost) in requests {
            now += pause * model.token / 1_000;
            let good = key % 4 == 0;
            let fits = good && {
                let mut trial = Model { due: model.due.clone(), ..model };
                trial.draw(key, cost.into(), now).0
            };
            if fits {
                model.draw(key, cost.into(), now);
                prop_assert!(draw(&limit, key, cost, now).0);
            }
            if !good && draw(&limit, key, cost, now).0 {
                *granted.entry(key).or_default() += u64::from(cost.min(terms.burst()));
            }
        }

        let forgotten = limit.overflowed() * model.burst;
        let most = model.burst + now / model.token;
        prop_assert!(granted.values().all(|granted| *granted <= most + forgotten));
        prop_assert!(granted.values().map(|granted| granted.saturating_sub(most)).sum::<u64>() <= forgotten);
    }
}

#[test]
fn fifteen_seconds_above_the_limit_admit_the_rate_and_the_burst() {
    let limit = RateLimit::new(Terms::new(100, Duration::from_secs(1), 20), 1 << 14);
    let admitted = |from: u64, every: u64, count: u64| {
        (0..count).filter(|i| draw(&limit, 1, 1, from + i * every).0).count()
    };

    assert_eq!(admitted(0, 20_000_000, 50), 50);
    assert_eq!(admitted(2_000_000_000, 0, 25), 20);
    assert_eq!(admitted(9_000_000_000, 6_666_667, 2_250), 1_519);
}

#[test]
fn a_day_a_token_and_a_million_of_them_at_once_are_exact() {
    let day = 86_400_000_000_000;
    let limit = RateLimit::new(Terms::new(1, Duration::from_nanos(day), 1_000_000), 1 << 14);

    assert_eq!(draw(&limit, 1, 999_999, 5 * day).1, 1);
    assert!(draw(&limit, 1, 1, 5 * day).0);
    let (granted, left, _, wait) = draw(&limit, 1, 1, 5 * day);

    assert_eq!((granted, left), (false, 0));
    assert!((day - day / 1_000_000..=day + 1_024).contains(&wait), "{wait}");
    assert!(draw(&limit, 1, 1, 5 * day + wait).0);
}

#[test]
fn nothing_overflows_at_the_ends_of_time_and_cost() {
    for terms in
        [Terms::new(u32::MAX, Duration::from_nanos(1), u32::MAX), Terms::new(1, Duration::MAX, u32::MAX)]
    {
        let limit = RateLimit::new(terms, 0);
        let all = Ask { limit: &limit, terms, key: hash(1), cost: u32::MAX };

        for now in [0, u64::MAX, 1, u64::MAX / 2, u64::MAX] {
            decide(&[all], Moment(now));
            decide(&[all, all], Moment(now));
            limit.give_back(&terms, hash(1), u32::MAX);
            limit.give_back(&terms, hash(1), u32::MAX);
            assert!(limit.standing(hash(1), Moment(now)).reset_after() <= Duration::MAX);
        }
    }
}

#[test]
fn the_busiest_keys_come_first() {
    let limit = RateLimit::new(Terms::new(1, Duration::from_secs(1), 100), 1 << 14);
    for (key, cost) in [(1, 10), (2, 30), (3, 20), (4, 1)] {
        draw(&limit, key, cost, 0);
    }

    let busiest = limit.busiest(3, Moment(2_000_000_000));

    let told: Vec<_> = busiest.iter().map(|(key, standing)| (*key, standing.remaining())).collect();
    assert_eq!(told, [(hash(2), 72), (hash(3), 82), (hash(1), 92)]);
    assert_eq!(limit.busiest(9, Moment(2_000_000_000)).len(), 3);
}

#[test]
fn a_ceiling_is_what_is_allocated() {
    let limit = |memory| RateLimit::new(Terms::new(1, Duration::from_secs(1), 1), memory);

    assert_eq!(size_of::<Cells>(), 128);
    assert_eq!(limit(1 << 20).capacity() * 16, 1 << 20);
    assert_eq!(limit(0).capacity(), WAYS);
}

#[test]
fn a_table_with_40_bytes_for_each_of_its_keys_forgets_none() {
    let limit = RateLimit::new(Terms::new(1, Duration::from_secs(1), 1), 64 << 10);
    let seeds = KeySeeds::random();
    let keys = (0..limit.capacity() * 2 / 5).map(|n| {
        let mut hasher = seeds.hasher();
        hasher.number(n as u64);
        hasher.finish()
    });
    let admitted = |now| keys.clone().filter(|key| limit.draw(&limit.terms(), *key, 1, now).granted).count();

    let (first, again) = (admitted(Moment(1)), admitted(Moment(2)));

    assert_eq!((first, again, limit.overflowed()), (keys.len(), 0, 0));
}

/// 64 MiB of newcomers in a table of 64 KiB.
#[test]
fn a_flood_of_keys_neither_harms_those_that_are_below_nor_frees_the_one_that_is_above() {
    let terms = Terms::new(10, Duration::from_secs(1), 5);
    let limit = RateLimit::new(terms, 1 << 16);
    let token = 100_000_000;
    let (mut admitted, mut now) = (0, 0);

    for newcomer in 0..400_000u64 {
        now += 10_000;
        assert!(draw(&limit, 1_000 + newcomer, 1, now).0);
        if newcomer % 10_000 == 0 {
            assert!(draw(&limit, newcomer / 10_000 % 10, 1, now).0);
        }
        if newcomer % 1_000 == 0 && draw(&limit, 999, 1, now).0 {
            admitted += 1;
        }
    }

    assert!(limit.overflowed() > 0);
    assert!(admitted <= now / token + 5, "{admitted} in {now} ns");
}

#[test]
fn threads_share_one_burst_exactly() {
    let limit = RateLimit::new(Terms::new(1, Duration::from_secs(1), 5_000), 1 << 14);
    let granted = AtomicU32::new(0);
    let work = || {
        let mine = (0..5_000).filter(|_| draw(&limit, 1, 1, 7).0).count();
        granted.fetch_add(u32::try_from(mine).unwrap(), Ordering::Relaxed);
    };

    thread::scope(|scope| (0..4).for_each(|_| drop(scope.spawn(work))));

    assert_eq!(granted.into_inner(), 5_000);
}

#[test]
fn threads_that_stay_below_are_not_refused_among_threads_that_fight_for_cells() {
    let limit = RateLimit::new(Terms::new(1, Duration::from_secs(1), 50), 0);
    let token = 1_000_000_000;

    thread::scope(|scope| {
        for key in 0..3 {
            let limit = &limit;
            scope.spawn(move || {
                let below = (1..20_000).all(|turn| draw(limit, key, 1, turn * token).0);
                assert!(below, "{key}");
            });
        }
        scope.spawn(|| {
            for turn in 1..20_000u64 {
                draw(&limit, 3 + turn % 50, 50, turn * token);
            }
        });
    });

    assert!(limit.overflowed() > 0);
}
