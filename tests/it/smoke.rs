//! What an operator sees of one request: access log, metrics, status,
//! readiness, and the id that ties them together.

use serde_json::json;

use crate::support::{
    Gateway, Http1, Origin, PATIENCE, Request, Tls, WebSocket, certs, eventually, websocket::Frame,
};

#[tokio::test]
async fn a_request_leaves_one_access_log_line_that_tells_all_of_it() {
    let origin = Origin::start().await;
    let gateway = shop(&origin).await;
    let mut client = gateway.connect().await;
    let request = Request::post("/shop/../shop/7?token=secret", "four").header("User-Agent", "it/1");

    let first = client.send(&request).await;
    let second = client.send(&request).await;

    let line = gateway.line_of(&first).await;
    for (key, value) in [
        ("client", json!("127.0.0.1")),
        ("listener", json!("plain")),
        ("protocol", json!("HTTP/1.1")),
        ("method", json!("POST")),
        ("host", json!("api.example.com")),
        ("path", json!("/shop/7")),
        ("route", json!("goods")),
        ("upstream", json!("shop")),
        ("endpoint", json!(origin.address.to_string())),
        ("zone", json!("use1-az1")),
        ("attempts", json!(1)),
        ("reused", json!(false)),
        ("status", json!(200)),
        ("flag", json!(null)),
        ("bytes_in", json!(4)),
        ("bytes_out", json!(first.body.len())),
        ("user_agent", json!("it/1")),
        ("generation", json!(1)),
    ] {
        assert_eq!(line[key], value, "{key} of {line}");
    }
    let micros = |key: &str| line[key].as_u64().unwrap_or_else(|| panic!("{key} of {line}"));
    assert!(micros("duration_us") >= micros("upstream_connect_us"), "{line}");
    assert!(micros("duration_us") >= micros("upstream_first_byte_us"), "{line}");
    assert!(line["time"].as_str().unwrap().ends_with('Z'), "{line}");
    assert_eq!(line.get("tls"), None, "{line}");
    assert!(!line.to_string().contains("secret"), "a query was logged: {line}");
    assert_eq!(gateway.line_of(&second).await["reused"], true);
    assert_eq!(gateway.access_log().len(), 2);
}

#[tokio::test]
async fn one_id_names_a_request_in_answer_log_and_origin() {
    let origin = Origin::start().await;
    let gateway = Gateway::in_front_of(&origin).await;

    let answer = gateway.get("/orders").await;

    let id = answer.header("x-request-id").unwrap();
    assert_eq!(answer.echo().header("x-request-id"), Some(id));
    assert_eq!(origin.log().await[0]["x-request-id"], id);
    assert_eq!(gateway.line_of(&answer).await["path"], "/orders");
    assert_ne!(gateway.get("/orders").await.header("x-request-id"), Some(id));
}

#[tokio::test]
async fn an_upstream_is_told_who_asked() {
    let origin = Origin::start().await;
    let gateway = Gateway::in_front_of(&origin).await;

    let echo = gateway.get("/").await.echo();

    assert_eq!(echo.lines("x-forwarded-for"), ["127.0.0.1"]);
    assert_eq!(echo.lines("x-forwarded-proto"), ["http"]);
    assert_eq!(echo.lines("x-forwarded-host"), ["api.example.com"]);
    assert_eq!(echo.lines("via"), ["1.1 tollgate"]);
    assert!(echo.header("x-amzn-trace-id").unwrap().starts_with("Root=1-"));
}

#[tokio::test]
async fn metrics_count_by_route_upstream_and_class() {
    let origin = Origin::start().await;
    let gateway = shop(&origin).await;
    let mut client = gateway.connect().await;

    client.send(&Request::post("/shop", "four")).await;
    client.send(&Request::get("/shop").script("status=503")).await;
    client.send(&Request::get("/nothing")).await;

    let goods = [("route", "goods"), ("upstream", "shop")];
    let with = |status| [goods[0], goods[1], ("status", status)];
    eventually(PATIENCE, || async { gateway.metric("tollgate_requests_total", &[]).await == 3.0 }).await;
    let metrics = gateway.metrics().await;
    assert_eq!(metrics.metric("tollgate_requests_total", &with("2xx")), 1.0);
    assert_eq!(metrics.metric("tollgate_requests_total", &with("5xx")), 1.0);
    assert_eq!(metrics.metric("tollgate_requests_total", &[("route", "-"), ("status", "4xx")]), 1.0);
    assert_eq!(metrics.metric("tollgate_request_duration_seconds_count", &goods), 2.0);
    assert_eq!(metrics.metric("tollgate_request_bytes_total", &[("route", "goods")]), 4.0);
    assert_eq!(
        metrics.metric("tollgate_upstream_attempts_total", &[("upstream", "shop"), ("result", "ok")]),
        2.0
    );
    assert_eq!(metrics.metric("tollgate_connections_total", &[("listener", "plain")]), 1.0);
    assert_eq!(metrics.metric("tollgate_connections_open", &[("listener", "plain")]), 1.0);
    assert_eq!(metrics.metric("tollgate_config_generation", &[]), 1.0);
    assert!(metrics.has("tollgate_build_info", &[("version", env!("CARGO_PKG_VERSION"))]));
}

