//! The pipes that `vendor/pingora-proxy` puts between the two halves of a request: what
//! `tokio::sync::mpsc` promises, without a wake.

// Helpers of tests stand outside `#[test]` functions; they may fail loudly.
#![allow(clippy::unwrap_used)]

// Not of this package, so that only this runs its tests.
#[path = "../vendor/pingora-proxy/src/pipe.rs"]
mod pipe;

use std::{
    future::Future,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
};

use pipe::{Moved, Pipe, Refused, maybe_done, try_join};

/// Counts how often it is woken.
#[derive(Default)]
struct Woken(AtomicUsize);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// What one poll says, and how often it woke its own task.
fn polled_once<T>(future: impl Future<Output = T>) -> (Poll<T>, usize) {
    let woken = Arc::new(Woken::default());
    let said = pin!(future).poll(&mut Context::from_waker(&Waker::from(woken.clone())));
    (said, woken.0.load(Ordering::Relaxed))
}

/// What both halves come to.
type Joined<A, B> = Result<(A, B), &'static str>;

/// Both halves in one poll, `down` first.
fn joined<A, B>(
    moved: &Moved,
    down: impl Future<Output = Result<A, &'static str>>,
    up: impl Future<Output = Result<B, &'static str>>,
) -> (Poll<Joined<A, B>>, usize) {
    let (down, up) = (pin!(maybe_done(down)), pin!(maybe_done(up)));
    polled_once(try_join(moved, down, up))
}

fn refused<T>(told: Result<T, Refused>) -> Option<String> {
    told.err().map(|why| why.to_string())
}

#[test]
fn a_half_that_fails_is_no_end_of_what_it_said() {
    for down_fails in [true, false] {
        let moved = Moved::default();
        let pipe = Pipe::new(&moved, 2);
        let (sender, mut receiver) = pipe.ends();
        let heard = AtomicUsize::new(0);
        let fails = async move {
            sender.send(1).await.unwrap();
            Err::<(), _>("cut")
        };
        let hears = async {
            while receiver.recv().await.is_some() {}
            heard.fetch_add(1, Ordering::Relaxed);
            Ok(())
        };

        let (told, _) = match down_fails {
            true => joined(&moved, fails, hears),
            false => joined(&moved, hears, fails),
        };

        assert_eq!((told, heard.into_inner()), (Poll::Ready(Err("cut")), 0));
    }
}

#[test]
fn ten_values_through_two_places_take_one_poll_and_no_wake() {
    let moved = Moved::default();
    let pipe = Pipe::new(&moved, 2);
    let (sender, mut receiver) = pipe.ends();

    let (told, woken) = joined(
        &moved,
        async move {
            let mut got = Vec::new();
            while let Some(value) = receiver.recv().await {
                got.push(value);
            }
            Ok(got)
        },
        async move {
            for value in 0..10 {
                sender.send(value).await.unwrap();
            }
            Ok(())
        },
    );

    assert_eq!(told, Poll::Ready(Ok(((0..10).collect(), ()))));
    assert_eq!(woken, 0);
}

#[test]
fn an_echo_goes_both_ways_whoever_is_asked_first() {
    let moved = Moved::default();
    let (there, back) = (Pipe::new(&moved, 1), Pipe::new(&moved, 1));
    let ((to, mut from), (answer, mut answers)) = (there.ends(), back.ends());
    let ask = async move {
        let mut got = Vec::new();
        for value in 0..5 {
            to.send(value).await.unwrap();
            got.push(answers.recv().await.unwrap());
        }
        Ok(got)
    };
    let echo = async move {
        while let Some(value) = from.recv().await {
            answer.send(value * 2).await.unwrap();
        }
        Ok(())
    };

    let (told, woken) = joined(&moved, echo, ask);

    assert_eq!(told, Poll::Ready(Ok(((), vec![0, 2, 4, 6, 8]))));
    assert_eq!(woken, 0);
}

#[test]
fn each_end_learns_that_the_other_is_gone() {
    let moved = Moved::default();
    let pipe = Pipe::new(&moved, 1);
    let (sender, receiver) = pipe.ends();

    let gone = async move {
        sender.send(1).await.unwrap();
        let refused = refused(sender.send(2).await);
        sender.closed().await;
        Ok((refused, sender.is_closed()))
    };
    let (told, _) = joined(&moved, gone, async move {
        drop(receiver);
        Ok(())
    });

    assert_eq!(told, Poll::Ready(Ok(((Some("channel closed".to_owned()), true), ()))));
    let pipe = Pipe::new(&moved, 1);
    let (sender, mut receiver) = pipe.ends();
    sender.try_reserve().unwrap().send(3);
    drop(sender);
    assert_eq!(polled_once(receiver.recv()).0, Poll::Ready(Some(3)));
    assert_eq!(polled_once(receiver.recv()).0, Poll::Ready(None));
}

#[test]
fn waiting_for_the_end_alone_is_heard() {
    let moved = Moved::default();
    let pipe = Pipe::<()>::new(&moved, 1);
    let (sender, receiver) = pipe.ends();

    let (told, woken) = joined(
        &moved,
        async move {
            sender.closed().await;
            Ok(())
        },
        async move {
            drop(receiver);
            Ok(())
        },
    );

    assert_eq!((told, woken), (Poll::Ready(Ok(((), ()))), 0));
}

#[test]
fn a_permit_keeps_its_place_until_it_is_used_or_dropped() {
    let moved = Moved::default();
    let pipe = Pipe::new(&moved, 1);
    let (sender, mut receiver) = pipe.ends();

    let permit = sender.try_reserve().unwrap();
    assert_eq!(refused(sender.try_reserve()), Some("no available capacity".to_owned()));
    drop(permit);
    sender.try_reserve().unwrap().send('a');

    assert_eq!(refused(sender.try_reserve()), Some("no available capacity".to_owned()));
    assert!(polled_once(sender.reserve()).0.is_pending());
    assert_eq!(polled_once(receiver.recv()).0, Poll::Ready(Some('a')));
    assert!(sender.try_reserve().is_ok());
}

#[test]
fn the_first_error_ends_both() {
    let moved = Moved::default();
    let forever = || std::future::pending::<Result<(), &str>>();

    assert_eq!(joined(&moved, async { Err::<(), _>("down") }, forever()).0, Poll::Ready(Err("down")));
    assert_eq!(joined(&moved, forever(), async { Err::<(), _>("up") }).0, Poll::Ready(Err("up")));
}

#[test]
fn halves_that_never_end_let_other_tasks_have_their_turn() {
    let moved = Moved::default();
    let (there, back) = (Pipe::new(&moved, 1), Pipe::new(&moved, 1));
    let ((to, mut from), (answer, mut answers)) = (there.ends(), back.ends());
    let ask = async move {
        loop {
            to.send(()).await.map_err(|_| "closed")?;
            answers.recv().await;
        }
    };
    let echo = async move {
        loop {
            from.recv().await;
            answer.send(()).await.map_err(|_| "closed")?;
        }
    };

    let (told, woken) = joined::<(), ()>(&moved, ask, echo);

    assert_eq!((told, woken), (Poll::Pending, 1));
}
