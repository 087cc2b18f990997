//! Connections to upstreams that wait for their next HTTP/1 request.
//!
//! Owns which of them is used next, and how long one waits: what its endpoint closed, or
//! said anything on, is never used again, and is closed at the next tick; so is what waited
//! longer than its upstream's `idle`. (Of TLS only whole records are heard, as by Pingora's
//! pool: the first bytes of one say nothing yet.) Does not own whether a connection may wait at all
//! (Pingora's `HttpSession::reuse`), nor HTTP/2.
//!
//! In place of Pingora's pool, which spawns a task and sets a timer for each use of a
//! connection, wakes that task, and asks the kernel for the peer's address: see
//! vendor/README.md. Here a connection is asked once for each use whether it is quiet, and
//! leaves a [`Bell`] with the runtime's driver; who takes it only looks whether that rang,
//! which is what the driver knows, as it is with Pingora.

mod bell;
mod shelf;
mod shelves;

use std::{
    future::{Future, poll_fn},
    net::SocketAddr,
    pin::{Pin, pin},
    sync::{Arc, Once, Weak},
    task::Context,
    time::{Duration, Instant},
};

use pingora::{
    protocols::Stream,
    upstreams::peer::{HttpPeer, Peer},
};
use pingora_proxy::IdleStreams;
use tokio::io::{AsyncRead, ReadBuf};

use bell::Bell;
use shelf::{Held, Key};
use shelves::Shelves;

/// All idle connections of the process.
pub struct Idle {
    shelves: Arc<Shelves<Waiting>>,
    sweeper: Once,
}

struct Waiting {
    stream: Stream,
    bell: Arc<Bell>,
}

impl Idle {
    /// Room for `most`, used by as many workers.
    pub fn new(workers: usize, most: usize) -> Self {
        Self { shelves: Arc::new(Shelves::new(workers, most)), sweeper: Once::new() }
    }
}

impl IdleStreams for Idle {
    fn take(&self, hash: u64, peer: &HttpPeer) -> Option<Stream> {
        let key = key(hash, peer);
        loop {
            let mut held = self.shelves.take(&key)?;
            if held.is_usable(Instant::now()) {
                return Some(held.what.stream);
            }
        }
    }

    fn keep(&self, hash: u64, peer: &HttpPeer, stream: Stream) {
        let since = Instant::now();
        let until = peer.idle_timeout().and_then(|idle| since.checked_add(idle));
        let mut what = Waiting { stream, bell: Arc::default() };
        let key = key(hash, peer);
        if !what.is_quiet(&key) {
            return;
        }
        drop(self.shelves.put(Held { key, since, until, what }));
        self.sweeper.call_once(|| drop(tokio::spawn(sweep(Arc::downgrade(&self.shelves)))));
    }
}

/// Closes what can be used no more, at each tick, as long as there is somebody to use it.
async fn sweep(shelves: Weak<Shelves<Waiting>>) {
    loop {
        tokio::time::sleep(TICK).await;
        let Some(shelves) = shelves.upgrade() else { return };
        let now = Instant::now();
        for mut held in shelves.clear(|held| held.is_over(now) || held.what.bell.rang()) {
            // It may have been a ticket of TLS, or the last use's.
            if held.is_usable(now) {
                drop(shelves.put(Held { since: now, ..held }));
            }
        }
    }
}

fn key(hash: u64, peer: &HttpPeer) -> Key {
    Key { hash, address: peer.address().as_inet().copied() }
}

impl Held<Waiting> {
    fn is_usable(&mut self, now: Instant) -> bool {
        !self.is_over(now) && (!self.what.bell.rang() || self.what.is_quiet(&self.key))
    }
}

impl Waiting {
    /// Whether the endpoint neither closed it nor said anything. If so, the bell rings once
    /// that may have changed.
    fn is_quiet(&mut self, key: &Key) -> bool {
        self.bell.hush();
        let (mut byte, waker) = ([0], self.bell.clone().into());
        let mut said = ReadBuf::new(&mut byte);
        let look = poll_fn(|cx| Pin::new(&mut self.stream).poll_read(cx, &mut said));
        // Else a task that used up its budget would be told that there is nothing.
        let look = pin!(tokio::task::unconstrained(look));
        let found = look.poll(&mut Context::from_waker(&waker));
        if found.is_ready() && !said.filled().is_empty() {
            // Whose answer it would have been, nobody knows.
            let endpoint = key.address.as_ref().map(SocketAddr::to_string).unwrap_or_default();
            log::warn!("bytes that nobody asked for, on an idle connection; closed: endpoint={endpoint}");
        }
        found.is_pending()
    }
}

