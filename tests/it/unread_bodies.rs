//! Endpoints that stop taking a body: `write` says for how long they may, `read` and
//! `per_try_timeout` say nothing of it, and it is never the client's fault.

use std::{io, net::SocketAddr, time::Duration};

use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{TcpSocket, TcpStream},
    sync::mpsc,
    time::{sleep, timeout},
};

use crate::support::{Gateway, PATIENCE, Request, Response, eventually};

/// Takes half of a body, and then does as it is told.
struct Halfway {
    address: SocketAddr,
    /// Of each request it answered, how much of the body it had.
    taken: mpsc::UnboundedReceiver<usize>,
}

#[derive(Clone, Copy)]
enum Then {
    /// Nothing any more.
    Hangs,
    /// Takes the rest after so long.
    Pauses(Duration),
    /// Answers, a byte now and then for so long, and only then looks whether more comes.
    Drips(Duration),
}

impl Halfway {
    fn start(then: Then) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        // Otherwise the kernel takes all that nobody reads; with much less it lets through
        // what was sent so slowly that `read` is over before the body is here.
        socket.set_recv_buffer_size(256 << 10).unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let listener = socket.listen(16).unwrap();
        let address = listener.local_addr().unwrap();
        let (tell, taken) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, then, tell.clone()));
            }
        });
        Self { address, taken }
    }

    async fn in_front(all: &[&Self], more: &str) -> Gateway {
        let endpoints: Vec<_> = all.iter().map(|one| format!("{{ address: \"{}\" }}", one.address)).collect();
        let endpoints = endpoints.join(", ");
        let yaml = format!(
            "
upstreams: [{{ name: slow, endpoints: [{endpoints}], {more} }}]
routes: [{{ name: all, max_body: 64MiB, to: [{{ upstream: slow }}] }}]
"
        );
        Gateway::builder().yaml(&yaml).start().await
    }
}

async fn serve(stream: TcpStream, then: Then, tell: mpsc::UnboundedSender<usize>) -> io::Result<()> {
    let mut stream = BufReader::new(stream);
    let mut line = String::new();
    while stream.read_line(&mut line).await? > 2 {
        line.clear();
    }
    stream.read_exact(&mut vec![0; BODY / 2]).await?;
    let mut taken = BODY / 2;
    match then {
        Then::Hangs => return std::future::pending().await,
        Then::Pauses(pause) => {
            sleep(pause).await;
            stream.read_exact(&mut vec![0; BODY / 2]).await?;
            taken = BODY;
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n").await?;
        }
        Then::Drips(most) => {
            let drips = most.as_millis() as usize / 100;
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", drips + 1);
            stream.write_all(head.as_bytes()).await?;
            for _ in 0..drips {
                stream.write_all(b".").await?;
                sleep(Duration::from_millis(100)).await;
            }
            let mut piece = vec![0; 64 << 10];
            while taken < BODY
                && let Ok(more @ Ok(1..)) = timeout(Duration::from_secs(1), stream.read(&mut piece)).await
            {
                taken += more?;
            }
        }
    }
    tell.send(taken).ok();
    stream.write_all(b".").await?;
    std::future::pending().await
}

/// More than all queues on the way take, twice.
const BODY: usize = 12 << 20;

async fn upload(method: &str, gateway: &Gateway) -> Response {
    let request = Request::post("/", vec![7; BODY]).method(method);
    // `send` would tell all of it, should there be no answer.
    gateway.connect().await.try_send(&request).await.unwrap()
}

#[tokio::test]
async fn one_that_hangs_in_the_middle_of_a_body_is_judged() {
    let (one, two) = (Halfway::start(Then::Hangs), Halfway::start(Then::Hangs));
    let gateway = Halfway::in_front(
        &[&one, &two],
        "timeouts: { read: 3s, write: 5s }, outlier_detection: { consecutive_gateway_errors: 1 }",
    )
    .await;

    let answer = upload("POST", &gateway).await;

    assert_eq!((answer.status, &*answer.flag()), (504, "upstream_timeout"));
    let ejections = || gateway.metric("tollgate_upstream_ejections_total", &[]);
    eventually(PATIENCE, || async { ejections().await == 1.0 }).await;
}

#[tokio::test]
async fn one_that_pauses_for_less_than_write_has_all_of_the_body() {
    for more in [
        "timeouts: { read: 3s, write: 1m, request: 2m }",
        "timeouts: { write: 1m, request: 2m }, retries: { attempts: 2, per_try_timeout: 3s }",
    ] {
        let mut slow = Halfway::start(Then::Pauses(Duration::from_secs(6)));
        let gateway = Halfway::in_front(&[&slow], more).await;

        let answer = upload("PUT", &gateway).await;

        assert_eq!(answer.status, 200, "{more}: {}", answer.text());
        assert_eq!(slow.taken.recv().await, Some(BODY), "{more}");
    }
}

#[tokio::test]
async fn one_that_answers_meanwhile_has_no_more_time_for_that() {
    let mut slow = Halfway::start(Then::Drips(Duration::from_secs(5)));
    // The kernel would end the connection else, as soon as that is over.
    let gateway = Halfway::in_front(&[&slow], "timeouts: { write: 1s, unacknowledged: 1m }").await;

    let answer = upload("POST", &gateway).await;

    assert_eq!(answer.status, 200);
    let taken = slow.taken.recv().await.unwrap();
    assert!(taken < BODY, "{taken}");
}
