//! PROXY headers that are not believed: each connection is closed within the
//! deadline and counted once by its reason, what it claims reaches nothing, and
//! everybody else is served as before.

use std::{collections::BTreeMap, time::Duration};

use tokio::{io::AsyncWriteExt, time::Instant};

use crate::support::{
    Gateway, Http1, Origin, PATIENCE, Request, Tls, certs, eventually,
    proxy_header::{nlb, v1, v2, v2_raw},
    request::HOST,
    stream::{self, Stream},
};

/// What no log, no limit and no origin may ever see.
const SPOOFED: &str = "198.51.100.66";
const SPOOFED_PORT: &str = "198.51.100.66:6666";
const VPCE: &str = "vpce-08d2bf15fac5001c9";

#[tokio::test]
async fn bad_headers_are_closed_and_counted_by_reason() {
    let house = House::start().await;
    let spoofed = v2(SPOOFED_PORT, &[]);
    let with = |at: usize, byte: u8| {
        let mut bent = spoofed.clone();
        bent[at] = byte;
        bent
    };
    let twice = |first: &[u8], second: &[u8]| [first, second, &Request::get("/").to_http1()].concat();
    let long = |length: usize| format!("PROXY UNKNOWN {SPOOFED}{}", "f".repeat(length)).into_bytes();
    let mut overrun = v2(SPOOFED_PORT, &[(4, b"abc")]);
    overrun[30] = 200;
    let id = |id: &str| v2(SPOOFED_PORT, &[(0xea, &[b"\x01", id.as_bytes()].concat())]);
    for (what, sent, reason) in [
        ("garbage", b"\xde\xad\xbe\xef nothing that anybody speaks".to_vec(), "proxy_missing"),
        ("a request", Request::get("/").to_http1(), "proxy_missing"),
        ("a handshake", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec(), "proxy_missing"),
        ("a wrong signature", with(11, b'\r'), "proxy_missing"),
        ("a lower-case signature", b"proxy UNKNOWN\r\n".to_vec(), "proxy_missing"),
        ("version 3", with(12, 0x31), "proxy_version"),
        ("version 1, in binary", with(12, 0x11), "proxy_version"),
        ("an unknown command", with(12, 0x22), "proxy_malformed"),
        ("an unknown family", with(13, 0x41), "proxy_malformed"),
        ("datagrams", with(13, 0x12), "proxy_malformed"),
        ("IPv4 as IPv6", with(13, 0x21), "proxy_malformed"),
        ("a length of 65535", [&with(14, 0xff)[..], &[0; 65_535]].concat(), "proxy_too_large"),
        ("a length beyond the cap", v2(SPOOFED_PORT, &[(4, &[0; 1024])]), "proxy_too_large"),
        ("a line without an end", long(200), "proxy_too_large"),
        (
            "text that is not canonical",
            format!("PROXY TCP4 {SPOOFED} 1.1.1.1 01 2\r\n").into(),
            "proxy_malformed",
        ),
        ("text with a sign", format!("PROXY TCP4 {SPOOFED} 1.1.1.1 +1 2\r\n").into(), "proxy_malformed"),
        ("a bare line feed", format!("PROXY TCP4 {SPOOFED} 1.1.1.1 1 2\n").into(), "proxy_malformed"),
        ("a value that overruns", overrun, "proxy_malformed"),
        ("a wrong checksum", v2(SPOOFED_PORT, &[(3, b"1234")]), "proxy_checksum"),
        ("two checksums", v2(SPOOFED_PORT, &[(3, &[0; 4]), (3, b"1234")]), "proxy_malformed"),
        ("no endpoint's id", id("vpce-../../etc"), "proxy_malformed"),
        (
            "two endpoints",
            v2(SPOOFED_PORT, &[(0xea, b"\x01vpce-1"), (0xea, b"\x01vpce-2")]),
            "proxy_malformed",
        ),
        ("two headers", twice(&nlb("203.0.113.7:1", VPCE), &spoofed), "proxy_twice"),
        ("two lines", twice(&v1("203.0.113.7:1"), &v1(SPOOFED_PORT)), "proxy_twice"),
        ("a line behind a header", twice(&v2("203.0.113.7:1", &[]), &v1(SPOOFED_PORT)), "proxy_twice"),
        ("a header behind LOCAL", twice(&v2_raw(0x20, 0, b"", &[]), &spoofed), "proxy_twice"),
    ] {
        for listener in ["plain", "tls"] {
            house.refuses(what, listener, &sent, reason).await;
        }
    }
    house.nothing_was_believed().await;
}

