//! What reaches the upstream and what comes back: paths, queries, header edits,
//! and the answers that a route gives itself.

use crate::support::{Gateway, Origin, Request};

#[tokio::test]
async fn what_is_matched_is_what_is_forwarded() {
    let (orders, rest) = (Origin::named("orders").await, Origin::named("rest").await);
    let gateway = Gateway::builder()
        .origin("orders", &orders)
        .origin("rest", &rest)
        .yaml(
            r#"
            routes:
              - { name: orders, match: { path: /orders }, to: [{ upstream: orders }] }
              - { name: rest, to: [{ upstream: rest }] }
            "#,
        )
        .start()
        .await;
    let mut client = gateway.connect().await;

    for (sent, origin, forwarded) in [
        ("/a/../orders/%41", "orders", "/orders/A"),
        ("/a/%2e%2e/orders", "orders", "/orders"),
        ("/a/.%2E/%6Frders/7", "orders", "/orders/7"),
        ("//orders", "orders", "/orders"),
        ("/orders//7///", "orders", "/orders/7/"),
        ("/./orders/.", "orders", "/orders/"),
        ("/orders/%e2%82%ac", "orders", "/orders/%E2%82%AC"),
        ("/orders/a%20b;v=1", "orders", "/orders/a%20b;v=1"),
        ("/orders/..", "rest", "/"),
        ("/orders/%2e%2e/admin", "rest", "/admin"),
        ("/Orders", "rest", "/Orders"),
    ] {
        let echo = client.send(&Request::get(sent)).await.echo();
        assert_eq!((echo.origin(), echo.target()), (origin, forwarded), "{sent}");
    }
}

#[tokio::test]
async fn a_path_with_two_meanings_is_refused_and_the_connection_stays() {
    let origin = Origin::start().await;
    let gateway = Gateway::in_front_of(&origin).await;
    let mut client = gateway.connect().await;

    for path in [
        "/orders%2Fadmin",
        "/orders%2fadmin",
        "/orders%5Cadmin",
        "/..",
        "/a/../../b",
        "/%2e%2e/%2e%2e",
        "/a/..;/b",
        "/a%00",
        "/a%zz",
        "/a%",
        "/%c0%af",
    ] {
        let refused = client.send(&Request::get(path)).await;
        assert_eq!(
            (refused.status, refused.flag().as_str(), refused.closed),
            (400, "bad_path", false),
            "{path}"
        );
    }

    assert_eq!(client.send(&Request::get("/orders")).await.status, 200);
    assert_eq!(origin.requests().await, 1);
}

#[tokio::test]
async fn an_encoded_slash_that_is_kept_separates_nothing() {
    let origin = Origin::start().await;
    let gateway = Gateway::builder()
        .origin("files", &origin)
        .yaml(
            r#"
            requests: { encoded_slash: keep }
            routes:
              - { name: files, match: { path: /files }, to: [{ upstream: files }], rewrite: { strip_prefix: /files } }
            "#,
        )
        .start()
        .await;

    assert_eq!(gateway.get("/files/a%2fb").await.echo().target(), "/a%2Fb");
    assert_eq!(gateway.get("/files%2Fa").await.flag(), "no_route");
    assert_eq!(gateway.get("/files/a%2f..%2fb").await.flag(), "bad_path");
}

#[tokio::test]
async fn the_query_is_never_touched() {
    let origin = Origin::start().await;
    let gateway = Gateway::builder()
        .origin("shop", &origin)
        .yaml(
            r#"
            routes:
              - name: shop
                match: { path: /shop }
                to: [{ upstream: shop }]
                rewrite: { replace_prefix: { prefix: /shop, with: /v2 } }
            "#,
        )
        .start()
        .await;
    let mut client = gateway.connect().await;

    for query in ["", "a", "a=%41&a=%2f..%2F", "b=/../x//y", "c=1?d=2", "&&=", "e=%7B{}", "f=a+b;g"] {
        let echo = client.send(&Request::get(&format!("/shop/a/../b?{query}"))).await.echo();
        assert_eq!(echo.target(), format!("/v2/b?{query}"));
    }
    assert_eq!(client.send(&Request::get("/shop")).await.echo().target(), "/v2");
}

