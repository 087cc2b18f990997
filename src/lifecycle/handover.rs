//! What a process tells the one that follows it, and how the two speak.
//!
//! They share one socket, which is the new process's standard input: so no
//! number has to be agreed on, and no other child of the process inherits it. The
//! first message carries the listening sockets beside it (`SCM_RIGHTS`); then the
//! new process says that it is ready, or what is wrong; then the old one lets it
//! serve. The socket's end means that the other process is gone.
//!
//! Always holds: unknown fields are ignored and missing ones have defaults, so
//! that versions can follow each other both ways.

use std::{
    io::{self, ErrorKind, Read, Write},
    net::SocketAddr,
    os::{
        fd::{AsRawFd, FromRawFd, OwnedFd, RawFd},
        unix::net::UnixStream,
    },
    time::Duration,
};

use sendfd::{RecvWithFd, SendWithFd};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::listening::Origin;
use crate::live::Remembered;

/// What the next process begins with, beside the sockets themselves.
#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct Handover {
    /// Who tells it: the version of the binary.
    pub version: String,
    /// The sockets, in the order in which they come.
    pub sockets: Vec<SocketNote>,
    /// The keys of session tickets, so that clients resume.
    pub tickets: Vec<u8>,
    /// What traffic and operators taught.
    pub live: Remembered,
    /// The processes that finish their work from now on.
    pub finishing: Vec<u32>,
}

/// A socket that comes beside a [`Handover`].
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct SocketNote {
    /// Where it listens.
    pub address: SocketAddr,
    /// Who made it.
    pub origin: Origin,
}

/// What the two say afterwards.
#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Word {
    /// The new process can serve; it accepts already. These sockets it took.
    Ready {
        /// Its number, where it is no child of the old one's.
        #[serde(default)]
        pid: Option<u32>,
        /// Their addresses.
        taken: Vec<SocketAddr>,
    },
    /// The new process ends, and why.
    Failed(String),
    /// The old process asks the new one to be the main one.
    Serve,
    /// The new process is the main one: the operator's socket is its own.
    Serving,
}

/// One end of the socket between two processes.
#[derive(Debug)]
pub struct Line(UnixStream);

impl Line {
    /// Both ends; the second is for the new process.
    pub fn pair() -> io::Result<(Self, OwnedFd)> {
        let (own, other) = UnixStream::pair()?;
        // A program that never reads must not hold up whoever started it.
        own.set_write_timeout(Some(REST))?;
        Ok((Self(own), other.into()))
    }

    /// The new process's end.
    pub fn of(fd: OwnedFd) -> Self {
        Self(fd.into())
    }

    /// The same end once more: it is closed when both are.
    pub fn again(&self) -> io::Result<Self> {
        self.0.try_clone().map(Self)
    }

    /// Tells everything, sockets included.
    pub fn bequeath(&mut self, told: &Handover, sockets: &[RawFd]) -> io::Result<()> {
        self.send(told)?;
        // One a message: there is no most of them.
        sockets.iter().try_for_each(|fd| self.0.send_with_fd(&[SOCKET], &[*fd]).map(drop))
    }

    /// Hears everything. The sockets are closed again when the new process starts a
    /// program of its own.
    pub fn inherit(&mut self, patience: Duration) -> io::Result<(Handover, Vec<OwnedFd>)> {
        let told: Handover = self.hear(patience)?;
        let sockets = told.sockets.iter().map(|_| self.socket()).collect::<io::Result<_>>()?;
        Ok((told, sockets))
    }

    fn socket(&self) -> io::Result<OwnedFd> {
        let (mut mark, mut fds) = ([0; 1], [-1; 1]);
        match self.0.recv_with_fd(&mut mark, &mut fds)? {
            // SAFETY: the kernel made this descriptor for us in this very call.
            (1, 1) => Ok(unsafe { OwnedFd::from_raw_fd(fds.first().copied().unwrap_or(-1)) }),
            _ => Err(io::Error::new(ErrorKind::UnexpectedEof, "a socket is missing")),
        }
    }

    /// Says one thing.
    pub fn send(&mut self, what: &impl Serialize) -> io::Result<()> {
        let text = serde_json::to_vec(what)?;
        let length = u32::try_from(text.len()).map_err(|_| io::Error::from(ErrorKind::InvalidInput))?;
        self.0.write_all(&[&length.to_be_bytes()[..], &text].concat())
    }

