//! What an origin receives, whatever a client says of itself.

use serde_json::json;

use crate::support::{
    Gateway, Http1, Origin, Request, Response, Tls, certs,
    request::{FORGERY, HOST},
    response::Echo,
};

/// What only the gateway may say, or nobody.
const OURS: [&str; 18] = [
    "x-forwarded-for",
    "x-forwarded-proto",
    "x-forwarded-host",
    "x-forwarded-port",
    "x-forwarded-prefix",
    "x-forwarded-server",
    "x-forwarded-client-cert",
    "forwarded",
    "x-real-ip",
    "x-request-id",
    "x-original-url",
    "x-rewrite-url",
    "x-http-method-override",
    "x-http-method",
    "x-method-override",
    "traceparent",
    "tracestate",
    "x-amzn-trace-id",
];

#[tokio::test]
async fn no_spelling_of_a_forged_field_arrives() {
    let origin = Origin::start().await;
    let gateway = Gateway::in_front_of(&origin).await;
    let mut client = gateway.connect().await;

    for name in OURS {
        for sent in forgeries(name) {
            let answer = client.send_raw(&sent).await;

            assert_eq!(answer.status, 200, "{sent:?} got {answer:?}");
            assert_ours_alone(&answer, "http", &sent);
        }
    }
}

#[tokio::test]
async fn no_forged_field_arrives_from_http_2() {
    let (_origin, gateway) = with_tls().await;
    let mut client = gateway.connect_http2(&Tls::default()).await.unwrap();

    for name in OURS {
        for times in [1, 3] {
            for forged in [FORGERY, "", "203.0.113.66, 203.0.113.66"] {
                let lines =
                    (0..times).fold(Request::get("/").honest(), |request, _| request.header(name, forged));

                let answer = client.send(&lines).await;

                assert_ours_alone(&answer, "https", &format!("{name}: {forged:?} {times} times"));
            }
        }
    }
}

#[tokio::test]
async fn no_nomination_takes_a_field_of_ours_away() {
    let origin = Origin::start().await;
    let gateway = Gateway::in_front_of(&origin).await;

    for name in OURS {
        for nominated in
            [name.to_owned(), name.to_uppercase(), format!("close,{name} ,x-mine"), format!("x,\t{name}")]
        {
            let lines = format!("Connection: {nominated}\r\n{name}: {FORGERY}\r\nX-Mine: 1\r\n");
            let sent = format!("GET / HTTP/1.1\r\nHost: {HOST}\r\n{lines}\r\n");
            let answer = gateway.connect().await.send_raw(&sent).await;

            if answer.status == 400 {
                assert_eq!(answer.flag(), "bad_connection", "{sent:?}");
            } else {
                assert_ours_alone(&answer, "http", &sent);
            }
        }
    }
    // A good one too: it would be kept, and the nomination would take it away.
    let trace = "Root=1-67891233-abcdef012345678912345678";
    let sent = format!(
        "GET / HTTP/1.1\r\nHost: a\r\nConnection: x-amzn-trace-id\r\nX-Amzn-Trace-Id: {trace}\r\n\r\n"
    );
    assert_eq!(gateway.connect().await.send_raw(sent).await.flag(), "bad_connection");
}

