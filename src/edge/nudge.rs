//! What is only polled when something happened to it.
//!
//! A connection's task wakes several times for each request. What watches the
//! connection (its age, the drain) has nothing to say then, but a plain
//! `select!` would ask it every time: about 1,500 instructions a request. Nor has
//! a client that says nothing: BoringSSL takes 1,600 to find that out.

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
        if this.bell.is_silent(cx) {
            return Poll::Pending;
        }
        this.bell.hush();
        this.inner.as_mut().poll(&mut Context::from_waker(&this.own))
    }
}

/// A source that is asked again only after it rang, if it had nothing to say.
pub struct Doze {
    bell: Arc<Bell>,
    own: Waker,
    /// Who asked last.
    task: Option<Waker>,
    /// The source had nothing to say.
    waits: bool,
}

impl Default for Doze {
    fn default() -> Self {
        let bell = Arc::new(Bell { rung: AtomicBool::new(false), task: AtomicWaker::new() });
        Self { own: bell.clone().into(), bell, task: None, waits: false }
    }
}

impl Doze {
    /// Whether the source would say the same again: nothing, to the same task.
    pub fn lasts(&self, cx: &Context<'_>) -> bool {
        self.waits && self.knows(cx) && self.bell.is_silent(cx)
    }

    fn knows(&self, cx: &Context<'_>) -> bool {
        self.task.as_ref().is_some_and(|task| task.will_wake(cx.waker()))
    }

    /// The source is to be asked again, whether it rings or not.
    pub fn disturb(&mut self) {
        self.waits = false;
    }

    /// Asks the source, which has to wake whom it is given once it can say more.
    pub fn ask<T>(&mut self, cx: &Context<'_>, source: impl FnOnce(&mut Context<'_>) -> Poll<T>) -> Poll<T> {
        self.bell.answer(cx);
        let said = source(&mut Context::from_waker(&self.own));
        self.waits = said.is_pending();
        if self.waits && !self.knows(cx) {
            self.task = Some(cx.waker().clone());
        }
        said
    }
}

impl Bell {
    /// Whether it did not ring; who asks is woken when it does. To ring is to note it and
    /// then to take the registration, and who asks may come in between: so each asks to
    /// be woken, and before it looks.
    fn is_silent(&self, cx: &Context<'_>) -> bool {
        self.task.register(cx.waker());
        !self.rung.load(Ordering::Acquire)
    }

    /// To be called before the source is asked: what rings from here on is news.
    fn answer(&self, cx: &Context<'_>) {
        self.task.register(cx.waker());
        self.hush();
    }

    fn hush(&self) {
        self.rung.swap(false, Ordering::AcqRel);
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

    /// Counts how often it is woken.
    #[derive(Default)]
    struct Woken(AtomicUsize);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn a_source_is_asked_again_when_it_rang_or_another_task_asks() {
        let (mut doze, mut rings) = (Doze::default(), None);
        let (woken, other) = (Arc::new(Woken::default()), Waker::noop());
        let waker = Waker::from(woken.clone());
        let cx = Context::from_waker(&waker);
        assert!(!doze.lasts(&cx));

        let said = doze.ask(&cx, |cx| {
            rings = Some(cx.waker().clone());
            Poll::<()>::Pending
        });

        assert!(said.is_pending() && doze.lasts(&cx));
        assert!(!doze.lasts(&Context::from_waker(other)));
        doze.disturb();
        assert!(!doze.lasts(&cx));
        assert!(doze.ask(&cx, |_| Poll::<()>::Pending).is_pending() && doze.lasts(&cx));
        rings.unwrap().wake();
        assert!(!doze.lasts(&cx));
        assert_eq!(woken.0.load(Ordering::Relaxed), 1);
        assert!(doze.ask(&cx, |_| Poll::Ready(())).is_ready());
        assert!(!doze.lasts(&cx));
    }

    #[test]
    fn a_ring_that_is_late_leaves_no_task_unheard() {
        let mut doze = Doze::default();
        let woken = Arc::new(Woken::default());
        let waker = Waker::from(woken.clone());
        let cx = Context::from_waker(&waker);
        assert!(doze.ask(&cx, |_| Poll::<()>::Pending).is_pending());

        // The second half of a ring whose first half came before the source was asked.
        doze.bell.task.wake();
        assert!(doze.lasts(&cx));
        doze.bell.wake_by_ref();

        assert_eq!(woken.0.load(Ordering::Relaxed), 2);
        assert!(!doze.lasts(&cx));
    }

    #[test]
    fn a_ring_while_it_is_asked_wakes_and_so_does_the_next() {
        let mut doze = Doze::default();
        let woken = Arc::new(Woken::default());
        let waker = Waker::from(woken.clone());
        let cx = Context::from_waker(&waker);

        for times in 1..=2 {
            let said = doze.ask(&cx, |cx| {
                cx.waker().wake_by_ref();
                Poll::<()>::Pending
            });

            assert!(said.is_pending() && !doze.lasts(&cx));
            assert_eq!(woken.0.load(Ordering::Relaxed), times);
        }
    }
}
