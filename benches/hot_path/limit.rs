//! What a limit costs: on one key, on one key from two threads, and on a million
//! keys at random, beside what else there is to count with.
//!
//! The time is an argument to ours and stands still for the others, so that
//! nobody's clock is measured. All of them read the same keys.

use std::{
    hint::black_box,
    num::NonZeroU32,
    sync::{
        Arc, Barrier,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use ahash::RandomState;
use dashmap::DashMap;
use governor::{
    Quota, RateLimiter, clock::FakeRelativeClock, middleware::NoOpMiddleware, nanos::Nanos,
    state::keyed::DashMapStateStore,
};
use pingora_limits::rate::Rate;
use tollgate::limit::{
    Ask, Clock, ConcurrencyLimit, FleetLive, Freshness, KeyHash, KeySeeds, Lease, Moment, RateLimit, Terms,
    decide,
};

use crate::{Bench, allocations, cpu_time, live, promise, spread};

/// What must not allocate.
pub fn promises() -> bool {
    let (ours, seeds) = (limit(1 << 20), KeySeeds::random());
    let (key, now) = (hash(&seeds, "client"), moment());
    let asks = [one(&ours, key); 3];
    let (concurrency, lease) = (Arc::<ConcurrencyLimit>::default(), lease());
    drop((concurrency.enter(key, NonZeroU32::MIN), leased(&lease, key, now)));
    let decided = |asks: &[Ask<'_>]| {
        allocations(|| {
            black_box(decide(black_box(asks), now));
        })
    };
    let hashed = allocations(|| {
        black_box(hash(&seeds, black_box("client")));
    });
    let kept = [
        promise("limit", decided(&asks[..1])),
        promise("three limits", decided(&asks)),
        promise("limit's key", hashed),
        promise("permit", allocations(|| drop(black_box(concurrency.enter(key, NonZeroU32::MIN))))),
        promise(
            "lease",
            allocations(|| {
                black_box(leased(&lease, key, now));
            }),
        ),
    ];
    kept.iter().all(|kept| *kept)
}

/// Measures them.
pub fn measure(criterion: &mut Bench) {
    one_key(criterion);
    two_threads(criterion);
    million_keys(criterion);
    rest(criterion);
}

fn one_key(criterion: &mut Bench) {
    let mut group = criterion.benchmark_group("limit/one key");
    for Counter { name, count } in counters() {
        group.bench_function(name, |bencher| bencher.iter(|| count(black_box("client"))));
    }
    group.finish();
}

/// This thread's time, while another one does the same on the other core.
fn two_threads(criterion: &mut Bench) {
    let mut group = criterion.benchmark_group("limit/one key, two threads");
    stay_on(0);
    for Counter { name, count } in counters() {
        let (ready, stop) = (Barrier::new(2), AtomicBool::new(false));
        thread::scope(|scope| {
            scope.spawn(|| {
                stay_on(1);
                ready.wait();
                while !stop.load(Ordering::Relaxed) {
                    count(black_box("client"));
                }
            });
            ready.wait();
            group.bench_function(name, |bencher| bencher.iter(|| count(black_box("client"))));
            stop.store(true, Ordering::Relaxed);
        });
    }
    group.finish();
}

fn million_keys(criterion: &mut Bench) {
    let mut group = criterion.benchmark_group("limit/a million keys");
    let keys: Vec<_> = (0..KEYS).map(|i| format!("consumer-{i:08}")).collect();
    let order = spread(KEYS);
    for make in COUNTERS {
        let before = live();
        let Counter { name, count } = make();
        assert!(keys.iter().all(|key| count(key)));
        println!("{name}: {} bytes a key", (live() - before) / KEYS as u64);
        let mut turn = order.iter().cycle();
        group.bench_function(name, |bencher| {
            bencher.iter_custom(|times| {
                let start = cpu_time();
                for i in turn.by_ref().take(times as usize) {
                    black_box(count(&keys[*i]));
                }
                cpu_time() - start
            });
        });
    }
    group.bench_function("nothing but the key", |bencher| {
        let (mut turn, seeds) = (order.iter().cycle(), KeySeeds::random());
        bencher.iter_custom(|times| {
            let start = cpu_time();
            for i in turn.by_ref().take(times as usize) {
                black_box(hash(&seeds, &keys[*i]));
            }
            cpu_time() - start
        });
    });
    group.finish();
    overflow(&keys);
    truth(&keys);
}

/// How far a million keys at once get what they should: at half of their limit all
/// of it, at one and a half times the burst and the rate.
fn truth(keys: &[String]) {
    let (seeds, terms) = (KeySeeds::random(), Terms::new(1, Duration::from_secs(1), 2));
    let keys: Vec<_> = keys.iter().map(|key| hash(&seeds, key)).collect();
    let birth = Instant::now();
    let clock = Clock::new(birth);
    let admitted = |rounds: u32, pause: Duration| {
        let limit = RateLimit::new(terms, KEYS * 40);
        let moments = (1..=rounds).map(|round| clock.at(birth + pause * round));
        let asks = moments.flat_map(|now| keys.iter().map(move |key| (*key, now)));
        let asks =
            asks.map(|(key, now)| decide(&[Ask { limit: &limit, terms: limit.terms(), key, cost: 1 }], now));
        asks.filter(|verdict| verdict.is_some_and(|verdict| verdict.is_admitted())).count()
    };
    let below = admitted(10, Duration::from_secs(2));
    println!("at half their limit: {} of {} refused", 10 * KEYS - below, 10 * KEYS);
    assert_eq!(below, 10 * KEYS, "a key below its limit was refused");
    let pause = Duration::from_secs(2) / 3;
    let (above, exact) = (admitted(31, pause), KEYS * bucket(31, pause));
    println!(
        "at one and a half: {above} admitted of {exact}, {:+.3} %",
        (above as f64 / exact as f64 - 1.0) * 100.0
    );
    assert!(above.abs_diff(exact) <= exact / 100, "the error is above 1 %");
}

/// How many of so many requests, a pause between any two, a bucket lets through that
/// holds two and gains one a second.
fn bucket(rounds: u32, pause: Duration) -> usize {
    let (one, full) = (Duration::from_secs(1), Duration::from_secs(2));
    let mut level = full;
    let passes = (0..rounds).filter(|_| {
        let passes = level >= one;
        level = (level - if passes { one } else { Duration::ZERO } + pause).min(full);
        passes
    });
    passes.count()
}

/// How many of a million keys at once find no room in 32 MiB.
fn overflow(keys: &[String]) {
    for bytes in [40, 32, 20] {
        let (seeds, limit, now) = (KeySeeds::random(), limit(KEYS * bytes), moment());
        for key in keys {
            decide(&[one(&limit, hash(&seeds, key))], now);
        }
        println!("{bytes} bytes a key: {} of {KEYS} keys found no room", limit.overflowed());
    }
}

fn rest(criterion: &mut Bench) {
    let mut group = criterion.benchmark_group("limit");
    let (ours, seeds, now) = (limit(1 << 20), KeySeeds::random(), moment());
    let full = RateLimit::new(Terms::new(1, Duration::from_secs(3_600), 1), 1 << 20);
    let key = hash(&seeds, "client");
    let ask = one(&ours, key);
    let refused = one(&full, key);
    assert!(decide(&[refused], now) != decide(&[refused], now));
    group.bench_function("refused", |bencher| bencher.iter(|| decide(black_box(&[refused]), now)));
    group.bench_function("three limits", |bencher| bencher.iter(|| decide(black_box(&[ask; 3]), now)));
    let concurrency = Arc::<ConcurrencyLimit>::default();
    group.bench_function("permit", |bencher| {
        bencher.iter(|| concurrency.enter(black_box(key), NonZeroU32::MIN).is_some());
    });
    let lease = lease();
    group.bench_function("leased", |bencher| bencher.iter(|| leased(&lease, black_box(key), now)));
    let fleet = FleetLive::default();
    group.bench_function("key of a fleet", |bencher| {
        bencher.iter(|| {
            let mut hasher = fleet.seeds().hasher();
            hasher.part(black_box(b"client"));
            hasher.finish()
        });
    });
    let long = "x".repeat(1 << 16);
    group.bench_function("key of 64 KiB", |bencher| bencher.iter(|| hash(&seeds, black_box(&long))));
    group.finish();
}

/// Something that counts requests by key and says whether there are too many.
struct Counter {
    name: &'static str,
    count: Box<dyn Fn(&str) -> bool + Sync>,
}

fn counters() -> impl Iterator<Item = Counter> {
    COUNTERS.iter().map(|make| make())
}

const COUNTERS: [fn() -> Counter; 4] = [tollgate, governor, dashmap, sketch];

fn tollgate() -> Counter {
    let (limit, seeds, now) = (limit(KEYS * 40), KeySeeds::random(), moment());
    counter("tollgate", move |key| {
        decide(&[one(&limit, hash(&seeds, key))], now).is_some_and(|verdict| verdict.is_admitted())
    })
}

fn governor() -> Counter {
    let quota = Quota::per_second(NonZeroU32::MIN.saturating_add(999)).allow_burst(NonZeroU32::MAX);
    let (state, hashes) = (DashMapStateStore::<u64>::default(), RandomState::new());
    let limiter: RateLimiter<_, _, _, NoOpMiddleware<Nanos>> =
        RateLimiter::new(quota, state, FakeRelativeClock::default());
    counter("governor", move |key| limiter.check_key(&hashes.hash_one(key)).is_ok())
}

fn dashmap() -> Counter {
    let (dues, hashes) = (DashMap::<u64, u64, RandomState>::default(), RandomState::new());
    counter("dashmap", move |key| {
        let mut due = dues.entry(hashes.hash_one(key)).or_default();
        *due += 1_000;
        *due < u64::MAX / 2
    })
}

fn sketch() -> Counter {
    let rate = Rate::new(Duration::from_secs(1));
    counter("pingora_limits::Rate", move |key| rate.observe(&key, 1) < isize::MAX)
}

fn counter(name: &'static str, count: impl Fn(&str) -> bool + Sync + 'static) -> Counter {
    Counter { name, count: Box::new(count) }
}

/// Keeps this thread, and what it starts from now on, on one core: two threads
/// that take turns on one would meet nowhere.
fn stay_on(core: usize) {
    // SAFETY: a set of cores is made of numbers; the pointer is to a value of ours.
    let answer = unsafe {
        let mut cores: libc::cpu_set_t = std::mem::zeroed();
        libc::CPU_SET(core, &mut cores);
        libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &raw const cores)
    };
    assert_eq!(answer, 0, "the benchmark needs two cores");
}

/// So wide that it never refuses here.
fn limit(memory: usize) -> RateLimit {
    RateLimit::new(Terms::new(1_000, Duration::from_secs(1), u32::MAX), memory)
}

fn one(limit: &RateLimit, key: KeyHash) -> Ask<'_> {
    Ask { limit, terms: limit.terms(), key, cost: 1 }
}

/// As wide, of a fleet that is there.
fn lease() -> Lease {
    let fleet = Arc::<FleetLive>::default();
    fleet.stand(Freshness::Fresh);
    Lease::new("fleet".into(), Terms::new(1_000, Duration::from_secs(1), u32::MAX), 1 << 20, fleet)
}

/// A decision, and the note of it.
fn leased(lease: &Lease, key: KeyHash, now: Moment) -> bool {
    let admitted = decide(&[one(lease.cells(), key)], now).is_some_and(|verdict| verdict.is_admitted());
    if admitted {
        lease.spend(key, 1, now);
    }
    admitted
}

fn hash(seeds: &KeySeeds, key: &str) -> KeyHash {
    let mut hasher = seeds.hasher();
    hasher.part(key.as_bytes());
    hasher.finish()
}

fn moment() -> Moment {
    let birth = Instant::now();
    Clock::new(birth).at(birth + Duration::from_secs(60))
}

const KEYS: usize = 1_000_000;
