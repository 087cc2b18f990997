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
