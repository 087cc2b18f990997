//! Whether the workers work: a listener of theirs that only this process knows.
//!
//! A connection to it goes the way of every client's (the kernel's queue, the accept
//! loop, a worker) and ends at the edge, which knows no listener there. It proves
//! more than a timer, and stands in nobody's metrics. The clients' own sockets would
//! prove less: after an upgrade begins they are another process's too.

use std::{
    io::Read,
    net::{SocketAddr, TcpStream},
    time::Duration,
};

/// The workers' own listener.
#[derive(Clone, Copy, Debug)]
pub struct Pulse(pub SocketAddr);

impl Pulse {
    /// Whether a worker takes a connection and ends it in time.
    pub fn beats(&self, patience: Duration) -> bool {
        let Ok(mut stream) = TcpStream::connect_timeout(&self.0, patience) else { return false };
        let heard = stream.set_read_timeout(Some(patience)).and_then(|()| stream.read(&mut [0]));
        matches!(heard, Ok(0))
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn who_only_listens_does_not_live() {
        let listening = TcpListener::bind("127.0.0.1:0").unwrap();
        let pulse = Pulse(listening.local_addr().unwrap());
        assert!(!pulse.beats(Duration::from_millis(20)));

        let worker = std::thread::spawn(move || (0..2).for_each(|_| drop(listening.accept())));

        assert!(pulse.beats(Duration::from_secs(10)));
        worker.join().unwrap();
        assert!(!pulse.beats(Duration::from_secs(10)));
    }
}
