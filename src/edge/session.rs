//! What Pingora leaves open on an HTTP/1 session, and what it hides.

use std::{
    fmt::{self, Write as _},
    time::Duration,
};

use pingora::{apps::HttpPersistentSettings, protocols::http::ServerSession};

use super::app::Limits;

/// Sets what has no setting of Pingora's own.
pub(super) fn tune(session: &mut ServerSession, limits: &Limits) {
    // For ever: our own watch ends idle connections, and a timer of Pingora's
    // for each request would cost 1,400 instructions.
    session.set_keepalive(Some(0));
    session.set_read_timeout(Some(limits.read));
    session.set_write_timeout(Some(limits.write));
    session.set_total_drain_timeout(Some(DRAIN_BODY));
    // A client that half-closes after its request still gets its answer.
    session.set_abort_on_close(false);
    session.set_pipelining_enabled(true);
}

/// Whether bytes of a pipelined request were read with the one before.
///
/// They came before anyone could look at their request line, so the connection
/// ends after its answer; RFC 9112 (9.3.2) has the client send them again.
/// Pingora hands them on without a way to ask but its debug text.
pub(super) fn holds_next_request(settings: &HttpPersistentSettings) -> bool {
    struct Find(bool);
    impl fmt::Write for Find {
        fn write_str(&mut self, text: &str) -> fmt::Result {
            // `derive(Debug)` writes a field's name, `: `, then its value.
            self.0 |= text == "pipelined_prefix";
            if self.0 && text == "None" { Err(fmt::Error) } else { Ok(()) }
        }
    }
    write!(Find(false), "{settings:?}").is_ok()
}

/// For the rest of a body that was refused; then the connection closes.
const DRAIN_BODY: Duration = Duration::from_secs(5);