#[tokio::test]
async fn what_speaks_of_one_connection_does_not_go_on() {
    let origin = Origin::start().await;
    let gateway = Gateway::in_front_of(&origin).await;
    let hops = [
        "Connection: keep-alive, X-Hop, x-HOP-2\r\nX-Hop: 1\r\nX-Hop-2: 1\r\n",
        "Connection: x-hop\r\nConnection: X-Hop-2\r\nx-hop: 1\r\nX-HOP-2: 1\r\n",
        "Keep-Alive: timeout=5\r\n",
        "Proxy-Connection: keep-alive\r\n",
        "Proxy-Authorization: Basic YTpi\r\n",
        "Proxy-Authenticate: Basic\r\n",
        "TE: trailers\r\n",
        "Trailer: X-Trailer\r\n",
        "Upgrade: h2c\r\n",
        "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n",
        "HTTP2-Settings: AAMAAABkAAQAAP__\r\n",
    ];
    let post = format!("POST / HTTP/1.1\r\nHost: {HOST}\r\nX-End: 1\r\nTransfer-Encoding: chunked\r\n");
    let get = format!("GET / HTTP/1.1\r\nHost: {HOST}\r\nX-End: 1\r\n");
    let body = "\r\n2\r\nhi\r\n0\r\nX-Trailer: 1\r\nX-Real-IP: 1\r\n\r\n";
    let own = [
        "host",
        "via",
        "x-amzn-trace-id",
        "x-end",
        "x-forwarded-for",
        "x-forwarded-host",
        "x-forwarded-proto",
        "x-request-id",
    ];

    for lines in hops.into_iter().map(str::to_owned).chain([hops.concat()]) {
        let one = gateway.connect().await.send_raw(format!("{post}{lines}{body}")).await.echo();
        let two = gateway.connect().await.send_raw(format!("{get}{lines}\r\n")).await.echo();

        assert_eq!((one.body(), &one.0["trailers"]), ("hi", &json!([])), "{lines:?}");
        assert_eq!(one.lines("transfer-encoding"), ["chunked"], "{lines:?}");
        let names_but_framing: Vec<_> =
            names(&one).into_iter().filter(|n| n != "transfer-encoding").collect();
        assert_eq!(names_but_framing, own, "{lines:?}");
        assert_eq!(names(&two), own, "{lines:?}");
    }
}

#[tokio::test]
async fn who_was_before_us_is_kept_in_via() {
    let (_origin, gateway) = with_tls().await;
    let request = Request::get("/").header("Via", "1.0 fred").header("vIA", "1.1 p.example.net (x)");

    let one = gateway.send(&request).await.echo();
    let two = gateway.connect_http2(&Tls::default()).await.unwrap().send(&request).await.echo();

    assert_eq!(one.lines("via"), ["1.0 fred, 1.1 p.example.net (x), 1.1 tollgate"]);
    assert_eq!(two.lines("via"), ["1.0 fred, 1.1 p.example.net (x), 2 tollgate"]);
}

#[tokio::test]
async fn trailers_of_http_2_do_not_go_on() {
    let (_origin, gateway) = with_tls().await;
    let client = gateway.connect_http2(&Tls::default()).await.unwrap();

    let mut exchange =
        client.start(&Request::new("POST", "/").header("te", "trailers"), false).await.unwrap();
    exchange.write("hi", false).await.unwrap();
    let trailers =
        [("x-real-ip", FORGERY), ("x-trailer", "1")].map(|(n, v)| (n.parse().unwrap(), v.parse().unwrap()));
    exchange.write_trailers(http::HeaderMap::from_iter(trailers));
    let echo = exchange.response().await.unwrap().echo();

    assert_eq!((echo.body(), &echo.0["trailers"]), ("hi", &json!([])));
    assert_eq!(echo.lines("te"), Vec::<&str>::new());
}

