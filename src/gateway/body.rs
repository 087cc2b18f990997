//! The request's body, as far as its token is bound to it.
//!
//! Owns reading a body whole before the request goes on (`buffer`), and comparing one
//! on its way with what the client said of it (`digest`). Always holds: the bytes that
//! an upstream gets as a whole are those of the hash in the token; of others it gets
//! no end.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use boring::sha::Sha256;
use bytes::{Bytes, BytesMut};
use http::header;
use pingora_proxy::Session;
use tokio::time::timeout;

use super::{attempt, content_digest, context::RequestContext, decide, rejection::Rejection};
use crate::{
    config::signer::{BodyMode, BodySpec},
    identity::ClientKey,
    telemetry::metrics::{HeldBytes, MostHeld},
};

/// What a request's token says of its body.
#[derive(Default)]
pub enum BoundBody {
    /// Nothing, or that nobody knows.
    #[default]
    Unbound,
    /// This hash; there are no bytes, or they are held, or were compared.
    #[allow(missing_docs)]
    Read { hash: [u8; 32], held: Option<Held> },
    /// This hash; the bytes are compared on their way.
    #[allow(missing_docs)]
    Said { hash: [u8; 32], passing: Passing },
}

/// A body that was read.
pub struct Held {
    bytes: Bytes,
    /// This attempt's upstream got it.
    given: bool,
}

/// The bytes of a body, counted until the last who sends them is done with them.
struct Counted {
    bytes: BytesMut,
    _held: HeldBytes,
}

impl AsRef<[u8]> for Counted {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// A body on its way.
#[derive(Default)]
pub struct Passing {
    so_far: Sha256,
    /// What came last: it goes on when it is known not to be the end, or is the end
    /// of the right body.
    last: Bytes,
}

impl BoundBody {
    /// The hash in the token; `None` if it tells none.
    pub fn hash(&self) -> Option<[u8; 32]> {
        match self {
            Self::Unbound => None,
            Self::Read { hash, .. } | Self::Said { hash, .. } => Some(*hash),
        }
    }

    /// Whether the client sent all of it already.
    pub fn is_held(&self) -> bool {
        matches!(self, Self::Read { held: Some(_), .. })
    }

    /// Drops a body that no other attempt will want: the client has an answer.
    pub fn release(&mut self) {
        if let Self::Read { held, .. } = self
            && held.as_ref().is_some_and(|held| held.given)
        {
            *held = None;
        }
    }

    /// Begins another attempt, which gets the body from its beginning; how many bytes
    /// of it are here.
    pub fn begin(&mut self) -> u64 {
        match self {
            Self::Read { held: Some(held), .. } => {
                held.given = false;
                held.bytes.len() as u64
            }
            Self::Said { passing, .. } => {
                *passing = Passing::default();
                0
            }
            _ => 0,
        }
    }

