//! What is written down of hostile requests: one JSON line each, whatever is in
//! them, and never a secret.

use serde_json::Value;

use crate::support::{
    Frames, Gateway, Http1, Origin, PATIENCE, Request, Tls, certs, eventually, frames::get, request::HOST,
};

/// In every place where clients put secrets, and nowhere else.
const CANARY: &str = "c4n4ry-5ecret";

#[tokio::test]
async fn every_request_is_one_line_of_json_whatever_is_in_it() {
    let origin = Origin::start().await;
    let limits = "requests: { max_header_bytes: 256KiB, max_target_bytes: 128KiB }";
    let gateway = Gateway::builder().origin("origin", &origin).yaml(limits).start().await;
    let long = "a".repeat(64 << 10);
    // As long as the parser takes.
    let path = format!("/{}", "a".repeat(65_000));
    let agents: [&[u8]; 12] = [
        b"\"quoted\" \\ back\\slash",
        b"\",\"status\":200,\"x\":\"",
        b"\"}\\n{\"time\":\"forged\"}",
        b"tab\tinside",
        b"\xff\xfe 8-bit \xc3\x28",
        b"\xc2\x9b31m C1",
        "\u{2028}\u{2029}\u{85}\u{feff}\u{202e}".as_bytes(),
        "😀 \u{10ffff}".as_bytes(),
        b"%0a%0d\\u000a\\n",
        b"</script><!--${jndi:ldap://x}",
        b"",
        long.as_bytes(),
    ];
    let paths = ["/a%0ab", "/%22%7b", "/%1b%5b31m", "/'%22", "/{\"a\":1}", "/%e2%80%a8", &path];
    let mut client = gateway.connect().await;
    let mut answers = Vec::new();

    for agent in agents {
        let head = [b"GET /agent HTTP/1.1\r\nHost: a\r\nUser-Agent: ", agent, b"\r\n\r\n"].concat();
        answers.push(client.send_raw(head).await);
    }
    for path in paths {
        answers.push(gateway.get(path).await);
    }
    for host in ["\"", "a\\", "\u{2028}", "{\"a\":1}", "a\tb"] {
        answers.push(gateway.send(&Request::get("/").host(host)).await);
    }
    for method in ["A\"B", "%0A", "'"] {
        let sent = format!("{method} / HTTP/1.1\r\nHost: a\r\n\r\n");
        // What is no token is not even a request.
        let answer = gateway.connect().await.send_raw(sent).await;
        answers.extend(Some(answer).filter(|answer| answer.header("x-request-id").is_some()));
    }

    assert_eq!(answers.len(), agents.len() + paths.len() + 5 + 2);
    for answer in &answers {
        let line = gateway.line_of(answer).await;
        assert_eq!(line["status"], answer.status);
        assert!(line.to_string().len() < 8 << 10, "{} bytes", line.to_string().len());
    }
    // `access_log` has parsed every line.
    let lines = gateway.access_log();
    assert_eq!(lines.len(), answers.len());
    assert!(lines.iter().all(|line| line["time"] != "forged"));
    let agents: Vec<_> = lines.iter().filter_map(|line| line["user_agent"].as_str()).collect();
    assert!(agents.contains(&"\"quoted\" \\ back\\slash"), "{agents:?}");
    assert!(agents.contains(&"\"}\\n{\"time\":\"forged\"}"), "{agents:?}");
    assert!(agents.contains(&"tab\tinside"), "{agents:?}");
}

#[tokio::test]
async fn nothing_that_is_written_down_can_move_a_terminal() {
    let origin = Origin::start().await;
    let gateway = Gateway::in_front_of(&origin).await;
    let agent = b"\xc2\x9b31m \xe2\x80\xae \xff\x9b2J";

    let head = [b"GET / HTTP/1.1\r\nHost: a\r\nUser-Agent: ", &agent[..], b"\r\n\r\n"].concat();
    let answer = gateway.connect().await.send_raw(head).await;

    gateway.line_of(&answer).await;
    let raw = gateway.stdout();
    assert_eq!(raw.lines().count(), 1, "{raw:?}");
    assert!(!raw.chars().any(|c| c.is_control() && c != '\n'), "{raw:?}");
}

