//! The private ways in: the operator's socket, readiness and metrics, each with
//! its own paths, and none of them among the public ones.

use std::os::unix::fs::PermissionsExt;

use crate::support::{Gateway, Http1, Origin, PATIENCE, Request, Tls, certs, eventually};

#[tokio::test]
async fn the_operators_socket_is_its_owners_alone() {
    let gateway = Gateway::builder().start().await;
    let socket = gateway.files.path("admin.sock");

    let mode = std::fs::metadata(&socket).unwrap().permissions().mode();

    assert_eq!(mode & 0o7777, 0o600);
    gateway.signal(libc::SIGTERM);
    assert_eq!(gateway.wait_exit(PATIENCE).await.code, Some(0));
    assert!(!socket.exists());
}

#[tokio::test]
async fn nobody_is_told_a_value_that_was_filled_in() {
    let by = |name: &str, query: &str| {
        format!(
            "authentication: [{{ name: {name}, jwt: {{ issuer: 'https://{name}.test', audience: [a], \
             jwks: 'http://127.0.0.1:1/k{query}' }} }}]\n"
        )
    };
    let route = "routes: [{ name: all, authenticate: anonymous, respond: { status: 200 } }]";
    let builder = Gateway::builder().env("THEIR_KEY", "s3cret").yaml(&(by("first", "") + route));
    let gateway = builder.fragment("b.yaml", &by("second", "?key=${env:THEIR_KEY}")).start().await;
    let fetched = || async { gateway.stderr().matches("key set cannot be fetched").count() >= 2 };
    eventually(PATIENCE, fetched).await;

    for path in ["/config", "/status"] {
        let told = gateway.admin("GET", path).await.text();
        assert!(told.contains("http://127.0.0.1:1/k") && !told.contains("s3cret"), "{told}");
    }

    assert!(!gateway.stderr().contains("s3cret"), "{}", gateway.stderr());
}

