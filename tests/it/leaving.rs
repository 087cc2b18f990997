//! Clients that leave before the end, and that nobody else gets what was theirs.

use std::sync::Arc;

use tokio::io::AsyncReadExt;

use crate::support::{Gateway, Http1, Http2, Origin, PATIENCE, Request, Tls, certs, eventually};

#[tokio::test]
async fn a_client_that_leaves_in_the_middle_of_its_answer_is_written_down() {
    let (origin, gateway) = https().await;
    let slowly = |path: &str| Request::get(path).script("size=1000000,drip=20ms/10000");
    let begun = async |path: &str| {
        let mut client = gateway.connect().await;
        client.write(slowly(path).to_http1()).await.unwrap();
        client.read_exactly(20_000).await.unwrap();
        client
    };
    let mut http2 = gateway.connect_http2(&Tls::default()).await.unwrap();
    let mut exchange = http2.start(&slowly("/stream"), true).await.unwrap();
    exchange.piece().await.unwrap().unwrap();

    drop(begun("/close").await);
    begun("/reset").await.reset();
    exchange.reset(h2::Reason::CANCEL);

    for path in ["/close", "/reset", "/stream"] {
        let line = gateway.line(|line| line["path"] == path).await;
        assert_eq!((&line["status"], &line["flag"]), (&200.into(), &"client_gone".into()), "{line}");
        assert!(line["bytes_out"].as_u64().unwrap() < 1_000_000, "{line}");
    }
    // The upstream does not go on for nobody.
    eventually(PATIENCE, || async { origin.stats().await["open_connections"] == 1 }).await;
    assert_eq!(http2.send(&Request::get("/next")).await.echo().target(), "/next");
}

#[tokio::test]
async fn a_client_that_leaves_before_its_answer_is_written_down() {
    let (origin, gateway) = https().await;
    let request = |path: &str| Request::get(path).script("never_answers");
    let http2 = gateway.connect_http2(&Tls::default()).await.unwrap();
    let mut exchange = http2.start(&request("/stream"), true).await.unwrap();
    let mut reset = gateway.connect().await;
    reset.write(request("/reset").to_http1()).await.unwrap();
    eventually(PATIENCE, || async { origin.requests().await == 2 }).await;

    exchange.reset(h2::Reason::CANCEL);
    reset.reset();

    for path in ["/stream", "/reset"] {
        let line = gateway.line(|line| line["path"] == path).await;
        assert_eq!((&line["status"], &line["flag"]), (&0.into(), &"client_gone".into()), "{line}");
    }
    eventually(PATIENCE, || async { origin.stats().await["open_connections"] == 1 }).await;
}

#[tokio::test]
async fn a_part_of_a_body_is_never_taken_for_the_whole() {
    let (origin, gateway) = https().await;
    let http2 = gateway.connect_http2(&Tls::default()).await.unwrap();
    let head =
        |path: &str, framing: &str| format!("POST {path} HTTP/1.1\r\nHost: h.test\r\n{framing}\r\n\r\n");
    let mut came = 0;
    for (path, framing, body) in [
        ("/length", "Content-Length: 100", "fifty"),
        ("/chunk", "Transfer-Encoding: chunked", "64\r\nfifty"),
        ("/no-end", "Transfer-Encoding: chunked", "5\r\nfifty\r\n"),
    ] {
        let mut closes = gateway.connect().await;
        closes.write([head(path, framing), body.to_owned()].concat()).await.unwrap();
        let mut resets = gateway.connect().await;
        resets.write([head(path, framing), body.to_owned()].concat()).await.unwrap();
        came += 2 * "fifty".len();
        eventually(PATIENCE, || async { origin.stats().await["bytes_in"] == came }).await;

        drop(closes);
        resets.reset();
    }
    let mut exchange = http2.start(&Request::new("POST", "/stream"), false).await.unwrap();
    exchange.write("fifty", false).await.unwrap();
    eventually(PATIENCE, || async { origin.requests().await == 7 }).await;
    exchange.reset(h2::Reason::CANCEL);

    eventually(PATIENCE, || async { gateway.access_log().len() == 7 }).await;
    for line in gateway.access_log() {
        // An origin that took a part for the whole would have answered.
        assert_eq!(
            (&line["flag"], &line["upstream_first_byte_us"]),
            (&"client_gone".into(), &().into()),
            "{line}"
        );
    }
    eventually(PATIENCE, || async { origin.stats().await["open_connections"] == 1 }).await;
}

#[tokio::test]
async fn of_a_thousand_mixed_requests_none_sees_another_ones_body() {
    let (origin, gateway) = https().await;
    let gateway = Arc::new(gateway);
    let mut clients = Vec::new();
    for nth in 0..10 {
        let gateway = Arc::clone(&gateway);
        clients.push(tokio::spawn(async move { canaries(&gateway, nth).await }));
    }

    let mut answered = 0;
    for client in clients {
        answered += client.await.unwrap();
    }

    // What is left over are those that were meant to break.
    assert!(answered > 500, "{answered}");
    let stats = origin.stats().await;
    assert!(stats["requests"].as_u64().unwrap() > 900, "{stats}");
    assert!(stats["connections"].as_u64() < stats["requests"].as_u64(), "connections were reused: {stats}");
    assert_eq!(gateway.get("/last").await.echo().target(), "/last");
}