#[tokio::test]
async fn a_header_that_ends_too_early_is_truncated_at_every_byte() {
    let house = House::start().await;
    let headers = [v1(SPOOFED_PORT), nlb(SPOOFED_PORT, VPCE), v2("[2001:db8::66]:6666", &[])];
    let mut cuts = 0;
    for header in &headers {
        for cut in 1..header.len() {
            let listener = ["plain", "tls"][cut % 2];
            let mut tcp = stream::connect(house.gateway.address(listener)).await.unwrap();
            tcp.write_all(&header[..cut]).await.unwrap();
            cuts += 1;
        }
    }

    house.counted(&[("proxy_truncated".to_owned(), f64::from(cuts))].into()).await;
    house.is_served().await;
    house.nothing_was_believed().await;
}

#[tokio::test]
async fn a_header_has_a_deadline_of_its_own() {
    let house = House::start().await;
    for listener in ["plain", "tls"] {
        for header in [v1(SPOOFED_PORT), nlb(SPOOFED_PORT, VPCE)] {
            // Half of it, and then nothing.
            let begun = Instant::now();
            let mut silent = house.connect(listener).await;
            silent.write(&header[..20]).await.unwrap();
            silent.ended().await;
            assert!((0.9..10.0).contains(&begun.elapsed().as_secs_f64()), "{:?}", begun.elapsed());

            // As slow as one byte a second to a deadline of three.
            let begun = Instant::now();
            let mut slow = house.connect(listener).await;
            let _ = slow.write_slowly(&header[..6], 1, Duration::from_millis(333)).await;
            slow.ended().await;
            assert!((0.9..10.0).contains(&begun.elapsed().as_secs_f64()), "{:?}", begun.elapsed());
        }
    }
    house.counted(&[("proxy_timeout".to_owned(), 8.0)].into()).await;
    house.is_served().await;
    house.nothing_was_believed().await;
}

#[tokio::test]
async fn silence_ends_as_it_does_without_a_header() {
    let house = House::start().await;
    for (listener, reason) in [("plain", "header_timeout"), ("tls", "handshake_timeout")] {
        for header in [&b""[..], b"PROXY UNKNOWN\r\n", b"PROXY UNKNOWN\r\nP"] {
            let before = house.reasons().await;
            let mut silent = house.connect(listener).await;
            silent.write(header).await.unwrap();
            silent.ended().await;
            house.counted(&plus(before, reason)).await;
        }
    }
    house.is_served().await;
}

#[tokio::test]
async fn a_header_of_who_is_not_trusted_is_refused_and_never_believed() {
    let house = House::start().await;
    for listener in ["untrusted", "untrusted_tls"] {
        for header in [v1(SPOOFED_PORT), nlb(SPOOFED_PORT, VPCE), v2_raw(0x20, 0, b"", &[])] {
            let sent = [&header[..], &Request::get("/").to_http1()].concat();
            house.refuses("optional", listener, &sent, "proxy_untrusted").await;
        }
    }
    // Here not even without one.
    house.refuses("required", "stranger", &v1(SPOOFED_PORT), "proxy_untrusted").await;
    house.refuses("required", "stranger", &Request::get("/").to_http1(), "proxy_untrusted").await;
    house.refuses("required", "stranger", b"", "proxy_untrusted").await;

    let answer = house.connect("untrusted").await.send(&Request::get("/")).await;
    assert_eq!(answer.echo().lines("x-forwarded-for"), ["127.0.0.1"]);
    let tcp = stream::connect(house.gateway.address("untrusted_tls")).await.unwrap();
    let answer = Http1::over(Tls::default().shake_hands(tcp).await.unwrap()).send(&Request::get("/")).await;
    assert_eq!(answer.echo().lines("x-forwarded-for"), ["127.0.0.1"]);
    house.nothing_was_believed().await;
}

/// A gateway with a listener of every kind, and the log that tells most.
struct House {
    origin: Origin,
    gateway: Gateway,
}

