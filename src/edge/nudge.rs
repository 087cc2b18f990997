//! A future that is only polled when something happened to it.
//!
//! A connection's task wakes several times for each request. What watches the
//! connection (its age, the drain) has nothing to say then, but a plain
//! `select!` would ask it every time: about 1,500 instructions a request.

use std::{
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
};

use futures::task::AtomicWaker;

/// Polls `inner` first once, then only after it was woken.
pub struct Nudge<F> {
    inner: Pin<Box<F>>,
    bell: Arc<Bell>,
    own: Waker,
}

struct Bell {
    rung: AtomicBool,
    task: AtomicWaker,
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.rung.store(true, Ordering::Release);
        self.task.wake();
    }
}

impl<F: Future> Nudge<F> {
    /// Wraps a future that was not polled yet.
    pub fn new(inner: F) -> Self {
        let bell = Arc::new(Bell { rung: AtomicBool::new(true), task: AtomicWaker::new() });
        Self { inner: Box::pin(inner), own: bell.clone().into(), bell }
    }
}

impl<F: Future> Future for Nudge<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.get_mut();
        if !this.bell.rung.load(Ordering::Acquire) {
            return Poll::Pending;
        }
        // Registered before the bell is silenced: a ring in between is not lost.
        // The task stays the same, so this is the only place that needs it.
        this.bell.task.register(cx.waker());
        this.bell.rung.store(false, Ordering::Release);
        this.inner.as_mut().poll(&mut Context::from_waker(&this.own))
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::atomic::AtomicUsize,
        time::{Duration, Instant},
    };

    use super::*;

    #[tokio::test]
    async fn it_sleeps_through_the_wakes_of_others_and_hears_its_own() {
        let polls = Arc::new(AtomicUsize::new(0));
        let counted = {
            let polls = polls.clone();
            let mut sleep = Box::pin(tokio::time::sleep(Duration::from_millis(50)));
            std::future::poll_fn(move |cx| {
                polls.fetch_add(1, Ordering::Relaxed);
                sleep.as_mut().poll(cx)
            })
        };
        let mut nudge = Nudge::new(counted);
        let begun = Instant::now();

        for _ in 0..100 {
            tokio::select! {
                biased;
                () = tokio::task::yield_now() => {}
                () = &mut nudge => panic!("too early"),
            }
        }
        nudge.await;

        assert!(begun.elapsed() >= Duration::from_millis(50));
        assert_eq!(polls.load(Ordering::Relaxed), 2);
    }
}
