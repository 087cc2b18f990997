//! Waits as scripts say.
//!
//! Owns that no wait is no wait: tokio's timer rounds zero up to a millisecond,
//! which every plain request would pay.

use std::time::Duration;

/// Waits that long; returns at once for zero.
pub async fn pause(wait: Duration) {
    if !wait.is_zero() {
        tokio::time::sleep(wait).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_wait_is_over_at_the_first_poll() {
        let mut waker = std::task::Context::from_waker(std::task::Waker::noop());

        let polled = std::pin::pin!(pause(Duration::ZERO)).poll(&mut waker);

        assert!(polled.is_ready());
    }
}
