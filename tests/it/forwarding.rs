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
        ("/orders/a%20b,v=1", "orders", "/orders/a%20b,v=1"),
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
async fn parameters_in_a_path_are_refused_and_counted_unless_they_are_kept() {
    let (admin, open) = (Origin::named("admin").await, Origin::named("open").await);
    let gateway = |requests: &str| {
        Gateway::builder().origin("admin", &admin).origin("open", &open).yaml(&format!(
            r#"
            {requests}
            routes:
              - {{ name: admin, match: {{ path: /admin }}, to: [{{ upstream: admin }}] }}
              - {{ name: open, match: {{ path: / }}, to: [{{ upstream: open }}] }}
            "#
        ))
    };
    let strict = gateway("").start().await;
    let mut client = strict.connect().await;
    let paths =
        ["/admin;x/users", "/admin%3Bx/users", "/admin%3bx", "/;/admin", "/a/admin;", "/a;..", "/%41;"];

    for path in paths {
        let refused = client.send(&Request::get(path)).await;

        let told = (refused.status, refused.flag());
        assert_eq!(told, (400, "path_parameter".to_owned()), "{path}");
        assert!(!refused.closed, "{path}");
        let explained = strict.ask(&["explain", "--host", "a.test", "--path", path]).await.stdout;
        assert!(
            explained.contains("400 path_parameter: ") && explained.contains("`requests.path_parameters`"),
            "{explained}"
        );
    }
    assert_eq!(client.send(&Request::get("/a/..;/b")).await.flag(), "bad_path");
    let counted = [("flag", "path_parameter")];
    assert_eq!(strict.metric("tollgate_rejections_total", &counted).await, paths.len() as f64);
    assert_eq!(client.send(&Request::get("/a?x=1;y")).await.status, 200, "a query is none of it");

    let kept = gateway("requests: { path_parameters: keep }").start().await;
    for (path, forwarded) in
        [("/admin;x/users", "/admin;x/users"), ("/a/b%3bc", "/a/b%3Bc"), ("/;/b", "/;/b")]
    {
        let echo = kept.get(path).await.echo();
        assert_eq!((echo.origin(), echo.target()), ("open", forwarded), "{path}");
    }
    assert_eq!(kept.get("/a/..;/b").await.flag(), "bad_path");
}

#[tokio::test]
async fn an_escape_of_what_needs_none_matches_as_the_character_and_goes_on_as_it_came() {
    let (guarded, open) = (Origin::named("guarded").await, Origin::named("open").await);
    let gateway = Gateway::builder()
        .origin("guarded", &guarded)
        .origin("open", &open)
        .yaml(
            r#"
            routes:
              - { name: delete, match: { path: { exact: "/v1/users:delete" } }, to: [{ upstream: guarded }] }
              - { name: escaped, match: { path: "/v1/a%40b" }, to: [{ upstream: guarded }] }
              - { name: pattern, match: { path: { pattern: "^/v1/p[+]q$" } }, to: [{ upstream: guarded }] }
              - { name: strip, match: { path: "/s:t" }, to: [{ upstream: guarded }], rewrite: { strip_prefix: "/s:t" } }
              - { name: remake, match: { path: "/m(" }, to: [{ upstream: guarded }], rewrite: { pattern: { match: "^/m[(](.*)$", with: "/made$1" } } }
              - { name: v1, to: [{ upstream: open }] }
            "#,
        )
        .start()
        .await;
    let mut client = gateway.connect().await;

    for (sent, origin, forwarded) in [
        ("/v1/users:delete", "guarded", "/v1/users:delete"),
        ("/v1/users%3Adelete", "guarded", "/v1/users%3Adelete"),
        ("/v1/users%3adelete?a=%3a", "guarded", "/v1/users%3Adelete?a=%3a"),
        ("/v1/%75sers%3Adelete", "guarded", "/v1/users%3Adelete"),
        ("/v1/users%253Adelete", "open", "/v1/users%253Adelete"),
        ("/v1/a@b", "guarded", "/v1/a@b"),
        ("/v1/a%40b/c%2C", "guarded", "/v1/a%40b/c%2C"),
        ("/v1/p+q", "guarded", "/v1/p+q"),
        ("/v1/p%2Bq", "guarded", "/v1/p%2Bq"),
        ("/s:t/u%3Av", "guarded", "/u%3Av"),
        ("/s%3At/u%3Av", "guarded", "/u%3Av"),
        ("/s%3At", "guarded", "/"),
        ("/s%3Atu", "open", "/s%3Atu"),
        ("/m(/b%20c", "guarded", "/made/b%20c"),
        ("/m%28/b%20c", "guarded", "/made/b%20c"),
        ("/v1/caf%C3%A9%20%22", "open", "/v1/caf%C3%A9%20%22"),
    ] {
        let answer = client.send(&Request::get(sent)).await;
        let echo = answer.echo();
        assert_eq!((echo.origin(), echo.target()), (origin, forwarded), "{sent}");
        let path = forwarded_path(sent);
        assert_eq!(gateway.line_of(&answer).await["path"], path, "{sent}");

        let told = gateway.ask(&["explain", "--json", "--host", "a.test", "--path", sent]).await;
        let told: serde_json::Value = serde_json::from_str(&told.stdout).unwrap();
        assert_eq!(told["verdict"]["upstreams"][0], origin, "{sent}");
        assert_eq!(told["request"]["path"], path, "{sent}: {told:#}");
        let sent_on = forwarded.split('?').next().unwrap();
        assert_eq!(told["action"]["forward"]["path"], sent_on, "{sent}: {told:#}");
    }
    let told = gateway.ask(&["explain", "--host", "a.test", "--path", "/v1/users%3Adelete"]).await.stdout;
    assert!(told.contains("routes see /v1/users:delete"), "{told}");
}

/// What the log calls the path.
fn forwarded_path(sent: &str) -> String {
    let path = sent.split('?').next().unwrap_or_default();
    path.replace("%3a", "%3A").replace("%75", "u")
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
