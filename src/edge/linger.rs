//! The close of a connection after its last answer.
//!
//! A close with unread input, or input that comes after it, makes the kernel
//! throw away what it still had to send (EDGE.md, 3). So the gateway half-closes
//! and reads on, for as long as the client needs and no longer than it may.

use std::time::Duration;

use pingora::protocols::IO;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::{Instant, timeout_at},
};

use super::drain::ConnectionGuard;

/// Writes what is `last`, half-closes, unless that is done, and reads on so that what was
/// written last arrives.
pub(super) async fn linger<S: IO + 'static>(
    mut io: S,
    guard: Option<ConnectionGuard>,
    last: Vec<u8>,
    half_closed: bool,
) {
    let until = Instant::now() + AT_MOST;
    let said = timeout_at(until, async {
        let written = last.is_empty() || io.write_all(&last).await.is_ok();
        // Not twice: BoringSSL then calls the client's next bytes an error.
        written && (half_closed || AsyncWriteExt::shutdown(&mut io).await.is_ok())
    });
    if said.await == Ok(true) {
        read_on(&mut io, until).await;
    }
    close(io, guard);
}

/// Reads until the client closes, has everything and is silent, or says more
/// than a client does that only takes its answer.
async fn read_on<S: IO>(io: &mut S, until: Instant) {
    let soon = Instant::now() + QUIET;
    let mut late = 0;
    let mut sink = [0; 512];
    loop {
        // One timer: each costs a connection that ends as usual more than its reads.
        let quiet = until.min(Instant::now() + QUIET);
        match timeout_at(quiet, io.read(&mut sink)).await {
            Ok(Ok(read @ 1..)) if Instant::now() > soon => late += read,
            Ok(Ok(1..)) => {}
            Ok(_) => return,
            Err(_) if is_delivered(io) || Instant::now() >= until => return,
            Err(_) => {}
        }
        if late > LATE_BYTES {
            return;
        }
    }
}

/// Whether the client's machine has everything that was written.
fn is_delivered(io: &impl IO) -> bool {
    let tcp = io.get_socket_digest().and_then(|socket| socket.tcp_info());
    tcp.is_none_or(|tcp| tcp.tcpi_unacked == 0 && tcp.tcpi_notsent_bytes == 0)
}

/// The socket first: the process may exit when the last guard is gone.
pub(super) fn close<S>(io: S, guard: Option<ConnectionGuard>) {
    drop(io);
    drop(guard);
}

/// Silence of a client to which everything was delivered; until then anything
/// may still be on its way, a body that was refused too.
const QUIET: Duration = Duration::from_secs(1);

/// As long as nginx; a client that is slower than that loses the end.
const AT_MOST: Duration = Duration::from_secs(30);

/// Room for what opens windows: thousands of frames. Who floods is not waited for.
const LATE_BYTES: usize = 64 << 10;