    /// Turns what came of the body into what goes on now; `end` is its end.
    pub fn pass(&mut self, piece: &mut Option<Bytes>, end: bool) -> Result<(), Rejection> {
        match self {
            Self::Read { held: Some(held), .. } if !held.given => {
                held.given = true;
                // An empty piece would be an end of its own.
                *piece = Some(held.bytes.clone()).filter(|bytes| !bytes.is_empty());
            }
            Self::Said { hash, passing } => {
                let passed = passing.pass(piece.take().unwrap_or_default(), end, hash)?;
                *piece = Some(passed).filter(|bytes| !(end && bytes.is_empty()));
                if end {
                    // What follows is no body: the connection was upgraded.
                    *self = Self::Read { hash: *hash, held: None };
                }
            }
            _ => {}
        }
        Ok(())
    }
}

impl Passing {
    fn pass(&mut self, piece: Bytes, end: bool, hash: &[u8; 32]) -> Result<Bytes, Rejection> {
        self.so_far.update(&piece);
        if !end {
            // Nothing new: what is held back may still be the end.
            return Ok(if piece.is_empty() { piece } else { std::mem::replace(&mut self.last, piece) });
        }
        if std::mem::take(&mut self.so_far).finish() != *hash {
            return Err(Rejection::DigestMismatch);
        }
        let last = std::mem::take(&mut self.last);
        if last.is_empty() || piece.is_empty() {
            return Ok(if last.is_empty() { piece } else { last });
        }
        Ok([last, piece].concat().into())
    }
}

/// Whether [`bind`] has something to do.
pub fn is_bound(ctx: &RequestContext) -> bool {
    spec(ctx).is_some_and(|spec| spec.mode != BodyMode::Unsigned)
}

fn spec(ctx: &RequestContext) -> Option<&BodySpec> {
    let signer = ctx.route.as_ref()?.signer?;
    ctx.snapshot.signing.get(signer)?.0.body.as_ref()
}

/// Finds the hash that the token will tell, before an endpoint is picked: a client that
/// sends slowly holds no place at one.
pub async fn bind(session: &mut Session, ctx: &mut RequestContext) -> Result<(), Rejection> {
    let Some(spec) = spec(ctx).cloned() else { return Ok(()) };
    let is_empty = session.as_mut().is_body_empty();
    ctx.bound = match spec.mode {
        BodyMode::Unsigned => BoundBody::Unbound,
        BodyMode::Digest => match content_digest::sha256(&session.req_header().headers) {
            // What follows an upgrade is no body.
            Some(hash) if is_empty && hash == Sha256::default().finish() => {
                BoundBody::Read { hash, held: None }
            }
            Some(_) if is_empty => return Err(Rejection::DigestMismatch),
            Some(hash) => BoundBody::Said { hash, passing: Passing::default() },
            None if is_empty => BoundBody::Read { hash: Sha256::default().finish(), held: None },
            None => return Err(Rejection::DigestMissing),
        },
        BodyMode::Buffer if is_empty => BoundBody::Read { hash: Sha256::default().finish(), held: None },
        BodyMode::Buffer => {
            let read = read(session, ctx, &spec).await?;
            ctx.upload = None;
            // The clock went on.
            ctx.attempt.waited = true;
            read
        }
    };
    Ok(())
}

async fn read(
    session: &mut Session,
    ctx: &mut RequestContext,
    spec: &BodySpec,
) -> Result<BoundBody, Rejection> {
    let headers = &session.req_header().headers;
    if decide::length(headers).is_some_and(|length| length > spec.max.bytes()) {
        return Err(Rejection::BodyTooLargeToSign);
    }
    // HTTP/1.0 knows no interim answers.
    let waits = headers.contains_key(header::EXPECT) && ctx.head.version != http::Version::HTTP_10;
    if waits && session.as_downstream_mut().write_continue_response().await.is_err() {
        return Err(Rejection::ClientGone);
    }
    let patience = ctx.upstream().map_or(Duration::ZERO, |upstream| upstream.timeouts.request);
    let left = patience.saturating_sub(Instant::now().saturating_duration_since(ctx.started));
    match timeout(left, read_all(session, ctx, spec)).await {
        Ok(read) => read,
        Err(_) => Err(Rejection::ClientTimeout),
    }
}

async fn read_all(
    session: &mut Session,
    ctx: &mut RequestContext,
    spec: &BodySpec,
) -> Result<BoundBody, Rejection> {
    let max = spec.max.bytes();
    let most_held = MostHeld { all: spec.max_held.bytes(), each: spec.max_held_per_client.bytes() };
    let snapshot = ctx.snapshot.clone();
    let signer = ctx.route.as_ref().and_then(|route| snapshot.signing.get(route.signer?));
    let (_, series) = signer.ok_or(Rejection::SigningFailed)?;
    let most = ctx.route.as_ref().map_or(u64::MAX, |route| route.max_body);
    let mut counted = HeldBytes::none(Arc::clone(series), holder(ctx));
    // As much as the client says, so that it is not twice as much for having grown.
    let length = decide::length(&session.req_header().headers).unwrap_or(0).min(max).min(MOST_AHEAD);
    let mut bytes = BytesMut::with_capacity(usize::try_from(length).unwrap_or(0));
    let mut hash = Sha256::default();
    loop {
        let piece = session.as_downstream_mut().read_request_body().await;
        let piece = match piece {
            Ok(Some(piece)) => piece,
            Ok(None) => break,
            Err(why) => return Err(attempt::verdict(ctx, &why.into_down())),
        };
        ctx.body_in += piece.len() as u64;
        if ctx.body_in > most {
            return Err(Rejection::BodyTooLarge);
        }
        if ctx.body_in > max {
            return Err(Rejection::BodyTooLargeToSign);
        }
        if !counted.add(piece.len() as u64, most_held) {
            return Err(Rejection::Overloaded);
        }
        hash.update(&piece);
        bytes.extend_from_slice(&piece);
    }
    let bytes = Bytes::from_owner(Counted { bytes, _held: counted });
    Ok(BoundBody::Read { hash: hash.finish(), held: Some(Held { bytes, given: false }) })
}

/// Who answers for what a request holds: the tenant, for all of theirs, else the client.
fn holder(ctx: &RequestContext) -> (Option<&str>, Option<ClientKey<'_>>) {
    let who = ctx.principal();
    let tenant = who.tenancy.tenant().and_then(|tenant| ctx.snapshot.tenants.name(tenant));
    (tenant, tenant.is_none().then(|| who.client()))
}

/// Asked of the allocator before any of it has come.
const MOST_AHEAD: u64 = 1 << 20;

#[cfg(test)]
mod tests {
    use boring::sha::sha256;

