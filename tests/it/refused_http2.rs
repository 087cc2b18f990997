//! HTTP/2 requests that are refused, as frames. What is wrong with one stream
//! ends that stream; its siblings and the connection go on. None of the refused
//! reaches an origin.

use crate::support::{
    Frames, Gateway, Origin, PATIENCE, Request, Tls, certs, eventually,
    frames::{self, ENHANCE_YOUR_CALM, Outcome, PROTOCOL_ERROR, get},
    request::HOST,
};

type Fields = Vec<(Vec<u8>, Vec<u8>)>;

/// One request and what must come of it.
struct Case {
    fields: Fields,
    comes: Comes,
}

#[derive(Clone, Copy)]
enum Comes {
    /// Our own answer with this flag.
    Gate(u16, &'static str),
    /// Pingora's answer, or that of the HTTP/2 library: without body, uncounted.
    Below(u16),
    /// The stream ends with PROTOCOL_ERROR.
    Malformed,
    /// The connection does: the library does not take such bytes for a field.
    Broken,
}

use Comes::{Below, Broken, Gate, Malformed};

#[tokio::test]
async fn a_pseudo_field_that_is_not_one_plain_thing_is_refused() {
    assert_refused(vec![
        without(":authority", Below(400)),
        set(":authority", "", Malformed),
        set(":authority", "a,b", Gate(400, "bad_host")),
        set(":authority", "a b", Malformed),
        set(":authority", "a@b", Below(400)),
        set(":authority", "api.example.com:99999", Gate(400, "bad_host")),
        and("host", "other.example.com", Below(400)),
        and("host", "API.example.com", Below(400)),
        set(":path", "", Malformed),
        set(":path", "admin", Malformed),
        set(":path", "*", Gate(400, "bad_target")),
        set(":path", "/a b", Malformed),
        set(":path", "/a\0", Malformed),
        set(":path", "/a\r\nX: 1", Malformed),
        set(":path", "/é", Gate(400, "bad_path")),
        set(":path", "/a\\b", Gate(400, "bad_path")),
        set(":path", "/a%2fb", Gate(400, "bad_path")),
        set(":path", "/a/..;/b", Gate(400, "bad_path")),
        set(":path", "/a;b", Gate(400, "path_parameter")),
        set(":path", "/..", Gate(400, "bad_path")),
        set(":path", "http://api.example.com/", Malformed),
        set(":scheme", "gopher", Gate(400, "bad_target")),
        without(":scheme", Malformed),
        without(":method", Malformed),
        without(":path", Malformed),
        and(":path", "/twice", Malformed),
        and(":unknown", "x", Broken),
        set(":method", "get", Gate(405, "method_not_allowed")),
        set(":method", "TRACE", Gate(405, "method_not_allowed")),
        set(":method", "G T", Broken),
        case(vec![(":method", "CONNECT"), (":authority", HOST)], Gate(405, "method_not_allowed")),
    ])
    .await;
}

#[tokio::test]
async fn a_field_that_http_2_does_not_have_is_refused() {
    assert_refused(vec![
        and("te", "gzip", Malformed),
        and("connection", "close", Malformed),
        and("keep-alive", "timeout=5", Malformed),
        and("proxy-connection", "close", Malformed),
        and("upgrade", "h2c", Malformed),
        and("transfer-encoding", "chunked", Malformed),
        and("X-Upper", "1", Broken),
        and("x y", "1", Broken),
        and("x\r\ny", "1", Broken),
        and("x:y", "1", Broken),
        and("", "1", Broken),
        and("\"x\"", "1", Gate(400, "bad_header_name")),
        and("j_wt", "1", Gate(400, "underscore_header")),
        and("x_forwarded_for", "1", Gate(400, "underscore_header")),
        and("content-length", "5,6", Malformed),
        and("content-length", "+5", Malformed),
        and("x", "a\rb", Broken),
        and("x", "a\nb", Broken),
        and("x", "a\r\nSmuggled: 1", Broken),
        and("x", "a\0b", Broken),
        and("x", " a", Gate(400, "bad_header_value")),
        and("x", "a ", Gate(400, "bad_header_value")),
        and("x", "\ta", Gate(400, "bad_header_value")),
    ])
    .await;
}

#[tokio::test]
async fn more_header_than_allowed_is_a_431_over_http_2_too() {
    let many = |count: usize| {
        let mut fields = get("/");
        fields.extend((0..count).map(|_| (b"x".to_vec(), b"1".to_vec())));
        fields
    };
    let large = |size: usize| and("x", &"a".repeat(size), Gate(431, "header_too_large"));
    assert_refused(vec![
        Case { fields: many(101), comes: Gate(431, "too_many_fields") },
        Case { fields: many(900), comes: Gate(431, "too_many_fields") },
        set(":path", &format!("/{}", "a".repeat(16 << 10)), Gate(414, "target_too_long")),
        large(32 << 10),
        large(60 << 10),
        and("x", &"a".repeat(70 << 10), Below(431)),
    ])
    .await;
}

#[tokio::test]
async fn a_good_request_in_frames_is_served() {
    let (origin, gateway) = start().await;
    let mut client = Frames::open(&gateway).await;
    let mut fields = get("/a?b=%20");
    fields.push((b"te".to_vec(), b"trailers".to_vec()));

    let stream = client.request(&fields, true).await;

    let Outcome::Answer(200, body) = client.outcome(stream).await else { panic!("no answer") };
    assert!(body.contains(r#""target":"/a?b=%20""#), "{body}");
    assert_eq!(origin.requests().await, 1);
}

#[tokio::test]
async fn an_upload_right_behind_its_header_is_not_taken_for_a_header() {
    let (origin, gateway) = start().await;
    let mut fields = get("/");
    fields[0].1 = b"POST".to_vec();
    fields.push((b"x-origin".to_vec(), b"body=ok".to_vec()));
    let body = frames::frame(frames::DATA, 0, 1, &[b'x'; 16_384]);
    let last = frames::frame(frames::DATA, frames::END_STREAM, 1, &[b'x'; 16_000]);
    let sent = [frames::headers(1, &frames::block(&fields), false), body.repeat(3), last].concat();

    for _ in 0..20 {
        let mut client = Frames::open(&gateway).await;
        client.write(&sent).await.unwrap();

        assert_eq!(client.outcome(1).await, Outcome::Answer(200, "ok".to_owned()));
    }
    assert_eq!(origin.stats().await["bytes_in"], 20 * (3 * 16_384 + 16_000));
}

#[tokio::test]
async fn a_header_that_never_ends_ends_the_connection() {
    let (origin, gateway) = start().await;
    let before = gateway.rss_kib();
    for first in [true, false] {
        let mut client = Frames::open(&gateway).await;
        if !first {
            let stream = client.request(&get("/"), true).await;
            assert!(matches!(client.outcome(stream).await, Outcome::Answer(200, _)));
        }
        let field = frames::block(&[("x", "a".repeat(16_000))]);
        let open = frames::frame(frames::HEADERS, 0, 9, &frames::block(&get("/")));
        let more = frames::frame(frames::CONTINUATION, 0, 9, &field);
        client.write(&open).await.unwrap();

        // It may be cut off before; what comes after the end is read and dropped.
        for _ in 0..500 {
            let _ = client.write(&more).await;
        }

        let outcome = client.outcome(9).await;
        assert!(matches!(outcome, Outcome::GoAway(_) | Outcome::Closed), "{outcome:?}");
    }
    assert!(gateway.rss_kib() < before + 16 * 1024, "{} KiB became {}", before, gateway.rss_kib());
    assert!(origin.requests().await <= 1);
    assert_eq!(gateway.get("/").await.status, 200);
}

#[tokio::test]
async fn a_thousand_streams_reset_at_once_do_not_hurt_others() {
    let (origin, gateway) = start().await;
    let mut other = gateway.connect_http2(&Tls::default()).await.unwrap();
    other.send(&Request::get("/before")).await;
    let before = gateway.rss_kib();
    let mut attacker = Frames::open(&gateway).await;
    let block = frames::block(&get("/reset"));
    let one = |stream| {
        let open = frames::headers(stream, &block, true);
        [open, frames::frame(frames::RST_STREAM, 0, stream, &8u32.to_be_bytes())].concat()
    };

    let burst: Vec<u8> = (0..1_000).flat_map(|nth| one(2 * nth + 1)).collect();
    let _ = attacker.write(&burst).await;

    assert_eq!(attacker.outcome(u32::MAX).await, Outcome::GoAway(ENHANCE_YOUR_CALM));
    assert_eq!(other.send(&Request::get("/after")).await.echo().target(), "/after");
    assert!(gateway.rss_kib() < before + 8 * 1024, "{} KiB became {}", before, gateway.rss_kib());
    assert!(origin.requests().await < 200, "{} went upstream", origin.requests().await);
    // The streams that were let in before the cut are written down, each once.
    eventually(PATIENCE, || async { gateway.metric("tollgate_connections_open", &[]).await == 1.0 }).await;
    assert!(gateway.access_log().iter().filter(|line| line["path"] == "/reset").count() < 200);
}

fn case(fields: Vec<(&str, &str)>, comes: Comes) -> Case {
    Case { fields: fields.into_iter().map(|(name, value)| (name.into(), value.into())).collect(), comes }
}

/// A good GET with this pseudo-field instead.
fn set(name: &str, value: &str, comes: Comes) -> Case {
    let mut fields = get("/");
    let field = fields.iter_mut().find(|(own, _)| own == name.as_bytes()).unwrap();
    field.1 = value.into();
    Case { fields, comes }
}

/// A good GET without this pseudo-field.
fn without(name: &str, comes: Comes) -> Case {
    let fields = get("/").into_iter().filter(|(own, _)| own != name.as_bytes()).collect();
    Case { fields, comes }
}

/// A good GET with this field more; a pseudo-field stands with the others.
fn and(name: &str, value: &str, comes: Comes) -> Case {
    let mut fields = get("/");
    fields.push((name.into(), value.into()));
    Case { fields, comes }
}

async fn start() -> (Origin, Gateway) {
    let origin = Origin::start().await;
    let certificate = certs::server(&certs::authority(), &[HOST]);
    let gateway = Gateway::builder().origin("origin", &origin).certificate(&certificate).start().await;
    (origin, gateway)
}

/// Sends each on a connection of its own, then a good one on the same.
async fn assert_refused(cases: Vec<Case>) {
    let (origin, gateway) = start().await;
    let mut counted = std::collections::BTreeMap::new();
    for case in &cases {
        let mut client = Frames::open(&gateway).await;
        let stream = client.request(&case.fields, true).await;
        let outcome = client.outcome(stream).await;

        let sent: Vec<_> = case.fields.iter().map(|(n, v)| (text(n), text(v))).take(6).collect();
        match (case.comes, &outcome) {
            (Gate(status, flag), Outcome::Answer(answered, body)) => {
                let told: serde_json::Value = serde_json::from_str(body).unwrap_or_default();
                assert_eq!(
                    (*answered, told["flag"].as_str()),
                    (status, Some(flag)),
                    "{sent:?} got {outcome:?}"
                );
                let id = told["request_id"].clone();
                assert_eq!(gateway.line(|line| line["request_id"] == id).await["flag"], flag, "{sent:?}");
                *counted.entry(format!("flag {flag}")).or_insert(0.0) += 1.0;
            }
            (Below(status), answer) => {
                assert_eq!(*answer, Outcome::Answer(status, String::new()), "{sent:?}");
            }
            (Broken, outcome) => {
                assert_eq!(*outcome, Outcome::GoAway(PROTOCOL_ERROR), "{sent:?}");
                continue;
            }
            (_, outcome) => assert_eq!(*outcome, Outcome::Reset(PROTOCOL_ERROR), "{sent:?}"),
        }
        let next = client.request(&get("/after"), true).await;
        let next = client.outcome(next).await;
        assert!(matches!(next, Outcome::Answer(200, _)), "after {sent:?} came {next:?}");
    }

    let seen = origin.log().await;
    assert!(seen.iter().all(|seen| seen["target"] == "/after"), "{seen:?}");
    assert_eq!(seen.len(), cases.iter().filter(|case| !matches!(case.comes, Broken)).count());
    let mut refused = gateway.metrics().await.refused();
    refused.remove("reason bad_request");
    assert_eq!(refused, counted);
    assert!(!gateway.stderr().contains("level=error") && !gateway.stderr().contains("level=warn"));
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(&bytes[..bytes.len().min(80)]).into_owned()
}
