//! What traffic says of endpoints: who fails is ejected, and comes back.

use std::time::Duration;

use crate::support::{
    Gateway, Origin, PATIENCE, Puppet, Request, Tls, WebSocket, certs, eventually, http2::grpc_frame,
};

#[tokio::test]
async fn an_endpoint_that_answers_500_to_everything_is_ejected_and_comes_back() {
    let (good, bad) =
        (Origin::named("good").await, Origin::builder().name("bad").script("status=500").start().await);
    // As it was asked for: one error, looked at each second; shorter than a minute.
    let gateway = Gateway::shop(
        &[&good, &bad],
        "outlier_detection: { consecutive_5xx: 1, interval: 1s, base_ejection: 2s }, slow_start: 1s",
    )
    .await;
    eventually(PATIENCE, || async { gateway.get("/").await.status == 500 }).await;

    let seen = bad.requests().await;
    for _ in 0..50 {
        assert_eq!(gateway.get("/").await.status, 200);
    }
    assert_eq!(bad.requests().await, seen);
    let status = gateway.status().await;
    assert!(status["upstreams"][0]["endpoints"][1]["ejected_seconds"].as_f64().unwrap() > 0.0, "{status}");

    bad.set_script("").await;
    eventually(PATIENCE, || async { gateway.get("/").await.status == 200 && bad.requests().await > seen })
        .await;
    let log = gateway.stderr();
    assert_eq!(log.matches("endpoint ejected: upstream=shop").count(), 1, "{log}");
    assert!(
        log.contains("reason=consecutive_5xx for_s=2 nth=1") && log.contains("endpoint is tried again: "),
        "{log}"
    );
}

#[tokio::test]
async fn the_last_endpoint_is_never_ejected() {
    let bad = [Origin::answers(500).await, Origin::answers(500).await];
    let gateway =
        Gateway::shop(&bad.each_ref(), "outlier_detection: { consecutive_5xx: 1, max_ejected: 100% }").await;

    for _ in 0..30 {
        assert_eq!(gateway.get("/").await.status, 500);
    }

    assert_eq!(gateway.metric("tollgate_upstream_ejections_total", &[]).await, 1.0);
    assert_eq!(bad[0].requests().await + bad[1].requests().await, 30);
}

#[tokio::test]
async fn without_outlier_detection_nothing_is_ejected() {
    let (good, bad) = (Origin::start().await, Origin::answers(500).await);
    let gateway = Gateway::shop(&[&good, &bad], "slow_start: 1s").await;

    for _ in 0..60 {
        gateway.get("/").await;
    }

    assert!(bad.requests().await > 10);
    assert_eq!(gateway.metric("tollgate_upstream_ejections_total", &[]).await, 0.0);
}

#[tokio::test]
async fn answers_that_break_off_eject_too() {
    let (good, bad) = (Origin::named("good").await, Origin::script("size=1000,truncate=10").await);
    let gateway = Gateway::shop(&[&good, &bad], "outlier_detection: { consecutive_gateway_errors: 2 }").await;

    eventually(PATIENCE, || async {
        let _ = gateway.connect().await.try_send(&Request::get("/")).await;
        gateway.metric("tollgate_upstream_ejections_total", &[]).await == 1.0
    })
    .await;

    let seen = bad.requests().await;
    for _ in 0..20 {
        assert_eq!(gateway.get("/").await.status, 200);
    }
    assert_eq!(bad.requests().await, seen);
}

#[tokio::test]
async fn a_client_that_leaves_says_nothing_of_the_endpoint() {
    let slow = "delay=300ms,size=8388608";
    let slow = [Origin::script(slow).await, Origin::script(slow).await];
    let gateway =
        Gateway::shop(&slow.each_ref(), "outlier_detection: { consecutive_gateway_errors: 1 }").await;

    for nth in 1..=6 {
        let mut client = gateway.connect().await;
        client.write(Request::get("/").to_http1()).await.unwrap();
        eventually(PATIENCE, || async { slow[0].requests().await + slow[1].requests().await >= nth }).await;
    }

    eventually(PATIENCE, || async { gateway.access_log().len() == 6 }).await;
    assert_eq!(gateway.metric("tollgate_upstream_ejections_total", &[]).await, 0.0);
}

