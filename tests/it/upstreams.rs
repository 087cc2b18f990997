//! Connections to upstreams: TLS and whom it believes, protocols by ALPN, and
//! which connections are used again.

use crate::support::{
    Gateway, Origin, PATIENCE, Request, Response,
    certs::{self, Authority},
    eventually,
    gateway::GatewayBuilder,
    origin::OriginBuilder,
};

#[tokio::test]
async fn a_hundred_requests_take_one_connection() {
    let origin = Origin::start().await;
    let gateway = Gateway::in_front_of(&origin).await;
    let mut client = gateway.connect().await;

    for nth in 0..100 {
        let request = if nth % 2 == 0 { Request::get("/") } else { Request::post("/", "four") };
        assert_eq!(client.send(&request).await.echo().connection(), 1);
    }
    let from_another_client = gateway.get("/").await;

    assert_eq!(from_another_client.echo().connection(), 1);
    let reused = gateway.line_of(&from_another_client).await;
    assert_eq!((&reused["reused"], reused.get("upstream_connect_us")), (&true.into(), None), "{reused}");
}

#[tokio::test]
async fn an_unused_connection_is_kept_no_longer_than_idle() {
    let origin = Origin::start().await;
    let gateway = Gateway::with_upstream(&origin, "timeouts: { idle: 300ms }").await;

    assert_eq!(gateway.get("/").await.echo().connection(), 1);

    eventually(PATIENCE, || async { origin.stats().await["open_connections"] == 1 }).await;
    assert_eq!(gateway.get("/").await.status, 200);
}

#[tokio::test]
async fn a_pooled_connection_that_the_origin_ended_costs_no_request() {
    let origin = Origin::start().await;
    let gateway = Gateway::in_front_of(&origin).await;

    for _ in 0..50 {
        assert_eq!(gateway.send(&Request::get("/").script("close_silently")).await.status, 200);
        assert_eq!(gateway.send(&Request::get("/")).await.status, 200);
    }
}

#[tokio::test]
async fn an_upstream_with_tls_is_believed_for_its_authority_and_name() {
    let shop = Shop::open().await;

    let answer = shop.gateway("server_name: orders.internal, ca: ca.pem", "").await.get("/").await;

    let echo = answer.echo();
    assert_eq!((answer.status, echo.host()), (200, Some("api.example.com")));
    assert_eq!(echo.0["tls"]["server_name"], "orders.internal");
    assert_eq!(echo.0["tls"]["client_cert_subject"], serde_json::Value::Null);
}

#[tokio::test]
async fn an_upstream_that_cannot_prove_itself_gets_no_request() {
    let shop = Shop::open().await;
    let expired = Shop::with(|origin, authority| {
        origin.tls(&certs::server_with(authority, &["orders.internal"], certs::Kind::Ecdsa, -7200..-3600))
    })
    .await;

    for (why, shop, tls) in [
        ("another authority", &shop, "server_name: orders.internal, ca: other.pem"),
        ("the system's authorities", &shop, "server_name: orders.internal"),
        ("another name", &shop, "server_name: payments.internal, ca: ca.pem"),
        ("expired", &expired, "server_name: orders.internal, ca: ca.pem"),
    ] {
        for protocol in ["http1", "http2", "auto"] {
            let gateway = shop.gateway(tls, &format!("protocol: {protocol}")).await;
            for request in [Request::get("/"), Request::post("/", "secret")] {
                assert_refused(&gateway, &gateway.send(&request).await, why).await;
            }
        }
        assert_eq!(shop.origin.requests().await, 0, "{why}");
    }
}

#[tokio::test]
async fn an_upstream_that_speaks_no_tls_is_a_502() {
    let origin = Origin::start().await;
    let gateway = Gateway::with_upstream(&origin, "tls: { server_name: orders.internal }").await;

    assert_refused(&gateway, &gateway.get("/").await, "cleartext").await;
}

#[tokio::test]
async fn the_gateway_shows_its_certificate_where_it_is_told_to() {
    let shop = Shop::with(|origin, authority| {
        origin.tls(&certs::server(authority, &["orders.internal"])).client_ca(authority)
    })
    .await;
    let shown = "client: { chain: gw.pem, key: gw.key }";
    let strange = "client: { chain: strange.pem, key: strange.key }";

    for protocol in ["http1", "http2", "auto"] {
        let protocol = format!("protocol: {protocol}");
        let known =
            shop.gateway(&format!("server_name: orders.internal, ca: ca.pem, {shown}"), &protocol).await;
        let unknown =
            shop.gateway(&format!("server_name: orders.internal, ca: ca.pem, {strange}"), &protocol).await;
        let silent = shop.gateway("server_name: orders.internal, ca: ca.pem", &protocol).await;
        let before = shop.origin.requests().await;

        let answer = known.get("/").await;
        let refused = [unknown.get("/").await, silent.get("/").await];

        assert!(
            answer.echo().0["tls"]["client_cert_subject"].as_str().unwrap().contains("CN=gw"),
            "{protocol}"
        );
        for refused in refused {
            // With TLS 1.3 an origin refuses after the gateway's handshake is done.
            assert_eq!(refused.status, 502, "{protocol} {}", refused.text());
        }
        assert_eq!(shop.origin.requests().await - before, 1, "{protocol}");
    }
}

