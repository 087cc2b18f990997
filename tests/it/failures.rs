//! Upstreams that fail: which status and flag the client gets, and when a
//! request is tried again.

use crate::support::{Gateway, Origin, Request, Response};

#[tokio::test]
async fn a_refused_connection_is_a_502() {
    let dead = Origin::dead();
    let gateway = Gateway::in_front_of(&dead).await;

    for request in [Request::get("/"), Request::post("/", "body")] {
        let answer = gateway.send(&request).await;
        assert_refused(&gateway, &answer, 502, "connect_failed").await;
        assert_eq!(gateway.line_of(&answer).await["endpoint"], dead.address.to_string());
    }
}

// Else a dead upstream makes a storm of handshakes.
#[tokio::test]
async fn an_endpoint_that_fails_does_not_cost_the_client_its_connection() {
    let silent = Origin::never_answers().await;
    let origins =
        [Origin::dead(), Origin::resets_before_header().await, Origin::speaks_nonsense().await, silent];
    for origin in origins {
        let gateway = Gateway::shop(&[&origin], "timeouts: { read: 200ms }, retries: { attempts: 1 }").await;
        let mut client = gateway.connect().await;

        for request in [Request::get("/"), Request::post("/", "body"), Request::get("/again")] {
            let answer = client.send(&request).await;
            assert!((502..=504).contains(&answer.status), "{answer:?}");
            assert!(!answer.closed && answer.header("connection") != Some("close"), "{answer:?}");
        }
    }
}

#[tokio::test]
async fn a_large_upload_to_an_endpoint_that_fails_ends_the_connection() {
    let gateway = Gateway::in_front_of(&Origin::dead()).await;

    let answer = gateway.connect().await.send(&Request::post("/", "x".repeat(1 << 20))).await;

    assert_eq!((answer.status, answer.closed), (502, true), "{answer:?}");
}

#[tokio::test]
async fn an_endpoint_that_never_accepts_is_a_504() {
    let gateway =
        Gateway::shop(&[&Origin::never_accepts()], "timeouts: { connect: 100ms }, retries: { attempts: 1 }")
            .await;

    assert_refused(&gateway, &gateway.get("/").await, 504, "connect_timeout").await;
}

#[tokio::test]
async fn an_endpoint_that_never_answers_is_a_504_and_is_not_tried_again() {
    let silent = Origin::never_answers().await;
    let other = Origin::never_answers().await;
    let gateway =
        Gateway::shop(&[&silent, &other], "timeouts: { read: 100ms }, retries: { attempts: 2 }").await;

    assert_refused(&gateway, &gateway.get("/").await, 504, "upstream_timeout").await;

    assert_eq!(silent.requests().await + other.requests().await, 1);
}

#[tokio::test]
async fn an_endpoint_that_ends_the_connection_is_a_502() {
    for origin in [Origin::resets_before_header().await, Origin::closes_before_header().await] {
        let gateway = Gateway::shop(&[&origin], "retries: { attempts: 1 }").await;

        assert_refused(&gateway, &gateway.get("/").await, 502, "upstream_reset").await;
    }
}

