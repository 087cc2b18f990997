//! Tollgate: the pipes between the two halves of a request.
//!
//! Both halves are polled by one task. With `tokio::sync::mpsc` and `tokio::try_join!`,
//! which know nothing of that, whoever puts something into a pipe wakes its own task:
//! it is scheduled and polled once more for each request, for nothing. Here nobody is
//! woken: [`try_join`] asks the other half again before it returns. And a pipe is
//! allocated with the request, not by itself.
//!
//! The names are `mpsc`'s, and what they promise: the order, the capacity, that a
//! permit keeps a place, that each end learns when the other is gone.

use std::{
    collections::VecDeque,
    fmt,
    future::{Future, poll_fn},
    pin::Pin,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    task::Poll,
};

use futures::future::MaybeDone;
pub(crate) use futures::future::maybe_done;

/// Whether one half did something that the other waits for.
#[derive(Default)]
pub(crate) struct Moved(AtomicBool);

/// Between a [`Sender`] and a [`Receiver`] of one task.
pub(crate) struct Pipe<'m, T> {
    moved: &'m Moved,
    state: Mutex<State<T>>,
}

struct State<T> {
    queue: VecDeque<T>,
    /// Places that are neither taken nor promised.
    room: usize,
    sender_gone: bool,
    receiver_gone: bool,
    /// For room.
    sender_waits: bool,
    /// For the receiver to go.
    sender_stays: bool,
    receiver_waits: bool,
}

/// Puts in.
pub(crate) struct Sender<'p, T>(&'p Pipe<'p, T>);

/// Takes out.
pub(crate) struct Receiver<'p, T>(&'p Pipe<'p, T>);

/// A place in the pipe.
pub(crate) struct Permit<'p, T>(Option<&'p Pipe<'p, T>>);

/// Why there is no place in a pipe.
#[derive(Debug)]
pub(crate) enum Refused {
    /// It is full.
    Full,
    /// The receiver is gone.
    Closed,
}

impl<'m, T> Pipe<'m, T> {
    /// Room for so many. The halves are polled by [`try_join`] with the same `moved`.
    pub(crate) fn new(moved: &'m Moved, capacity: usize) -> Self {
        let state = State {
            queue: VecDeque::new(),
            room: capacity,
            sender_gone: false,
            receiver_gone: false,
            sender_waits: false,
            sender_stays: false,
            receiver_waits: false,
        };
        Self { moved, state: Mutex::new(state) }
    }

    /// Its two ends. To be called once.
    pub(crate) fn ends(&self) -> (Sender<'_, T>, Receiver<'_, T>) {
        (Sender(self), Receiver(self))
    }

    fn state(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wake(&self, waits: &mut bool) {
        if std::mem::take(waits) {
            self.moved.0.store(true, Relaxed);
        }
    }
}

impl<'p, T> Sender<'p, T> {
    /// Waits for room and puts in.
    pub(crate) async fn send(&self, value: T) -> Result<(), Refused> {
        self.reserve().await?.send(value);
        Ok(())
    }

    /// Waits for room; an error only when the receiver is gone.
    pub(crate) async fn reserve(&self) -> Result<Permit<'p, T>, Refused> {
        poll_fn(|_| match self.try_reserve() {
            Err(Refused::Full) => {
                self.0.state().sender_waits = true;
                Poll::Pending
            }
            told => Poll::Ready(told),
        })
        .await
    }

    /// A place, if there is one at once.
    pub(crate) fn try_reserve(&self) -> Result<Permit<'p, T>, Refused> {
        let mut state = self.0.state();
        if state.receiver_gone {
            return Err(Refused::Closed);
        }
        state.room = state.room.checked_sub(1).ok_or(Refused::Full)?;
        Ok(Permit(Some(self.0)))
    }

    /// Whether the receiver is gone.
    pub(crate) fn is_closed(&self) -> bool {
        self.0.state().receiver_gone
    }

    /// Waits until the receiver is gone.
    pub(crate) async fn closed(&self) {
        poll_fn(|_| {
            let mut state = self.0.state();
            if state.receiver_gone {
                return Poll::Ready(());
            }
            state.sender_stays = true;
            Poll::Pending
        })
        .await
    }
}

