//! Serves one HTTP/2 connection.
//!
//! Owns accepting streams and the end of the connection; `exchange` serves one
//! stream. Framing is the `h2` crate's, so that misbehaviour ends at what HTTP/2
//! can say: resets, GOAWAY, and connections that end.

use std::{io, os::fd::AsFd, sync::Arc};

use bytes::Bytes;
use h2::server::{Builder, Connection};
use tokio::{net::TcpStream, sync::mpsc};

use self::exchange::Exchange;
use crate::{
    echo::Peer,
    origin::Origin,
    wire::{End, Rewound, Wire, end},
};

mod exchange;
mod grpc;
mod stream;

/// What a stream asks of its connection.
#[derive(Clone, Copy)]
pub enum Ask {
    /// GOAWAY; the streams that are open are served.
    Goaway,
    /// End, whatever is open.
    End(End),
}

/// Serves the connection to its end.
pub async fn serve<W: Wire>(io: Rewound<W>, peer: Peer, origin: Arc<Origin>) {
    // The h2 crate keeps the stream to itself; ending the connection properly
    // needs the socket once more.
    let Ok(spare) = second_handle(io.wire.tcp()) else { return };
    let handshake = Builder::new()
        .initial_window_size(256 * 1024)
        .initial_connection_window_size(4 * 1024 * 1024)
        .max_concurrent_streams(1000)
        .max_header_list_size(64 * 1024)
        .handshake(io);
    if let Ok(connection) = handshake.await {
        let how = accept_streams(connection, Arc::new(peer), origin).await;
        end(spare, how).await;
    }
}

async fn accept_streams<T>(mut connection: Connection<T, Bytes>, peer: Arc<Peer>, origin: Arc<Origin>) -> End
where
    T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    // A stream that cannot ask at once need not: another has asked already.
    let (asks, mut asked) = mpsc::channel(8);
    let mut number = 0;
    loop {
        tokio::select! {
            accepted = connection.accept() => {
                let Some(Ok((request, respond))) = accepted else { return End::Fin };
                number += 1;
                let context = (Arc::clone(&peer), Arc::clone(&origin), asks.clone());
                // An error is the client's: it reset the stream or left.
                tokio::spawn(async move {
                    let _ = Exchange::new(request, respond, number, context).serve().await;
                });
            }
            Some(ask) = asked.recv() => match ask {
                Ask::Goaway => connection.graceful_shutdown(),
                Ask::End(how) => return how,
            }
        }
    }
}

