//! Whether a client takes what is sent to it.
//!
//! Counts only while bytes wait to be written: who is sent nothing takes nothing.

use std::sync::Arc;

use pingora::protocols::SocketDigest;
use tokio::time::Instant;

use super::pace::MinRate;

/// How much the client's machine has taken, between looks that find bytes waiting.
///
/// What was acknowledged counts, not what was written: the kernel takes megabytes
/// at once, then nothing for a while.
pub(super) struct Taken {
    rate: MinRate,
    socket: Option<Arc<SocketDigest>>,
    /// When bytes were found waiting, and how many had been taken by then.
    before: Option<(Instant, u64)>,
}

impl Taken {
    /// Of this connection.
    pub fn new(rate: MinRate, socket: Option<Arc<SocketDigest>>) -> Self {
        Self { rate, socket, before: None }
    }

    /// Whether less than the rate was taken since an earlier look, if bytes waited
    /// then and wait now.
    pub fn too_slowly(&mut self, unsent: bool, now: Instant) -> bool {
        if !unsent || self.rate.bytes == 0 {
            self.before = None;
            return false;
        }
        let Some(tcp) = self.socket.as_ref().and_then(|socket| socket.tcp_info()) else { return false };
        let (since, taken) = *self.before.get_or_insert((now, tcp.tcpi_bytes_acked));
        if now - since < self.rate.grace {
            return false;
        }
        self.before = Some((now, tcp.tcpi_bytes_acked));
        let wanted = (now - since).as_secs_f64() * self.rate.bytes as f64;
        (tcp.tcpi_bytes_acked.saturating_sub(taken) as f64) < wanted
    }
}
