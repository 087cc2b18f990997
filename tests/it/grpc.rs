//! gRPC through the gateway: calls, streams, and their status in trailers.

use crate::support::{
    Gateway, Http2, Origin, Request, Tls, certs,
    http2::{grpc_frame, grpc_messages},
};

#[tokio::test]
async fn calls_come_back_with_their_messages_and_their_status() {
    for gateway in gateways().await {
        let mut client = gateway.connect().await;

        let unary = client.send(&call("Unary").chunks(&[grpc_frame(b"ping")])).await;
        let stream = client.send(&call("ServerStream").chunks(&[grpc_frame(b"ping")])).await;
        let large = client.send(&call("Unary").chunks(&[grpc_frame(&[7; 2_000_000])])).await;

        assert_eq!((unary.status, unary.header("content-type")), (200, Some("application/grpc")));
        assert_eq!(
            (grpc_messages(&unary.body), unary.trailer("grpc-status")),
            (vec![b"ping".to_vec()], Some("0"))
        );
        assert_eq!(
            (grpc_messages(&stream.body), stream.trailer("grpc-status")),
            (vec![b"ping".to_vec(); 5], Some("0"))
        );
        assert_eq!((large.body.len(), large.trailer("grpc-status")), (2_000_005, Some("0")));
        assert_eq!(gateway.gateway.line_of(&unary).await["status"], 200);
    }
}

#[tokio::test]
async fn a_failed_call_has_its_status_in_the_header_and_no_body() {
    for gateway in gateways().await {
        let answer = gateway.connect().await.send(&call("Fail").chunks(&[grpc_frame(b"ping")])).await;

        assert_eq!(
            (answer.status, answer.header("grpc-status"), answer.header("grpc-message")),
            (200, Some("5"), Some("not found"))
        );
        assert_eq!((answer.body.len(), answer.trailers.len()), (0, 0));
    }
}

#[tokio::test]
async fn messages_of_both_sides_interleave() {
    for gateway in gateways().await {
        let client = gateway.connect().await;
        let mut exchange = client.start(&call("BidiStream"), false).await.unwrap();

        for nth in 0..20_u8 {
            let message = grpc_frame(&[nth; 100]);
            exchange.write(message.clone(), false).await.unwrap();
            let mut back = Vec::new();
            while back.len() < message.len() {
                back.extend(exchange.piece().await.unwrap().expect("the call goes on"));
            }
            assert_eq!(back, message);
        }
        exchange.write("", true).await.unwrap();

        let end = exchange.response().await.unwrap();
        assert_eq!((end.body.len(), end.trailer("grpc-status")), (0, Some("0")));
    }
}

#[tokio::test]
async fn a_silent_stream_outlives_the_read_timeouts() {
    for gateway in gateways().await {
        let mut client = gateway.connect().await;
        // Between two of its five messages the origin is silent for longer.
        let slow = call("ServerStream").chunks(&[grpc_frame(b"ping")]).script("drip=700ms/1");
        let answer = client.send(&slow).await;

        assert_eq!((grpc_messages(&answer.body).len(), answer.trailer("grpc-status")), (5, Some("0")));
    }
}

#[tokio::test]
async fn te_trailers_reaches_the_upstream() {
    for gateway in gateways().await {
        let echo = gateway.connect().await.send(&call("Unary").script("status=200")).await.echo();

        assert_eq!((echo.lines("te"), echo.0["version"].as_str()), (vec!["trailers"], Some("HTTP/2.0")));
    }
}

#[tokio::test]
async fn a_call_that_the_client_cancels_is_cancelled_upstream() {
    for gateway in gateways().await {
        let mut client = gateway.connect().await;
        let mut exchange = client.start(&call("BidiStream"), false).await.unwrap();
        exchange.write(grpc_frame(b"ping"), false).await.unwrap();
        exchange.piece().await.unwrap().expect("the message comes back");

        exchange.reset(h2::Reason::CANCEL);

        let line = gateway.gateway.line(|line| line["path"] == "/shop.Orders/BidiStream").await;
        assert_eq!((&line["flag"], &line["bytes_in"]), (&"client_gone".into(), &9.into()), "{line}");
        // The connections on both sides go on.
        let next = client.send(&call("Unary").chunks(&[grpc_frame(b"next")])).await;
        assert_eq!(grpc_messages(&next.body), [b"next"]);
    }
}

#[tokio::test]
async fn a_call_that_cannot_be_made_gets_a_status_that_every_grpc_library_understands() {
    let authority = certs::authority();
    let gateway = Gateway::builder()
        .origin("origin", &Origin::dead())
        .certificate(&certs::server(&authority, &["api.example.com"]))
        .yaml("upstreams: [{ name: origin, protocol: http2, endpoints: [{ address: \"{origin}\" }], retries: { attempts: 1 } }]")
        .start()
        .await;

    let answer = gateway
        .connect_http2(&Tls::default())
        .await
        .unwrap()
        .send(&call("Unary").chunks(&[grpc_frame(b"ping")]))
        .await;

    // 502 is UNAVAILABLE to a client (grpc/doc/http-grpc-status-mapping).
    assert_eq!((answer.status, answer.flag().as_str()), (502, "connect_failed"));
}

/// A gateway, and the origin that has to live as long.
struct InFront {
    gateway: Gateway,
    _origin: Origin,
}

impl InFront {
    async fn connect(&self) -> Http2 {
        self.gateway.connect_http2(&Tls::default()).await.unwrap()
    }
}

/// In front of a cleartext upstream, and of one with TLS.
async fn gateways() -> [InFront; 2] {
    let authority = certs::authority();
    let mut gateways = Vec::new();
    for place in [
        "endpoints: [{ address: \"{origin}\" }]",
        "endpoints: [{ address: \"{origin_tls}\" }], tls: { server_name: orders.internal, ca: ca.pem }",
    ] {
        let origin = Origin::builder().tls(&certs::server(&authority, &["orders.internal"])).start().await;
        let timeouts = "timeouts: { read: 500ms, request: 500ms, stream_idle: 300s }";
        let gateway = Gateway::builder()
            .origin("origin", &origin)
            .certificate(&certs::server(&authority, &["api.example.com"]))
            .file("ca.pem", &authority.pem().unwrap())
            .yaml(&format!(
                "connections: {{ read: 500ms }}\nupstreams: [{{ name: origin, protocol: http2, {place}, {timeouts} }}]"
            ))
            .start()
            .await;
        gateways.push(InFront { gateway, _origin: origin });
    }
    gateways.try_into().ok().unwrap()
}

fn call(method: &str) -> Request {
    Request::new("POST", &format!("/shop.Orders/{method}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
}
