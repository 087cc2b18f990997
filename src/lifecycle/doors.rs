//! Taking no more connections without losing those that are on their way.
//!
//! Closing a listening socket resets every connection that the kernel has
//! accepted for it and no worker has fetched yet, with the requests that were
//! sent on them. So the listener first turns a deaf ear to new ones.

use std::time::Duration;

use socket2::{SockFilter, Socket};

/// Second handles of the listening sockets. While they are there the sockets
/// stay open, whoever closes the others.
#[derive(Default)]
pub struct Doors(Vec<Socket>);

impl Doors {
    /// One more socket. Only for sockets that are this process's alone: what
    /// is done to them is done to everyone who has them.
    pub fn add(&mut self, listening: Socket) {
        self.0.push(listening);
    }

    /// Returns when everyone who had begun to connect is through to a worker.
    /// Who begins now is refused a second later, when the client tries again.
    pub async fn close(self) {
        for door in &self.0 {
            if let Err(why) = door.attach_filter(&NO_SYN).or_else(|_| shorten(door)) {
                log::warn!("new connections cannot be held off, and may be reset: error={why}");
            }
        }
        tokio::time::sleep(ON_THEIR_WAY).await;
    }
}

/// Newer kernels let root alone attach filters. A queue of no length still takes one
/// connection at a time, which the worker has until this process lets go to fetch.
/// Whoever listens at the socket next makes it longer again.
fn shorten(door: &Socket) -> std::io::Result<()> {
    door.listen(0)
}

/// Drops segments that begin a connection, in the words of the classic packet
/// filter; what it sees begins with the TCP header.
const NO_SYN: [SockFilter; 4] = [
    step(libc::BPF_LD | libc::BPF_B | libc::BPF_ABS, 0, 0, TCP_FLAGS),
    step(libc::BPF_JMP | libc::BPF_JSET | libc::BPF_K, 0, 1, SYN),
    step(libc::BPF_RET | libc::BPF_K, 0, 0, 0),
    step(libc::BPF_RET | libc::BPF_K, 0, 0, u32::MAX),
];

const fn step(code: u32, jt: u8, jf: u8, k: u32) -> SockFilter {
    SockFilter::new(code as u16, jt, jf, k)
}

const TCP_FLAGS: u32 = 13;
const SYN: u32 = 0x02;

/// For the third segment of a distant client, and for a busy worker.
const ON_THEIR_WAY: Duration = Duration::from_millis(200);

#[cfg(test)]
mod tests {
    use std::{
        io::{Read, Write},
        net::{TcpListener, TcpStream},
    };

    use super::*;

    #[test]
    fn a_shortened_queue_takes_one_at_a_time_until_someone_makes_it_longer() {
        let listening = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listening.local_addr().unwrap();
        let door = socket2::SockRef::from(&listening).try_clone().unwrap();
        let connects = || TcpStream::connect_timeout(&address, Duration::from_millis(50)).is_ok();

        shorten(&door).unwrap();
        assert!((1..=2).contains(&(0..5).filter(|_| connects()).count()));

        door.listen(100).unwrap();
        assert!((0..5).all(|_| connects()));
    }

    #[tokio::test]
    async fn who_is_connected_gets_through_and_who_begins_does_not() {
        let listening = TcpListener::bind("[::1]:0").or_else(|_| TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listening.local_addr().unwrap();
        let mut doors = Doors::default();
        doors.add(socket2::SockRef::from(&listening).try_clone().unwrap());
        let mut early = TcpStream::connect(address).unwrap();

        doors.close().await;

        assert!(TcpStream::connect_timeout(&address, Duration::from_millis(100)).is_err());
        early.write_all(b"hello").unwrap();
        let (mut taken, _) = listening.accept().unwrap();
        let mut heard = [0; 5];
        taken.read_exact(&mut heard).unwrap();
        assert_eq!(&heard, b"hello");
    }
}