impl House {
    async fn start() -> Self {
        let origin = Origin::start().await;
        let certificate = certs::server(&certs::authority(), &[HOST]);
        let mut builder = Gateway::builder().origin("origin", &origin).pair("tls", &certificate);
        for name in ["untrusted", "untrusted_tls", "stranger"] {
            builder = builder.port(name);
        }
        let yaml = r#"
            connections: { header_timeout: 2s, handshake_timeout: 2s }
            listeners:
              - name: plain
                address: "{plain}"
                proxy_protocol: &required { mode: required, trusted: [127.0.0.0/8], timeout: 1s, max_header: 1KiB }
              - name: tls
                address: "{tls}"
                tls: &tls { certificates: [{ chain: tls.pem, key: tls.key }] }
                proxy_protocol: *required
              - name: untrusted
                address: "{untrusted}"
                proxy_protocol: &optional { mode: optional, trusted: [10.0.0.0/8] }
              - name: untrusted_tls
                address: "{untrusted_tls}"
                tls: *tls
                proxy_protocol: *optional
              - name: stranger
                address: "{stranger}"
                proxy_protocol: { mode: required, trusted: [10.0.0.0/8] }
            "#;
        let gateway = builder.yaml(yaml).env("TOLLGATE_LOG", "tollgate=debug").start().await;
        Self { origin, gateway }
    }

    async fn connect(&self, listener: &str) -> Http1 {
        Http1::over(Stream::Plain(stream::connect(self.gateway.address(listener)).await.unwrap()))
    }

    /// Sends it, sees it closed without an answer, counted once and for nothing
    /// else, and others served beside and after.
    async fn refuses(&self, what: &str, listener: &str, sent: &[u8], reason: &str) {
        let before = self.reasons().await;
        let requests = self.origin.requests().await;
        let mut beside = self.connect("plain").await;
        let request = [v1("203.0.113.7:1"), Request::get("/").to_http1()].concat();
        assert_eq!(beside.send_raw(request).await.status, 200);

        let begun = Instant::now();
        let mut bad = self.connect(listener).await;
        // It may be closed in the middle.
        let _ = bad.write(sent).await;
        bad.ended().await;

        assert!(begun.elapsed() < Duration::from_secs(10), "{what} at {listener}: {:?}", begun.elapsed());
        self.counted(&plus(before, reason)).await;
        assert_eq!(beside.send(&Request::get("/")).await.status, 200, "{what} at {listener}");
        assert_eq!(self.origin.requests().await, requests + 2, "{what} at {listener}");
    }

    async fn is_served(&self) {
        let request = [v1("203.0.113.7:1"), Request::get("/").to_http1()].concat();
        assert_eq!(self.connect("plain").await.send_raw(request).await.status, 200);
        let mut tcp = stream::connect(self.gateway.tls).await.unwrap();
        tcp.write_all(&nlb("203.0.113.7:1", VPCE)).await.unwrap();
        let mut http = Http1::over(Tls::default().shake_hands(tcp).await.unwrap());
        assert_eq!(http.send(&Request::get("/")).await.status, 200);
    }

    /// Waits until exactly these connections were counted.
    async fn counted(&self, expected: &Counts) {
        let all = |counts: &Counts| counts.values().sum::<f64>();
        eventually(PATIENCE, || async { all(&self.reasons().await) >= all(expected) }).await;
        assert_eq!(&self.reasons().await, expected);
    }

    async fn reasons(&self) -> Counts {
        let counted = self.gateway.metrics().await.refused().into_iter();
        counted.map(|(reason, count)| (reason.trim_start_matches("reason ").to_owned(), count)).collect()
    }

    async fn nothing_was_believed(&self) {
        let requests = self.origin.requests().await;
        eventually(PATIENCE, || async { self.gateway.access_log().len() as u64 >= requests }).await;
        let lines = self.gateway.access_log();
        assert_eq!(lines.len() as u64, requests);
        assert!(lines.iter().all(|line| !line.to_string().contains(SPOOFED)), "{lines:?}");
        let log = self.gateway.stderr();
        assert!(log.contains("connection ended early: reason=proxy_"), "{log}");
        assert!(!log.contains(SPOOFED) && !log.contains("2001:db8::66"), "{log}");
    }
}

fn plus(mut counts: Counts, reason: &str) -> Counts {
    *counts.entry(reason.to_owned()).or_insert(0.0) += 1.0;
    counts
}

/// Connections that ended early, by reason.
type Counts = BTreeMap<String, f64>;
