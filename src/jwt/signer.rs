//! A signer at work: facts go in, the value of a header field comes out.
//!
//! In two steps, because RSA takes so long that it has to be signed elsewhere: a
//! token that is there already, or a [`Draft`] to sign. One token serves all attempts
//! of a request: they go to one upstream, and who verifies refuses one that comes
//! twice only if the first came through.

use std::{cell::RefCell, fmt, sync::Arc};

use bytes::Bytes;
use http::{HeaderName, HeaderValue};

use super::{
    base64url,
    cache::Window,
    claims::{Claims, Facts},
    ring::{Ring, Turn},
    rotation::Now,
    signature::SignError,
};
use crate::config::signer::{Algorithm, BodySpec, SignerSpec};

/// Signs for the routes that name it.
pub struct Signer {
    /// Its name.
    pub name: Arc<str>,
    /// The field that carries its tokens; one that a client sends never gets through.
    pub header: HeaderName,
    /// Where a body's hash is from; `None` if tokens carry none.
    pub body: Option<BodySpec>,
    algorithm: Algorithm,
    before: &'static [u8],
    claims: Claims,
    pub(super) ring: Ring,
}

/// The token for a request.
#[derive(Debug)]
pub enum Token {
    /// It is there.
    Ready(HeaderValue),
    /// It has to be signed.
    Draft(Draft),
}

/// A token without its signature.
pub struct Draft {
    /// What stands before the token, and the token's first two parts.
    text: Vec<u8>,
    /// Where the token begins.
    start: usize,
    turn: Arc<Turn>,
    keep: Option<(Box<[u8]>, Window)>,
}

impl Signer {
    pub(super) fn new(spec: &SignerSpec, claims: Claims, ring: Ring) -> Self {
        Self {
            name: spec.name.as_str().into(),
            header: spec.header.header().clone(),
            body: spec.binds_body().then(|| spec.body.clone()),
            algorithm: spec.algorithm(),
            before: if spec.bearer { b"Bearer " } else { b"" },
            claims,
            ring,
        }
    }

    /// Whether [`Draft::sign`] holds a thread up for longer than others should wait:
    /// then it belongs on another.
    pub fn is_slow(&self) -> bool {
        self.algorithm.is_slow()
    }

    /// Whether each request has a token of its own; others are made once for all
    /// requests with the same claims, and used for half of their life.
    pub fn is_bound(&self) -> bool {
        self.claims.are_bound()
    }

    /// The token for a request with these facts, made before or as a draft.
    ///
    /// # Errors
    /// [`SignError::TooLong`] if the facts would make a header field of more than
    /// 16 KiB.
    pub fn token(&self, facts: &Facts<'_>, now: Now) -> Result<Token, SignError> {
        thread_local! {
            static ROOM: RefCell<[Vec<u8>; 2]> = const { RefCell::new([Vec::new(), Vec::new()]) };
        }
        ROOM.with_borrow_mut(|[identity, payload]| {
            identity.clear();
            payload.clear();
            self.claims.push_identity(facts, identity);
            let turn = self.ring.turn(now.steady);
            let unbound = !self.is_bound();
            if unbound && let Some(value) = turn.cache.get(identity, now.unix_millis()) {
                return Ok(Token::Ready(value));
            }
            let expires = self.claims.push_payload(identity, facts, now, payload);
            let keep = unbound.then(|| (Box::from(&**identity), self.window(now)));
            let draft = self.draft(payload, turn.clone(), keep);
            turn.record.signed(expires);
            identity.shrink_to(MAX_PAYLOAD);
            payload.shrink_to(MAX_PAYLOAD);
            draft.map(Token::Draft)
        })
    }

    fn draft(
        &self,
        payload: &[u8],
        turn: Arc<Turn>,
        keep: Option<(Box<[u8]>, Window)>,
    ) -> Result<Draft, SignError> {
        if payload.len() > MAX_PAYLOAD {
            return Err(SignError::TooLong);
        }
        let (start, parts) =
            (self.before.len(), turn.header.len() + base64url::encoded_length(payload.len()));
        // Exactly as long as it will be: then it becomes a header value where it lies.
        let mut text = Vec::with_capacity(start + parts + 1 + turn.key.encoded_length());
        text.extend_from_slice(self.before);
        text.extend_from_slice(&turn.header);
        base64url::push(&mut text, payload);
        Ok(Draft { text, start, turn, keep })
    }

    /// Half of a token's life, from now on.
    fn window(&self, now: Now) -> Window {
        let from = now.unix_millis();
        Window { from, until: from + self.claims.ttl() * 1000 / 2 }
    }
}

impl Draft {
    /// Signs, and keeps the token for others with the same claims if it is not bound
    /// to its request.
    ///
    /// # Errors
    /// [`SignError::Library`]
    pub fn sign(mut self) -> Result<HeaderValue, SignError> {
        self.turn.key.sign(&mut self.text, self.start)?;
        let value = HeaderValue::from_maybe_shared(Bytes::from(self.text));
        let mut value = value.map_err(|_| SignError::Library)?;
        // No log shows it, and no HTTP/2 connection keeps it in its table.
        value.set_sensitive(true);
        if let Some((claims, window)) = self.keep {
            self.turn.cache.put(claims, value.clone(), window);
        }
        Ok(value)
    }
}

impl fmt::Debug for Draft {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Draft({} bytes)", self.text.len())
    }
}

/// Then the field has 16 KiB, with a signature of RSA.
const MAX_PAYLOAD: usize = 11 << 10;

#[cfg(test)]
mod tests;
