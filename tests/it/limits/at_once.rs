//! How many requests may be under way: whatever ends one gives its place back.

use super::{decisions, is_refused};
use crate::support::{Gateway, Http1, Origin, PATIENCE, Request, Tls, certs, eventually};

#[tokio::test]
async fn as_many_are_under_way_as_may_be_and_a_client_that_leaves_makes_room() {
    let shop = Shop::start("concurrency: 2").await;
    let (first, mut second) = (shop.stays().await, shop.stays().await);
    shop.in_flight(2.0).await;

    let refused = shop.gateway.get("/").await;

    assert_eq!((refused.status, refused.flag().as_str()), (429, "concurrency_limited"));
    assert_eq!((refused.header("retry-after"), refused.header("ratelimit")), (Some("1"), None));
    assert_eq!(shop.gateway.line_of(&refused).await["limit"], "at-once");
    first.reset();
    shop.in_flight(1.0).await;
    assert!(!is_refused(&shop.gateway.get("/").await));
    second.half_close().await;
    drop(second);
    shop.in_flight(0.0).await;
    assert_eq!(decisions(&shop.gateway, "at-once").await, [3.0, 1.0, 0.0, 0.0, 0.0]);
}

#[tokio::test]
async fn a_stream_that_is_reset_and_a_connection_that_is_lost_make_room() {
    let shop = Shop::start("concurrency: 2").await;
    let never = Request::get("/").script("never_answers");
    let http2 = shop.gateway.connect_http2(&Tls::default()).await.unwrap();
    let mut stream = http2.start(&never, true).await.unwrap();
    let other = shop.gateway.connect_http2(&Tls::default()).await.unwrap();
    let _open = other.start(&never, true).await.unwrap();
    shop.in_flight(2.0).await;

    stream.reset(h2::Reason::CANCEL);
    shop.in_flight(1.0).await;
    drop((_open, other));
    shop.in_flight(0.0).await;

    assert!(!is_refused(&shop.gateway.get("/").await));
}

#[tokio::test]
async fn whatever_an_upstream_does_makes_room() {
    let shop = Shop::start("concurrency: 1").await;

    for script in
        ["reset_before_header", "close_before_header", "reset_after_header", "status=503", "truncate=3"]
    {
        // Some of these answers are cut.
        let _ = shop.gateway.connect().await.try_send(&Request::post("/", "a").script(script)).await;
        shop.in_flight(0.0).await;
        assert!(!is_refused(&shop.gateway.get("/").await), "{script}");
    }
}

#[tokio::test]
async fn who_is_refused_by_a_rate_has_no_place() {
    let shop = Shop::start("concurrency: 1 }, { name: rate, global: true, rate: 1/h, burst: 1").await;
    assert_eq!(shop.gateway.get("/").await.status, 200);

    for _ in 0..3 {
        assert_eq!(shop.gateway.get("/").await.flag(), "rate_limited");
    }

    shop.in_flight(0.0).await;
    assert_eq!(decisions(&shop.gateway, "at-once").await, [1.0, 0.0, 0.0, 0.0, 0.0]);
}

#[tokio::test]
async fn a_reload_keeps_the_places_of_what_is_under_way() {
    let shop = Shop::start("concurrency: 1").await;
    let held = shop.stays().await;
    shop.in_flight(1.0).await;

    shop.gateway
        .write_config(&format!("requests: {{ max_header_fields: 50 }}\n{}", config("concurrency: 1")));
    assert_eq!(shop.gateway.reload().await.code, Some(0));

    assert_eq!(shop.gateway.get("/").await.flag(), "concurrency_limited");
    held.reset();
    shop.in_flight(0.0).await;
    assert_eq!(shop.gateway.get("/").await.status, 200);
}

struct Shop {
    gateway: Gateway,
    _origin: Origin,
}

impl Shop {
    async fn start(limit: &str) -> Self {
        let origin = Origin::start().await;
        let certificate = certs::server(&certs::authority(), &["api.example.com"]);
        let builder = Gateway::builder().origin("origin", &origin).certificate(&certificate);
        Self { gateway: builder.yaml(&config(limit)).start().await, _origin: origin }
    }

    /// A client whose request is under way until it leaves.
    async fn stays(&self) -> Http1 {
        let mut client = self.gateway.connect().await;
        client.write(Request::get("/").script("never_answers").to_http1()).await.unwrap();
        client
    }

    /// Until so many are under way.
    async fn in_flight(&self, requests: f64) {
        let in_flight =
            async || self.gateway.metric("tollgate_limit_in_flight", &[("limit", "at-once")]).await;
        eventually(PATIENCE, || async { in_flight().await == requests }).await;
    }
}

fn config(limit: &str) -> String {
    format!("limits: [{{ name: at-once, global: true, {limit} }}]\n")
}