#[tokio::test]
async fn the_private_listeners_answer_their_own_paths_alone() {
    let origin = Origin::start().await;
    let gateway = Gateway::in_front_of(&origin).await;
    let metrics = |path: &'static str| {
        let address = gateway.address("metrics");
        async move { Http1::open(address).await.send(&Request::get(path).honest()).await }
    };

    assert_eq!(gateway.readiness("/livez").await.text(), "alive\n");
    assert_eq!(gateway.readiness("/readyz").await.text(), "ready\n");
    assert_eq!(gateway.readiness("/metrics").await.status, 404);
    assert_eq!(gateway.readiness("/orders").await.status, 404);
    assert_eq!(metrics("/readyz").await.status, 404);
    assert_eq!(metrics("/status").await.status, 404);
    // And the public one has none of theirs.
    assert_eq!(gateway.get("/metrics").await.echo().target(), "/metrics");
}

#[tokio::test]
async fn status_tells_what_serves_as_a_table_and_as_json() {
    let origin = Origin::start().await;
    let authority = certs::authority();
    let gateway = Gateway::builder()
        .origin("shop", &origin)
        .certificate(&certs::server(&authority, &["api.example.com"]))
        .start()
        .await;
    let _open = gateway.connect().await.send(&Request::get("/")).await;

    let status = gateway.status().await;
    let table = gateway.ask(&["status"]).await;

    assert_eq!(
        (&status["generation"], &status["pid"], &status["routes"]),
        (&1.into(), &gateway.pid().into(), &1.into())
    );
    assert_eq!(
        status["listeners"][1],
        json!({ "name": "public", "address": gateway.tls.to_string(), "tls": true })
    );
    assert_eq!(status["upstreams"][0]["name"], "shop");
    assert_eq!(status["upstreams"][0]["endpoints"][0]["address"], origin.address.to_string());
    assert_eq!(status["certificates"][0]["listener"], "public");
    assert_eq!(status["certificates"][0]["expires_in_days"], 89);
    assert_eq!((table.code, table.stderr.as_str()), (Some(0), ""));
    for told in ["generation 1", "shop", "plain", "public", "tls.pem", &origin.address.to_string()] {
        assert!(table.stdout.contains(told), "no `{told}` in:\n{}", table.stdout);
    }
}

#[tokio::test]
async fn a_verb_without_a_running_gateway_says_so_and_exits_75() {
    for verb in ["status", "reload"] {
        let told = Gateway::cli(&[verb, "--socket", "/nonexistent/admin.sock"]).await;

        assert_eq!(told.code, Some(75), "{told:?}");
        assert!(told.stderr.contains("no gateway listens at /nonexistent/admin.sock"), "{told:?}");
    }
}

#[tokio::test]
async fn tls_clients_are_served_in_both_protocols_and_logged_with_them() {
    let origin = Origin::start().await;
    let authority = certs::authority();
    let certificate = certs::server(&authority, &["api.example.com"]);
    let gateway = Gateway::builder().origin("shop", &origin).certificate(&certificate).start().await;
    let client = Tls::to("api.example.com").trusting(&authority);

    let first = gateway.connect_tls(&client).await.unwrap().send(&Request::get("/")).await;
    let second = gateway.connect_http2(&client).await.unwrap().send(&Request::post("/", "body")).await;

    let (one, two) = (gateway.line_of(&first).await, gateway.line_of(&second).await);
    assert_eq!((&one["protocol"], &two["protocol"]), (&"HTTP/1.1".into(), &"HTTP/2".into()));
    for (line, answer) in [(&one, &first), (&two, &second)] {
        assert_eq!((&line["listener"], &line["tls"]), (&"public".into(), &"TLSv1.3".into()));
        assert_eq!(line["server_name"], "api.example.com");
        assert_eq!(answer.echo().header("x-forwarded-proto"), Some("https"));
        assert_eq!(answer.echo().host(), Some("api.example.com"));
    }
    assert_eq!(second.echo().body(), "body");
}

#[tokio::test]
async fn a_returning_tls_client_resumes_its_session() {
    let origin = Origin::start().await;
    let certificate = certs::server(&certs::authority(), &["api.example.com"]);
    let gateway = Gateway::builder().origin("shop", &origin).certificate(&certificate).start().await;
    let client = Tls::default();

    let mut first = gateway.connect_tls(&client).await.unwrap();
    first.send(&Request::get("/")).await;
    let again = client.clone().session(&client.saved_session().unwrap());
    let mut second = gateway.connect_tls(&again).await.unwrap();

    assert!(!first.stream.ssl().session_reused() && second.stream.ssl().session_reused());
    assert_eq!(second.send(&Request::get("/")).await.status, 200);
}

#[tokio::test]
async fn a_websocket_goes_through() {
    let origin = Origin::start().await;
    let gateway = Gateway::in_front_of(&origin).await;

    let mut socket = WebSocket::open(gateway.connect().await, &Request::get("/chat")).await.unwrap();
    socket.send_text("hello").await.unwrap();

    assert_eq!(socket.receive().await.unwrap(), Frame::Text("hello".to_owned()));
    socket.close(4001).await.unwrap();
    assert_eq!(socket.receive().await.unwrap(), Frame::Close(Some(4001)));
    assert_eq!(gateway.line(|line| line["path"] == "/chat").await["status"], 101);
}

/// Serves `/shop` as route `goods`, from one endpoint in a zone.
async fn shop(origin: &Origin) -> Gateway {
    Gateway::builder()
        .origin("origin", origin)
        .yaml(
            r#"
            upstreams: [{ name: shop, endpoints: [{ address: "{origin}", zone: use1-az1 }] }]
            routes: [{ name: goods, match: { path: /shop }, to: [{ upstream: shop }] }]
            "#,
        )
        .start()
        .await
}
