//! WebSockets through the gateway, and what only looks like one.

use std::time::Duration;

use crate::support::{
    Gateway, Origin, PATIENCE, Puppet, Request, Tls, WebSocket, certs, eventually, websocket::Frame,
};

#[tokio::test]
async fn messages_of_every_kind_come_back() {
    let origin = Origin::start().await;
    let gateway = Gateway::in_front_of(&origin).await;
    let mut socket = WebSocket::open(gateway.connect().await, &Request::get("/chat?room=7")).await.unwrap();

    socket.send_text("hello").await.unwrap();
    assert_eq!(socket.receive().await.unwrap(), Frame::Text("hello".into()));
    socket.send_binary(&[0, 255, 10, 13]).await.unwrap();
    assert_eq!(socket.receive().await.unwrap(), Frame::Binary(vec![0, 255, 10, 13]));
    socket.send_binary(&vec![7; 1_000_000]).await.unwrap();
    assert_eq!(socket.receive().await.unwrap(), Frame::Binary(vec![7; 1_000_000]));
    socket.ping(b"are you there").await.unwrap();
    assert_eq!(socket.receive().await.unwrap(), Frame::Pong(b"are you there".into()));

    // A message in three frames, with a ping between: RFC 6455, 5.4.
    for (first, piece) in [(0x01, b"a ".as_slice()), (0x00, b"long "), (0x89, b"!"), (0x80, b"story")] {
        socket.send(first, piece).await.unwrap();
    }
    assert_eq!(socket.receive().await.unwrap(), Frame::Pong(b"!".into()));
    assert_eq!(socket.receive().await.unwrap(), Frame::Text("a long story".into()));
    assert_eq!(origin.log().await[0]["target"], "/chat?room=7");
}

#[tokio::test]
async fn what_a_socket_sends_is_no_body_that_could_be_too_large() {
    let origin = Origin::start().await;
    let gateway =
        Gateway::builder().origin("origin", &origin).yaml("requests: { max_body: 1000B }").start().await;
    let mut socket = WebSocket::open(gateway.connect().await, &Request::get("/")).await.unwrap();

    for size in [600, 600, 5000] {
        socket.send_binary(&vec![7; size]).await.unwrap();
        assert_eq!(socket.receive().await.unwrap(), Frame::Binary(vec![7; size]));
    }
}

#[tokio::test]
async fn close_codes_pass_both_ways_and_the_line_is_written() {
    let origin = Origin::start().await;
    let gateway = Gateway::in_front_of(&origin).await;

    let mut ours = WebSocket::open(gateway.connect().await, &Request::get("/ours")).await.unwrap();
    ours.close(4001).await.unwrap();
    let mut theirs =
        WebSocket::open(gateway.connect().await, &Request::get("/theirs").script("ws_close=4002"))
            .await
            .unwrap();

    assert_eq!(ours.receive().await.unwrap(), Frame::Close(Some(4001)));
    assert_eq!(ours.http.read_to_end().await.unwrap(), b"");
    assert_eq!(theirs.receive().await.unwrap(), Frame::Close(Some(4002)));
    assert_eq!(theirs.http.read_to_end().await.unwrap(), b"");
    for path in ["/ours", "/theirs"] {
        let line = gateway.line(|line| line["path"] == path).await;
        assert_eq!(
            (&line["status"], &line["flag"], &line["bytes_out"]),
            (&101.into(), &().into(), &4.into()),
            "{line}"
        );
    }
    eventually(PATIENCE, || async { origin.stats().await["open_connections"] == 1 }).await;
}

#[tokio::test]
async fn frames_that_follow_the_handshake_at_once_are_not_lost() {
    let origin = Origin::start().await;
    let gateway = Gateway::in_front_of(&origin).await;
    let mut client = gateway.connect().await;
    let handshake = "GET / HTTP/1.1\r\nHost: h.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nx-origin: delay=20ms\r\n\
        Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

    client.write([handshake.as_bytes(), b"\x81\x82\0\0\0\0hi"].concat()).await.unwrap();

    assert_eq!(client.read_head().await.unwrap().status, 101);
    assert_eq!(WebSocket { http: client }.receive().await.unwrap(), Frame::Text("hi".into()));
}

#[tokio::test]
async fn sockets_go_through_tls_on_both_sides() {
    let authority = certs::authority();
    let origin = Origin::builder().tls(&certs::server(&authority, &["chat.internal"])).start().await;
    let gateway = Gateway::builder()
        .origin("origin", &origin)
        .certificate(&certs::server(&authority, &["api.example.com"]))
        .file("ca.pem", &authority.pem().unwrap())
        .yaml(
            r#"
            upstreams:
              - name: origin
                endpoints: [{ address: "{origin_tls}" }]
                tls: { server_name: chat.internal, ca: ca.pem }
            "#,
        )
        .start()
        .await;
    let client = gateway.connect_tls(&Tls::default().alpn(&["http/1.1"])).await.unwrap();

    let mut socket = WebSocket::open(client, &Request::get("/")).await.unwrap();
    socket.send_text("secret").await.unwrap();

    assert_eq!(socket.receive().await.unwrap(), Frame::Text("secret".into()));
}

