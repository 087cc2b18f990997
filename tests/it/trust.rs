//! The README's table of who may say where a request came from: a test a row.
//!
//! In each row the client lies in every field; what the hops write themselves
//! comes after it, as they do. The load balancer's PROXY header stands in for the
//! addresses that loopback has none of.

use crate::support::{
    Gateway, Http1, Origin, Request,
    proxy_header::{nlb, v2},
    request::HOST,
};

#[tokio::test]
async fn from_an_nlb_the_client_is_the_proxy_headers() {
    let told = Row { forwarded: "", header: v2("203.0.113.7:4711", &[]), hops: &[] }.run().await;

    assert_eq!(told.list, "203.0.113.7");
    assert_eq!((told.scheme.as_str(), told.host.as_str(), told.port), ("http", HOST, None));
    assert_eq!((told.forwarded, told.client.as_str()), (None, "203.0.113.7"));
}

#[tokio::test]
async fn through_a_vpc_endpoint_nobody_is_believed() {
    let forwarded = "trusted: [10.0.0.0/8], fields: [x-forwarded-for, x-forwarded-host, forwarded]";
    let header = nlb("10.0.0.5:4711", "vpce-08d2bf15fac5001c9");

    let told = Row { forwarded, header, hops: &[] }.run().await;

    assert_eq!(told.list, "10.0.0.5");
    assert_eq!((told.scheme.as_str(), told.host.as_str(), told.port), ("http", HOST, None));
    assert_eq!((told.forwarded, told.client.as_str()), (None, "10.0.0.5"));
}

#[tokio::test]
async fn from_an_alb_what_an_alb_writes_is_believed_and_nothing_it_passes_on() {
    let hops = &[("X-Forwarded-For", "6.6.6.6, 203.0.113.7"), ALB_PROTO, ALB_PORT];

    let told = Row { forwarded: "trusted: [10.0.0.0/16]", header: alb(), hops }.run().await;

    assert_eq!(told.list, "6.6.6.6, 203.0.113.7, 10.0.1.20");
    assert_eq!((told.scheme.as_str(), told.host.as_str(), told.port), ("https", HOST, Some("443".into())));
    assert_eq!((told.forwarded, told.client.as_str()), (None, "203.0.113.7"));
}

#[tokio::test]
async fn behind_cloudfront_and_an_alb_the_viewer_is_who_asks_if_both_are_trusted() {
    let hops = &[("X-Forwarded-For", "6.6.6.6, 203.0.113.7, 130.176.9.9"), ALB_PROTO, ALB_PORT];
    let both = "trusted: [10.0.0.0/16, 130.176.0.0/16]";

    let told = Row { forwarded: both, header: alb(), hops }.run().await;
    let edge = Row { forwarded: "trusted: [10.0.0.0/16]", header: alb(), hops }.run().await;

    assert_eq!(
        (told.list.as_str(), told.scheme.as_str()),
        ("6.6.6.6, 203.0.113.7, 130.176.9.9, 10.0.1.20", "https")
    );
    assert_eq!((told.client.as_str(), edge.client.as_str()), ("203.0.113.7", "130.176.9.9"));
}

#[tokio::test]
async fn behind_a_vpc_link_the_caller_of_api_gateway_is_who_asks() {
    const WRITTEN: &str = "by=3.1.2.3;for=203.0.113.7;host=api.example.com;proto=https";
    let hops = &[("Forwarded", WRITTEN)];
    let forwarded = "trusted: [10.0.0.0/16], fields: [forwarded]";

    let told = Row { forwarded, header: v2("10.0.3.4:4711", &[]), hops }.run().await;

    assert_eq!(told.forwarded, Some(format!("for=6.6.6.6, {WRITTEN}, for=10.0.3.4")));
    assert_eq!((told.list.as_str(), told.host.as_str(), told.port), ("10.0.3.4", HOST, None));
    assert_eq!(told.client, "203.0.113.7");
}

#[tokio::test]
async fn a_stranger_that_imitates_a_hop_is_a_client() {
    let hops = &[("X-Forwarded-For", "203.0.113.7"), ALB_PROTO, ALB_PORT];

    let told =
        Row { forwarded: "trusted: [10.0.0.0/16]", header: v2("198.51.100.9:1", &[]), hops }.run().await;

    assert_eq!(told.list, "198.51.100.9");
    assert_eq!((told.scheme.as_str(), told.host.as_str(), told.port), ("http", HOST, None));
    assert_eq!((told.forwarded, told.client.as_str()), (None, "198.51.100.9"));
}

