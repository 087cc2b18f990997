//! `/jwks.json` and `/.well-known/jwks.json`: the public keys, for who verifies tokens
//! and reaches the private side.

use http::{Response, Version, header};
use pingora::protocols::http::ServerSession;

use crate::{gateway::key_set, jwt::Now, snapshot::Snapshot};

/// Where the keys are: a short path, and the one that many verifiers know.
pub const PATHS: [&str; 2] = ["/jwks.json", "/.well-known/jwks.json"];

/// The set of public keys, if that is what is asked for.
pub(super) fn page(snapshot: &Snapshot, session: &mut ServerSession) -> Option<Response<Vec<u8>>> {
    let request = session.req_header();
    if !PATHS.contains(&request.uri.path()) {
        return None;
    }
    let (signers, now) = (&snapshot.signing.signers, Now::read());
    let page = key_set::page(&signers.key_set(now), &request.method, &request.headers);
    if key_set::told(&request.method)
        && let Some(peer) = session.client_addr().and_then(|address| address.as_inet())
    {
        signers.fetched(peer.ip(), now);
    }
    let (is_head, is_old) = (request.method == http::Method::HEAD, request.version == Version::HTTP_10);
    let (mut parts, body) = page.into_parts();
    if parts.status != http::StatusCode::NOT_MODIFIED {
        parts.headers.insert(header::CONTENT_LENGTH, body.len().into());
    }
    if is_old {
        // It may read to the end; Pingora would keep it open for a minute.
        session.set_keepalive(None);
    }
    Some(Response::from_parts(parts, if is_head { Vec::new() } else { body.into() }))
}
