//! Connections to upstreams that nobody uses: how many are kept, when they are closed, and
//! that requests pay for none of it. (Who may use which: `upstreams.rs`. What came unasked:
//! `faults.rs`.)

use std::{
    collections::BTreeSet,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use futures::future::join_all;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::timeout,
};

use crate::support::{
    Gateway, Origin, PATIENCE, Request,
    certs::{self, Authority},
    eventually,
    load::{Asks, Load},
};

#[tokio::test]
async fn what_an_endpoint_closed_is_closed_here_too_whether_it_is_asked_for_or_not() {
    let origin = Origin::start().await;
    let gateway = Gateway::with_upstream(&origin, "timeouts: { idle: 600s }").await;
    let before = gateway.open_fds();
    many_at_once(&gateway, &origin, 12).await;
    // Some of what was open at the start may be closed by now.
    eventually(PATIENCE, || async { gateway.open_fds() >= before + 8 }).await;

    origin.stop().await;

    eventually(PATIENCE, || async { gateway.open_fds() <= before }).await;
}

#[tokio::test]
async fn no_more_are_kept_than_the_configuration_says() {
    let origin = Origin::start().await;
    let upstream = "upstreams: [{ name: origin, endpoints: [{ address: \"{origin}\" }] }]";
    let runtime = "runtime: { threads: 2, upstream_connections: 4 }";
    let builder = Gateway::builder().origin("origin", &origin);
    let gateway = builder.yaml(&format!("{runtime}\n{upstream}")).start().await;

    many_at_once(&gateway, &origin, 12).await;

    // And the one that asks for it.
    eventually(PATIENCE, || async { origin.stats().await["open_connections"] == 4 + 1 }).await;
    assert_eq!(gateway.get("/").await.status, 200);
}

#[tokio::test]
async fn an_endpoint_that_ends_idle_connections_under_load_costs_no_request() {
    let (address, connections) = impatient().await;
    let upstream = format!(
        "upstreams: [{{ name: origin, endpoints: [{{ address: \"{address}\" }}], retries: {{ attempts: 3 }} }}]\n\
         routes: [{{ name: all, to: [{{ upstream: origin }}] }}]"
    );
    let gateway = Gateway::builder().yaml(&upstream).start().await;
    let load = Load::new();
    let clients = (1..9_u64).map(|nth| {
        let asks =
            Asks::of(gateway.address("plain"), Request::get("/")).pause(Duration::from_millis(40 * nth));
        tokio::spawn(load.clone().http1(asks))
    });
    let clients: Vec<_> = clients.collect();

    eventually(PATIENCE, || async { !load.lost().is_empty() || load.answered.load(Relaxed) >= 600 }).await;
    load.end();
    join_all(clients).await;

    assert_eq!(load.lost(), Vec::<String>::new());
    let (made, answered) = (connections.load(Relaxed), load.answered.load(Relaxed));
    assert!(made > 8 && made < answered, "some are used again, some are closed: {made} of {answered}");
}

#[tokio::test]
async fn what_was_made_under_other_terms_is_not_used_after_a_reload() {
    let authority = certs::authority();
    let origin = Origin::builder().tls(&certs::server(&authority, &["orders.internal"])).start().await;
    let upstream = "upstreams: [{ name: origin, endpoints: [{ address: \"{origin_tls}\" }], \
                    retries: { attempts: 1 }, tls: { server_name: orders.internal, ca: ca.pem } }]";
    let builder = Gateway::builder().origin("origin", &origin).file("ca.pem", &pem(&authority));
    let gateway = builder.yaml(upstream).start().await;
    let first = gateway.get("/").await.echo().connection();
    assert_eq!(gateway.get("/").await.echo().connection(), first);
    let before = origin.requests().await;

    gateway.files.write("ca.pem", &pem(&certs::authority()));
    assert_eq!(gateway.reload().await.code, Some(0));

    assert_eq!(gateway.get("/").await.status, 502);
    assert_eq!(origin.requests().await, before);
    gateway.files.write("ca.pem", &pem(&authority));
    assert_eq!(gateway.reload().await.code, Some(0));
    assert_eq!(gateway.get("/").await.echo().connection(), first, "the old terms are good again");
}

fn pem(authority: &Authority) -> String {
    authority.pem().unwrap()
}

/// Asks until the gateway had so many connections to the origin at a time.
async fn many_at_once(gateway: &Gateway, origin: &Origin, connections: usize) {
    eventually(PATIENCE, || async {
        let slow = Request::get("/").script("delay=300ms");
        let answers = join_all((0..connections).map(|_| gateway.send(&slow))).await;
        assert!(answers.iter().all(|answer| answer.status == 200));
        let log = origin.log().await;
        let used = log.iter().map(|line| line["connection"].as_u64());
        used.collect::<BTreeSet<_>>().len() >= connections
    })
    .await;
}

/// An endpoint that ends a connection on which nothing more was asked for a while; and how
/// many were made to it.
async fn impatient() -> (SocketAddr, Arc<AtomicU64>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let counted = Arc::<AtomicU64>::default();
    let counts = Arc::clone(&counted);
    tokio::spawn(async move {
        while let Ok((connection, _)) = listener.accept().await {
            counts.fetch_add(1, Relaxed);
            tokio::spawn(answer_while_asked(connection));
        }
    });
    (address, counted)
}

async fn answer_while_asked(mut connection: TcpStream) -> Option<()> {
    let (mut header, mut patience) = (Vec::new(), PATIENCE);
    loop {
        while !header.windows(4).any(|four| four == b"\r\n\r\n") {
            let read = timeout(patience, connection.read_buf(&mut header)).await;
            if read.ok()?.ok()? == 0 {
                return None;
            }
        }
        header.clear();
        connection.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await.ok()?;
        patience = Duration::from_millis(fastrand::u64(20..400));
    }
}