#[tokio::test]
async fn a_trusted_proxy_is_believed_and_added_to() {
    let origin = Origin::start().await;
    let gateway = trusting(&origin, "127.0.0.0/8").await;
    let id = "id-from.the_proxy";
    let trace = "Root=1-67891233-abcdef012345678912345678";
    let request = Request::get("/")
        .honest()
        .header("X-Forwarded-For", "6.6.6.6, 198.51.100.7")
        .header("X-Forwarded-For", "127.0.0.9")
        .header("X-Forwarded-Proto", "https")
        .header("X-Forwarded-Host", "shop.example.com")
        .header("Forwarded", "for=\"[2001:db8::7]\";proto=https")
        .header("X-Request-Id", id)
        .header("X-Amzn-Trace-Id", trace)
        .header("Via", "1.1 proxy");

    let answer = gateway.send(&request).await;

    let echo = answer.echo();
    for (name, value) in [
        ("x-forwarded-for", "6.6.6.6, 198.51.100.7, 127.0.0.9, 127.0.0.1"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-host", "shop.example.com"),
        ("forwarded", "for=\"[2001:db8::7]\";proto=https, for=127.0.0.1"),
        ("x-request-id", id),
        ("x-amzn-trace-id", trace),
        ("via", "1.1 proxy, 1.1 tollgate"),
    ] {
        assert_eq!(echo.lines(name), [value], "{name}");
    }
    let line = gateway.line_of(&answer).await;
    assert_eq!((&line["request_id"], &line["client"]), (&json!(id), &json!("198.51.100.7")));

    let bare = gateway.send(&Request::get("/").honest()).await.echo();
    assert_eq!(bare.lines("x-forwarded-for"), ["127.0.0.1"]);
    assert_eq!((bare.lines("x-forwarded-proto"), bare.lines("x-forwarded-host")), (vec!["http"], vec![HOST]));
    assert_eq!(bare.lines("forwarded"), Vec::<&str>::new());
}

#[tokio::test]
async fn a_trusted_proxy_over_ipv6_is_added_as_rfc_7239_writes_it() {
    let origin = Origin::start().await;
    let gateway = trusting(&origin, "::1/128").await;
    let six = std::net::SocketAddr::new("::1".parse().unwrap(), gateway.address("six").port());
    let request = Request::get("/")
        .honest()
        .header("Forwarded", "for=192.0.2.1")
        .header("X-Forwarded-For", "192.0.2.1");

    let trusted = Http1::open(six).await.send(&request).await.echo();
    let stranger = gateway.send(&request).await.echo();

    assert_eq!(trusted.lines("forwarded"), ["for=192.0.2.1, for=\"[::1]\""]);
    assert_eq!(trusted.lines("x-forwarded-for"), ["192.0.2.1, ::1"]);
    assert_eq!(stranger.lines("forwarded"), Vec::<&str>::new());
    assert_eq!(stranger.lines("x-forwarded-for"), ["127.0.0.1"]);
}

#[tokio::test]
async fn a_well_formed_trace_goes_on_and_no_other() {
    let origin = Origin::start().await;
    let gateway = Gateway::in_front_of(&origin).await;
    let parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let get = || Request::get("/").header("tracestate", "vendor=1");

    let kept = gateway.send(&get().header("Traceparent", parent)).await.echo();
    assert_eq!((kept.lines("traceparent"), kept.lines("tracestate")), (vec![parent], vec!["vendor=1"]));
    assert_eq!(kept.header("x-amzn-trace-id"), Some("Root=1-4bf92f35-77b34da6a3ce929d0e0e4736"));

    for malformed in
        ["", "00-0-0-01", "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", &parent.to_uppercase()]
    {
        let echo = gateway.send(&get().header("traceparent", malformed)).await.echo();
        assert_eq!((echo.lines("traceparent").len(), echo.lines("tracestate").len()), (0, 0), "{malformed}");
    }
    let twice = gateway.send(&get().header("traceparent", parent).header("TRACEPARENT", parent)).await.echo();
    assert_eq!((twice.lines("traceparent").len(), twice.lines("tracestate").len()), (0, 0));
}

#[tokio::test]
async fn cookies_of_http_2_arrive_in_one_line() {
    let (_origin, gateway) = with_tls().await;
    let mut client = gateway.connect_http2(&Tls::default()).await.unwrap();
    let crumbs =
        Request::get("/").header("cookie", "a=1").header("cookie", "b=2; c=3").header("cookie", "d=\"4\"");

    assert_eq!(client.send(&crumbs).await.echo().lines("cookie"), ["a=1; b=2; c=3; d=\"4\""]);
    assert_eq!(client.send(&Request::get("/").header("cookie", "a=1")).await.echo().lines("cookie"), ["a=1"]);
}

/// Requests with this field in 60 ways: spelling, value, place and number.
fn forgeries(name: &str) -> Vec<String> {
    let values = [FORGERY, "203.0.113.66, 203.0.113.66", "for=203.0.113.66;proto=203.0.113.66", "", "é"];
    let spellings = [name.to_owned(), name.to_uppercase(), title(name), swapped(name)];
    let lines =
        spellings.iter().flat_map(|name| values.iter().map(move |value| format!("{name}: {value}\r\n")));
    let host = format!("Host: {HOST}\r\n");
    let places = |line: String| {
        [line.clone() + &host, host.clone() + &line, line.clone() + &host + &line.repeat(2)]
            .map(|lines| format!("GET / HTTP/1.1\r\n{lines}\r\n"))
    };
    lines.flat_map(places).collect()
}

/// What the gateway says of a stranger stands there once, and nothing else.
#[track_caller]
fn assert_ours_alone(answer: &Response, proto: &str, sent: &str) {
    let echo = answer.echo();
    assert_eq!(echo.lines("x-forwarded-for"), ["127.0.0.1"], "{sent:?}");
    assert_eq!(echo.lines("x-forwarded-proto"), [proto], "{sent:?}");
    assert_eq!(echo.lines("x-forwarded-host"), [HOST], "{sent:?}");
    assert_eq!(echo.lines("x-request-id"), [answer.header("x-request-id").unwrap()], "{sent:?}");
    assert_eq!(echo.lines("x-amzn-trace-id").len(), 1, "{sent:?}");
    assert!(echo.header("x-amzn-trace-id").unwrap().starts_with("Root=1-"), "{sent:?}");
    for name in &OURS[3..] {
        let is_set = ["x-request-id", "x-amzn-trace-id"].contains(name);
        assert!(is_set || echo.lines(name).is_empty(), "{sent:?} brought {:?}", echo.lines(name));
    }
    let own = if proto == "https" { "2 tollgate" } else { "1.1 tollgate" };
    assert_eq!(echo.lines("via"), [own], "{sent:?}");
}

fn names(echo: &Echo) -> Vec<String> {
    let fields = echo.0["headers"].as_array().unwrap().iter();
    let mut names: Vec<_> = fields.map(|field| field[0].as_str().unwrap().to_lowercase()).collect();
    names.sort();
    names
}

/// `X-Real-Ip`
fn title(name: &str) -> String {
    let words = name.split('-').map(|word| word[..1].to_uppercase() + &word[1..]);
    words.collect::<Vec<_>>().join("-")
}

/// `xReAlIp`, with its dashes.
fn swapped(name: &str) -> String {
    let letters = name.char_indices();
    letters.map(|(at, c)| if at % 2 == 0 { c } else { c.to_ascii_uppercase() }).collect()
}

async fn with_tls() -> (Origin, Gateway) {
    let origin = Origin::start().await;
    let certificate = certs::server(&certs::authority(), &[HOST]);
    let gateway = Gateway::builder().origin("origin", &origin).certificate(&certificate).start().await;
    (origin, gateway)
}

/// A gateway that trusts this network and listens on IPv6 too.
async fn trusting(origin: &Origin, network: &str) -> Gateway {
    let builder = Gateway::builder().origin("origin", origin).port("six");
    let six = builder.files.address("six").port();
    let text = format!(
        "listeners:\n  - {{ name: plain, address: \"{{plain}}\" }}\n  - {{ name: six, address: \"[::1]:{six}\" }}\n\
         forwarded: {{ trusted: [\"{network}\"], fields: [x-forwarded-for, x-forwarded-proto, x-forwarded-host, \
         forwarded, x-request-id] }}\n"
    );
    builder.yaml(&text).start().await
}
