//! What a request pays besides its route: the gate, the marks, the pick of an
//! endpoint, the log line.

use std::{
    hint::black_box,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use criterion::BenchmarkId;
use http::HeaderValue;
use pingora::http::RequestHeader;
use serde_json::{Value, json};
use tollgate::{
    config::server::RequestsSpec,
    gate::Gate,
    gateway::marks::Marks,
    telemetry::{ConfigMark, Line, RequestId, TraceContext},
    upstream::{Found, Health, Place, Tried, Upstream, UpstreamLive},
};

use crate::{Bench, allocations, promise};

/// What must not allocate.
pub fn promises() -> bool {
    let (gate, upstreams, mut request) =
        (Gate::new(&RequestsSpec::default()), [1, 3, 10_000].map(upstream), request());
    // The first pick works out who is in service.
    upstreams.iter().for_each(|upstream| drop(upstream.pick(&Tried::default(), 7, now())));
    let (id, trace, mark) = ids();
    let mut out = Vec::with_capacity(4096);
    let kept = [
        promise(
            "gate",
            allocations(|| {
                black_box(gate.admit(&mut request, Some(RAW)).is_ok());
            }),
        ),
        promise(
            "pick",
            allocations(|| {
                for upstream in &upstreams {
                    black_box(upstream.pick(&Tried::default(), 7, Instant::now()).is_ok());
                }
            }),
        ),
        promise("log line", allocations(|| line(&id, &trace, &mark).render(&mut out))),
    ];
    kept.iter().all(|kept| *kept)
}

/// Measures them.
pub fn measure(criterion: &mut Bench) {
    let mut group = criterion.benchmark_group("request");
    let gate = Gate::new(&RequestsSpec::default());
    let mut request = request();
    group.bench_function("gate", |bencher| {
        bencher.iter(|| gate.admit(black_box(&mut request), Some(RAW)).is_ok());
    });
    group.bench_function("marks", |bencher| bencher.iter(|| Marks::of(black_box(&request.headers))));
    for size in [1, 3, 1_000, 10_000] {
        let upstream = upstream(size);
        let mut random = 7_u64;
        group.bench_with_input(BenchmarkId::new("pick", size), &upstream, |bencher, upstream| {
            bencher.iter(|| {
                random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                upstream.pick(&Tried::default(), random, now()).map(|lease| lease.index())
            });
        });
    }
    for size in [3, 1_000, 10_000] {
        group.bench_function(BenchmarkId::new("pick after a change", size), |bencher| {
            let known = Arc::<UpstreamLive>::default();
            let (upstream, mut at, mut turn) = (upstream_of(size, known.clone()), now(), 0);
            let flaps = upstream.endpoints().first().map(|first| known.endpoint(first.address)).unwrap();
            bencher.iter(|| {
                turn += 1;
                at += Duration::from_secs(1);
                flaps.set_health(if turn % 2 == 0 { Health::Healthy } else { Health::Unhealthy });
                upstream.pick(&Tried::default(), turn, at).map(|lease| lease.index())
            });
        });
    }
    let (id, trace, mark) = ids();
    let mut out = Vec::with_capacity(4096);
    group.bench_function("log line", |bencher| {
        bencher.iter(|| {
            out.clear();
            line(black_box(&id), &trace, &mark).render(&mut out);
        });
    });
    group.finish();
}

fn now() -> Instant {
    use std::sync::OnceLock;
    static NOW: OnceLock<Instant> = OnceLock::new();
    *NOW.get_or_init(Instant::now)
}

fn upstream(size: usize) -> Upstream {
    upstream_of(size, Arc::default())
}

fn upstream_of(size: usize, known: Arc<UpstreamLive>) -> Upstream {
    let endpoint =
        |i: usize| json!({ "address": format!("10.{}.{}.1:80", i / 250, i % 250), "weight": 1 + i % 3 });
    let endpoints: Vec<Value> = (0..size).map(endpoint).collect();
    let spec = serde_json::from_value(json!({ "name": "orders", "endpoints": endpoints })).unwrap();
    Upstream::new(&spec, Found::default().resolve(&spec, None), None, &Place::default(), known)
}

fn request() -> RequestHeader {
    let mut request = RequestHeader::build("GET", b"/orders/7?page=2", None).unwrap();
    for line in std::str::from_utf8(RAW).unwrap().lines().skip(1).filter(|line| !line.is_empty()) {
        let (name, value) = line.split_once(": ").unwrap();
        request.append_header(name.to_owned(), HeaderValue::from_str(value).unwrap()).unwrap();
    }
    request
}

fn ids() -> (RequestId, TraceContext, ConfigMark) {
    let trace = TraceContext::new(None, None, SystemTime::UNIX_EPOCH, [7; 12]);
    (RequestId::choose(None, false, [7; 16]), trace, ConfigMark::new(1, &"0123456789abcdef".repeat(4)))
}

fn line<'a>(id: &'a RequestId, trace: &'a TraceContext, mark: &'a ConfigMark) -> Line<'a> {
    Line {
        time: SystemTime::UNIX_EPOCH + Duration::from_millis(1_795_201_006_773),
        request_id: id,
        trace,
        client: [192, 0, 2, 1].into(),
        peer: None,
        vpc_endpoint: None,
        tenant: None,
        listener: "public",
        protocol: "HTTP/1.1",
        tls: Some("TLSv1.3"),
        server_name: Some("api.example.com"),
        method: "GET",
        host: b"api.example.com",
        path: b"/orders/7",
        route: Some("orders"),
        upstream: Some("orders"),
        endpoint: Some(([10, 0, 1, 10], 8080).into()),
        zone: Some("use1-az1"),
        signer: None,
        attempts: 1,
        reused: Some(true),
        status: 200,
        flag: None,
        limit: None,
        consumer: None,
        authenticator: None,
        credential: None,
        rule: None,
        would_refuse: &[],
        error: None,
        bytes_in: 0,
        bytes_out: 897,
        duration: Duration::from_micros(840),
        upstream_connect: None,
        upstream_first_byte: Some(Duration::from_micros(683)),
        user_agent: Some(b"Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"),
        configuration: mark,
    }
}

const RAW: &[u8] = b"GET /orders/7?page=2 HTTP/1.1\r\nhost: api.example.com\r\nuser-agent: Mozilla/5.0 (X11; Linux x86_64)\r\naccept: application/json\r\naccept-language: en-GB,en;q=0.5\r\naccept-encoding: gzip, deflate, br\r\ncookie: session=4f1c2a; theme=dark\r\ncache-control: no-cache\r\nx-tenant: gold\r\n\r\n";
