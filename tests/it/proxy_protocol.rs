//! PROXY headers of a load balancer that is trusted: the client that they name is
//! the client everywhere, on every kind of listener, however the bytes arrive.

use std::time::Duration;

use socket2::SockRef;
use tokio::io::AsyncWriteExt;

use crate::support::{
    Gateway, Http1, Http2, Origin, PATIENCE, Request, Tls, certs,
    client::Ended,
    eventually,
    proxy_header::{nlb, v1, v2, v2_raw},
    request::HOST,
    stream::{self, Stream},
    within,
};

const VPCE: &str = "vpce-08d2bf15fac5001c9";

#[tokio::test]
async fn the_client_is_the_headers_over_cleartext_tls_and_http2() {
    let (_origin, gateway) = start("mode: required, trusted: [127.0.0.0/8]", "").await;
    let tls_of_client = [&[1, 0, 0, 0, 0][..], b"\x21\x00\x07TLSv1.3"].concat();
    for (header, client) in [
        (v1("203.0.113.7:4711"), "203.0.113.7"),
        (v1("[2001:db8::7]:4711"), "2001:db8::7"),
        (v1("[::ffff:203.0.113.8]:4711"), "203.0.113.8"),
        (v2("203.0.113.9:4711", &[]), "203.0.113.9"),
        (v2("[2001:db8::9]:4711", &[(4, &[0; 900])]), "2001:db8::9"),
        (v2("203.0.113.10:4711", &[(0x20, &tls_of_client), (1, b"h2"), (5, &[7; 128])]), "203.0.113.10"),
        (nlb("203.0.113.11:4711", VPCE), "203.0.113.11"),
        (nlb("[2001:db8::11]:4711", VPCE), "2001:db8::11"),
    ] {
        for answer in on_every_way(&gateway, &header).await {
            assert_eq!(answer.echo().lines("x-forwarded-for"), [client], "{}", header.escape_ascii());
            let through = if header.windows(VPCE.len()).any(|part| part == VPCE.as_bytes()) {
                vec![VPCE]
            } else {
                Vec::new()
            };
            assert_eq!(answer.echo().lines("x-amzn-vpce-id"), through, "{}", header.escape_ascii());
            let line = gateway.line_of(&answer).await;
            assert_eq!((&line["client"], &line["peer"]), (&client.into(), &"127.0.0.1".into()), "{line}");
        }
    }
}

#[tokio::test]
async fn who_speaks_for_itself_keeps_its_address() {
    let (_origin, gateway) = start("mode: required, trusted: [127.0.0.0/8]", "").await;
    for header in [
        b"PROXY UNKNOWN\r\n".to_vec(),
        b"PROXY UNKNOWN 198.51.100.66 10.0.0.5 1 2\r\n".to_vec(),
        v2_raw(0x20, 0, b"", &[]),
        v2_raw(0x20, 0x11, &[198, 51, 100, 66, 10, 0, 0, 5, 0, 1, 0, 2], &[]),
        v2_raw(0x21, 0, &[198, 51, 100, 66], &[]),
        v2_raw(0x21, 0x31, &[b'a'; 216], &[]),
    ] {
        for answer in on_every_way(&gateway, &header).await {
            assert_eq!(answer.echo().lines("x-forwarded-for"), ["127.0.0.1"], "{}", header.escape_ascii());
            let line = gateway.line_of(&answer).await;
            assert_eq!((line["client"].as_str(), line.get("peer")), (Some("127.0.0.1"), None), "{line}");
        }
    }
}

