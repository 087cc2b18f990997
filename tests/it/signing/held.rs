//! Bodies that are held: whom they are sent to while it answers, and who may hold how
//! many.

use std::net::SocketAddr;

use bytes::Bytes;
use h2::{RecvStream, SendStream};
use tokio::{net::TcpListener, task::JoinSet, time::timeout};

use super::signing;
use crate::support::{Gateway, Origin, PATIENCE, Request, eventually};

/// A service that answers with the first of its bytes before it takes any of the
/// request's body, and with the last once it has all of it: how long that was.
struct AnswersFirst {
    address: SocketAddr,
    _task: JoinSet<()>,
}

impl AnswersFirst {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut task = JoinSet::new();
        task.spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                tokio::spawn(Self::serve(stream));
            }
        });
        Self { address, _task: task }
    }

    async fn serve(stream: tokio::net::TcpStream) {
        let mut connection = h2::server::handshake(stream).await.unwrap();
        while let Some(Ok((request, mut respond))) = connection.accept().await {
            let answer = respond.send_response(http::Response::new(()), false).unwrap();
            tokio::spawn(Self::answer(request.into_body(), answer));
        }
    }

    async fn answer(mut body: RecvStream, mut answer: SendStream<Bytes>) {
        pour(&mut answer, vec![b'x'; ANSWER].into()).await;
        let mut length = 0;
        while let Some(Ok(piece)) = body.data().await {
            length += piece.len();
            body.flow_control().release_capacity(piece.len()).unwrap();
        }
        let told = format!("{length:>8}");
        answer.send_data(told.into(), true).ok();
    }
}

/// Waits until each byte is taken.
async fn pour(answer: &mut SendStream<Bytes>, mut bytes: Bytes) {
    while !bytes.is_empty() {
        answer.reserve_capacity(bytes.len());
        let Some(Ok(room)) = std::future::poll_fn(|cx| answer.poll_capacity(cx)).await else { return };
        answer.send_data(bytes.split_to(room.min(bytes.len())), false).unwrap();
    }
}

async fn in_front_of(service: &AnswersFirst, more: &str) -> Gateway {
    let endpoint = service.address;
    let sections = format!(
        "
upstreams:
  - {{ name: two, protocol: http2, endpoints: [{{ address: \"{endpoint}\" }}], timeouts: {{ read: 5m, write: 5m, request: 10m }} }}
routes: [{{ name: two, sign: default, to: [{{ upstream: two }}] }}]
"
    );
    signing(&Origin::dead(), more).yaml_more(&sections).start().await
}

#[tokio::test]
async fn an_upstream_that_answers_before_it_takes_the_body_stalls_nobody() {
    let service = AnswersFirst::start().await;
    for (mode, body) in [("buffer", vec![7; 900_000]), ("unsigned", vec![7; 900_000]), ("buffer", vec![])] {
        let gateway = in_front_of(&service, &format!("bind: [body], body: {{ mode: {mode} }}")).await;

        let answer = timeout(PATIENCE, gateway.send(&Request::post("/", &body))).await.unwrap();

        assert_eq!((answer.status, answer.body.len()), (200, ANSWER + 8));
        assert_eq!(answer.text()[ANSWER..].trim(), body.len().to_string(), "{mode}");
        let held = || gateway.metric("tollgate_jwt_held_body_bytes", &[("signer", "default")]);
        eventually(PATIENCE, || async { held().await == 0.0 }).await;
    }
}

/// More than every window and queue on the way takes.
const ANSWER: usize = 8 << 20;

#[tokio::test]
async fn who_holds_their_share_is_refused_and_nobody_else_is() {
    let origin = Origin::start().await;
    let hops = "\nforwarded: { trusted: [127.0.0.0/8] }";
    let body = "bind: [body], body: { max: 100KiB, max_held_per_client: 100KiB, max_held: 10MiB }";
    let gateway = signing(&origin, body).yaml_more(hops).start().await;
    let of = |client: &str| Request::post("/", vec![7; 60_000]).honest().header("X-Forwarded-For", client);
    let mut waits = gateway.connect().await;
    // All but its last byte: that is held, and waited for.
    let mut bytes = of("192.0.2.7").to_http1();
    let last = bytes.split_off(bytes.len() - 1);
    waits.write(bytes).await.unwrap();
    let held = || gateway.metric("tollgate_jwt_held_body_bytes", &[("signer", "default")]);
    eventually(PATIENCE, || async { held().await == 59_999.0 }).await;

    let (greedy, other) = (gateway.send(&of("192.0.2.7")).await, gateway.send(&of("192.0.2.8")).await);
    waits.write(last).await.unwrap();
    let first = waits.read_response().await.unwrap();
    let again = gateway.send(&of("192.0.2.7")).await;

    assert_eq!((greedy.status, &*greedy.flag()), (503, "overloaded"));
    assert_eq!([first.status, other.status, again.status], [200; 3]);
    eventually(PATIENCE, || async { held().await == 0.0 }).await;
}