#[tokio::test]
async fn a_secret_is_written_nowhere() {
    let (origin, gateway) = hostile().await;
    let secrets = [
        ("Authorization", format!("Bearer {CANARY}")),
        ("Proxy-Authorization", format!("Basic {CANARY}")),
        ("Cookie", format!("session={CANARY}")),
        ("X-Api-Key", CANARY.to_owned()),
        ("Referer", format!("https://a/?token={CANARY}")),
        ("Sec-WebSocket-Protocol", CANARY.to_owned()),
        ("Content-Type", format!("text/plain; boundary={CANARY}")),
    ];
    let request = |target: &str, host: &str| {
        let plain = Request::post(&format!("{target}?access_token={CANARY}&a=b"), CANARY).host(host);
        secrets.iter().fold(plain, |request, (name, value)| request.header(name, value))
    };

    // Served, not found, not reached, answered late, cut, and refused by each part.
    for (target, host) in
        [("/", HOST), ("/nothing", "other.example.com"), ("/dead", HOST), ("/", "a,b"), ("/%", HOST)]
    {
        let good = request(target, host);
        let _ = gateway.connect().await.try_send(&good).await;
        if host == HOST {
            let mut client = gateway.connect_http2(&Tls::default()).await.unwrap();
            let _ = client.try_send(&good).await;
        }
    }
    for script in ["never_answers", "reset_before_header", "reset_after_header", "raw=U1NI", "status=500"] {
        let bad = request("/", HOST).header("x-origin", script);
        let _ = gateway.connect().await.try_send(&bad).await;
    }
    let secret = format!("Authorization: {CANARY}\r\nCookie: {CANARY}\r\n");
    for sent in [
        format!("GET /?{CANARY} HTTP/1.1\r\n{secret}Host: a@{CANARY}\r\n\r\n"),
        format!("GET /?{CANARY} HTTP/1.1\r\nHost: a\r\n{secret}X : y\r\n\r\n"),
        format!("GET /?{CANARY} HTTP/1.1\r\nHost: a\r\n{secret}X: \0\r\n\r\n"),
        format!("GET /?{CANARY} {CANARY} HTTP/1.1\r\n{secret}\r\n"),
        format!("GET http://{CANARY}/ HTTP/1.1\r\nHost: a\r\n{secret}\r\n"),
        format!("CONNECT a:1 HTTP/1.1\r\nHost: {CANARY}\r\n{secret}\r\n"),
        format!(
            "POST /?{CANARY} HTTP/1.1\r\nHost: a\r\n{secret}Transfer-Encoding: chunked\r\n\r\n{CANARY}\r\n"
        ),
        format!("{CANARY}\r\n\r\n"),
    ] {
        gateway.connect().await.send_raw(sent).await;
    }
    let mut frames = Frames::open(&gateway).await;
    let fields = [get(&format!("/a b?{CANARY}")), vec![(b"authorization".to_vec(), CANARY.into())]].concat();
    let stream = frames.request(&fields, true).await;
    frames.outcome(stream).await;

    eventually(PATIENCE, || async { gateway.access_log().len() >= 14 }).await;
    eventually(PATIENCE, || async { gateway.metrics().await.refused().values().sum::<f64>() >= 17.0 }).await;
    let page = Http1::open(gateway.address("metrics")).await.send(&Request::get("/metrics").honest()).await;
    let told = [gateway.stdout(), gateway.stderr(), page.text(), gateway.status().await.to_string()];
    for told in &told {
        assert!(!told.contains(CANARY), "{told}");
    }
    assert!(origin.requests().await >= 6);
    assert_eq!(gateway.access_log().len(), 14);
}

#[tokio::test]
async fn no_answer_of_the_gateways_own_tells_what_it_knows() {
    let (origin, gateway) = hostile().await;
    let secret = |target: &str, host: &str| {
        Request::get(&format!("{target}?{CANARY}")).host(host).header("Cookie", CANARY)
    };

    for request in [
        secret("/nothing", "other.example.com"),
        secret("/dead", HOST),
        secret("/%", HOST),
        secret("/", "a,b"),
    ] {
        let answer = gateway.send(&request).await;

        let told = format!("{:?} {}", answer.headers, answer.text());
        let names: Vec<_> = answer.json().as_object().unwrap().keys().cloned().collect();
        assert_eq!(names, ["detail", "flag", "request_id", "status", "title", "type"]);
        for hidden in [CANARY, "127.0.0.1", &origin.address.to_string(), "dead", "Pingora", "pingora", HOST] {
            assert!(!told.contains(hidden), "{hidden} in {told}");
        }
        assert_eq!(answer.json()["type"], Value::from("about:blank"));
    }
}

/// One good origin, and nothing behind `/dead`.
async fn hostile() -> (Origin, Gateway) {
    let origin = Origin::start().await;
    let certificate = certs::server(&certs::authority(), &[HOST]);
    let text = r#"
        upstreams:
          - { name: origin, endpoints: [{ address: "{origin}" }], timeouts: { read: 200ms } }
          - { name: gone, endpoints: [{ address: "{nobody}" }] }
        routes:
          - { name: all, match: { hosts: [api.example.com, a] }, to: [{ upstream: origin }] }
          - { name: none, match: { hosts: [api.example.com], path: /dead }, to: [{ upstream: gone }] }
        "#;
    let builder = Gateway::builder().origin("origin", &origin).origin("nobody", &Origin::dead());
    let gateway = builder.certificate(&certificate).yaml(text).start().await;
    (origin, gateway)
}
