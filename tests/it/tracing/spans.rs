//! What is in the spans of a request, and how they hang together.

use super::recording;
use crate::support::{Collector, Gateway, Origin, PATIENCE, Request, eventually};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const CALLER: &str = "00f067aa0ba902b7";

#[tokio::test]
async fn a_request_and_its_attempt_are_two_spans_of_the_caller_s_trace() {
    let origin = Origin::start().await;
    let (collector, gateway) = recording(&origin).await;
    let traceparent = format!("00-{TRACE}-{CALLER}-01");

    let request = Request::get("/orders/7?token=hidden")
        .header("traceparent", &traceparent)
        .header("tracestate", "vendor=1")
        .header("user-agent", "shop/1.0");
    let answer = gateway.send(&request).await;
    let spans = collector.request("/orders/7").await;

    let [own, attempt] = &spans[..] else { panic!("{spans:?}") };
    assert_eq!((&*own.trace_id, &*own.parent, own.kind, &*own.name), (TRACE, CALLER, 2, "GET all"));
    assert_eq!((&*attempt.trace_id, &*attempt.parent, attempt.kind), (TRACE, &*own.id, 3));
    for (key, value) in [
        ("http.request.method", "GET"),
        ("http.route", "all"),
        ("http.response.status_code", "200"),
        ("url.scheme", "http"),
        ("network.protocol.version", "1.1"),
        ("client.address", "127.0.0.1"),
        ("user_agent.original", "shop/1.0"),
        ("tollgate.upstream", "origin"),
        ("tollgate.request_id", answer.header("x-request-id").unwrap()),
    ] {
        assert_eq!(own.get(key), value, "{key}");
    }
    for (key, value) in [
        ("http.request.method", "GET"),
        ("http.response.status_code", "200"),
        ("server.address", "127.0.0.1"),
        ("server.port", &origin.address.port().to_string()),
        ("tollgate.connection.reused", "false"),
    ] {
        assert_eq!(attempt.get(key), value, "{key}");
    }
    assert_eq!((own.status, attempt.status), (0, 0));
    assert!(
        own.begin <= attempt.begin && attempt.begin <= attempt.end && attempt.end <= own.end,
        "{spans:?}"
    );
    // Bit 8: it is known whether the parent is elsewhere; bit 9: it is.
    assert_eq!((own.flags, attempt.flags), (0x301, 0x101));
    let echo = answer.echo();
    assert_eq!(echo.lines("traceparent"), [format!("00-{TRACE}-{}-01", attempt.id)]);
    assert_eq!(echo.lines("tracestate"), ["vendor=1"]);
    let amazon = format!("Root=1-4bf92f35-77b34da6a3ce929d0e0e4736;Parent={};Sampled=1", attempt.id);
    assert_eq!(echo.lines("x-amzn-trace-id"), [amazon]);
    assert_eq!(gateway.line_of(&answer).await["trace_id"], TRACE);
}

#[tokio::test]
async fn the_resource_says_whose_spans_they_are() {
    let origin = Origin::start().await;
    let collector = Collector::start().await;
    let sections = format!(
        "{}\nlocation: {{ zone: use1-az1, region: us-east-1 }}",
        collector.tracing_with("ratio: 100%", "service_name: edge")
    );
    let gateway = super::gateway(&origin, &sections).await;

    gateway.get("/").await;
    collector.request("/").await;

    let resource = &collector.taken()[0].resource;
    for (key, value) in [
        ("service.name", "edge"),
        ("service.version", env!("CARGO_PKG_VERSION")),
        ("cloud.region", "us-east-1"),
        ("tollgate.zone", "use1-az1"),
        ("process.pid", &gateway.pid().to_string()),
    ] {
        assert_eq!(resource[key], value, "{key}");
    }
}

#[tokio::test]
async fn a_retry_is_a_span_of_its_own_and_the_parent_of_what_it_reaches() {
    let (dead, orders) = (Origin::dead(), Origin::start().await);
    let collector = Collector::start().await;
    let yaml = format!(
        "{}\n\
         upstreams:\n  - {{ name: shop, balance: round_robin, retries: {{ attempts: 2 }}, endpoints: [{{ address: \"{{dead}}\", zone: use1-az1 }}, {{ address: \"{{orders}}\", zone: use1-az2 }}] }}\n\
         routes: [{{ name: all, to: [{{ upstream: shop }}] }}]",
        collector.tracing()
    );
    let builder = Gateway::builder().origin("dead", &dead).origin("orders", &orders).yaml(&yaml);
    let gateway = builder.start().await;

    let mut retried = None;
    for nth in 0..20 {
        let path = format!("/{nth}");
        let echo = gateway.get(&path).await.echo();
        let spans = collector.request(&path).await;
        if spans.len() == 3 {
            retried = Some((spans, echo));
            break;
        }
    }

    let (spans, echo) = retried.expect("round robin never began at the dead endpoint");
    let [own, first, second] = &spans[..] else { panic!("{spans:?}") };
    assert_eq!((&*first.parent, &*second.parent), (&*own.id, &*own.id));
    assert_eq!((first.get("error.type"), first.status), ("connect_error", 2));
    assert_eq!((first.get("tollgate.zone"), second.get("tollgate.zone")), ("use1-az1", "use1-az2"));
    assert_eq!(first.attributes.get("http.request.resend_count"), None);
    assert_eq!(second.get("http.request.resend_count"), "1");
    assert_eq!((second.get("http.response.status_code"), second.status, own.status), ("200", 0, 0));
    assert!(first.end <= second.begin, "{spans:?}");
    assert_eq!(echo.header("traceparent").unwrap(), format!("00-{}-{}-03", own.trace_id, second.id));
}