// Else three clients that say nothing take an endpoint from all others.
#[tokio::test]
async fn streams_that_end_by_silence_eject_nobody() {
    let origins = [Origin::start().await, Origin::start().await];
    let gateway = Gateway::shop(
        &origins.each_ref(),
        "timeouts: { stream_idle: 500ms }, outlier_detection: { consecutive_gateway_errors: 1 }",
    )
    .await;
    let events = Request::get("/events").header("Accept", "text/event-stream").script("sse=2/60s");

    for _ in 0..2 {
        let mut socket = WebSocket::open(gateway.connect().await, &Request::get("/socket")).await.unwrap();
        socket.send_text("here").await.unwrap();
        socket.receive().await.unwrap();
        assert_eq!(socket.http.read_to_end().await.unwrap(), b"");
        assert!(gateway.connect().await.try_send(&events).await.is_err());
    }

    eventually(PATIENCE, || async { gateway.access_log().len() == 4 }).await;
    assert!(gateway.access_log().iter().all(|line| line["flag"] == "upstream_timeout"));
    assert_eq!(gateway.metric("tollgate_upstream_ejections_total", &[]).await, 0.0);
}

#[tokio::test]
async fn calls_that_end_by_silence_eject_nobody() {
    let origins = [Origin::start().await, Origin::start().await];
    let endpoints = "endpoints: [{ address: \"{a}\" }, { address: \"{b}\" }]";
    let more = "timeouts: { stream_idle: 500ms }, outlier_detection: { consecutive_gateway_errors: 1 }";
    let gateway = Gateway::builder()
        .origin("a", &origins[0])
        .origin("b", &origins[1])
        .certificate(&certs::server(&certs::authority(), &["api.example.com"]))
        .yaml(&format!(
            "upstreams: [{{ name: shop, protocol: http2, {endpoints}, {more} }}]\n\
            routes: [{{ name: all, to: [{{ upstream: shop }}] }}]"
        ))
        .start()
        .await;
    let client = gateway.connect_http2(&Tls::default()).await.unwrap();
    let call = Request::new("POST", "/shop.Orders/BidiStream")
        .header("content-type", "application/grpc")
        .header("te", "trailers");

    for _ in 0..2 {
        let mut answered = client.start(&call, false).await.unwrap();
        answered.write(grpc_frame(b"ping"), false).await.unwrap();
        assert!(answered.response().await.is_err());
        // A server may send its header with its first message, which answers the caller's next.
        let mut unanswered = client.start(&call.clone().script("never_answers"), false).await.unwrap();
        unanswered.write(grpc_frame(b"ping"), false).await.unwrap();
        assert_eq!(unanswered.response().await.unwrap().status, 408);
    }
    assert_eq!(gateway.metric("tollgate_upstream_ejections_total", &[]).await, 0.0);

    // Whoever asked and ended may expect an answer.
    let mut ended = client.start(&call.script("never_answers"), false).await.unwrap();
    ended.write(grpc_frame(b"ping"), true).await.unwrap();
    assert_eq!(ended.response().await.unwrap().status, 504);
    assert_eq!(gateway.metric("tollgate_upstream_ejections_total", &[]).await, 1.0);
}

#[tokio::test]
async fn an_endpoint_that_takes_nothing_of_a_socket_is_ejected() {
    let switch = "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n";
    let origins = [Puppet::falls_deaf(switch).await, Puppet::falls_deaf(switch).await];
    let gateway = Gateway::shop(
        &[&origins[0].origin, &origins[1].origin],
        "timeouts: { write: 500ms }, outlier_detection: { consecutive_gateway_errors: 1 }",
    )
    .await;
    let mut client = gateway.connect().await;
    let ask = "GET / HTTP/1.1\r\nHost: api.example.com\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
    client.write(ask).await.unwrap();
    assert_eq!(client.read_head().await.unwrap().status, 101);

    while client.write(vec![0; 64 * 1024]).await.is_ok() {}

    eventually(PATIENCE, || async { !gateway.access_log().is_empty() }).await;
    assert_eq!(gateway.access_log()[0]["flag"], "upstream_timeout");
    assert_eq!(gateway.metric("tollgate_upstream_ejections_total", &[]).await, 1.0);
}

