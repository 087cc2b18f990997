//! The default answer's body: everything that was received, as JSON.
//!
//! Owns the names of its fields; tests across the project read them.

use serde::Serialize;

use crate::{
    body::Received,
    origin::{Connected, Origin},
    request::{Field, Request},
};

/// The connection that a request came on.
pub struct Peer {
    /// Counted as open while this lives.
    pub connected: Connected,
    /// `None` on cleartext.
    pub tls: Option<TlsFacts>,
}

/// What the handshake told.
#[derive(Clone, Debug, Serialize)]
pub struct TlsFacts {
    /// SNI.
    pub server_name: Option<String>,
    /// `CN=…,O=…` in the certificate's order.
    pub client_cert_subject: Option<String>,
}

/// The JSON body of the default answer.
pub fn body(origin: &Origin, peer: &Peer, request: &Request, received: &Received, number: u64) -> Vec<u8> {
    let echo = Echo {
        origin: &origin.name,
        zone: &origin.zone,
        method: &request.method,
        target: &request.target,
        version: request.version,
        authority: request.authority.as_deref(),
        headers: &request.headers,
        body_bytes: received.bytes,
        body_sha256: &received.sha256,
        body: received.text.as_deref(),
        trailers: &received.trailers,
        connection: peer.connected.id,
        request: number,
        raw_head: request.raw_head.as_deref(),
        tls: peer.tls.as_ref(),
    };
    // Strings and numbers always serialise; an empty body would fail the test that reads it.
    serde_json::to_vec(&echo).unwrap_or_default()
}

#[derive(Serialize)]
struct Echo<'a> {
    origin: &'a str,
    zone: &'a str,
    method: &'a str,
    target: &'a str,
    version: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    authority: Option<&'a str>,
    headers: &'a [Field],
    body_bytes: u64,
    body_sha256: &'a str,
    body: Option<&'a str>,
    trailers: &'a [Field],
    connection: u64,
    request: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    raw_head: Option<&'a str>,
    tls: Option<&'a TlsFacts>,
}