    use super::*;

    /// What goes on of these pieces, the last with the end; `None` is a mismatch.
    fn passed(said: &[u8], pieces: &[&'static str]) -> Option<Vec<Bytes>> {
        let mut bound = BoundBody::Said { hash: sha256(said), passing: Passing::default() };
        let mut out = Vec::new();
        for (nth, piece) in pieces.iter().enumerate() {
            let mut piece = Some(Bytes::from_static(piece.as_bytes()));
            bound.pass(&mut piece, nth + 1 == pieces.len()).ok()?;
            out.push(piece.unwrap_or_default());
        }
        Some(out)
    }

    #[test]
    fn what_came_last_goes_on_with_what_follows() {
        assert_eq!(passed(b"abc", &["a", "b", "c"]).unwrap(), ["", "a", "bc"]);
        assert_eq!(passed(b"abc", &["abc", ""]).unwrap(), ["", "abc"]);
        assert_eq!(passed(b"abc", &["", "ab", "", "c", ""]).unwrap(), ["", "", "", "ab", "c"]);
        assert_eq!(passed(b"abc", &["abc"]).unwrap(), ["abc"]);
        assert_eq!(passed(b"", &[""]).unwrap(), [""]);
    }

    #[test]
    fn of_another_body_the_end_never_goes_on() {
        assert_eq!(passed(b"abc", &["a", "b", "d"]), None);
        assert_eq!(passed(b"abc", &["ab", ""]), None);
        assert_eq!(passed(b"abc", &["abcd"]), None);
        assert_eq!(passed(b"", &["a"]), None);
    }

    #[test]
    fn another_attempt_begins_at_the_beginning() {
        let mut bound = BoundBody::Said { hash: sha256(b"ab"), passing: Passing::default() };
        bound.pass(&mut Some(Bytes::from_static(b"a")), false).unwrap();

        bound.begin();
        let mut whole = Some(Bytes::from_static(b"ab"));
        bound.pass(&mut whole, true).unwrap();

        assert_eq!(whole.unwrap(), "ab");
    }
}