#[tokio::test]
async fn a_body_that_stops_after_an_interim_answer_ejects_nobody() {
    let interim = "HTTP/1.1 100 Continue\r\n\r\n";
    let origins = [Puppet::says(interim).await, Puppet::says(interim).await];
    let gateway = Gateway::shop(
        &[&origins[0].origin, &origins[1].origin],
        "timeouts: { read: 500ms }, outlier_detection: { consecutive_gateway_errors: 1 }",
    )
    .await;

    for _ in 0..2 {
        let mut client = gateway.connect().await;
        let head =
            "POST / HTTP/1.1\r\nHost: api.example.com\r\nContent-Length: 100\r\nExpect: 100-continue\r\n\r\n";
        client.write(head).await.unwrap();
        assert_eq!(client.read_head().await.unwrap().status, 100);
        client.write("some").await.unwrap();

        let answer = client.read_response().await.unwrap();
        assert_eq!((answer.status, answer.flag().as_str()), (408, "client_timeout"));
    }

    assert_eq!(gateway.metric("tollgate_upstream_ejections_total", &[]).await, 0.0);
}

#[tokio::test]
async fn statuses_by_list_are_tried_elsewhere_and_only_where_it_is_safe() {
    let (busy, good) = (Origin::answers(503).await, Origin::named("good").await);
    let gateway = Gateway::shop(&[&busy, &good], "retries: { attempts: 2, on: [503] }").await;

    let mut refused = 0;
    for _ in 0..30 {
        assert_eq!(gateway.get("/").await.status, 200);
        let posted = gateway.send(&Request::post("/", "x")).await.status;
        refused += u32::from(posted == 503);
    }

    assert!((1..30).contains(&refused), "{refused}");
}

#[tokio::test]
async fn a_route_may_allow_every_method_to_be_sent_twice() {
    let (busy, good) = (Origin::answers(503).await, Origin::named("good").await);
    let gateway = Gateway::builder()
        .origin("endpoint0", &busy)
        .origin("endpoint1", &good)
        .yaml(
            r#"
            upstreams: [{ name: shop, endpoints: [{ address: "{endpoint0}" }, { address: "{endpoint1}" }], retries: { on: [503] } }]
            routes: [{ name: all, to: [{ upstream: shop }], retry_non_idempotent: true }]
            "#,
        )
        .start()
        .await;

    for _ in 0..20 {
        let answer = gateway.send(&Request::post("/", "a body")).await;
        assert_eq!((answer.status, answer.echo().body()), (200, "a body"));
    }
    assert!(busy.requests().await > 0);
}

#[tokio::test]
async fn retries_end_with_their_budget() {
    let busy = [Origin::answers(503).await, Origin::answers(503).await];
    let gateway =
        Gateway::shop(&busy.each_ref(), "retries: { attempts: 2, on: [503], budget: 10%, budget_floor: 0 }")
            .await;

    for _ in 0..200 {
        assert_eq!(gateway.get("/").await.status, 503);
    }

    let sent = busy[0].requests().await + busy[1].requests().await;
    assert!((205..=220).contains(&sent), "{sent}");
    assert!(gateway.metric("tollgate_upstream_retries_total", &[("result", "over_budget")]).await > 100.0);
}

#[tokio::test]
async fn a_silent_endpoint_is_given_up_where_a_try_may_take_only_so_long() {
    let (silent, good) = (Origin::never_answers().await, Origin::named("good").await);
    let more = "retries: { attempts: 2, per_try_timeout: 100ms }, outlier_detection: { consecutive_gateway_errors: 3 }";
    let gateway = Gateway::shop(&[&silent, &good], more).await;

    for _ in 0..30 {
        let begun = std::time::Instant::now();
        assert_eq!(gateway.get("/").await.status, 200);
        assert!(begun.elapsed() < Duration::from_secs(5));
    }

    assert_eq!(silent.requests().await, 3);
}