/// How long what can be used no more stays open: at most this, and the look.
const TICK: Duration = Duration::from_millis(500);

#[cfg(test)]
mod tests {
    use pingora::protocols::l4::stream::Stream as L4Stream;
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::{TcpListener, TcpStream},
        time::timeout,
    };

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(40);

    /// The gateway's end, the endpoint's, and what the gateway knows of the endpoint.
    async fn connection(idle: Duration) -> (Stream, TcpStream, HttpPeer) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let own = TcpStream::connect(address).await.unwrap();
        let mut peer = HttpPeer::new(address, false, String::new());
        peer.options.idle_timeout = Some(idle);
        (Box::new(L4Stream::from(own)), listener.accept().await.unwrap().0, peer)
    }

    #[tokio::test]
    async fn a_quiet_connection_is_used_again_by_one_at_a_time_and_by_its_own_kind() {
        let idle = Idle::new(2, 10);
        let (stream, mut endpoint, peer) = connection(PATIENCE).await;
        let (_, _, other) = connection(PATIENCE).await;
        idle.keep(1, &peer, stream);

        assert!(idle.take(2, &peer).is_none() && idle.take(1, &other).is_none());
        for _ in 0..3 {
            let mut stream = idle.take(1, &peer).unwrap();
            assert!(idle.take(1, &peer).is_none());
            endpoint.write_all(b"answer").await.unwrap();
            let mut answer = [0; 6];
            stream.read_exact(&mut answer).await.unwrap();
            idle.keep(1, &peer, stream);
        }
    }

    #[tokio::test]
    async fn one_that_its_endpoint_ended_or_said_anything_on_is_not_used() {
        for says in ["", "HTTP/1.1 408 Request Timeout\r\n\r\n"] {
            let idle = Idle::new(2, 10);
            let (stream, mut endpoint, peer) = connection(PATIENCE).await;
            idle.keep(1, &peer, stream);

            endpoint.write_all(says.as_bytes()).await.unwrap();
            if says.is_empty() {
                endpoint.shutdown().await.unwrap();
            }

            timeout(PATIENCE, used_up(&idle, &peer)).await.unwrap();
        }
    }

    /// Takes what there is for a peer until there is nothing any more.
    async fn used_up(idle: &Idle, peer: &HttpPeer) {
        while let Some(stream) = idle.take(1, peer) {
            idle.keep(1, peer, stream);
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn what_ended_while_it_waited_is_not_given_to_who_takes_it() {
        let idle = Idle::new(2, 10);
        let (stream, mut endpoint, peer) = connection(PATIENCE).await;
        idle.keep(1, &peer, stream);

        endpoint.shutdown().await.unwrap();

        let told = async {
            while let Some(held) = idle.shelves.take(&key(1, &peer)) {
                let rang = held.what.bell.rang();
                idle.shelves.put(held);
                match rang {
                    true => return,
                    false => tokio::task::yield_now().await,
                }
            }
        };
        timeout(PATIENCE, told).await.unwrap();
        assert!(idle.take(1, &peer).is_none());
    }

    #[tokio::test]
    async fn who_is_rung_for_in_vain_is_looked_at_once() {
        let (stream, _endpoint, peer) = connection(PATIENCE).await;
        let mut waiting = Waiting { stream, bell: Arc::default() };
        assert!(waiting.is_quiet(&key(1, &peer)));

        std::task::Waker::from(waiting.bell.clone()).wake();

        assert!(waiting.bell.rang() && waiting.is_quiet(&key(1, &peer)) && !waiting.bell.rang());
    }

    #[tokio::test]
    async fn what_can_be_used_no_more_is_closed_though_nobody_asks_for_it() {
        let idle = Idle::new(2, 10);
        let (stream, mut ended, peer) = connection(PATIENCE).await;
        idle.keep(1, &peer, stream);
        let (stream, mut old, peer) = connection(Duration::from_millis(1)).await;
        idle.keep(1, &peer, stream);

        ended.shutdown().await.unwrap();

        for endpoint in [&mut ended, &mut old] {
            let end = timeout(PATIENCE, endpoint.read(&mut [0])).await.unwrap();
            assert_eq!(end.unwrap(), 0);
        }
    }

    #[tokio::test]
    async fn one_that_is_too_old_is_not_used_though_it_is_still_there() {
        let idle = Idle::new(2, 10);
        let (stream, _endpoint, peer) = connection(Duration::ZERO).await;
        idle.keep(1, &peer, stream);

        assert!(idle.take(1, &peer).is_none());
    }
}
