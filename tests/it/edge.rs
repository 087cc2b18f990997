//! The age of connections: they are asked to end, nobody loses a request, and
//! what goes on for too long is cut and still written down.

use std::{sync::atomic::Ordering, time::Duration};

use tokio::time::sleep;

use crate::support::{
    Gateway, Http2, Origin, Request, Tls, certs,
    link::slow_link,
    load::{Asks, Load},
};

#[tokio::test]
async fn connections_that_age_lose_no_request() {
    let origin = Origin::start().await;
    let certificate = certs::server(&certs::authority(), &["api.example.com"]);
    let gateway = Gateway::builder()
        .origin("origin", &origin)
        .certificate(&certificate)
        .yaml("connections: { max_age: 1s }")
        .start()
        .await;
    let request = Request::get("/");
    let plain = Asks::of(gateway.plain, request.clone()).pause(Duration::from_millis(2));
    let secure = Asks::of(gateway.tls, request.clone()).tls(Tls::default()).pause(Duration::from_millis(2));
    let multiplexed = Asks::of(gateway.tls, request).tls(Tls::default().alpn(&["h2"])).pause(Duration::from_millis(4));
    let (http1, http2) = (Load::new(), Load::new());

    let clients = tokio::spawn(futures::future::join_all(
        (0..6).map(|_| tokio::spawn(http1.clone().http1(plain.clone())))
            .chain((0..4).map(|_| tokio::spawn(http1.clone().http1(secure.clone()))))
            .chain((0..4).map(|_| tokio::spawn(http2.clone().http2(multiplexed.clone(), 4)))),
    ));
    sleep(Duration::from_secs(8)).await;
    http1.end();
    http2.end();
    clients.await.unwrap();

    assert_eq!(http1.lost(), [""; 0]);
    assert_eq!(http2.lost(), [""; 0]);
    // Ten and four connections, eight seconds, an age of 0.9 to 1.1 seconds.
    assert!(http1.asked_to_end.load(Ordering::Relaxed) >= 50, "{http1:?}");
    assert!(http2.asked_to_end.load(Ordering::Relaxed) >= 20, "{http2:?}");
}

/// EDGE.md, 3: a close with unread input makes the kernel throw away what it
/// still had to send. The client's WINDOW_UPDATEs are such input.
#[tokio::test]
async fn large_answers_are_complete_when_their_connection_ends_of_age() {
    let origin = Origin::script("size=300000").await;
    let certificate = certs::server(&certs::authority(), &["api.example.com"]);
    let gateway = Gateway::builder()
        .origin("origin", &origin)
        .certificate(&certificate)
        .yaml("connections: { max_age: 500ms }")
        .start()
        .await;
    let asks = Asks::of(gateway.tls, Request::get("/")).tls(Tls::default().alpn(&["h2"])).narrow(4096);
    let load = Load::new();

    let clients = (0..6).map(|_| tokio::spawn(load.clone().http2(asks.clone(), 3)));
    let clients = tokio::spawn(futures::future::join_all(clients));
    sleep(Duration::from_secs(5)).await;
    load.end();
    clients.await.unwrap();

    assert_eq!(load.lost(), [""; 0]);
    assert!(load.asked_to_end.load(Ordering::Relaxed) >= 20, "{load:?}");
}

/// What waits in the gateway's kernel while a client is slow is no less a part
/// of the answer, however long nothing comes from the client.
#[tokio::test]
async fn a_slow_client_gets_the_end_of_an_answer_too() {
    let origin = Origin::script("size=110000").await;
    let certificate = certs::server(&certs::authority(), &["api.example.com"]);
    let gateway = Gateway::builder()
        .origin("origin", &origin)
        .certificate(&certificate)
        .yaml("connections: { max_age: 300ms }")
        .start()
        .await;
    // The window is 64 KiB, and opened again when half of it was read: the end
    // takes 2.6 s, and a word of the client comes every 1.3 s.
    let link = slow_link(gateway.tls, 2_500, Duration::from_millis(100)).await;

    let mut http = Http2::open(link, &Tls::default()).await.unwrap();
    let answer = http.try_send(&Request::get("/")).await.unwrap_or_else(|cut| panic!("{cut}"));

    assert_eq!(answer.body.len(), 110_000);
    http.ended().await.unwrap();
}