fn second_handle(tcp: &TcpStream) -> io::Result<TcpStream> {
    let handle = std::net::TcpStream::from(tcp.as_fd().try_clone_to_owned()?);
    TcpStream::from_std(handle)
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;
    use h2::{
        Reason,
        client::{self, SendRequest},
    };
    use http::{HeaderMap, Request, StatusCode};
    use tokio::net::TcpListener;

    use super::*;
    use crate::script::Script;

    /// A client whose server is this module, and how its connection ended.
    async fn connect() -> (SendRequest<Bytes>, tokio::task::JoinHandle<Result<(), h2::Error>>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let connect = TcpStream::connect(listener.local_addr().unwrap());
        let (tcp, server) = tokio::join!(connect, listener.accept());
        let (tcp, server) = (tcp.unwrap(), server.unwrap().0);
        tcp.set_nodelay(true).unwrap();
        server.set_nodelay(true).unwrap();
        let origin = Arc::new(Origin::new("a".into(), "z".into(), Script::default(), false));
        let peer = Peer { connected: origin.connected(), tls: None };
        let io = Rewound { input: BytesMut::new(), wire: server };
        tokio::spawn(super::serve(io, peer, origin));
        let (send, connection) = client::handshake(tcp).await.unwrap();
        (send, tokio::spawn(connection))
    }

    struct Answered {
        status: StatusCode,
        headers: HeaderMap,
        body: Vec<u8>,
        trailers: Option<HeaderMap>,
    }

    /// Sends a POST with a body and reads the whole answer.
    async fn ask(path: &str, fields: &[(&str, &str)], body: &'static [u8]) -> Result<Answered, h2::Error> {
        let (send, _connection) = connect().await;
        let mut request = Request::post(format!("http://origin.test{path}"));
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        let mut send = send.ready().await?;
        let (answer, mut stream) = send.send_request(request.body(()).unwrap(), false)?;
        stream.send_data(Bytes::from_static(body), true)?;
        let (head, mut incoming) = answer.await?.into_parts();
        let mut body = Vec::new();
        while let Some(data) = incoming.data().await.transpose()? {
            incoming.flow_control().release_capacity(data.len())?;
            body.extend_from_slice(&data);
        }
        let trailers = incoming.trailers().await?;
        Ok(Answered { status: head.status, headers: head.headers, body, trailers })
    }

    async fn scripted(script: &str) -> Result<Answered, h2::Error> {
        ask("/x?y", &[("x-origin", script)], b"hi").await
    }

    const DEADLINE: std::time::Duration = std::time::Duration::from_secs(10);
    const GRPC: [(&str, &str); 1] = [("content-type", "application/grpc+proto")];
    const MESSAGE: &[u8] = b"\0\0\0\0\x02hi";

    #[tokio::test]
    async fn a_request_is_echoed() {
        let answered = ask("/a%2f?b", &[("x-a", "1")], b"hi").await.unwrap();

        let echo: serde_json::Value = serde_json::from_slice(&answered.body).unwrap();
        assert_eq!(echo["target"], "/a%2f?b");
        assert_eq!(echo["version"], "HTTP/2.0");
        assert_eq!(echo["authority"], "origin.test");
        assert_eq!(echo["headers"][0], serde_json::json!(["x-a", "1"]));
        assert_eq!(echo["body"], "hi");
        assert_eq!(answered.headers["content-length"], answered.body.len().to_string());
    }

    #[tokio::test]
    async fn a_large_scripted_answer_carries_its_trailers() {
        let answered = scripted("status=503,size=1000000,trailers=x-t:1").await.unwrap();

        assert_eq!(answered.status, 503);
        assert_eq!(answered.body.len(), 1_000_000);
        assert_eq!(answered.trailers.unwrap()["x-t"], "1");
    }

    #[tokio::test]
    async fn resets_and_truncation_come_after_what_was_sent() {
        for (script, sent) in [("reset_after_header", 0), ("size=1000,truncate=100", 100)] {
            let (send, _connection) = connect().await;
            let request = Request::get("http://o/").header("x-origin", script).body(()).unwrap();

            let answer = send.ready().await.unwrap().send_request(request, true).unwrap().0.await;

            let mut body = answer.unwrap().into_body();
            let mut received = 0;
            let error = loop {
                match body.data().await.unwrap() {
                    Ok(data) => received += data.len(),
                    Err(error) => break error,
                }
            };
            assert_eq!((received, error.reason()), (sent, Some(Reason::INTERNAL_ERROR)), "{script}");
        }
    }

    #[tokio::test]
    async fn a_reset_before_the_header_is_the_connections() {
        let error = scripted("reset_before_header").await.err().unwrap();

        assert_eq!(error.get_io().unwrap().kind(), io::ErrorKind::ConnectionReset);
    }

    #[tokio::test]
    async fn close_says_goaway_after_the_answer() {
        let (send, connection) = connect().await;
        let request = Request::get("http://o/").header("x-origin", "close,status=204").body(()).unwrap();

        let mut send = send.ready().await.unwrap();
        let answer = send.send_request(request, true).unwrap().0.await.unwrap();

        assert_eq!(answer.status(), 204);
        // The connection ends although the client still holds it.
        tokio::time::timeout(DEADLINE, connection).await.unwrap().unwrap().unwrap();
        assert!(send.ready().await.is_err());
    }

    #[tokio::test]
    async fn steps_that_only_http1_has_are_refused() {
        for script in ["raw=YQ==", "http10", "close_silently"] {
            assert_eq!(scripted(script).await.unwrap().status, 400, "{script}");
        }
    }

    #[tokio::test]
    async fn grpc_calls_end_with_a_status_in_the_trailers() {
        let unary = ask("/echo.Echo/Unary", &GRPC, MESSAGE).await.unwrap();
        let streamed = ask("/echo.Echo/ServerStream", &GRPC, MESSAGE).await.unwrap();
        let both = ask("/echo.Echo/BidiStream", &GRPC, b"\0\0\0\0\0\0\0\0\0\x02hi").await.unwrap();

        assert_eq!(unary.headers["content-type"], "application/grpc");
        assert_eq!(unary.body, MESSAGE);
        assert_eq!(unary.trailers.unwrap()["grpc-status"], "0");
        assert_eq!(streamed.body, MESSAGE.repeat(5));
        assert_eq!(streamed.trailers.unwrap()["grpc-status"], "0");
        assert_eq!(both.body, b"\0\0\0\0\0\0\0\0\0\x02hi");
        assert_eq!(both.trailers.unwrap()["grpc-status"], "0");
    }

    #[tokio::test]
    async fn a_failed_grpc_call_is_trailers_only() {
        let failed = ask("/echo.Echo/Fail", &GRPC, MESSAGE).await.unwrap();
        let cut_short = ask("/echo.Echo/Unary", &GRPC, b"\0\0\0\0\x05hi").await.unwrap();

        assert_eq!(failed.status, 200);
        assert_eq!(failed.headers["grpc-status"], "5");
        assert_eq!(failed.headers["grpc-message"], "not found");
        assert!(failed.body.is_empty() && failed.trailers.is_none());
        assert_eq!(cut_short.headers["grpc-status"], "13");
    }

    #[tokio::test]
    async fn a_bidirectional_call_answers_before_the_client_is_done() {
        let (send, _connection) = connect().await;
        let request = Request::post("http://o/e/BidiStream").header("content-type", "application/grpc");

        let mut send = send.ready().await.unwrap();
        let (answer, mut stream) = send.send_request(request.body(()).unwrap(), false).unwrap();
        let mut body = answer.await.unwrap().into_body();
        for _ in 0..3 {
            stream.send_data(Bytes::from_static(MESSAGE), false).unwrap();
            assert_eq!(body.data().await.unwrap().unwrap(), MESSAGE);
        }
        stream.send_data(Bytes::new(), true).unwrap();

        assert!(body.data().await.is_none());
        assert_eq!(body.trailers().await.unwrap().unwrap()["grpc-status"], "0");
    }
}
