//! What clients are told: who passes how much is left, who does not when to come
//! again, both in the words of draft-ietf-httpapi-ratelimit-headers-10.

use super::started;
use crate::support::{Gateway, Origin, Request, Response, Tls, certs};

#[tokio::test]
async fn the_tightest_limit_is_told_and_all_policies() {
    let yaml = "limits:
  - { name: wide, rate: 1/h, burst: 100, global: true }
  - { name: tight, rate: 6/m, burst: 3 }
routes: [{ name: all, limits: [tight], to: [{ upstream: origin }] }]";
    let (_origin, gateway) = started(yaml).await;
    let mut client = gateway.connect().await;

    let answers = [
        client.send(&Request::get("/")).await,
        client.send(&Request::post("/", "a body")).await,
        client.send(&Request::get("/")).await,
        client.send(&Request::post("/", "a body")).await,
    ];

    for (answer, (status, left, reset)) in
        answers.iter().zip([(200, 2, 10), (200, 1, 20), (200, 0, 30), (429, 0, 30)])
    {
        assert_eq!((answer.status, field(answer, "ratelimit", "r")), (status, left));
        let told = field(answer, "ratelimit", "t");
        assert!((reset - SLOW..=reset).contains(&told), "{told} of {reset}");
        assert!(answer.header("ratelimit").unwrap().starts_with("\"tight\";r="), "{answer:?}");
    }
    for answer in &answers {
        let policy = "\"wide\";q=100;w=360000, \"tight\";q=3;w=30";
        assert_eq!(answer.header("ratelimit-policy"), Some(policy));
    }
    let wait: u64 = answers[3].header("retry-after").unwrap().parse().unwrap();
    assert!((10 - SLOW..=10).contains(&wait), "{wait}");
    assert_eq!(answers[3].flag(), "rate_limited");
    let problem: serde_json::Value = serde_json::from_slice(&answers[3].body).unwrap();
    assert_eq!(problem["type"], "https://iana.org/assignments/http-problem-types#quota-exceeded");
    assert_eq!(problem["violated-policies"], serde_json::json!(["tight"]));
}

#[tokio::test]
async fn a_connection_goes_on_after_a_refusal() {
    let yaml = "limits: [{ name: l, rate: 1/h, burst: 1 }]
routes: [{ name: l, match: { path: /l }, limits: [l], to: [{ upstream: origin }] }, { name: all, to: [{ upstream: origin }] }]";
    let (origin, gateway) = started(yaml).await;
    let mut client = gateway.connect().await;
    assert_eq!(client.send(&Request::get("/l")).await.status, 200);

    for _ in 0..50 {
        let refused = client.send(&Request::post("/l", "a body that nobody reads")).await;
        assert_eq!(
            (refused.status, refused.closed, refused.header("connection")),
            (429, false, Some("keep-alive"))
        );
    }

    let answer = client.send(&Request::post("/", "read")).await;
    assert_eq!((answer.status, answer.echo().body()), (200, "read"));
    assert_eq!(answer.header("ratelimit"), None);
    assert_eq!(origin.requests().await, 2);
}

#[tokio::test]
async fn what_an_upstream_says_of_its_limits_is_told_where_there_are_none_here() {
    let yaml = "limits: [{ name: l, rate: 1/h, burst: 9 }]
routes: [{ name: l, match: { path: /l }, limits: [l], to: [{ upstream: origin }] }, { name: all, to: [{ upstream: origin }] }]";
    let (_origin, gateway) = started(yaml).await;
    let script = "header=RateLimit:\"theirs\";r=1;t=1,header=RateLimit-Policy:\"theirs\";q=2;w=3";

    let ours = gateway.send(&Request::get("/l").script(script)).await;
    let theirs = gateway.send(&Request::get("/").script(script)).await;

    assert_eq!(ours.lines("ratelimit"), ["\"l\";r=8;t=3600"]);
    assert_eq!(ours.lines("ratelimit-policy"), ["\"l\";q=9;w=32400"]);
    assert_eq!(theirs.lines("ratelimit"), ["\"theirs\";r=1;t=1"]);
    assert_eq!(theirs.lines("ratelimit-policy"), ["\"theirs\";q=2;w=3"]);
}

#[tokio::test]
async fn a_grpc_call_gets_the_status_that_its_library_knows() {
    let origin = Origin::start().await;
    let limits = "limits: [{ name: calls, rate: 6/m, burst: 1, global: true }]";
    let gateway = Gateway::builder()
        .origin("origin", &origin)
        .certificate(&certs::server(&certs::authority(), &["api.example.com"]))
        .yaml(&format!("{limits}\nupstreams: [{{ name: origin, protocol: http2, endpoints: [{{ address: \"{{origin}}\" }}] }}]"))
        .start()
        .await;
    let mut client = gateway.connect_http2(&Tls::default()).await.unwrap();
    let call = |kind: &str| {
        let frame = crate::support::http2::grpc_frame(b"ping");
        Request::post("/shop.Orders/Unary", frame).header("content-type", kind).header("te", "trailers")
    };
    let admitted = client.send(&call("application/grpc")).await;
    assert_eq!((admitted.status, admitted.trailer("grpc-status")), (200, Some("0")));

    for kind in ["application/grpc", "application/grpc+proto"] {
        let refused = client.send(&call(kind)).await;

        assert_eq!((refused.status, refused.header("grpc-status")), (200, Some("8")), "{refused:?}");
        assert_eq!(refused.header("content-type"), Some("application/grpc"));
        assert_eq!(refused.header("grpc-message"), Some("Too many requests; try again later."));
        let wait: u64 = refused.header("grpc-retry-pushback-ms").unwrap().parse().unwrap();
        assert!((1_000 * (10 - SLOW)..=10_000).contains(&wait), "{wait}");
        assert_eq!(field(&refused, "ratelimit", "r"), 0);
        assert!(refused.body.is_empty() && refused.trailers.is_empty(), "{refused:?}");
        let line = gateway.line_of(&refused).await;
        assert_eq!((&line["status"], &line["flag"]), (&200.into(), &"rate_limited".into()), "{line}");
    }

    let web = client.send(&call("application/grpc-web")).await;
    assert_eq!((web.status, web.flag().as_str()), (429, "rate_limited"));
}

/// A parameter of the only item of a list.
fn field(answer: &Response, name: &str, parameter: &str) -> u64 {
    let mut parameters = answer.header(name).unwrap().split(';').skip(1);
    let value = parameters.find_map(|pair| pair.strip_prefix(parameter)?.strip_prefix('='));
    value.unwrap().parse().unwrap()
}

/// So many seconds a machine may take for a few requests.
const SLOW: u64 = 6;
