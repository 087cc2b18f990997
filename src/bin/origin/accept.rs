//! From a listener to a protocol.
//!
//! Owns accepting, the handshake and telling HTTP/1 from HTTP/2 by the first
//! bytes. A failed accept or handshake concerns nobody else.

use std::{io, sync::Arc, time::Duration};

use bytes::BytesMut;
use tokio::{
    net::{TcpListener, TcpStream},
    time::{sleep, timeout},
};

use crate::{
    echo::{Peer, TlsFacts},
    http1, http2,
    origin::{Connected, Origin},
    tls::{Acceptors, facts},
    wire::{Rewound, Wire, fill},
};

/// Serves cleartext connections for ever.
pub async fn cleartext(listener: TcpListener, origin: Arc<Origin>) {
    loop {
        let Some(tcp) = accept(&listener).await else { continue };
        let connected = origin.connected();
        tokio::spawn(serve(tcp, connected, None, Arc::clone(&origin)));
    }
}

/// Serves TLS connections for ever.
pub async fn tls(listener: TcpListener, acceptors: Acceptors, origin: Arc<Origin>) {
    loop {
        let Some(tcp) = accept(&listener).await else { continue };
        let (acceptor, origin) = (acceptors.current(), Arc::clone(&origin));
        tokio::spawn(async move {
            let connected = origin.connected();
            let handshake = timeout(HANDSHAKE, tokio_boring::accept(&acceptor, tcp)).await;
            if let Ok(Ok(stream)) = handshake {
                let tls = facts(stream.ssl());
                serve(stream, connected, Some(tls), origin).await;
            }
        });
    }
}

async fn accept(listener: &TcpListener) -> Option<TcpStream> {
    match listener.accept().await {
        Ok((tcp, _)) => {
            // Answers are small and paced on purpose: none may wait for an acknowledgement.
            let _ = tcp.set_nodelay(true);
            Some(tcp)
        }
        Err(error) => {
            eprintln!("origin: accept: {error}");
            // Out of files: the next accept would fail at once as well.
            sleep(Duration::from_millis(50)).await;
            None
        }
    }
}

async fn serve<W: Wire>(mut wire: W, connected: Connected, tls: Option<TlsFacts>, origin: Arc<Origin>) {
    let peer = Peer { connected, tls };
    let mut input = BytesMut::new();
    match speaks_http2(&mut wire, &mut input).await {
        Ok(true) => http2::serve(Rewound { input, wire }, peer, origin).await,
        Ok(false) => http1::serve(wire, input, peer, origin).await,
        // Gone before it said anything.
        Err(_) => {}
    }
}

/// Whether the connection begins with HTTP/2's preface. What was read stays in `input`.
async fn speaks_http2<W: Wire>(wire: &mut W, input: &mut BytesMut) -> io::Result<bool> {
    loop {
        let known = input.len().min(PREFACE.len());
        if input.get(..known) != PREFACE.get(..known) {
            return Ok(false);
        }
        if known == PREFACE.len() {
            return Ok(true);
        }
        if fill(wire, input, FIRST_READ).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const FIRST_READ: usize = 4096;
const HANDSHAKE: Duration = Duration::from_secs(30);
