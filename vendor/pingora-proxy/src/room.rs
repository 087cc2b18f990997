//! Tollgate: how much a socket takes without having its writer wait.
//!
//! A session of HTTP/1 reads or writes, not both: while a write of it waits, nothing of
//! the answer is read, and an upstream that takes no more of the body until its answer
//! is taken waits as well. So no more is written at a time than the kernel has room for,
//! and for more room is waited beside everything else.

use std::{
    io,
    os::fd::{BorrowedFd, RawFd},
    time::Duration,
};

use bytes::Bytes;
use pingora_core::protocols::http::HttpTask;
use tokio::{
    io::{unix::AsyncFd, Interest},
    time::{error::Elapsed, timeout},
};

/// Of `unsent`, what can be written without a wait, and waits for that. `None` once there
/// is nothing; an error when there is no room for so long. May be dropped at any time:
/// nothing is lost.
pub(crate) async fn next(
    unsent: &mut Option<HttpTask>,
    socket: RawFd,
    most: Option<Duration>,
) -> Result<Option<HttpTask>, Elapsed> {
    let Some(HttpTask::Body(Some(piece), _) | HttpTask::UpgradedBody(Some(piece), _)) = unsent else {
        return Ok(unsent.take());
    };
    let length = piece.len();
    let mut there = room(socket);
    if there.is_some_and(|there| there < length && there < LEAST) {
        let waiting = writable(socket);
        match most {
            // What cannot be waited for is written as it would be without this.
            Some(most) => drop(timeout(most, waiting).await?),
            None => drop(waiting.await),
        }
        there = room(socket);
    }
    Ok(match there {
        Some(there) if there < length => unsent.as_mut().map(|unsent| split(unsent, there.max(1))),
        _ => unsent.take(),
    })
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

/// Waits until a third of the socket's room is free, or it is of no use any more.
async fn writable(socket: RawFd) -> io::Result<()> {
    // A copy, for the socket itself has its place with tokio already.
    // SAFETY: the caller's session holds the socket; the copy is this function's own.
    let watched = unsafe {
        let copy = BorrowedFd::borrow_raw(socket).try_clone_to_owned()?;
        AsyncFd::register_with_interest(copy, Interest::WRITABLE)?
    };
    watched.writable().await.map(drop)
}

/// As many as Linux tells, and some that it may tell later.
const WORDS: usize = 16;

/// For less it is not worth to write now.
const LEAST: usize = 4 << 10;
