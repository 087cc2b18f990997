//! Requests that wait for room at their upstream: how many, in which order, for
//! how long.

use crate::support::{Gateway, Http1, Origin, PATIENCE, Request, Tls, certs, eventually};

#[tokio::test]
async fn some_wait_in_order_and_beyond_them_it_is_503_at_once() {
    let shop = Shop::start("queue: 3, queue_timeout: 1m").await;
    let holder = shop.holder().await;
    let mut waiting = Vec::new();
    for nth in 1..=3 {
        waiting.push(shop.asks(&Request::get(&format!("/{nth}"))).await);
        shop.waits(nth).await;
    }

    let refused = shop.gateway.get("/4").await;
    holder.reset();

    assert_eq!((refused.status, refused.flag().as_str()), (503, "overloaded"));
    assert_eq!(refused.header("retry-after"), Some("1"));
    for client in &mut waiting {
        assert_eq!(client.read_response().await.unwrap().status, 200);
    }
    assert_eq!(shop.seen().await, ["/holder", "/1", "/2", "/3"]);
    shop.waits(0).await;
    assert_eq!(shop.waited("served").await, 3.0);
    assert_eq!(shop.gateway.get("/5").await.status, 200);
}

#[tokio::test]
async fn who_waits_for_too_long_is_told_so_and_keeps_its_connection() {
    let shop = Shop::start("queue: 9, queue_timeout: 300ms").await;
    let holder = shop.holder().await;
    let mut client = shop.gateway.connect().await;

    for request in [Request::get("/1"), Request::post("/2", "a body")] {
        let answer = client.send(&request).await;
        assert_eq!((answer.status, answer.flag().as_str()), (503, "overloaded"));
        assert_eq!(answer.header("retry-after"), Some("1"));
    }

    assert_eq!((shop.waited("gave_up").await, shop.waited("served").await), (2.0, 0.0));
    holder.reset();
    eventually(PATIENCE, || async { shop.gateway.get("/3").await.status == 200 }).await;
    let posted = client.send(&Request::post("/4", "a body")).await;
    assert_eq!((posted.status, posted.echo().body()), (200, "a body"));
    assert_eq!(shop.seen().await.iter().filter(|target| ["/1", "/2"].contains(&target.as_str())).count(), 0);
}

#[tokio::test]
async fn the_requests_own_deadline_holds_in_the_queue_too() {
    let shop = Shop::start("queue: 9, queue_timeout: 1h }, timeouts: { request: 500ms").await;
    let _holder = shop.holder().await;

    assert_eq!(shop.gateway.get("/1").await.status, 503);
}

#[tokio::test]
async fn a_client_that_leaves_frees_its_place() {
    let shop = Shop::start("queue: 1, queue_timeout: 1m").await;
    let holder = shop.holder().await;
    let http1 = shop.asks(&Request::get("/1")).await;
    shop.waits(1).await;
    assert_eq!(shop.gateway.get("/full").await.status, 503);

    http1.reset();
    shop.waits(0).await;
    let http2 = shop.gateway.connect_http2(&Tls::default()).await.unwrap();
    let mut exchange = http2.start(&Request::get("/2"), true).await.unwrap();
    shop.waits(1).await;
    exchange.reset(h2::Reason::CANCEL);
    shop.waits(0).await;

    let mut next = shop.asks(&Request::get("/3")).await;
    shop.waits(1).await;
    holder.reset();
    assert_eq!(next.read_response().await.unwrap().status, 200);
    assert_eq!(shop.seen().await, ["/holder", "/3"]);
    for path in ["/1", "/2"] {
        let line = shop.gateway.line(|line| line["path"] == path).await;
        assert_eq!((&line["status"], &line["flag"]), (&0.into(), &"client_gone".into()), "{line}");
    }
    assert_eq!(shop.waited("gave_up").await, 2.0);
}

#[tokio::test]
async fn a_reload_in_the_middle_loses_nobody_and_keeps_the_order() {
    let shop = Shop::start("queue: 8, queue_timeout: 1m").await;
    let holder = shop.holder().await;
    let mut waiting = vec![shop.asks(&Request::get("/1")).await];
    shop.waits(1).await;

    for nth in 2..=4 {
        shop.gateway.write_config(&config(&format!("queue: {}, queue_timeout: 1m", 8 + nth)));
        assert_eq!(shop.gateway.admin("POST", "/reload").await.status, 200);
        waiting.push(shop.asks(&Request::get(&format!("/{nth}"))).await);
        shop.waits(nth).await;
    }
    holder.reset();

    for client in &mut waiting {
        assert_eq!(client.read_response().await.unwrap().status, 200);
    }
    assert_eq!(shop.seen().await, ["/holder", "/1", "/2", "/3", "/4"]);
}

/// An upstream with room for one request.
struct Shop {
    origin: Origin,
    gateway: Gateway,
}

impl Shop {
    async fn start(queue: &str) -> Self {
        let origin = Origin::start().await;
        let certificate = certs::server(&certs::authority(), &["api.example.com"]);
        let builder = Gateway::builder().origin("endpoint", &origin).certificate(&certificate);
        let gateway = builder.yaml(&config(queue)).start().await;
        Self { origin, gateway }
    }

    /// A client whose request has the room until it leaves.
    async fn holder(&self) -> Http1 {
        let client = self.asks(&Request::get("/holder").script("never_answers")).await;
        eventually(PATIENCE, || async { self.origin.requests().await == 1 }).await;
        client
    }

    async fn asks(&self, request: &Request) -> Http1 {
        let mut client = self.gateway.connect().await;
        client.write(request.to_http1()).await.unwrap();
        client
    }

    /// Until so many wait.
    async fn waits(&self, requests: u32) {
        let waiting = async || self.gateway.metric("tollgate_upstream_queue_requests", &[]).await;
        eventually(PATIENCE, || async { waiting().await == f64::from(requests) }).await;
    }

    async fn waited(&self, result: &str) -> f64 {
        self.gateway.metric("tollgate_upstream_queued_total", &[("result", result)]).await
    }

    /// What came to the upstream, in order.
    async fn seen(&self) -> Vec<String> {
        self.origin.log().await.iter().map(|line| line["target"].as_str().unwrap().to_owned()).collect()
    }
}

fn config(queue: &str) -> String {
    format!(
        "upstreams: [{{ name: shop, endpoints: [{{ address: \"{{endpoint}}\" }}], max_in_flight: {{ endpoint: 1, {queue} }} }}]\nroutes: [{{ name: all, to: [{{ upstream: shop }}] }}]\n"
    )
}
