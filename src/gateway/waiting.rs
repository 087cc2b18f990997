//! A request that waits until there is room at its upstream.
//!
//! Does not own the order: the upstream's queue does. Retries never wait: they take
//! the place of the attempt before.

use std::time::Instant;

use pingora_proxy::Session;
use tokio::time::sleep;

use super::{
    attempt::{draw, hold, unavailable},
    context::RequestContext,
    rejection::Rejection,
};
use crate::upstream::Unavailable;

/// Waits for room, where that is configured, and picks the endpoint of the first
/// attempt. Refuses at once when as many wait as may, else when the time is over.
pub async fn for_room(session: &mut Session, ctx: &mut RequestContext) -> Result<(), Rejection> {
    let upstream = ctx.upstream().ok_or(Rejection::Internal)?.clone();
    let patience = upstream.patience().ok_or(Rejection::Overloaded)?;
    let waiting = upstream.enqueue().ok_or(Rejection::Overloaded)?;
    let left = upstream.timeouts.request.saturating_sub(ctx.started.elapsed());
    let mut over = std::pin::pin!(sleep(patience.min(left)));
    let mut gone = std::pin::pin!(leaves(session));
    ctx.attempt.waited = true;
    let begun = Instant::now();
    loop {
        let is_first = waiting.is_first();
        if is_first {
            match upstream.pick(&ctx.attempt.tried, draw(ctx), Instant::now()) {
                Ok(lease) => {
                    hold(ctx, lease);
                    waiting.served();
                    if let Some(recording) = &mut ctx.recording {
                        recording.waited(begun, Instant::now());
                    }
                    return Ok(());
                }
                Err(Unavailable::Full) => {}
                Err(why) => return Err(unavailable(why)),
            }
        }
        tokio::select! {
            () = waiting.turn(is_first) => {}
            () = &mut over => return Err(Rejection::Overloaded),
            () = &mut gone => return Err(Rejection::ClientGone),
        }
    }
}

/// Until the client has gone. Over HTTP/1 that is not seen before its body was
/// read: it stands in front of the connection's end. Nor is one that only closed
/// its half: it may well read on (RFC 9112, 9.6).
async fn leaves(session: &mut Session) {
    let is_seen = session.as_http2().is_some() || session.is_body_empty() || session.is_body_done();
    if is_seen {
        // Whatever it says, it is no client any more that waits for an answer.
        let _ = session.as_downstream_mut().read_body_or_idle(true).await;
    } else {
        std::future::pending().await
    }
}
