//! Bodies that are held: whom they are sent to while it answers, and who may hold how
//! many.

use std::net::SocketAddr;

use bytes::Bytes;
use h2::{RecvStream, SendStream};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinSet,
    time::timeout,
};

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

/// The same over HTTP/1: reads nothing of a body while it writes.
async fn answers_first_over_http1() -> SocketAddr {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    // Otherwise the kernel takes what nobody reads.
    socket.set_recv_buffer_size(4 << 10).unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(16).unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(answer_first_over_http1(stream));
        }
    });
    address
}

async fn answer_first_over_http1(stream: TcpStream) -> std::io::Result<()> {
    let mut stream = tokio::io::BufStream::new(stream);
    loop {
        let length = length_of_body(&mut stream).await?;
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", ANSWER + 8);
        stream.write_all(head.as_bytes()).await?;
        stream.write_all(&vec![b'x'; ANSWER]).await?;
        stream.flush().await?;
        stream.read_exact(&mut vec![0; length]).await?;
        stream.write_all(format!("{length:>8}").as_bytes()).await?;
        stream.flush().await?;
    }
}

/// As its head says, which ends with an empty line.
async fn length_of_body(stream: &mut (impl AsyncBufReadExt + Unpin)) -> std::io::Result<usize> {
    let (mut length, mut line) = (0, String::new());
    while stream.read_line(&mut line).await? > 2 {
        if let Some(told) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = told.trim().parse().unwrap();
        }
        line.clear();
    }
    if line.is_empty() { Err(std::io::ErrorKind::UnexpectedEof.into()) } else { Ok(length) }
}

/// Waits until each byte is taken.
async fn pour(answer: &mut SendStream<Bytes>, mut bytes: Bytes) {
    while !bytes.is_empty() {
        answer.reserve_capacity(bytes.len());
        let Some(Ok(room)) = std::future::poll_fn(|cx| answer.poll_capacity(cx)).await else { return };
        answer.send_data(bytes.split_to(room.min(bytes.len())), false).unwrap();
    }
}

async fn in_front_of(endpoint: SocketAddr, protocol: &str, more: &str) -> Gateway {
    let sections = format!(
        "
upstreams:
  - {{ name: two, protocol: {protocol}, endpoints: [{{ address: \"{endpoint}\" }}], timeouts: {{ read: 5m, write: 5m, request: 10m }} }}
routes: [{{ name: two, sign: default, max_body: 64MiB, to: [{{ upstream: two }}] }}]
"
    );
    signing(&Origin::dead(), more).yaml_more(&sections).start().await
}

#[tokio::test]
async fn an_upstream_that_answers_before_it_takes_the_body_stalls_nobody() {
    let service = AnswersFirst::start().await;
    for (mode, body) in [("buffer", vec![7; 900_000]), ("unsigned", vec![7; 900_000]), ("buffer", vec![])] {
        let gateway =
            in_front_of(service.address, "http2", &format!("bind: [body], body: {{ mode: {mode} }}")).await;

        let answer = timeout(PATIENCE, gateway.send(&Request::post("/", &body))).await.unwrap();

        assert_eq!((answer.status, answer.body.len()), (200, ANSWER + 8));
        assert_eq!(answer.text()[ANSWER..].trim(), body.len().to_string(), "{mode}");
        let held = || gateway.metric("tollgate_jwt_held_body_bytes", &[("signer", "default")]);
        eventually(PATIENCE, || async { held().await == 0.0 }).await;
    }
}

#[tokio::test]
async fn nor_does_one_over_http1() {
    let endpoint = answers_first_over_http1().await;
    let large = vec![7; 12 << 20];
    for (mode, body) in
        [("mode: buffer, max: 16MiB", &large[..]), ("mode: unsigned", &large), ("mode: buffer", &[])]
    {
        let gateway = in_front_of(endpoint, "http1", &format!("bind: [body], body: {{ {mode} }}")).await;

        let answer = timeout(PATIENCE, gateway.send(&Request::post("/", body))).await;

        let answer = answer.unwrap_or_else(|_| panic!("{mode}: nothing moves"));
        assert_eq!((answer.status, answer.body.len()), (200, ANSWER + 8), "{mode}");
        assert_eq!(answer.text()[ANSWER..].trim(), body.len().to_string(), "{mode}");
        // The connection is good for another request.
        assert_eq!(gateway.send(&Request::post("/", "again")).await.status, 200, "{mode}");
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