#[tokio::test]
async fn a_request_id_is_kept_of_hops_that_write_one() {
    let origin = Origin::start().await;
    for (fields, kept) in [("", false), (", fields: [x-request-id]", true)] {
        let gateway = gateway(&origin, &format!("trusted: [10.0.0.0/16]{fields}")).await;

        let answer =
            ask(&gateway, &alb(), &Request::get("/").honest().header("X-Request-Id", "of-a-hop")).await;

        assert_eq!(answer.header("x-request-id") == Some("of-a-hop"), kept, "{fields}");
    }
}

// What a route says of the path it took off is the gateway's word.
#[tokio::test]
async fn a_route_writes_what_its_client_may_not() {
    let origin = Origin::start().await;
    let gateway = Gateway::builder()
        .origin("origin", &origin)
        .yaml(
            "routes: [{ name: all, to: [{ upstream: origin }],
               request_headers: { set: [{ name: x-forwarded-prefix, value: /api }] } }]",
        )
        .start()
        .await;

    let echo = gateway.send(&Request::get("/").honest().header("X-Forwarded-Prefix", "/lie")).await.echo();
    let silent = gateway.send(&Request::get("/").honest()).await.echo();

    assert_eq!(
        (echo.lines("x-forwarded-prefix"), silent.lines("x-forwarded-prefix")),
        (vec!["/api"], vec!["/api"])
    );
}

/// A way that a request takes to the gateway.
struct Row {
    forwarded: &'static str,
    header: Vec<u8>,
    hops: &'static [(&'static str, &'static str)],
}

/// What the origin and the log were told.
struct Told {
    list: String,
    scheme: String,
    host: String,
    port: Option<String>,
    forwarded: Option<String>,
    client: String,
}

impl Row {
    async fn run(self) -> Told {
        let origin = Origin::start().await;
        let gateway = gateway(&origin, self.forwarded).await;
        let replaced = |name: &str| self.hops.iter().any(|(hop, _)| *hop == name && name != "Forwarded");
        let mut request = Request::get("/").honest();
        for (name, lie) in LIES.iter().filter(|(name, _)| !replaced(name)).chain(self.hops) {
            request = request.header(name, lie);
        }

        let answer = ask(&gateway, &self.header, &request).await;

        let echo = answer.echo();
        for name in ["x-forwarded-user", "x-real-ip", "x-original-url", "x-rewrite-url", "x-forwarded-prefix"]
        {
            assert_eq!(echo.lines(name), Vec::<&str>::new(), "{name}");
        }
        let one = |name| match echo.lines(name)[..] {
            [] => None,
            [line] => Some(line.to_owned()),
            ref lines => panic!("{name}: {lines:?}"),
        };
        Told {
            list: one("x-forwarded-for").unwrap(),
            scheme: one("x-forwarded-proto").unwrap(),
            host: one("x-forwarded-host").unwrap(),
            port: one("x-forwarded-port"),
            forwarded: one("forwarded"),
            client: gateway.line_of(&answer).await["client"].as_str().unwrap().to_owned(),
        }
    }
}

async fn gateway(origin: &Origin, forwarded: &str) -> Gateway {
    let text = format!(
        "listeners: [{{ name: plain, address: \"{{plain}}\", \
         proxy_protocol: {{ mode: required, trusted: [127.0.0.0/8] }} }}]\nforwarded: {{ {forwarded} }}\n"
    );
    Gateway::builder().origin("origin", origin).yaml(&text).start().await
}

async fn ask(gateway: &Gateway, header: &[u8], request: &Request) -> crate::support::Response {
    let mut client: Http1 = gateway.connect().await;
    client.write(header.to_vec()).await.unwrap();
    client.send(request).await
}

fn alb() -> Vec<u8> {
    v2("10.0.1.20:4711", &[])
}

const ALB_PROTO: (&str, &str) = ("X-Forwarded-Proto", "https");
const ALB_PORT: (&str, &str) = ("X-Forwarded-Port", "443");

const LIES: [(&str, &str); 10] = [
    ("X-Forwarded-For", "6.6.6.6"),
    ("X-Forwarded-Proto", "gopher"),
    ("X-Forwarded-Host", "evil.example"),
    ("X-Forwarded-Port", "6666"),
    ("X-Forwarded-Prefix", "/evil"),
    ("X-Forwarded-User", "root"),
    ("Forwarded", "for=6.6.6.6"),
    ("X-Real-IP", "6.6.6.6"),
    ("X-Original-URL", "/evil"),
    ("X-Rewrite-URL", "/evil"),
];