#[tokio::test]
async fn paths_are_rewritten_by_pattern_and_the_host_by_name() {
    let origin = Origin::start().await;
    let gateway = Gateway::builder()
        .origin("shop", &origin)
        .yaml(
            r#"
            routes:
              - name: shop
                match: { path: /tenants }
                to: [{ upstream: shop }]
                rewrite:
                  pattern: { match: "^/tenants/([^/]+)/(.*)$", with: "/$2/of/$1" }
                  host: shop.internal
            "#,
        )
        .start()
        .await;

    let changed = gateway.get("/tenants/a%20b/orders/7?x=1").await.echo();
    let unmatched = gateway.get("/tenants").await.echo();

    assert_eq!((changed.target(), changed.host()), ("/orders/7/of/a%20b?x=1", Some("shop.internal")));
    assert_eq!((unmatched.target(), unmatched.host()), ("/tenants", Some("shop.internal")));
    assert_eq!(changed.header("x-forwarded-host"), Some("api.example.com"));
}

#[tokio::test]
async fn headers_are_removed_set_and_added_both_ways() {
    let origin = Origin::start().await;
    let gateway = Gateway::builder()
        .origin("shop", &origin)
        .yaml(
            r#"
            routes:
              - name: shop
                to: [{ upstream: shop }]
                request_headers:
                  remove: [x-internal]
                  set: [{ name: x-tier, value: gold }]
                  add: [{ name: x-seen, value: gateway }]
                response_headers:
                  remove: [x-powered-by]
                  set: [{ name: cache-control, value: no-cache }]
                  add: [{ name: x-seen, value: gateway }]
            "#,
        )
        .start()
        .await;
    let answered = "header=x-powered-by:php,header=cache-control:public,header=x-seen:origin";
    let request = Request::get("/")
        .script(answered)
        .header("X-Internal", "1")
        .header("X-Internal", "2")
        .header("X-Tier", "platinum")
        .header("X-Tier", "silver")
        .header("X-Seen", "client");

    let answer = gateway.send(&request).await;

    let echo = answer.echo();
    assert_eq!(echo.lines("x-internal"), Vec::<&str>::new());
    assert_eq!(echo.lines("x-tier"), ["gold"]);
    assert_eq!(echo.lines("x-seen"), ["client", "gateway"]);
    assert_eq!(answer.lines("x-powered-by"), Vec::<&str>::new());
    assert_eq!(answer.lines("cache-control"), ["no-cache"]);
    assert_eq!(answer.lines("x-seen"), ["origin", "gateway"]);
}

#[tokio::test]
async fn a_redirect_keeps_what_it_does_not_name() {
    let gateway = Gateway::builder()
        .yaml(
            r#"
            routes:
              - { name: secure, match: { path: /secure }, redirect: { status: 308, scheme: https } }
              - { name: moved, match: { path: /old }, redirect: { host: new.example.com, path: /new } }
            "#,
        )
        .start()
        .await;
    let mut client = gateway.connect().await;

    let secure = client.send(&Request::get("/secure/a/../b?x=%41")).await;
    let moved = client.send(&Request::post("/old/7?x=1", "body")).await;

    assert_eq!(
        (secure.status, secure.header("location")),
        (308, Some("https://api.example.com/secure/b?x=%41"))
    );
    assert_eq!((moved.status, moved.header("location")), (302, Some("http://new.example.com/new?x=1")));
    assert_eq!((secure.closed, moved.closed, &moved.body[..]), (false, false, &b""[..]));
}

#[tokio::test]
async fn a_fixed_response_is_what_was_written() {
    let gateway = Gateway::builder()
        .yaml(
            r#"
            routes:
              - name: closed
                match: { path: /closed }
                respond: { status: 503, body: '{"open":false}', content_type: application/json }
                response_headers: { set: [{ name: retry-after, value: "60" }] }
              - { name: empty, match: { path: /empty }, respond: { status: 204 } }
            "#,
        )
        .start()
        .await;
    let mut client = gateway.connect().await;

    let empty = client.send(&Request::get("/empty")).await;
    let closed = client.send(&Request::post("/closed", "x")).await;

    assert_eq!((empty.status, empty.header("content-length")), (204, None));
    assert_eq!((closed.status, closed.text().as_str()), (503, r#"{"open":false}"#));
    assert_eq!(closed.header("content-type"), Some("application/json"));
    assert_eq!(closed.header("retry-after"), Some("60"));
    let line = gateway.line_of(&closed).await;
    assert_eq!((&line["route"], &line["status"], &line["flag"]), (&"closed".into(), &503.into(), &().into()));
}