#[tokio::test]
async fn the_operators_socket_answers_its_paths() {
    let origin = Origin::start().await;
    let gateway = Gateway::builder()
        .origin("shop", &origin)
        .certificate(&certs::server(&certs::authority(), &["api.example.com"]))
        .yaml("upstreams: [{ name: shop, endpoints: [{ address: \"{shop}\", zone: use1-az1 }] }]")
        .start()
        .await;
    let _open = gateway.connect_tls(&Tls::default()).await.unwrap();

    let status = gateway.admin("GET", "/status").await;
    let config = gateway.admin("GET", "/config").await;
    let reload = gateway.admin("POST", "/reload").await;

    assert_eq!((status.status, status.header("content-type")), (200, Some("application/json")));
    let status = status.json();
    for key in
        ["version", "pid", "uptime_seconds", "generation", "config_hash", "connections", "draining", "routes"]
    {
        assert!(!status[key].is_null(), "no {key} in {status}");
    }
    assert_eq!(status["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(status["connections"], 1);
    assert_eq!(status["listeners"].as_array().unwrap().len(), 2);
    let endpoint = &status["upstreams"][0]["endpoints"][0];
    assert_eq!((&endpoint["zone"], &endpoint["in_flight"]), (&"use1-az1".into(), &0.into()));
    assert_eq!(status["certificates"][0]["listener"], "public");
    assert!((88..=90).contains(&status["certificates"][0]["expires_in_days"].as_i64().unwrap()), "{status}");
    assert_eq!(config.status, 200);
    assert!(
        config.text().contains("name: shop") && config.text().contains("max_age: 10m"),
        "{}",
        config.text()
    );
    assert_eq!(config.text(), gateway.ask(&["status", "--config"]).await.stdout);
    assert_eq!((reload.status, &reload.json()["generation"]), (200, &2.into()));
    for (method, path) in
        [("GET", "/"), ("GET", "/reload"), ("POST", "/status"), ("GET", "/metrics"), ("GET", "/livez")]
    {
        let answer = gateway.admin(method, path).await;
        assert_eq!((answer.status, answer.text().contains("POST /reload")), (404, true), "{method} {path}");
    }
    assert_eq!(gateway.status().await["generation"], 2);
}

#[tokio::test]
async fn no_private_path_exists_on_a_public_listener() {
    let certificate = certs::server(&certs::authority(), &["api.example.com"]);
    let yaml = "routes: [{ name: hello, match: { path: /hello }, respond: { status: 200 } }]";
    let gateway = Gateway::builder().certificate(&certificate).yaml(yaml).start().await;

    for path in ["/metrics", "/status", "/config", "/reload", "/readyz", "/livez"] {
        for method in ["GET", "POST"] {
            let request = Request::new(method, path);
            let plain = gateway.send(&request).await;
            let tls = gateway.connect_tls(&Tls::default()).await.unwrap().send(&request).await;
            let h2 = gateway.connect_http2(&Tls::default()).await.unwrap().send(&request).await;

            for answer in [plain, tls, h2] {
                assert_eq!((answer.status, answer.flag().as_str()), (404, "no_route"), "{method} {path}");
            }
        }
    }
    assert_eq!(gateway.status().await["generation"], 1);
}

#[tokio::test]
async fn metrics_stand_at_their_address_alone_and_are_only_there_when_asked_for() {
    let gateway = Gateway::builder().start().await;
    let metrics = gateway.address("metrics");

    let page = Http1::open(metrics).await.send(&Request::get("/metrics").honest()).await;
    let head = Http1::open(metrics).await.send(&Request::head("/metrics").honest()).await;

    let kind = Some("text/plain; version=0.0.4; charset=utf-8");
    assert_eq!((page.status, page.header("content-type")), (200, kind));
    assert!(page.text().contains("# HELP tollgate_build_info") && page.text().ends_with('\n'));
    assert_eq!((head.status, head.header("content-type"), head.body.len()), (200, kind, 0));
    for path in ["/metrics/", "/readyz", "/status", "/overview", "/page.html"] {
        assert_eq!(Http1::open(metrics).await.send(&Request::get(path).honest()).await.status, 404, "{path}");
    }
    let without = Gateway::builder().yaml("admin: { socket: admin.sock }").start().await;
    assert!(crate::support::stream::connect(without.address("metrics")).await.is_err());
    assert_eq!(without.status().await["generation"], 1);
}

#[tokio::test]
async fn readiness_answers_whoever_asks_however_they_say_it() {
    let gateway = Gateway::builder().start().await;
    let address = gateway.address("readiness");

    for path in ["/livez", "/readyz"] {
        for host in ["10.0.1.7:8081", "api.example.com", "", "[::1]"] {
            for method in ["GET", "HEAD"] {
                let request = format!(
                    "{method} {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: ELB-HealthChecker/2.0\r\n\r\n"
                );
                let answer = Http1::open(address).await.send_raw(request).await;
                assert_eq!(
                    (answer.status, answer.body.is_empty()),
                    (200, method == "HEAD"),
                    "{method} {path} `{host}`"
                );
                assert_eq!(answer.header("cache-control"), Some("no-store"));
            }
        }
        for request in [
            format!("GET {path} HTTP/1.0\r\n\r\n"),
            format!("GET {path}?from=nlb HTTP/1.0\r\nHost: a\r\n\r\n"),
        ] {
            let answer = Http1::open(address).await.send_raw(request).await;
            assert_eq!((answer.status, answer.closed), (200, true), "{path}");
        }
    }
    // On one connection, as a checker may.
    let mut checker = Http1::open(address).await;
    for _ in 0..3 {
        assert_eq!(checker.send(&Request::get("/readyz").honest()).await.text(), "ready\n");
    }
}

#[tokio::test]
async fn readiness_never_speaks_of_upstreams() {
    let dead = Origin::dead();
    let gateway = Gateway::in_front_of(&dead).await;

    for _ in 0..5 {
        assert_eq!(gateway.get("/").await.status, 502);
    }

    assert_eq!(gateway.readiness("/readyz").await.text(), "ready\n");
    // Nor of a reload that was refused.
    gateway.write_config("routes: [{}]");
    assert_eq!(gateway.reload().await.code, Some(78));
    assert_eq!(gateway.readiness("/readyz").await.status, 200);
}

#[tokio::test]
async fn a_probe_that_only_connects_costs_nothing_and_is_no_error() {
    let gateway = Gateway::builder().start().await;

    for name in ["plain", "readiness", "metrics"] {
        drop(Http1::open(gateway.address(name)).await);
    }

    let probes = [("listener", "plain"), ("reason", "probe")];
    let counted = async || gateway.metric("tollgate_connections_ended_early_total", &probes).await;
    eventually(PATIENCE, || async { counted().await == 1.0 }).await;
    let log = gateway.stderr();
    assert!(!log.contains("level=error") && !log.contains("level=warn"), "{log}");
}
