//! Tollgate: how much a socket takes without having its writer wait.
//!
//! A session of HTTP/1 reads or writes, not both: while a write of it waits, nothing of
//! the answer is read, and an upstream that takes no more of the body until its answer
//! is taken waits as well. So no more is written at a time than the kernel has room for,
//! and for more room is waited beside everything else.
//!
//! Where the kernel is told to take less than it has room for (`net.ipv4.tcp_notsent_lowat`,
//! without a bound by default), or where its room cannot be asked for, the wait is in the
//! write, as published.

use std::{
    io,
    os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd},
    time::Duration,
};

use bytes::Bytes;
use pingora_core::protocols::http::HttpTask;
use tokio::{
    io::{unix::AsyncFd, Interest},
    time::{error::Elapsed, timeout_at, Instant},
};

use crate::pipe;

/// What was taken of a request's body and is not written yet.
pub(crate) struct Unsent {
    socket: RawFd,
    /// For so long there may be no room.
    most: Option<Duration>,
    task: Option<HttpTask>,
    /// Since when there is none.
    since: Option<Instant>,
    /// What tells of room, once that was waited for.
    watched: Option<AsyncFd<OwnedFd>>,
}

/// What is to be done next.
pub(crate) enum Next {
    /// To write this; `None`: no more comes.
    Write(Option<HttpTask>),
    /// To wait, by another call.
    Wait,
}

impl Unsent {
    /// For a socket, which has to outlive this.
    pub(crate) fn new(socket: RawFd, most: Option<Duration>) -> Self {
        Self { socket, most, task: None, since: None, watched: None }
    }

    /// Whether a piece waits for room: then it is the upstream's turn, and no silence of
    /// its own that it says nothing.
    pub(crate) fn waits(&self) -> bool {
        self.since.is_some()
    }

    /// Of the body, what can be written without a wait; an error when there was no room for
    /// too long, however often this was called meanwhile. Says so before it waits for room.
    /// May be dropped at any time: nothing is lost.
    pub(crate) async fn next(&mut self, rx: &mut pipe::Receiver<'_, HttpTask>) -> Result<Next, Elapsed> {
        if self.task.is_none() {
            self.task = rx.recv().await;
        }
        let Some(length) = self.length() else {
            return Ok(Next::Write(self.task.take()));
        };
        let known = match self.since {
            Some(since) => {
                let waited = self.wait(since).await;
                self.since = None;
                waited?.is_ok()
            }
            None if room(self.socket).is_some_and(|there| there < length.min(LEAST)) => {
                self.since = Some(Instant::now());
                return Ok(Next::Wait);
            }
            None => true,
        };
        // What could not be waited for is written as it would be without this.
        let there = room(self.socket).filter(|there| known && (1..length).contains(there));
        Ok(Next::Write(match there {
            Some(there) => self.task.as_mut().map(|task| split(task, there)),
            None => self.task.take(),
        }))
    }

    /// Of the piece; `None` if it is none.
    fn length(&self) -> Option<usize> {
        match &self.task {
            Some(HttpTask::Body(piece, _) | HttpTask::UpgradedBody(piece, _)) => piece.as_ref().map(Bytes::len),
            _ => None,
        }
    }

    /// Until a third of the socket's room is free, or it is of no use any more.
    async fn wait(&mut self, since: Instant) -> Result<io::Result<()>, Elapsed> {
        let until = self.most.and_then(|most| since.checked_add(most));
        let watched = match self.watched.take().map_or_else(|| watch(self.socket), Ok) {
            Ok(watched) => self.watched.insert(watched),
            Err(why) => return Ok(Err(why)),
        };
        let waiting = watched.async_io(Interest::WRITABLE, is_writable);
        match until {
            Some(until) => timeout_at(until, waiting).await,
            None => Ok(waiting.await),
        }
    }
}

/// The first bytes of a piece, which keeps the others and the end.
fn split(unsent: &mut HttpTask, length: usize) -> HttpTask {
    let first = |piece: &mut Option<Bytes>| piece.as_mut().map(|piece| piece.split_to(length));
    match unsent {
        HttpTask::UpgradedBody(piece, _) => HttpTask::UpgradedBody(first(piece), false),
        HttpTask::Body(piece, _) => HttpTask::Body(first(piece), false),
        _ => HttpTask::Body(None, false),
    }
}

/// So many bytes can be written now; `None` where nobody knows.
fn room(socket: RawFd) -> Option<usize> {
    let mut told = [0_u32; WORDS];
    let mut length = std::mem::size_of_val(&told) as libc::socklen_t;
    // SAFETY: the kernel writes no more than `length`.
    let asked = unsafe {
        let place = told.as_mut_ptr().cast();
        libc::getsockopt(socket, libc::SOL_SOCKET, libc::SO_MEMINFO, place, &mut length)
    };
    let told = |word: libc::c_int| told.get(word as usize).copied();
    let (most, queued) = (told(libc::SK_MEMINFO_SNDBUF)?, told(libc::SK_MEMINFO_WMEM_QUEUED)?);
    // What the kernel needs around bytes counts too, never as much as they do.
    (asked == 0).then_some(most.saturating_sub(queued) as usize / 2)
}

fn watch(socket: RawFd) -> io::Result<AsyncFd<OwnedFd>> {
    // A copy, for the socket itself has its place with tokio already.
    // SAFETY: the caller's session holds the socket; the copy is the result's own.
    unsafe {
        let copy = BorrowedFd::borrow_raw(socket).try_clone_to_owned()?;
        Ok(AsyncFd::register_with_interest(copy, Interest::WRITABLE)?)
    }
}

/// `WouldBlock` if it is not. Asks the kernel, which tells of room only whom it refused:
/// nothing is written here that it could refuse.
fn is_writable(socket: &OwnedFd) -> io::Result<()> {
    let mut asked = libc::pollfd { fd: socket.as_raw_fd(), events: libc::POLLOUT, revents: 0 };
    // SAFETY: it is one.
    match unsafe { libc::poll(&mut asked, 1, 0) } {
        0 => Err(io::ErrorKind::WouldBlock.into()),
        1.. => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// As many as Linux tells, and some that it may tell later.
const WORDS: usize = 16;

/// For less it is not worth to write now.
const LEAST: usize = 4 << 10;
