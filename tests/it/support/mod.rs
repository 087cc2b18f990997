//! The vocabulary of these tests: gateways, origins and clients.
//!
//! Owns starting and ending real processes, speaking to them byte by byte, and
//! waiting. Always holds: no fixed port, no sleep but the one in `eventually`,
//! no process that outlives its test, and no request whose forged header
//! reached an origin without a failing test.

pub mod browser;
pub mod certs;
pub mod client;
pub mod collector;
pub mod config;
pub mod dns;
pub mod frames;
pub mod gateway;
pub mod http2;
pub mod issuer;
pub mod link;
pub mod load;
pub mod metrics;
pub mod origin;
pub mod port;
pub mod process;
pub mod proxy_header;
pub mod pty;
pub mod puppet;
pub mod redis;
pub mod request;
pub mod response;
pub mod stream;
pub mod tls;
pub mod vanish;
pub mod websocket;

pub use self::{
    client::Http1, collector::Collector, frames::Frames, gateway::Gateway, http2::Http2, issuer::Issuer,
    origin::Origin, puppet::Puppet, request::Request, response::Response, tls::Tls, websocket::WebSocket,
};

use std::{future::Future, panic::Location, time::Duration};

use tokio::time::Instant;

/// Asks again and again until the answer is `true` or `Some`; panics at the
/// deadline, at the line that waits.
#[track_caller]
pub fn eventually<C, F>(deadline: Duration, ask: C) -> impl Future<Output = <F::Output as Met>::Value>
where
    C: FnMut() -> F,
    F: Future<Output: Met>,
{
    let line = Location::caller();
    let waiting = within(deadline, ask);
    async move {
        let met = waiting.await;
        met.unwrap_or_else(|| panic!("not within {deadline:?}: what {line} waits for"))
    }
}

/// As [`eventually`], but `None` at the deadline.
pub async fn within<C, F>(deadline: Duration, mut ask: C) -> Option<<F::Output as Met>::Value>
where
    C: FnMut() -> F,
    F: Future<Output: Met>,
{
    let end = Instant::now() + deadline;
    loop {
        if let Some(value) = ask().await.met() {
            return Some(value);
        }
        if Instant::now() >= end {
            return None;
        }
        tokio::time::sleep(BETWEEN_LOOKS).await;
    }
}

/// The answer to "is it so by now?".
pub trait Met {
    /// What is known once it is so.
    type Value;

    /// `None`: not yet.
    fn met(self) -> Option<Self::Value>;
}

impl Met for bool {
    type Value = ();

    fn met(self) -> Option<()> {
        self.then_some(())
    }
}

impl<T> Met for Option<T> {
    type Value = T;

    fn met(self) -> Self {
        self
    }
}

/// How long anything may take that should happen at once: the machine may be
/// busy with other tests, so that only something that never happens fails.
pub const PATIENCE: Duration = Duration::from_secs(40);

const BETWEEN_LOOKS: Duration = Duration::from_millis(5);