    /// Hears one thing, `WouldBlock` or `TimedOut` when none comes in time, and
    /// `UnexpectedEof` when the other process is gone.
    ///
    /// Nothing is lost by hearing nothing: a message is read once its first byte
    /// is there.
    pub fn hear<T: DeserializeOwned>(&mut self, patience: Duration) -> io::Result<T> {
        self.0.set_read_timeout(Some(patience.max(Duration::from_millis(1))))?;
        let mut length = [0; 4];
        let (first, rest) = length.split_at_mut(1);
        self.0.read_exact(first)?;
        self.0.set_read_timeout(Some(REST))?;
        self.0.read_exact(rest)?;
        let length = u32::from_be_bytes(length);
        if length > MOST {
            return Err(io::Error::new(ErrorKind::InvalidData, "this is no hand-over"));
        }
        let mut text = vec![0; usize::try_from(length).unwrap_or_default()];
        self.0.read_exact(&mut text)?;
        Ok(serde_json::from_slice(&text)?)
    }
}

impl AsRawFd for Line {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

/// Whether nothing was heard because nothing was said.
pub fn is_silence(why: &io::Error) -> bool {
    matches!(why.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted)
}

/// Whether nothing was heard that this version understands: a word of a later one is none
/// to it.
pub fn is_no_word(why: &io::Error) -> bool {
    is_silence(why) || why.kind() == ErrorKind::InvalidData
}

/// Whether the other process is gone: it closed its end, read or unread.
pub fn is_end(why: &io::Error) -> bool {
    matches!(why.kind(), ErrorKind::UnexpectedEof | ErrorKind::BrokenPipe | ErrorKind::ConnectionReset)
}

const SOCKET: u8 = b's';

/// For the rest of a message whose first byte came.
const REST: Duration = Duration::from_secs(5);

/// 100,000 drained zones would fit.
const MOST: u32 = 16 << 20;

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn sockets_and_what_is_known_arrive() {
        let (mut old, other) = Line::pair().unwrap();
        let mut new = Line::of(other);
        let listening: Vec<_> = (0..300).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
        let note = |socket: &TcpListener| SocketNote {
            address: socket.local_addr().unwrap(),
            origin: Origin::Bound,
        };
        let told = Handover {
            version: "1".into(),
            sockets: listening.iter().map(note).collect(),
            tickets: vec![7; 48],
            live: Remembered::default(),
            finishing: vec![7],
        };
        let fds: Vec<_> = listening.iter().map(AsRawFd::as_raw_fd).collect();

        let saying = std::thread::spawn(move || old.bequeath(&told, &fds).unwrap());
        let (heard, sockets) = new.inherit(Duration::from_secs(10)).unwrap();
        saying.join().unwrap();

        assert_eq!((heard.version.as_str(), heard.tickets.len()), ("1", 48));
        for (own, came) in listening.iter().zip(sockets) {
            assert_eq!(TcpListener::from(came).local_addr().unwrap(), own.local_addr().unwrap());
        }
    }

    #[test]
    fn silence_is_no_end_and_an_end_is_no_silence() {
        let (mut old, other) = Line::pair().unwrap();
        let mut new = Line::of(other);

        assert!(is_silence(&old.hear::<Word>(Duration::from_millis(5)).unwrap_err()));
        new.send(&Word::Ready { pid: None, taken: vec![] }).unwrap();
        drop(new);

        assert!(matches!(old.hear(Duration::from_secs(9)).unwrap(), Word::Ready { .. }));
        let end = old.hear::<Word>(Duration::from_secs(9)).unwrap_err();
        assert_eq!(end.kind(), ErrorKind::UnexpectedEof);
    }

    #[test]
    fn another_version_knows_more_or_less() {
        let (mut old, other) = Line::pair().unwrap();
        let mut new = Line::of(other);

        old.send(&serde_json::json!({ "version": "9", "sockets": [], "weather": "fine" })).unwrap();

        let (heard, sockets) = new.inherit(Duration::from_secs(9)).unwrap();
        assert_eq!((heard.version.as_str(), heard.tickets.len(), sockets.len()), ("9", 0, 0));
    }

    #[test]
    fn what_is_no_hand_over_is_refused() {
        let (mut old, other) = Line::pair().unwrap();
        std::io::Write::write_all(&mut UnixStream::from(other), b"GET / HTTP/1.1\r\n\r\n").unwrap();

        assert_eq!(old.hear::<Word>(Duration::from_secs(9)).unwrap_err().kind(), ErrorKind::InvalidData);
    }
}