impl<T> Drop for Sender<'_, T> {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.sender_gone = true;
        self.0.wake(&mut state.receiver_waits);
    }
}

impl<T> Permit<'_, T> {
    /// Puts into the place. What a receiver that is gone would have got is dropped.
    pub(crate) fn send(mut self, value: T) {
        let Some(pipe) = self.0.take() else { return };
        let mut state = pipe.state();
        if !state.receiver_gone {
            state.queue.push_back(value);
            pipe.wake(&mut state.receiver_waits);
        }
    }
}

impl<T> Drop for Permit<'_, T> {
    fn drop(&mut self) {
        if let Some(pipe) = self.0 {
            let mut state = pipe.state();
            state.room += 1;
            pipe.wake(&mut state.sender_waits);
        }
    }
}

impl<T> fmt::Debug for Permit<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Permit")
    }
}

impl<T> Receiver<'_, T> {
    /// Waits for the next; `None` when there will be none.
    pub(crate) async fn recv(&mut self) -> Option<T> {
        poll_fn(|_| {
            let mut state = self.0.state();
            if let Some(value) = state.queue.pop_front() {
                state.room += 1;
                self.0.wake(&mut state.sender_waits);
                return Poll::Ready(Some(value));
            }
            if state.sender_gone {
                return Poll::Ready(None);
            }
            state.receiver_waits = true;
            Poll::Pending
        })
        .await
    }
}

impl<T> Drop for Receiver<'_, T> {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.receiver_gone = true;
        self.0.wake(&mut state.sender_waits);
        self.0.wake(&mut state.sender_stays);
        let unread = std::mem::take(&mut state.queue);
        drop(state);
        drop(unread);
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full => "no available capacity",
            Self::Closed => "channel closed",
        })
    }
}

impl std::error::Error for Refused {}

/// Runs both halves to their ends, or to the first error, as `tokio::try_join!` does.
/// A half that is done is dropped at once, and its ends of the pipes with it.
pub(crate) async fn try_join<A, B, E>(
    moved: &Moved,
    mut down: Pin<&mut MaybeDone<impl Future<Output = Result<A, E>>>>,
    mut up: Pin<&mut MaybeDone<impl Future<Output = Result<B, E>>>>,
) -> Result<(A, B), E> {
    let mut begun = false;
    poll_fn(|cx| {
        for _ in 0..ROUNDS {
            // What the upstream says is for the downstream half, which is asked after it;
            // at first it is the other way round.
            let down_last = std::mem::replace(&mut begun, true);
            let mut waits = match down_last {
                true => up.as_mut().poll(cx).is_pending(),
                false => down.as_mut().poll(cx).is_pending(),
            };
            // The other half would take the end of this one for the end of what it said:
            // an upload that was cut would be completed.
            if failed(&down) || failed(&up) {
                return Poll::Ready(());
            }
            moved.0.store(false, Relaxed);
            waits |= match down_last {
                true => down.as_mut().poll(cx).is_pending(),
                false => up.as_mut().poll(cx).is_pending(),
            };
            if failed(&down) || failed(&up) || !waits {
                return Poll::Ready(());
            }
            // Only the half that was asked last can have left something to do.
            if !moved.0.load(Relaxed) {
                return Poll::Pending;
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
    match (down.as_mut().take_output(), up.as_mut().take_output()) {
        (Some(Err(error)), _) | (_, Some(Err(error))) => Err(error),
        (Some(Ok(down)), Some(Ok(up))) => Ok((down, up)),
        _ => unreachable!("neither half failed, so both are done"),
    }
}

fn failed<A, E, F: Future<Output = Result<A, E>>>(half: &MaybeDone<F>) -> bool {
    matches!(half, MaybeDone::Done(Err(_)))
}

/// How often the halves may give each other work before other tasks have their turn.
const ROUNDS: usize = 32;
