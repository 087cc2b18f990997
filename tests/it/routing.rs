//! Which route wins, by its host, path, method and header, whatever the order
//! in the file.

use crate::support::{Gateway, Origin, Request, request::HOST};

#[tokio::test]
async fn a_shop_is_served_by_path_and_method_and_prefixes_are_stripped() {
    let (users, products, orders) =
        (Origin::named("users").await, Origin::named("products").await, Origin::named("orders").await);
    let gateway = Gateway::builder()
        .origin("users", &users)
        .origin("products", &products)
        .origin("orders", &orders)
        .yaml(
            r#"
            routes:
              - { name: users, match: { path: /users, methods: [POST] }, to: [{ upstream: users }] }
              - { name: products, match: { path: /products, methods: [GET] }, to: [{ upstream: products }] }
              - name: orders
                match: { path: /orders, methods: [POST] }
                to: [{ upstream: orders }]
                rewrite: { strip_prefix: /orders }
            "#,
        )
        .start()
        .await;

    let registered = gateway.send(&Request::post("/users", r#"{"name":"ada"}"#)).await.echo();
    let listed = gateway.get("/products?page=2&sort=price%20asc").await.echo();
    let ordered = gateway.send(&Request::post("/orders/7/items?gift=yes", "one")).await.echo();
    let created = gateway.send(&Request::post("/orders", "one")).await.echo();

    assert_eq!((registered.origin(), registered.target()), ("users", "/users"));
    assert_eq!((registered.method(), registered.body()), ("POST", r#"{"name":"ada"}"#));
    assert_eq!((listed.origin(), listed.target()), ("products", "/products?page=2&sort=price%20asc"));
    assert_eq!((ordered.origin(), ordered.target()), ("orders", "/7/items?gift=yes"));
    assert_eq!((created.origin(), created.target()), ("orders", "/"));
    assert_eq!(gateway.get("/orders/7").await.flag(), "no_route");
    assert_eq!(gateway.send(&Request::post("/products", "")).await.flag(), "no_route");
}

#[tokio::test]
async fn a_canary_of_weight_0_gets_nothing_but_its_testers() {
    let (stable, canary) = (Origin::named("ping-stable").await, Origin::named("ping-canary").await);
    let gateway = Gateway::builder()
        .origin("ping-stable", &stable)
        .origin("ping-canary", &canary)
        .yaml(
            r#"
            routes:
              - name: ping
                match: { hosts: ["*.plat-dev.example.com"], path: /ping }
                to: [{ upstream: ping-canary, weight: 0 }, { upstream: ping-stable, weight: 100 }]
                overrides: [{ header: x-canary, value: always, upstream: ping-canary }]
            "#,
        )
        .start()
        .await;
    let ping = Request::get("/ping").host("tenant-a.plat-dev.example.com");
    let mut client = gateway.connect().await;

    for _ in 0..100 {
        assert_eq!(client.send(&ping).await.echo().origin(), "ping-stable");
    }
    let tester = client.send(&ping.clone().header("X-Canary", "always")).await;
    let other = client.send(&ping.clone().header("X-Canary", "never")).await;

    assert_eq!((tester.echo().origin(), other.echo().origin()), ("ping-canary", "ping-stable"));
    assert_eq!((stable.requests().await, canary.requests().await), (101, 1));
}

#[tokio::test]
async fn an_exact_path_beats_the_longest_prefix_which_beats_a_pattern() {
    let routes = [
        r#"- { name: pattern, match: { path: { pattern: "^/orders/[0-9]+$" } }, respond: { status: 200, body: pattern } }"#,
        r#"- { name: short, match: { path: /orders }, respond: { status: 200, body: short } }"#,
        r#"- { name: long, match: { path: /orders/new }, respond: { status: 200, body: long } }"#,
        r#"- { name: exact, match: { path: { exact: /orders/new/7 } }, respond: { status: 200, body: exact } }"#,
        r#"- { name: only, match: { path: { pattern: "^/(a|b)$" } }, respond: { status: 200, body: only } }"#,
    ];
    let backwards: Vec<_> = routes.iter().rev().copied().collect();

    for routes in [&routes[..], &backwards] {
        let gateway = Gateway::builder().yaml(&list(routes)).start().await;
        for (path, winner) in [
            ("/orders/new/7", "exact"),
            ("/orders/new/7/", "long"),
            ("/orders/new/8", "long"),
            ("/orders/new", "long"),
            ("/orders/newest", "short"),
            ("/orders/12", "short"),
            ("/b", "only"),
        ] {
            assert_eq!(gateway.get(path).await.text(), winner, "{path}");
        }
        assert_eq!(gateway.get("/orders-old").await.flag(), "no_route");
        assert_eq!(gateway.get("/ab").await.flag(), "no_route");
    }
}

#[tokio::test]
async fn an_exact_host_beats_the_longest_wildcard_which_beats_any() {
    let gateway = Gateway::builder()
        .yaml(&list(&[
            r#"- { name: any, respond: { status: 200, body: any } }"#,
            r#"- { name: wide, match: { hosts: ["*.example.com"] }, respond: { status: 200, body: wide } }"#,
            r#"- { name: narrow, match: { hosts: ["*.dev.example.com"] }, respond: { status: 200, body: narrow } }"#,
            r#"- { name: exact, match: { hosts: ["a.dev.example.com"] }, respond: { status: 200, body: exact } }"#,
        ]))
        .start()
        .await;

    for (host, winner) in [
        ("a.dev.example.com", "exact"),
        ("A.Dev.Example.COM", "exact"),
        ("a.dev.example.com:8443", "exact"),
        ("b.dev.example.com", "narrow"),
        ("dev.example.com", "wide"),
        ("example.com", "any"),
        ("example.org", "any"),
    ] {
        assert_eq!(gateway.send(&Request::get("/").host(host)).await.text(), winner, "{host}");
    }
}

#[tokio::test]
async fn a_better_host_wins_before_a_better_path() {
    let gateway = Gateway::builder()
        .yaml(&list(&[
            r#"- { name: path, match: { path: { exact: /orders } }, respond: { status: 200, body: path } }"#,
            r#"- { name: host, match: { hosts: [api.example.com] }, respond: { status: 200, body: host } }"#,
        ]))
        .start()
        .await;

    assert_eq!(gateway.get("/orders").await.text(), "host");
    assert_eq!(gateway.send(&Request::get("/orders").host("else.example.com")).await.text(), "path");
}

#[tokio::test]
async fn methods_then_headers_then_query_make_a_route_more_specific() {
    let gateway = Gateway::builder()
        .yaml(&list(&[
            r#"- { name: plain, match: { path: /o }, respond: { status: 200, body: plain } }"#,
            r#"- { name: post, match: { path: /o, methods: [POST] }, respond: { status: 200, body: post } }"#,
            r#"- { name: beta, match: { path: /o, headers: [{ name: x-beta, value: "1" }] }, respond: { status: 200, body: beta } }"#,
            r#"- { name: page, match: { path: /o, query: [{ name: page }] }, respond: { status: 200, body: page } }"#,
        ]))
        .start()
        .await;
    let beta = |request: Request| request.header("X-Beta", "1");

    for (request, winner) in [
        (Request::get("/o"), "plain"),
        (beta(Request::get("/o").header("X-Beta", "0")), "beta"),
        (Request::get("/o?page=3"), "page"),
        (Request::get("/o?pages=3"), "plain"),
        (beta(Request::get("/o?page=3")), "beta"),
        (beta(Request::post("/o?page=3", "")), "post"),
    ] {
        assert_eq!(gateway.send(&request).await.text(), winner, "{request:?}");
    }
}

#[tokio::test]
async fn a_get_route_takes_head_and_answers_it_without_a_body() {
    let origin = Origin::start().await;
    let gateway = Gateway::builder()
        .origin("shop", &origin)
        .yaml(
            r#"
            routes:
              - { name: products, match: { path: /products, methods: [GET] }, to: [{ upstream: shop }] }
              - { name: help, match: { path: /help, methods: [GET] }, respond: { status: 200, body: words } }
            "#,
        )
        .start()
        .await;
    let mut client = gateway.connect().await;

    let forwarded = client.send(&Request::head("/products").script("size=1000")).await;
    let fixed = client.send(&Request::head("/help")).await;
    let missing = client.send(&Request::head("/nothing")).await;
    let after = client.send(&Request::get("/help")).await;

    assert_eq!((forwarded.status, forwarded.header("content-length")), (200, Some("1000")));
    assert_eq!((fixed.status, fixed.header("content-length")), (200, Some("5")));
    assert_eq!((missing.status, missing.header("content-type")), (404, Some("application/problem+json")));
    assert_eq!(after.text(), "words");
    assert_eq!(origin.log().await[0]["method"], "HEAD");
}

#[tokio::test]
async fn without_a_route_the_answer_is_a_problem_and_the_connection_stays() {
    let origin = Origin::start().await;
    let gateway = Gateway::builder()
        .origin("shop", &origin)
        .yaml(r#"routes: [{ name: shop, match: { path: /shop }, to: [{ upstream: shop }] }]"#)
        .start()
        .await;
    let mut client = gateway.connect().await;

    let missing = client.send(&Request::get("/nothing")).await;
    let posted = client.send(&Request::post("/nothing", "a body that nobody wants")).await;
    let found = client.send(&Request::get("/shop")).await;

    for refused in [&missing, &posted] {
        assert_eq!((refused.status, refused.flag().as_str(), refused.closed), (404, "no_route", false));
        assert_eq!(refused.json()["detail"], "Nothing is served here.");
    }
    assert_eq!((found.status, origin.requests().await), (200, 1));
    assert_eq!(gateway.metric("tollgate_rejections_total", &[("flag", "no_route")]).await, 2.0);
    assert_eq!(gateway.line_of(&missing).await["flag"], "no_route");
}

#[tokio::test]
async fn a_sticky_client_stays_on_its_upstream_of_a_split() {
    let (one, two) = (Origin::named("one").await, Origin::named("two").await);
    let gateway = Gateway::builder()
        .origin("one", &one)
        .origin("two", &two)
        .yaml(
            r#"
            routes:
              - name: split
                to: [{ upstream: one, weight: 50 }, { upstream: two, weight: 50 }]
                sticky: { header: x-user }
            "#,
        )
        .start()
        .await;
    let mut client = gateway.connect().await;

    for user in 0..40 {
        let request = Request::get("/").header("X-User", &user.to_string());
        let first = client.send(&request).await.echo();
        let again = client.send(&request).await.echo();
        assert_eq!(first.origin(), again.origin(), "user {user}");
    }

    // 40 users all on one side of an even split: one chance in 10^11.
    assert!(one.requests().await > 0 && two.requests().await > 0);
}

#[tokio::test]
async fn routes_of_every_fragment_are_served() {
    let gateway = Gateway::builder()
        .fragment(
            "a.yaml",
            r#"routes: [{ name: a, match: { path: /a }, respond: { status: 200, body: a } }]"#,
        )
        .fragment(
            "b.yaml",
            r#"routes: [{ name: b, match: { path: /b }, respond: { status: 200, body: b } }]"#,
        )
        .start()
        .await;

    assert_eq!((gateway.get("/a").await.text(), gateway.get("/b").await.text()), ("a".into(), "b".into()));
    assert_eq!(gateway.send(&Request::get("/c").host(HOST)).await.flag(), "no_route");
}

/// A configuration with these routes alone.
fn list(routes: &[&str]) -> String {
    format!("routes:\n  {}\n", routes.join("\n  "))
}