#[tokio::test]
async fn what_the_gateway_refuses_and_what_fails_says_so() {
    let origin = Origin::answers(503).await;
    let collector = Collector::start().await;
    let yaml = format!(
        "{}\nroutes: [{{ name: shop, match: {{ path: /shop }}, to: [{{ upstream: origin }}] }}]",
        collector.tracing()
    );
    let gateway = super::gateway(&origin, &yaml).await;

    assert_eq!(gateway.get("/nowhere").await.status, 404);
    assert_eq!(gateway.get("/shop").await.status, 503);

    let refused = collector.request("/nowhere").await;
    let [own] = &refused[..] else { panic!("{refused:?}") };
    assert_eq!((own.get("error.type"), own.status, &*own.name), ("no_route", 0, "GET"));
    assert!(!own.attributes.contains_key("http.route"));
    let failed = collector.request("/shop").await;
    let told: Vec<_> = failed.iter().map(|span| (span.get("error.type"), span.status)).collect();
    assert_eq!(told, [("503", 2), ("503", 2)]);
}

#[tokio::test]
async fn an_endpoint_that_is_silent_and_a_client_that_leaves_say_so() {
    let origin = Origin::never_answers().await;
    let collector = Collector::start().await;
    let yaml = format!(
        "{}\nupstreams: [{{ name: origin, endpoints: [{{ address: \"{{origin}}\" }}], timeouts: {{ read: 300ms }} }}]",
        collector.tracing()
    );
    let gateway = super::gateway(&origin, &yaml).await;
    let told = async |path: &str| {
        let spans = collector.request(path).await;
        spans.iter().map(|span| (span.get("error.type").to_owned(), span.status)).collect::<Vec<_>>()
    };

    assert_eq!(gateway.get("/silent").await.status, 504);
    let mut client = gateway.connect().await;
    let half = b"POST /left HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nhalf";
    client.write(half).await.unwrap();
    eventually(PATIENCE, || async { origin.requests().await == 2 }).await;
    drop(client);

    assert_eq!(told("/silent").await, [("upstream_timeout".to_owned(), 2), ("timeout".to_owned(), 2)]);
    assert_eq!(told("/left").await, [("client_gone".to_owned(), 2), ("client_gone".to_owned(), 2)]);
}

#[tokio::test]
async fn nothing_that_is_secret_is_in_a_span() {
    let origin = Origin::start().await;
    let (collector, gateway) = recording(&origin).await;

    for path in ["/a?password=hidden-query", "/%zz?hidden-query"] {
        let request = Request::post(path, "hidden-body")
            .header("authorization", "Bearer hidden-token")
            .header("cookie", "session=hidden-cookie")
            .header("x-api-key", "hidden-key")
            .header("referer", "https://a/?hidden-referer")
            .header("traceparent", "hidden-parent")
            .header("tracestate", "a=hidden-state");
        gateway.send(&request).await;
    }
    gateway.send(&Request::new("HIDDEN", "/method")).await;
    for path in ["/a", "/%zz", "/method"] {
        collector.request(path).await;
    }

    for message in collector.taken() {
        assert!(!message.text.to_ascii_lowercase().contains("hidden"), "{}", message.text);
    }
    let spans = collector.request("/method").await;
    assert_eq!((spans[0].get("http.request.method"), &*spans[0].name), ("_OTHER", "HTTP"));
}

#[tokio::test]
async fn a_wait_for_room_is_a_span() {
    let origin = Origin::start().await;
    let collector = Collector::start().await;
    let yaml = format!(
        "{}\nupstreams: [{{ name: origin, endpoints: [{{ address: \"{{origin}}\" }}], max_in_flight: {{ endpoint: 1, queue: 8, queue_timeout: 1m }} }}]",
        collector.tracing()
    );
    let gateway = super::gateway(&origin, &yaml).await;

    let slow = Request::get("/first").script("delay=300ms");
    let (first, second) = tokio::join!(gateway.send(&slow), gateway.send(&slow));
    assert_eq!((first.status, second.status), (200, 200));

    eventually(PATIENCE, || async { collector.spans().iter().filter(|span| span.kind == 2).count() == 2 })
        .await;
    let spans = collector.spans();
    let waits: Vec<_> = spans.iter().filter(|span| span.kind == 1).collect();
    let [wait] = &waits[..] else { panic!("{spans:?}") };
    let attempt = spans.iter().find(|span| span.kind == 3 && span.parent == wait.parent).unwrap();
    assert_eq!(wait.name, "wait for room");
    assert!(wait.begin < wait.end && wait.end <= attempt.begin, "{spans:?}");
}
