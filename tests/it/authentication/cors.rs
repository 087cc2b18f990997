//! What web pages of other origins are told.

use super::{key, line, with_keys};
use crate::support::{Gateway, Origin, Request};

async fn gateway(origin: &Origin) -> Gateway {
    let sections = "limits: [{ name: one, rate: 1/h, burst: 1 }]
routes:
  - name: pages
    match: { methods: [GET, PUT] }
    to: [{ upstream: origin }]
    authenticate: [partners]
    limits: [one]
    cors: { origins: ['https://app.example.com', 'https://*.pages.test'], headers: [X-Api-Key], credentials: true }
  - { name: plain, match: { path: /plain }, to: [{ upstream: origin }], authenticate: anonymous }";
    with_keys(origin, &line(&key(1), "partner-a", ""), "", sections).start().await
}

fn preflight(path: &str, origin: &str, method: &str) -> Request {
    Request::new("OPTIONS", path)
        .header("Origin", origin)
        .header("Access-Control-Request-Method", method)
        .header("Access-Control-Request-Headers", "x-api-key")
}

#[tokio::test]
async fn a_preflight_is_answered_before_anybody_is_asked_who_they_are() {
    let origin = Origin::start().await;
    let gateway = gateway(&origin).await;
    let mut client = gateway.connect().await;

    for _ in 0..3 {
        let answer = client.send(&preflight("/orders", "https://a.pages.test", "PUT")).await;
        assert_eq!((answer.status, answer.body.len()), (204, 0), "{answer:?}");
        assert_eq!(answer.header("access-control-allow-origin"), Some("https://a.pages.test"));
        assert_eq!(answer.header("access-control-allow-methods"), Some("PUT"));
        assert_eq!(answer.header("access-control-allow-headers"), Some("x-api-key"));
        assert_eq!(answer.header("access-control-allow-credentials"), Some("true"));
        assert_eq!(answer.lines("vary").len(), 1, "{answer:?}");
    }
    for (page, method) in [("https://evil.test", "PUT"), ("null", "GET")] {
        let answer = client.send(&preflight("/orders", page, method)).await;
        assert_eq!((answer.status, answer.header("access-control-allow-origin")), (204, None));
    }
    // A method that the route does not take is no route's.
    assert_eq!(client.send(&preflight("/orders", "https://app.example.com", "DELETE")).await.status, 404);
    assert_eq!(origin.requests().await, 0);
    // Without a policy `OPTIONS` is the upstream's to answer.
    assert_eq!(client.send(&preflight("/plain", "https://app.example.com", "GET")).await.status, 200);
}

#[tokio::test]
async fn a_page_may_read_answers_and_refusals_and_the_upstream_opens_no_other_door() {
    let origin = Origin::start().await;
    let gateway = gateway(&origin).await;
    let from = |page: &str| {
        Request::get("/")
            .header("Origin", page)
            .header("X-Api-Key", &key(1).key)
            .script("header=Access-Control-Allow-Origin:*")
    };
    let mut client = gateway.connect().await;

    let answer = client.send(&from("https://app.example.com")).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.lines("access-control-allow-origin"), ["https://app.example.com"]);
    let refused = client.send(&from("https://app.example.com")).await;
    assert_eq!(
        (refused.status, refused.lines("access-control-allow-origin")),
        (429, vec!["https://app.example.com"])
    );
    let stranger = client.send(&from("https://evil.test")).await;
    assert_eq!(
        (stranger.lines("access-control-allow-origin"), stranger.lines("vary")),
        (vec![], vec!["Origin"])
    );
}

#[tokio::test]
async fn a_preflight_passes_the_networks_and_the_limits_of_addresses_first() {
    let origin = Origin::start().await;
    let sections = "limits:
  - { name: address, key: [client_address], rate: 2/h, burst: 2 }
  - { name: together, rate: 1/h, burst: 1 }
routes:
  - name: limited
    match: { path: /limited, methods: [GET] }
    to: [{ upstream: origin }]
    authenticate: [partners]
    limits: [address, together]
    cors: { origins: ['https://app.example.com'] }
  - name: far
    match: { path: /far, methods: [GET] }
    to: [{ upstream: origin }]
    authenticate: [partners]
    deny: { networks: [127.0.0.0/8] }
    cors: { origins: ['https://app.example.com'] }";
    let gateway = with_keys(&origin, &line(&key(1), "partner-a", ""), "", sections).start().await;
    let mut client = gateway.connect().await;
    let page = "https://app.example.com";

    let denied = client.send(&preflight("/far", page, "GET")).await;
    assert_eq!((denied.status, denied.header("access-control-allow-origin")), (403, None));
    let line = gateway.line_of(&denied).await;
    assert_eq!((&line["route"], &line["rule"]), (&"far".into(), &"deny.networks".into()), "{line}");
    for status in [204, 204, 429] {
        let explained = gateway.ask(&EXPLAINED).await.stdout;
        assert!(explained.contains(&format!("verdict   {status} ")), "{status}: {explained}");
        assert_eq!(client.send(&preflight("/limited", page, "GET")).await.status, status);
    }
    let together = [("limit", "together"), ("result", "admitted")];
    assert_eq!(gateway.metric("tollgate_limit_decisions_total", &together).await, 0.0);
}

const EXPLAINED: [&str; 13] = [
    "explain",
    "--host",
    "api.example.com",
    "--from",
    "127.0.0.1",
    "--path",
    "/limited",
    "--method",
    "OPTIONS",
    "--header",
    "Origin: https://app.example.com",
    "--header",
    "Access-Control-Request-Method: GET",
];