#[tokio::test]
async fn a_header_may_be_cut_anywhere() {
    let (_origin, gateway) = start("mode: required, trusted: [127.0.0.0/8]", "").await;
    for header in [v1("203.0.113.7:4711"), nlb("203.0.113.7:4711", VPCE)] {
        let whole = [&header[..], &Request::get("/").to_http1()].concat();
        for cut in 1..=header.len() + 1 {
            let mut client = gateway.connect().await;
            client.write_slowly(&whole[..cut], cut, Duration::from_millis(1)).await.unwrap();
            let answer = client.send_raw(&whole[cut..]).await;

            assert_eq!(answer.echo().lines("x-forwarded-for"), ["203.0.113.7"], "{cut}");
        }

        let mut tcp = stream::connect(gateway.tls).await.unwrap();
        for byte in &header {
            tcp.write_all(&[*byte]).await.unwrap();
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let mut client = Http1::over(Tls::default().shake_hands(tcp).await.unwrap());
        let answer = client.send(&Request::get("/")).await;

        assert_eq!(answer.echo().lines("x-forwarded-for"), ["203.0.113.7"]);
    }
}

#[tokio::test]
async fn a_handshake_in_the_headers_own_segment_is_not_lost() {
    let (_origin, gateway) = start("mode: required, trusted: [127.0.0.0/8]", "").await;
    let mut tcp = stream::connect(gateway.tls).await.unwrap();

    // What is corked leaves together, after 200 ms.
    SockRef::from(&tcp).set_tcp_cork(true).unwrap();
    tcp.write_all(&nlb("203.0.113.7:4711", VPCE)).await.unwrap();
    let mut client = Http1::over(Tls::default().shake_hands(tcp).await.unwrap());
    let answer = client.send(&Request::get("/")).await;

    assert_eq!(answer.echo().lines("x-forwarded-for"), ["203.0.113.7"]);
}

#[tokio::test]
async fn where_a_header_is_optional_the_sockets_address_stands_without_one() {
    let (_origin, gateway) = start("mode: optional, trusted: [127.0.0.1/32]", "").await;
    for answer in on_every_way(&gateway, b"").await {
        assert_eq!(answer.echo().lines("x-forwarded-for"), ["127.0.0.1"]);
    }
    for answer in on_every_way(&gateway, &nlb("203.0.113.7:4711", VPCE)).await {
        assert_eq!(answer.echo().lines("x-forwarded-for"), ["203.0.113.7"]);
    }

    // From elsewhere, with what could begin like a header and does not.
    let from = [127, 0, 0, 9];
    for request in [Request::post("/", "a"), Request::new("PUT", "/").host(HOST)] {
        for lead in ["", "\r\n", "\r\n\r\n"] {
            let tcp = stream::connect_from(from, gateway.plain).await;
            let sent = [lead.as_bytes(), &request.to_http1()].concat();
            let answer = Http1::over(Stream::Plain(tcp)).send_raw(sent).await;
            assert_eq!(answer.echo().lines("x-forwarded-for"), ["127.0.0.9"]);
        }
    }
    let tcp = stream::connect_from(from, gateway.tls).await;
    let answer = Http1::over(Tls::default().shake_hands(tcp).await.unwrap()).send(&Request::get("/")).await;
    assert_eq!(answer.echo().lines("x-forwarded-for"), ["127.0.0.9"]);
}

/// An NLB sends the header with the first payload, unless told otherwise, and
/// clients connect ahead of need.
#[tokio::test]
async fn the_deadline_begins_with_the_first_byte() {
    for mode in ["required", "optional"] {
        let section = format!("mode: {mode}, trusted: [127.0.0.0/8], timeout: 100ms");
        let (_origin, gateway) = start(&section, "").await;
        let (mut plain, tls) = (gateway.connect().await, stream::connect(gateway.tls).await.unwrap());
        assert!(within(Duration::from_millis(500), || async { false }).await.is_none());

        let sent = [v1("203.0.113.7:4711"), Request::get("/").to_http1()].concat();
        assert_eq!(plain.send_raw(sent).await.echo().lines("x-forwarded-for"), ["203.0.113.7"]);
        let mut tls = over_tls(tls, &v1("203.0.113.7:4711")).await;
        assert_eq!(tls.send(&Request::get("/")).await.echo().lines("x-forwarded-for"), ["203.0.113.7"]);

        // So it is between the header and what follows.
        let mut plain = gateway.connect().await;
        plain.write(v1("203.0.113.7:4711")).await.unwrap();
        assert!(within(Duration::from_millis(500), || async { false }).await.is_none());
        assert_eq!(plain.send(&Request::get("/")).await.echo().lines("x-forwarded-for"), ["203.0.113.7"]);
    }
}

#[tokio::test]
async fn a_probe_is_no_error() {
    let (_origin, gateway) = start("mode: required, trusted: [127.0.0.0/8]", "").await;
    let before = gateway.stderr();

    for address in [gateway.plain, gateway.tls] {
        for header in [&b""[..], &v2_raw(0x20, 0, b"", &[]), b"PROXY UNKNOWN\r\n"] {
            let mut tcp = stream::connect(address).await.unwrap();
            tcp.write_all(header).await.unwrap();
        }
    }

    let probes = || async { gateway.metrics().await.refused() == [("reason probe".to_owned(), 6.0)].into() };
    eventually(PATIENCE, probes).await;
    assert_eq!(gateway.stderr(), before);
}

/// Where clients' listeners get headers, an NLB's health checks have them too.
#[tokio::test]
async fn readiness_answers_with_and_without_a_header() {
    let (_origin, gateway) = start("mode: required, trusted: [10.0.0.0/8]", "").await;
    let address = gateway.address("readiness");
    let ask = Request::get("/readyz").honest().to_http1();

    for header in [&b""[..], &v2_raw(0x20, 0, b"", &[]), &nlb("203.0.113.7:1", VPCE), &v1("203.0.113.7:1")] {
        let mut checker = Http1::open(address).await;
        let first = checker.send_raw([header, &ask].concat()).await;
        let second = checker.send_raw(&ask).await;
        assert_eq!([first.text(), second.text()], ["ready\n"; 2]);
    }
    let mut checker = Http1::open(address).await;
    checker.write_slowly(&v1("203.0.113.7:1"), 1, Duration::from_millis(1)).await.unwrap();
    assert_eq!(checker.send_raw(&ask).await.status, 200);
    // What is none is closed and hurts nobody.
    let mut bad = Http1::open(address).await;
    bad.write("PROXY nonsense\r\n").await.unwrap();
    assert_eq!(bad.ended().await, Ended::Closed);
    assert_eq!(gateway.readiness("/readyz").await.status, 200);
}

#[tokio::test]
async fn a_cap_is_each_clients_own_and_not_the_load_balancers() {
    let (_origin, gateway) =
        start("mode: required, trusted: [127.0.0.0/8]", "connections: { max_per_client: 2, max: 8 }").await;
    let mut held = Vec::new();
    for client in ["203.0.113.7:1", "203.0.113.7:2", "203.0.113.8:1", "203.0.113.8:2", "[2001:db8::7]:1"] {
        let mut http = gateway.connect().await;
        let answer = http.send_raw([v1(client), Request::get("/").to_http1()].concat()).await;
        assert_eq!(answer.status, 200);
        held.push(http);
    }

    let mut third = gateway.connect().await;
    third.write(v1("203.0.113.7:3")).await.unwrap();
    assert_eq!(third.ended().await, Ended::Closed);
    let capped = [("listener", "plain"), ("reason", "client_cap")];
    let early = "tollgate_connections_ended_early_total";
    eventually(PATIENCE, || async { gateway.metric(early, &capped).await == 1.0 }).await;

    // The process counts from the start: three more have come and said nothing.
    let _silent = [gateway.connect().await, gateway.connect().await, gateway.connect().await];
    let full = [("listener", "plain"), ("reason", "connection_cap")];
    eventually(PATIENCE, || async {
        drop(gateway.connect().await);
        gateway.metric(early, &full).await >= 1.0
    })
    .await;
    // Whoever leaves makes room for the same client.
    drop(held);
    let answer = eventually(PATIENCE, || async {
        let sent = [v1("203.0.113.7:3"), Request::get("/").to_http1()].concat();
        gateway.connect().await.try_send_raw(sent).await.ok()
    });
    assert_eq!(answer.await.status, 200);
}

#[tokio::test]
async fn trusted_proxies_are_looked_for_behind_the_load_balancer() {
    let (_origin, gateway) =
        start("mode: required, trusted: [127.0.0.0/8]", "forwarded: { trusted: [203.0.113.0/24] }").await;
    let ask = Request::get("/").honest().header("X-Forwarded-For", "192.0.2.1");

    let of = async |client: &str| {
        let mut http = gateway.connect().await;
        http.send_raw([v1(client), ask.to_http1()].concat()).await
    };
    let (proxy, other) = (of("203.0.113.7:1").await, of("198.51.100.7:1").await);

    assert_eq!(proxy.echo().lines("x-forwarded-for"), ["192.0.2.1, 203.0.113.7"]);
    assert_eq!(gateway.line_of(&proxy).await["client"], "192.0.2.1");
    assert_eq!(other.echo().lines("x-forwarded-for"), ["198.51.100.7"]);
}

#[tokio::test]
async fn who_was_connected_before_a_drain_is_served_in_it() {
    let (_origin, gateway) = start("mode: required, trusted: [127.0.0.0/8]", "").await;
    let (mut silent, mut named) = (gateway.connect().await, gateway.connect().await);
    named.write(v1("203.0.113.7:1")).await.unwrap();
    eventually(PATIENCE, || async { gateway.status().await["connections"] == 2 }).await;

    gateway.signal(libc::SIGTERM);
    eventually(PATIENCE, || async { stream::connect(gateway.plain).await.is_err() }).await;

    let sent = [v1("203.0.113.8:1"), Request::get("/").to_http1()].concat();
    assert_eq!(silent.send_raw(sent).await.echo().lines("x-forwarded-for"), ["203.0.113.8"]);
    assert_eq!(named.send(&Request::get("/")).await.echo().lines("x-forwarded-for"), ["203.0.113.7"]);
    drop((silent, named));
    assert_eq!(gateway.wait_exit(PATIENCE).await.code, Some(0));
}

#[tokio::test]
async fn a_reload_changes_who_may_send_a_header_and_who_must() {
    let (_origin, gateway) = start("mode: off", "").await;
    let with_header = async || {
        let sent = [v1("203.0.113.7:1"), Request::get("/").to_http1()].concat();
        gateway.connect().await.try_send_raw(sent).await.ok()
    };
    let ends = |answer: Option<crate::support::Response>| answer.map(|answer| (answer.status, answer.closed));
    let mut kept = gateway.connect().await;
    assert_eq!(kept.send(&Request::get("/")).await.status, 200);
    // A bad request, as ever.
    assert_eq!(ends(with_header().await), Some((400, true)));
    assert!(over_tls_fails(&gateway, &v1("203.0.113.7:1")).await);

    for (section, with, without) in [
        ("mode: required, trusted: [127.0.0.0/8]", true, false),
        ("mode: optional, trusted: [127.0.0.0/8]", true, true),
        ("mode: optional, trusted: [10.0.0.0/8]", false, true),
        ("mode: required, trusted: [10.0.0.0/8]", false, false),
        ("mode: required, trusted: [10.0.0.0/8, 127.0.0.1/32]", true, false),
    ] {
        gateway.write_config(&config(section, ""));
        assert_eq!(gateway.reload().await.code, Some(0), "{section}");

        assert_eq!(ends(with_header().await), with.then_some((200, false)), "{section}");
        assert_eq!(over_tls_fails(&gateway, &v1("203.0.113.7:1")).await, !with, "{section}");
        let answer = gateway.connect().await.try_send(&Request::get("/")).await.ok();
        assert_eq!(ends(answer), without.then_some((200, false)), "{section}");
        // Who is connected stays.
        assert_eq!(kept.send(&Request::get("/")).await.status, 200, "{section}");
    }
}

async fn over_tls_fails(gateway: &Gateway, header: &[u8]) -> bool {
    let mut tcp = stream::connect(gateway.tls).await.unwrap();
    tcp.write_all(header).await.unwrap();
    Tls::default().shake_hands(tcp).await.is_err()
}

/// One request over cleartext, TLS, and HTTP/2.
async fn on_every_way(gateway: &Gateway, header: &[u8]) -> [crate::support::Response; 3] {
    let mut plain = gateway.connect().await;
    let plain = plain.send_raw([header, &Request::get("/").to_http1()].concat()).await;
    let tcp = stream::connect(gateway.tls).await.unwrap();
    let tls = over_tls(tcp, header).await.send(&Request::get("/")).await;
    let mut tcp = stream::connect(gateway.tls).await.unwrap();
    tcp.write_all(header).await.unwrap();
    let secure = Tls::default().alpn(&["h2"]).shake_hands(tcp).await.unwrap();
    let http2 = Http2::over(secure).await.send(&Request::get("/")).await;
    [plain, tls, http2]
}

async fn over_tls(mut tcp: tokio::net::TcpStream, header: &[u8]) -> Http1 {
    tcp.write_all(header).await.unwrap();
    Http1::over(Tls::default().shake_hands(tcp).await.unwrap())
}

/// A cleartext and a TLS listener with this `proxy_protocol`.
async fn start(section: &str, more: &str) -> (Origin, Gateway) {
    let origin = Origin::start().await;
    let certificate = certs::server(&certs::authority(), &[HOST]);
    let builder = Gateway::builder().origin("origin", &origin).pair("tls", &certificate);
    (origin, builder.yaml(&config(section, more)).start().await)
}

fn config(section: &str, more: &str) -> String {
    format!(
        "
listeners:
  - name: plain
    address: \"{{plain}}\"
    proxy_protocol: {{ {section} }}
  - name: public
    address: \"{{tls}}\"
    tls: {{ certificates: [{{ chain: tls.pem, key: tls.key }}] }}
    proxy_protocol: {{ {section} }}
{more}
"
    )
}