#[tokio::test]
async fn a_silent_socket_outlives_the_timeouts_of_requests() {
    let origin = Origin::start().await;
    let gateway = Gateway::builder()
        .origin("origin", &origin)
        .yaml(
            r#"
            connections: { read: 500ms, write: 500ms, idle: 1s }
            upstreams:
              - name: origin
                endpoints: [{ address: "{origin}" }]
                timeouts: { read: 500ms, write: 500ms, request: 500ms, idle: 500ms, stream_idle: 300s }
            "#,
        )
        .start()
        .await;
    let mut socket = WebSocket::open(gateway.connect().await, &Request::get("/")).await.unwrap();
    socket.send_text("before").await.unwrap();
    assert_eq!(socket.receive().await.unwrap(), Frame::Text("before".into()));

    // The silence is what is tested.
    tokio::time::sleep(Duration::from_millis(2500)).await;

    socket.send_text("after").await.unwrap();
    assert_eq!(socket.receive().await.unwrap(), Frame::Text("after".into()));
}

#[tokio::test]
async fn thirty_silent_seconds_end_nothing() {
    let origin = Origin::start().await;
    let gateway = Gateway::in_front_of(&origin).await;
    let mut socket = WebSocket::open(gateway.connect().await, &Request::get("/")).await.unwrap();

    tokio::time::sleep(Duration::from_secs(30)).await;

    socket.send_text("still here").await.unwrap();
    assert_eq!(socket.receive().await.unwrap(), Frame::Text("still here".into()));
}

#[tokio::test]
async fn a_socket_that_is_silent_for_too_long_is_ended() {
    let origin = Origin::start().await;
    let gateway = Gateway::with_upstream(&origin, "timeouts: { stream_idle: 500ms }").await;
    let mut socket = WebSocket::open(gateway.connect().await, &Request::get("/")).await.unwrap();
    socket.send_text("before").await.unwrap();
    assert_eq!(socket.receive().await.unwrap(), Frame::Text("before".into()));

    assert_eq!(socket.http.read_to_end().await.unwrap(), b"");

    let line = gateway.line(|line| line["path"] == "/").await;
    assert_eq!((&line["status"], &line["flag"]), (&101.into(), &"upstream_timeout".into()), "{line}");
}

#[tokio::test]
async fn either_side_that_leaves_takes_the_other_with_it() {
    let origin = Origin::start().await;
    let gateway = Gateway::in_front_of(&origin).await;
    let open = async || {
        let mut socket = WebSocket::open(gateway.connect().await, &Request::get("/")).await.unwrap();
        socket.send_text("here").await.unwrap();
        assert_eq!(socket.receive().await.unwrap(), Frame::Text("here".into()));
        socket
    };

    drop(open().await);
    eventually(PATIENCE, || async { origin.stats().await["open_connections"] == 1 }).await;
    open().await.http.reset();
    eventually(PATIENCE, || async { origin.stats().await["open_connections"] == 1 }).await;
    let mut left = open().await;
    origin.stop().await;

    assert_eq!(left.http.read_to_end().await.unwrap(), b"");
}

/// A random `select!` of Pingora's may read the 101 before the end of the request's
/// empty body, and as published it then takes that end for the socket's
/// (vendor/README.md). It takes an origin that answers before the gateway's thread
/// goes on: on the same machine, under load.
#[tokio::test]
async fn an_answer_that_comes_at_once_ends_no_socket() {
    let puppet = Puppet::blurts(
        "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n",
    )
    .await;
    let gateway = Gateway::in_front_of(&puppet.origin).await;

    for _ in 0..20 {
        let mut client = gateway.connect().await;
        let request = Request::get("/").header("Connection", "Upgrade").header("Upgrade", "websocket");
        client
            .write(request.header("Sec-WebSocket-Version", "13").header("Sec-WebSocket-Key", "x").to_http1())
            .await
            .unwrap();
        assert_eq!(client.read_head().await.unwrap().status, 101);
        let ended = tokio::time::timeout(Duration::from_millis(200), client.read_some()).await;
        assert!(ended.is_err(), "{ended:?}");
    }
}

#[tokio::test]
async fn a_refusal_of_the_origin_is_an_ordinary_answer() {
    let origin = Origin::start().await;
    let gateway = Gateway::in_front_of(&origin).await;

    let refused =
        WebSocket::open(gateway.connect().await, &Request::get("/").script("status=403,body=not you")).await;
    let refused = refused.err().unwrap();

    assert_eq!((refused.status, refused.text().as_str(), refused.header("upgrade")), (403, "not you", None));
    assert!(gateway.line_of(&refused).await["flag"].is_null());
}

#[tokio::test]
async fn an_upgrade_to_anything_else_is_not_passed_on() {
    let origin = Origin::start().await;
    let gateway = Gateway::in_front_of(&origin).await;
    let mut client = gateway.connect().await;

    for protocol in ["h2c", "TLS/1.0", "websocket2", "websocket, h2c", "foo"] {
        let request = Request::get("/").header("Connection", "Upgrade").header("Upgrade", protocol);
        let answer = client.send(&request).await;

        assert_eq!(answer.status, 200, "{protocol}");
        assert_eq!(
            (answer.echo().header("upgrade"), answer.echo().header("connection")),
            (None, None),
            "{protocol}"
        );
        assert!(!answer.closed, "{protocol}");
    }
}

#[tokio::test]
async fn an_upstream_that_switches_protocols_unasked_is_refused() {
    let switches = "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n";
    let puppet = Puppet::says(switches).await;
    let gateway = Gateway::with_upstream(&puppet.origin, "retries: { attempts: 1 }").await;

    let answer = gateway.get("/").await;

    assert_eq!((answer.status, answer.flag().as_str()), (502, "upstream_protocol"));
}