#[tokio::test]
async fn an_answer_that_is_not_http_is_a_502() {
    let gateway = Gateway::shop(&[&Origin::speaks_nonsense().await], "retries: { attempts: 1 }").await;

    assert_refused(&gateway, &gateway.get("/").await, 502, "upstream_protocol").await;
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_broken_off_for_the_client() {
    let origin = Origin::script("size=1000,truncate=10").await;
    let gateway = Gateway::in_front_of(&origin).await;

    let cut = gateway.connect().await.try_send(&Request::get("/")).await;

    assert!(cut.is_err(), "{cut:?}");
    let line = gateway.line(|line| line["path"] == "/").await;
    assert_eq!(
        (&line["status"], &line["flag"], &line["bytes_out"]),
        (&200.into(), &"upstream_reset".into(), &10.into())
    );
}

#[tokio::test]
async fn an_upstreams_own_refusal_goes_through_unchanged() {
    let gateway =
        Gateway::in_front_of(&Origin::script("status=503,body=closed,header=retry-after:9").await).await;

    let answer = gateway.get("/").await;

    assert_eq!(
        (answer.status, answer.text().as_str(), answer.header("retry-after")),
        (503, "closed", Some("9"))
    );
    let line = gateway.line_of(&answer).await;
    assert_eq!((&line["status"], &line["flag"], &line["attempts"]), (&503.into(), &().into(), &1.into()));
}

#[tokio::test]
async fn every_method_goes_to_another_endpoint_when_the_first_is_dead() {
    let alive = Origin::named("alive").await;
    let gateway = Gateway::shop(&[&Origin::dead(), &alive], "retries: { attempts: 2 }").await;
    let mut client = gateway.connect().await;
    let mut attempts = Vec::new();

    for _ in 0..20 {
        for request in
            [Request::get("/"), Request::post("/", "a body"), Request::post("/", "").chunks(&["a ", "body"])]
        {
            let answer = client.send(&request).await;
            assert_eq!((answer.status, answer.echo().origin()), (200, "alive"));
            assert_eq!(answer.echo().body(), if request.method == "GET" { "" } else { "a body" });
            attempts.push(gateway.line_of(&answer).await["attempts"].as_u64().unwrap());
        }
    }

    let (retried, all) = (attempts.iter().filter(|made| **made == 2).count(), attempts.len());
    assert!(0 < retried && retried < all, "{attempts:?}");
    assert_eq!(alive.requests().await, all as u64);
    let failed = [("upstream", "shop"), ("result", "connect_error")];
    assert_eq!(gateway.metric("tollgate_upstream_attempts_total", &failed).await, retried as f64);
}

#[tokio::test]
async fn a_request_does_not_stand_in_the_way_of_its_own_retry() {
    let alive = Origin::named("alive").await;
    let gateway = Gateway::shop(&[&Origin::dead(), &alive], "max_in_flight: { upstream: 1 }").await;
    let mut attempts = 0;

    for _ in 0..20 {
        let answer = gateway.get("/").await;
        assert_eq!(answer.status, 200);
        attempts += gateway.line_of(&answer).await["attempts"].as_u64().unwrap();
    }

    assert!(attempts > 20, "nothing was tried again");
}

#[tokio::test]
async fn only_what_may_be_sent_twice_is_sent_twice() {
    let (resets, answers) = (Origin::resets_before_header().await, Origin::start().await);
    let gateway = Gateway::shop(&[&resets, &answers], "retries: { attempts: 2 }").await;
    let sent = async || resets.requests().await + answers.requests().await;

    for method in ["GET", "HEAD", "PUT", "DELETE", "OPTIONS"] {
        for _ in 0..10 {
            assert_eq!(gateway.send(&Request::new(method, "/")).await.status, 200, "{method}");
        }
    }
    let (twice, before) = (resets.requests().await, sent().await);
    let mut refused = 0;
    for nth in 0..40 {
        let method = if nth % 2 == 0 { "POST" } else { "PATCH" };
        let answer = gateway.send(&Request::post("/", "x").method(method)).await;
        if answer.status != 200 {
            assert_refused(&gateway, &answer, 502, "upstream_reset").await;
            refused += 1;
        }
    }

    assert!(twice > 0, "no GET met the endpoint that resets");
    assert_eq!(sent().await - before, 40);
    assert_eq!(resets.requests().await - twice, refused);
}

#[tokio::test]
async fn attempts_are_counted_and_end() {
    let origins = [
        Origin::resets_before_header().await,
        Origin::resets_before_header().await,
        Origin::resets_before_header().await,
    ];
    let gateway = Gateway::shop(&origins.each_ref(), "retries: { attempts: 2 }").await;

    let answer = gateway.get("/").await;

    assert_refused(&gateway, &answer, 502, "upstream_reset").await;
    assert_eq!(gateway.line_of(&answer).await["attempts"], 2);
    let mut sent = Vec::new();
    for origin in &origins {
        sent.push(origin.requests().await);
    }
    sent.sort_unstable();
    assert_eq!(sent, [0, 1, 1]);
}

#[tokio::test]
async fn more_attempts_than_endpoints_end_with_what_went_wrong() {
    let origin = Origin::resets_before_header().await;
    let gateway = Gateway::shop(&[&origin], "retries: { attempts: 3 }").await;

    assert_refused(&gateway, &gateway.get("/").await, 502, "upstream_reset").await;
}

#[tokio::test]
async fn a_connection_that_died_in_the_pool_costs_no_request_that_may_be_sent_twice() {
    let gateway = Gateway::shop(&[&Origin::forgets_connections().await], "retries: { attempts: 2 }").await;
    let mut client = gateway.connect().await;

    for _ in 0..10 {
        let answer = client.send(&Request::get("/")).await;
        assert_eq!((answer.status, answer.text().as_str()), (200, "ok"));
    }
    // The gateway cannot know whether the endpoint took it before it closed.
    let posted = [gateway.send(&Request::post("/", "x")).await, gateway.send(&Request::post("/", "x")).await];
    let refused = posted.iter().find(|answer| answer.status != 200).expect("no POST met a closed connection");
    assert_refused(&gateway, refused, 502, "upstream_reset").await;
}

#[tokio::test]
async fn an_endpoint_of_weight_0_is_never_used() {
    let never = Origin::start().await;
    let gateway = Gateway::builder()
        .origin("dead", &Origin::dead())
        .origin("never", &never)
        .yaml(
            r#"
            upstreams:
              - { name: shop, endpoints: [{ address: "{dead}" }, { address: "{never}", weight: 0 }], retries: { attempts: 3 } }
            routes: [{ name: all, to: [{ upstream: shop }] }]
            "#,
        )
        .start()
        .await;

    for _ in 0..20 {
        assert_eq!(gateway.get("/").await.status, 502);
    }
    assert_eq!(never.requests().await, 0);
}

#[tokio::test]
async fn the_deadline_of_a_request_holds_for_all_attempts_together() {
    let (one, two) = (Origin::never_accepts(), Origin::never_accepts());
    let gateway = Gateway::shop(
        &[&one, &two],
        "timeouts: { connect: 300ms, request: 200ms }, retries: { attempts: 3 }",
    )
    .await;

    let answer = gateway.get("/").await;

    assert_eq!(answer.status, 504);
    assert!(gateway.line_of(&answer).await["attempts"].as_u64().unwrap() <= 1);
}

/// The gateway answered itself, says why, and wrote and counted it.
async fn assert_refused(gateway: &Gateway, answer: &Response, status: u16, flag: &str) {
    let said = if answer.header("content-type") == Some("application/problem+json") {
        answer.flag()
    } else {
        answer.text()
    };
    assert_eq!((answer.status, said.as_str()), (status, flag));
    let line = gateway.line_of(answer).await;
    assert_eq!((&line["status"], &line["flag"]), (&status.into(), &flag.into()), "{line}");
    assert!(gateway.metric("tollgate_rejections_total", &[("flag", flag)]).await >= 1.0);
}
