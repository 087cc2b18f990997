//! How one request is answered, or misanswered.
//!
//! Owns what a script says; `parse` owns the words for it. Does not own doing
//! it. A script that exists is well-formed.

use std::time::Duration;

use bytes::Bytes;

use crate::{
    payload::{Pace, Payload},
    request::Field,
};

mod parse;

pub use self::parse::{STEPS_HELP, ScriptProblem};

/// What to do with one request. The default answers 200 with what was received.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Script {
    /// 200 when not said.
    pub status: Option<u16>,
    /// To wait between the request's end and the answer.
    pub delay: Duration,
    /// Added to the answer; a name that the answer has already is replaced.
    pub headers: Vec<Field>,
    /// After the body.
    pub trailers: Vec<Field>,
    /// The echo when not said.
    pub payload: Option<Payload>,
    /// The rhythm of the body.
    pub drip: Option<Pace>,
    /// How the request body is read.
    pub reading: Reading,
    /// How the body of an HTTP/1 answer is delimited.
    pub framing: Framing,
    /// Where the answer goes wrong.
    pub fault: Option<Fault>,
    /// What becomes of the connection after a complete answer.
    pub ending: Ending,
    /// A 103 goes out as soon as the request is read.
    pub early_hints: bool,
    /// WebSocket: close at once with this code.
    pub ws_close: Option<u16>,
}

impl Script {
    /// Whether the answer itself is scripted, so that a WebSocket or gRPC
    /// request gets that answer.
    pub fn replaces_answer(&self) -> bool {
        self.status.is_some() || self.payload.is_some()
    }
}

/// How the request body is read.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Reading {
    /// As fast as it comes.
    #[default]
    Normal,
    /// Not at all; the connection ends with the answer.
    Never,
    /// In this rhythm, from a small receive buffer.
    Slow(Pace),
}

/// How the body of an HTTP/1 answer is delimited.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Framing {
    /// Content-length when the length is known beforehand, else chunked.
    #[default]
    Length,
    /// Chunked.
    Chunked,
    /// As HTTP/1.0 did: the end of the connection is the end of the body.
    Http10,
}

/// Where an answer goes wrong.
#[derive(Clone, Debug, PartialEq)]
pub enum Fault {
    /// A reset once the request head is read.
    ResetBeforeHeader,
    /// An orderly end once the request head is read.
    CloseBeforeHeader,
    /// A reset once the answer's header is written.
    ResetAfterHeader,
    /// The body ends after this many bytes, whatever the header promised.
    Truncate(u64),
    /// The request is read, nothing is ever written.
    NeverAnswers,
    /// These bytes are the whole answer.
    Raw(Bytes),
}

/// What becomes of the connection after a complete answer.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Ending {
    /// It is kept as the protocol says.
    #[default]
    Keep,
    /// It ends and the answer says so (HTTP/2: GOAWAY).
    Close,
    /// It ends although the answer says that it is kept.
    CloseSilently,
}
