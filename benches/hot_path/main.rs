//! What every request pays: one group for each part of its way.
//!
//! Run it with `cargo bench --bench hot_path -- --quick`. Before anything is
//! measured it counts allocations on the paths that must have none, and exits
//! with 1 if there are any. To add a part: a function `fn part(&mut Bench)` with
//! a group of its own, called in `main`, and its promises in `promises`.
//!
//! All times are CPU time of this thread, so that who else runs on the machine
//! counts only by what it does to caches.

// A benchmark that is set up wrongly has to stop at once.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, missing_docs)]

mod authentication;
mod connection;
mod jwt;
mod limit;
mod request;
mod trust;

use std::{
    alloc::{GlobalAlloc, Layout, System},
    hint::black_box,
    net::IpAddr,
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use criterion::{
    BenchmarkId, Criterion,
    measurement::{Measurement, ValueFormatter, WallTime},
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use serde_json::{Value, json};
use tollgate::{
    config::{Problems, Source, Sourced, server::PathsSpec},
    route::{Action, Defaults, Facts, Names, Router, UpstreamIndex, path},
};

fn main() -> ExitCode {
    if !promises() {
        return ExitCode::FAILURE;
    }
    let mut criterion = Criterion::default().with_measurement(CpuTime).configure_from_args();
    route_find(&mut criterion);
    route_rest(&mut criterion);
    request::measure(&mut criterion);
    connection::measure(&mut criterion);
    limit::measure(&mut criterion);
    jwt::measure(&mut criterion);
    authentication::measure(&mut criterion);
    trust::measure(&mut criterion);
    criterion.final_summary();
    ExitCode::SUCCESS
}

type Bench = Criterion<CpuTime>;

/// Whether everything that must not allocate does not.
fn promises() -> bool {
    let kept = [
        promise("look-up", look_up_allocations()),
        promise(
            "canonical path that is one already",
            allocations(|| {
                black_box(path::canonical(black_box(PLAIN), PathsSpec::default()).is_ok());
            }),
        ),
        promise("choice of a sticky upstream", choice_allocations()),
    ];
    kept.iter().all(|kept| *kept)
        && request::promises()
        && connection::promises()
        && limit::promises()
        && jwt::promises()
        && authentication::promises()
        && trust::promises()
}

fn promise(what: &str, allocations: u64) -> bool {
    println!("allocations per {what}: {allocations}");
    allocations == 0
}

// ---------------------------------------------------------------- routes

/// Finding a route: a hot set that stays in the cache, and routes at random
/// from the whole table.
fn route_find(criterion: &mut Bench) {
    let mut group = criterion.benchmark_group("route_find");
    for size in SIZES {
        let table = Routes::new(size);
        for (name, order) in [("hot", hot(size)), ("spread", spread(size))] {
            group.bench_with_input(BenchmarkId::new(name, size), &order, |bencher, order| {
                bencher.iter_custom(|count| table.time(order, count));
            });
        }
    }
    group.finish();
}

/// What else a route costs.
fn route_rest(criterion: &mut Bench) {
    let mut group = criterion.benchmark_group("route");
    group.bench_function("canonical/plain", |bencher| {
        bencher.iter(|| path::canonical(black_box(PLAIN), PathsSpec::default()).is_ok());
    });
    group.bench_function("canonical/escapes", |bencher| {
        bencher.iter(|| {
            path::canonical(black_box(b"/a/./%7euser//caf%c3%a9/../x"), PathsSpec::default()).is_ok()
        });
    });
    let router = sticky_router();
    let headers = cookies();
    group.bench_function("choose/sticky", |bencher| {
        bencher.iter(|| choose(&router, black_box(&headers)));
    });
    group.finish();
}

/// A table of routes with a request for each.
struct Routes {
    router: Router,
    requests: Vec<(String, String)>,
    headers: HeaderMap,
}

impl Routes {
    /// Exact hosts, wildcards, exact paths and prefixes of two depths, mixed;
    /// an eighth asks for a method.
    fn new(size: usize) -> Self {
        let (specs, requests): (Vec<_>, Vec<_>) = (0..size).map(route).unzip();
        let specs: Vec<_> = specs.into_iter().map(sourced).collect();
        let (before, start) = (live(), cpu_time());
        let router = build(&specs);
        let (took, bytes) = (cpu_time() - start, live() - before);
        println!(
            "{size} routes: built in {:.1} ms, {} bytes a route",
            took.as_secs_f64() * 1e3,
            bytes / size as u64
        );
        let routes = Self { router, requests, headers: fields() };
        for (i, (host, path)) in routes.requests.iter().enumerate() {
            assert_eq!(routes.find(host, path), Some(i), "{host} {path}");
        }
        routes
    }

    fn find(&self, host: &str, path: &str) -> Option<usize> {
        let facts = Facts {
            host,
            path,
            query: Some("page=2"),
            method: &Method::GET,
            headers: &self.headers,
            client: IpAddr::from([192, 0, 2, 1]),
            vpc_endpoint: None,
            tenant: None,
            consumer: None,
            whoever: false,
        };
        self.router.find(&facts).map(|found| found.route.index)
    }

    /// The time of `count` look-ups. Requests are brought close in batches
    /// first, as a request is when it is looked up.
    fn time(&self, order: &[usize], count: u64) -> Duration {
        let mut batch = vec![(String::new(), String::new()); BATCH];
        let mut order = order.iter().cycle();
        let batches = count.div_ceil(BATCH as u64);
        let mut took = Duration::ZERO;
        for _ in 0..batches {
            for ((host, path), i) in batch.iter_mut().zip(&mut order) {
                host.clone_from(&self.requests[*i].0);
                path.clone_from(&self.requests[*i].1);
            }
            let start = cpu_time();
            for (host, path) in &batch {
                black_box(self.find(black_box(host), black_box(path)));
            }
            took += cpu_time() - start;
        }
        took.mul_f64(count as f64 / (batches * BATCH as u64) as f64)
    }
}

/// The route with this number, and host and path of a request that it takes.
fn route(i: usize) -> (Value, (String, String)) {
    let team = format!("team-{}.example.com", i / 8);
    let (hosts, path, host, asked) = match i % 4 {
        0 => (
            team.clone(),
            json!(format!("/service-{i}/v1")),
            team,
            format!("/service-{i}/v1/orders/4711/items"),
        ),
        1 => (
            team.clone(),
            json!({ "exact": format!("/service-{i}/v1/status") }),
            team,
            format!("/service-{i}/v1/status"),
        ),
        2 => (
            format!("*.{team}"),
            json!(format!("/service-{i}/")),
            format!("eu.{team}"),
            format!("/service-{i}/users/7"),
        ),
        _ => (
            format!("api-{i}.example.org"),
            json!("/v2/"),
            format!("api-{i}.example.org"),
            "/v2/customers/42".into(),
        ),
    };
    let methods = if i % 8 == 1 { json!(["GET"]) } else { json!([]) };
    let matches = json!({ "hosts": [hosts], "path": path, "methods": methods });
    let spec = json!({ "name": format!("route-{i}"), "match": matches, "to": [{ "upstream": "a" }] });
    (spec, (host, asked))
}

fn sourced<T: serde::de::DeserializeOwned>(spec: Value) -> Sourced<T> {
    let source = Source::file("bench.yaml").key("routes").entry(0);
    Sourced { source, spec: Arc::new(serde_json::from_value(spec).unwrap()) }
}

fn build(specs: &[Sourced<tollgate::config::route::RouteSpec>]) -> Router {
    let upstreams = ["a", "b"].iter().enumerate();
    let upstreams = upstreams.map(|(i, name)| (name.parse().unwrap(), UpstreamIndex(i))).collect();
    let names = Names { upstreams, ..Names::default() };
    let defaults = Defaults { max_body: 1 << 20, paths: PathsSpec::default() };
    let mut problems = Problems::default();
    let router = Router::build(specs, &defaults, &names, &mut problems);
    assert!(problems.is_empty(), "{problems}");
    router.unwrap()
}

/// What a browser sends, more or less.
fn fields() -> HeaderMap {
    let fields = [
        "accept",
        "accept-encoding",
        "accept-language",
        "user-agent",
        "referer",
        "origin",
        "dnt",
        "priority",
    ];
    fields
        .iter()
        .map(|name| (HeaderName::from_static(name), HeaderValue::from_static("a usual value")))
        .collect()
}

fn hot(size: usize) -> Vec<usize> {
    let count = size.min(64);
    (0..count).map(|n| n * size / count).collect()
}

/// Every route once, in an order that no prefetcher guesses.
fn spread(size: usize) -> Vec<usize> {
    let mut order: Vec<_> = (0..size).collect();
    let mut state = 1u64;
    for i in (1..size).rev() {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        order.swap(i, (state >> 33) as usize % (i + 1));
    }
    order
}

fn look_up_allocations() -> u64 {
    let tables = SIZES.map(Routes::new);
    let all = tables.iter().map(|table| {
        let orders = [hot(table.requests.len()), spread(table.requests.len())];
        allocations(|| {
            for i in orders.iter().flatten() {
                let (host, path) = &table.requests[*i];
                black_box(table.find(host, path));
                black_box(table.find("nowhere.example.net", path));
            }
        })
    });
    all.sum()
}

fn sticky_router() -> Router {
    let to = json!([{ "upstream": "a", "weight": 95 }, { "upstream": "b", "weight": 5 }]);
    let overrides = json!([{ "header": "x-canary", "value": "yes", "upstream": "b" }]);
    let spec = json!({ "name": "a", "to": to, "sticky": { "cookie": "session" }, "overrides": overrides });
    build(&[sourced(spec)])
}

fn cookies() -> HeaderMap {
    let mut headers = fields();
    headers.insert(
        header::COOKIE,
        HeaderValue::from_static("theme=dark; lang=en; session=0123456789abcdef; x=1"),
    );
    headers
}

fn choose(router: &Router, headers: &HeaderMap) -> Option<UpstreamIndex> {
    let client = IpAddr::from([192, 0, 2, 1]);
    let facts = Facts {
        host: "h",
        path: "/",
        query: None,
        method: &Method::GET,
        headers,
        client,
        vpc_endpoint: None,
        tenant: None,
        consumer: None,
        whoever: false,
    };
    match &router.find(&facts)?.route.action {
        Action::Forward(split) => Some(split.choose(&facts, 7)),
        _ => None,
    }
}

fn choice_allocations() -> u64 {
    let (router, headers) = (sticky_router(), cookies());
    allocations(|| {
        black_box(choose(&router, &headers));
    })
}

const SIZES: [usize; 3] = [10, 1_000, 100_000];
/// So many that reading the clock, a system call, hardly counts.
const BATCH: usize = 128;
const PLAIN: &[u8] = b"/service-4711/v1/orders/4711/items.json";

// ----------------------------------------------------------- allocations

/// The system's allocator, counted.
struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);
static ALLOCATED: AtomicU64 = AtomicU64::new(0);
static FREED: AtomicU64 = AtomicU64::new(0);

// SAFETY: every call goes to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        ALLOCATED.fetch_add(layout.size() as u64, Ordering::Relaxed);
        // SAFETY: the caller keeps the contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        FREED.fetch_add(layout.size() as u64, Ordering::Relaxed);
        // SAFETY: the caller keeps the contract.
        unsafe { System.dealloc(pointer, layout) }
    }
}