#[tokio::test]
async fn alpn_decides_what_auto_speaks() {
    let shop = Shop::open().await;
    let tls = "server_name: orders.internal, ca: ca.pem";

    for (protocol, version) in [("http1", "HTTP/1.1"), ("http2", "HTTP/2.0"), ("auto", "HTTP/2.0")] {
        let gateway = shop.gateway(tls, &format!("protocol: {protocol}")).await;
        for _ in 0..3 {
            assert_eq!(
                gateway.send(&Request::post("/", "x")).await.echo().0["version"],
                version,
                "{protocol}"
            );
        }
    }
}

#[tokio::test]
async fn auto_speaks_http_1_where_nothing_else_is_offered() {
    let shop = Shop::with(|origin, authority| {
        origin.tls(&certs::server(authority, &["orders.internal"])).http1_only()
    })
    .await;
    let tls = "server_name: orders.internal, ca: ca.pem";

    let auto = shop.gateway(tls, "protocol: auto").await;
    let http2 = shop.gateway(tls, "protocol: http2").await;

    for _ in 0..3 {
        let echo = auto.send(&Request::post("/", "x")).await.echo();
        assert_eq!((echo.0["version"].as_str(), echo.body()), (Some("HTTP/1.1"), "x"));
    }
    let before = shop.origin.requests().await;
    assert_eq!(http2.get("/").await.status, 502);
    assert_eq!(shop.origin.requests().await, before, "no request in a protocol that was not agreed on");
}

#[tokio::test]
async fn a_pooled_connection_serves_only_who_would_have_made_it() {
    let shop = Shop::with(|origin, authority| {
        origin.tls(&certs::server(authority, &["orders.internal", "payments.internal"]))
    })
    .await;
    let upstream = |name: &str, more: &str| {
        format!(
            "  - {{ name: {name}, endpoints: [{{ address: \"{{origin_tls}}\" }}], retries: {{ attempts: 1 }}, {more} }}\n"
        )
    };
    let route = |name: &str| {
        format!("  - {{ name: {name}, match: {{ path: /{name} }}, to: [{{ upstream: {name} }}] }}\n")
    };
    let kinds = [
        ("good", "tls: { server_name: orders.internal, ca: ca.pem }"),
        ("wrong-ca", "tls: { server_name: orders.internal, ca: other.pem }"),
        ("system-ca", "tls: { server_name: orders.internal }"),
        ("other-name", "tls: { server_name: payments.internal, ca: ca.pem }"),
        (
            "certified",
            "tls: { server_name: orders.internal, ca: ca.pem, client: { chain: gw.pem, key: gw.key } }",
        ),
        ("newer", "tls: { server_name: orders.internal, ca: ca.pem }, protocol: http2"),
        ("same", "tls: { server_name: orders.internal, ca: ca.pem }"),
    ];
    let mut yaml = "upstreams:\n".to_owned();
    kinds.iter().for_each(|(name, more)| yaml.push_str(&upstream(name, more)));
    yaml.push_str("routes:\n");
    kinds.iter().for_each(|(name, _)| yaml.push_str(&route(name)));
    let gateway = shop.builder().yaml(&yaml).start().await;

    for round in 0..3 {
        let connection = async |name: &str| gateway.get(&format!("/{name}")).await.echo().connection();
        let good = connection("good").await;

        for wrong in ["wrong-ca", "system-ca"] {
            assert_refused(&gateway, &gateway.get(&format!("/{wrong}")).await, wrong).await;
        }
        assert_eq!(connection("good").await, good, "still there: round {round}");
        assert_eq!(connection("same").await, good, "the same terms share");
        let mut others =
            vec![connection("other-name").await, connection("certified").await, connection("newer").await];
        others.sort_unstable();
        others.dedup();
        assert!(others.len() == 3 && !others.contains(&good), "{good} {others:?}");
    }
}

/// An origin with TLS for `orders.internal`.
struct Shop {
    origin: Origin,
    authority: Authority,
}

impl Shop {
    async fn open() -> Self {
        Self::with(|origin, authority| origin.tls(&certs::server(authority, &["orders.internal"]))).await
    }

    async fn with(change: impl FnOnce(OriginBuilder, &Authority) -> OriginBuilder) -> Self {
        let authority = certs::authority();
        Self { origin: change(Origin::builder(), &authority).start().await, authority }
    }

    /// With files for both sides: `ca.pem` signed the origin, `other.pem` did not.
    fn builder(&self) -> GatewayBuilder {
        let other = certs::authority();
        let (client, strange) = (certs::client(&self.authority, "gw"), certs::client(&other, "gw"));
        Gateway::builder()
            .origin("origin", &self.origin)
            .file("ca.pem", &self.authority.pem().unwrap())
            .file("other.pem", &other.pem().unwrap())
            .file("gw.pem", &client.chain)
            .file("gw.key", &client.key)
            .file("strange.pem", &strange.chain)
            .file("strange.key", &strange.key)
    }

    async fn gateway(&self, tls: &str, more: &str) -> Gateway {
        let upstream = format!(
            "{{ name: origin, endpoints: [{{ address: \"{{origin_tls}}\" }}], retries: {{ attempts: 1 }}, tls: {{ {tls} }}, {more} }}"
        );
        self.builder().yaml(&format!("upstreams: [{upstream}]")).start().await
    }
}

async fn assert_refused(gateway: &Gateway, answer: &Response, why: &str) {
    assert_eq!((answer.status, answer.flag().as_str()), (502, "upstream_tls"), "{why}");
    let line = gateway.line_of(answer).await;
    assert_eq!((&line["status"], &line["flag"]), (&502.into(), &"upstream_tls".into()), "{line}");
}