/// A hundred requests of one client, each with a mark of its own; how many were
/// answered whole. Panics when a mark comes back that is not the request's.
async fn canaries(gateway: &Gateway, client: u64) -> usize {
    let mut random = fastrand::Rng::with_seed(client);
    let mut kept = gateway.connect().await;
    let mut http2 = gateway.connect_http2(&Tls::default()).await.unwrap();
    let mut answered = 0;
    for nth in 0..100 {
        let mark = format!("~{client:02}-{nth:03}");
        let canary =
            Canary { kind: random.u8(..10), request: Request::new("GET", &format!("/{mark}")), mark };
        let whole = match random.u8(..4) {
            0 => canary.over_http2(&mut http2).await,
            1 => canary.over_http1(&mut gateway.connect().await).await,
            _ => {
                let whole = canary.over_http1(&mut kept).await;
                if canary.breaks() || !kept.is_open().await {
                    kept = gateway.connect().await;
                }
                whole
            }
        };
        answered += usize::from(whole);
    }
    answered
}

/// A request with a mark that stands in its answer, whole or in part.
struct Canary {
    kind: u8,
    mark: String,
    request: Request,
}

impl Canary {
    /// Whether its answer does not come, or not to its end.
    fn breaks(&self) -> bool {
        matches!(self.kind, 3..=6)
    }

    fn request(&self) -> Request {
        let (request, mark) = (self.request.clone(), &self.mark);
        match self.kind {
            0 => request,
            1 => request.script(&format!("body={mark},chunked")),
            // May be sent twice: the connection of an 8 may end under it.
            2 => Request::post(&request.target, mark.repeat(1000)).method("PUT"),
            // The client leaves in the middle.
            3 => request.script(&format!("body={},drip=5ms/100", mark.repeat(100))),
            4 => Request::post(&request.target, mark.repeat(20_000)),
            // The origin breaks off.
            5 => request.script(&format!("body={mark},truncate=3")),
            6 => request.script(&format!("body={mark},reset_after_header")),
            // The origin says more than it should, or ends without a word.
            7 => request.script(&format!("body={mark},header=content-length:5")),
            8 => request.script(&format!("body={mark},close_silently")),
            _ => request.script(&format!("body={mark},http10")),
        }
    }

    async fn over_http1(&self, client: &mut Http1) -> bool {
        let bytes = self.request().to_http1();
        match self.kind {
            3 => {
                client.write(bytes).await.unwrap();
                let mut some = vec![0; 300];
                let read = client.stream.read(&mut some).await.unwrap_or(0);
                self.look(&some[..read]);
                false
            }
            4 => {
                client.write(&bytes[..bytes.len() / 2]).await.unwrap();
                false
            }
            5 | 6 => {
                assert!(client.try_send_raw(bytes).await.is_err(), "{}", self.mark);
                false
            }
            _ => {
                let answer = client.send_raw(bytes).await;
                assert_eq!(answer.status, 200, "{} of kind {}: {}", self.mark, self.kind, answer.text());
                self.look(&answer.body)
            }
        }
    }

    async fn over_http2(&self, client: &mut Http2) -> bool {
        let request = self.request();
        if self.kind == 3 || self.kind == 4 {
            let mut exchange = client.start(&request, self.kind == 3).await.unwrap();
            let begun = match self.kind {
                3 => exchange.piece().await.map(|piece| piece.map(|piece| self.look(&piece))).is_ok(),
                _ => exchange.write(self.mark.repeat(100), false).await.is_ok(),
            };
            assert!(begun, "{}", self.mark);
            exchange.reset(h2::Reason::CANCEL);
            return false;
        }
        match client.try_send(&request).await {
            Ok(answer) => self.look(&answer.body) && answer.status == 200,
            Err(cut) => {
                assert!(self.breaks(), "{} of kind {}: {cut}", self.mark, self.kind);
                self.look(&cut.seen.body);
                false
            }
        }
    }

    /// Panics when a mark is there that is not its own.
    fn look(&self, body: &[u8]) -> bool {
        let text = String::from_utf8_lossy(body);
        for (place, _) in text.match_indices('~') {
            let found: String = text[place..].chars().take(self.mark.len()).collect();
            assert!(self.mark.starts_with(&found), "{} sees {found}", self.mark);
        }
        text.contains(self.mark.get(..5).unwrap())
    }
}

/// An origin, and a gateway in front of it with a TLS listener.
async fn https() -> (Origin, Gateway) {
    let origin = Origin::start().await;
    let gateway = Gateway::builder()
        .origin("origin", &origin)
        .certificate(&certs::server(&certs::authority(), &["api.example.com"]))
        .yaml(
            "upstreams: [{ name: origin, endpoints: [{ address: \"{origin}\" }], retries: { attempts: 2 } }]",
        )
        .start()
        .await;
    (origin, gateway)
}