/// Bytes that are allocated now.
fn live() -> u64 {
    ALLOCATED.load(Ordering::Relaxed) - FREED.load(Ordering::Relaxed)
}

/// How often this allocates; nothing else runs meanwhile.
fn allocations(act: impl FnOnce()) -> u64 {
    let before = ALLOCATIONS.load(Ordering::Relaxed);
    act();
    ALLOCATIONS.load(Ordering::Relaxed) - before
}

// ------------------------------------------------------------------ time

/// Measures the time for which this thread ran.
struct CpuTime;

impl Measurement for CpuTime {
    type Intermediate = Duration;
    type Value = Duration;

    fn start(&self) -> Duration {
        cpu_time()
    }

    fn end(&self, start: Duration) -> Duration {
        cpu_time() - start
    }

    fn add(&self, a: &Duration, b: &Duration) -> Duration {
        *a + *b
    }

    fn zero(&self) -> Duration {
        Duration::ZERO
    }

    fn to_f64(&self, value: &Duration) -> f64 {
        value.as_nanos() as f64
    }

    fn formatter(&self) -> &dyn ValueFormatter {
        const WALL: &WallTime = &WallTime;
        WALL.formatter()
    }
}

/// The time for which this thread ran: others on the machine do not count.
fn cpu_time() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the pointer is to a value of ours that lives on.
    let answer = unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
    assert_eq!(answer, 0);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}
