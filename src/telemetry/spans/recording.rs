//! What is noted of a request that is recorded: its span, and the spans of its parts.

use std::{net::SocketAddr, sync::Arc, time::Instant};

use http::HeaderValue;
use smallvec::SmallVec;

use super::caller::{self, Caller};
use crate::telemetry::{TraceContext, hex, random::random};

/// The spans of a request, while it goes on.
#[derive(Debug)]
pub struct Recording {
    /// The request's own.
    pub(super) span: [u8; 16],
    /// Whose part of the trace the request is.
    pub(super) caller: Caller,
    pub(super) begun: Instant,
    pub(super) parts: SmallVec<[Part; 2]>,
}

/// A part of a request.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) span: [u8; 16],
    pub(super) kind: Kind,
    pub(super) begun: Instant,
    /// `None`: it lasts as long as the request.
    pub(super) ended: Option<Instant>,
}

#[derive(Debug)]
pub(super) enum Kind {
    /// The request waited for a key, to know who asks.
    Authentication,
    /// The request waited for room at its upstream.
    Wait,
    Attempt(Attempt),
}

/// An attempt towards an endpoint.
#[derive(Clone, Debug)]
pub struct Attempt {
    /// Where it goes.
    pub target: Target,
    /// The answer's status; 0 without an answer.
    pub status: u16,
    /// What went wrong, by a word of a closed set.
    pub error: Option<&'static str>,
    /// Whether its connection had served before.
    pub reused: bool,
}

/// Where an attempt goes.
#[derive(Clone, Debug)]
pub struct Target {
    /// The endpoint.
    pub address: SocketAddr,
    /// Its zone.
    pub zone: Option<Arc<str>>,
}

impl Recording {
    /// A request that came at `begun`, as a part of its caller's.
    pub fn new(caller: Caller, begun: Instant) -> Self {
        Self { span: new_span(), caller, begun, parts: SmallVec::new() }
    }

    /// The request waited from one instant to the other.
    pub fn waited(&mut self, begun: Instant, ended: Instant) {
        self.parts.push(Part { span: new_span(), kind: Kind::Wait, begun, ended: Some(ended) });
    }

    /// The request waited from one instant to the other until it was known who asks.
    pub fn authenticated(&mut self, begun: Instant, ended: Instant) {
        self.parts.push(Part { span: new_span(), kind: Kind::Authentication, begun, ended: Some(ended) });
    }

    /// An attempt begins; the one before it is over.
    pub fn attempt(&mut self, target: Target, now: Instant) {
        self.end(now);
        let kind = Kind::Attempt(Attempt { target, status: 0, error: None, reused: false });
        self.parts.push(Part { span: new_span(), kind, begun: now, ended: None });
    }

    /// The attempt under way has a connection.
    pub fn connected(&mut self, reused: bool) {
        if let Some((attempt, _)) = self.current() {
            attempt.reused = reused;
        }
    }

    /// The attempt under way was answered.
    pub fn answered(&mut self, status: u16) {
        if let Some((attempt, _)) = self.current() {
            attempt.status = status;
        }
    }

    /// The attempt under way failed, and is over.
    pub fn failed(&mut self, error: &'static str, now: Instant) {
        if let Some((attempt, ended)) = self.current() {
            attempt.error = Some(error);
            *ended = Some(now);
        }
    }

    fn end(&mut self, now: Instant) {
        if let Some((_, ended)) = self.current() {
            *ended = Some(now);
        }
    }

    fn current(&mut self) -> Option<(&mut Attempt, &mut Option<Instant>)> {
        match self.parts.last_mut()? {
            Part { kind: Kind::Attempt(attempt), ended: ended @ None, .. } => Some((attempt, ended)),
            _ => None,
        }
    }

    /// The span that the upstream's work is a part of: the attempt's.
    fn parent(&self) -> &[u8; 16] {
        self.parts.last().map_or(&self.span, |part| &part.span)
    }

    /// The `traceparent` that the attempt under way sends.
    pub fn traceparent(&self, trace: &TraceContext) -> Option<HeaderValue> {
        // An id that we made ends in random bits.
        let random = self.caller.random || !(trace.keeps_traceparent() || trace.keeps_amazon());
        caller::traceparent(trace.trace_id_bytes(), self.parent(), true, random)
    }

    /// The `X-Amzn-Trace-Id` that the attempt under way sends, where this came; `None`
    /// when what came names another trace and goes on as it is.
    pub fn amazon(&self, trace: &TraceContext, came: Option<&HeaderValue>) -> Option<HeaderValue> {
        let made = trace.new_amazon();
        let value = made.as_ref().or(came)?;
        caller::amazon(value.as_bytes(), trace.trace_id_bytes(), Some(self.parent()), true)
    }
}

/// 16 digits, not all of them zero.
fn new_span() -> [u8; 16] {
    let mut bytes: [u8; 8] = random();
    if bytes == [0; 8] {
        bytes = [1; 8];
    }
    let mut digits = [0; 16];
    hex::write(&mut digits, &bytes);
    digits
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::*;

    fn target() -> Target {
        Target { address: "10.0.1.10:8080".parse().unwrap(), zone: None }
    }

    #[test]
    fn an_attempt_ends_where_it_fails_or_the_next_begins() {
        let begun = Instant::now();
        let at = |ms| begun + Duration::from_millis(ms);
        let mut recording = Recording::new(Caller::default(), begun);

        recording.authenticated(begun, at(1));
        recording.waited(at(1), at(5));
        recording.attempt(target(), at(5));
        recording.failed("reset", at(7));
        recording.answered(200);
        recording.attempt(target(), at(9));
        recording.answered(503);
        recording.attempt(target(), at(12));
        recording.answered(200);

        let ends: Vec<_> = recording.parts.iter().map(|part| part.ended).collect();
        assert_eq!(ends, [Some(at(1)), Some(at(5)), Some(at(7)), Some(at(12)), None]);
        let told = |part: &Part| match &part.kind {
            Kind::Wait | Kind::Authentication => None,
            Kind::Attempt(attempt) => Some((attempt.status, attempt.error)),
        };
        let told: Vec<_> = recording.parts.iter().map(told).collect();
        assert_eq!(told, [None, None, Some((0, Some("reset"))), Some((503, None)), Some((200, None))]);
    }

    #[test]
    fn each_attempt_is_the_parent_of_what_its_endpoint_does() {
        let trace = TraceContext::new(None, None, SystemTime::now(), [7; 12]);
        let mut recording = Recording::new(Caller::default(), Instant::now());

        let mut sent = Vec::new();
        for _ in 0..2 {
            recording.attempt(target(), Instant::now());
            let span = std::str::from_utf8(&recording.parts.last().unwrap().span).unwrap().to_owned();
            let traceparent = recording.traceparent(&trace).unwrap();
            assert_eq!(traceparent, format!("00-{}-{span}-03", trace.trace_id()));
            let amazon = recording.amazon(&trace, None).unwrap();
            assert!(amazon.to_str().unwrap().ends_with(&format!(";Parent={span};Sampled=1")));
            sent.push(span);
        }

        assert_ne!(sent[0], sent[1]);
    }

    #[test]
    fn nothing_is_said_of_bits_that_somebody_else_drew() {
        let parent = b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let trace = TraceContext::new(Some(parent), None, SystemTime::now(), [7; 12]);
        let flags = |caller| {
            let made = Recording::new(caller, Instant::now()).traceparent(&trace).unwrap();
            made.to_str().unwrap().rsplit_once('-').unwrap().1.to_owned()
        };

        assert_eq!(flags(Caller::of_traceparent(parent)), "01");
        assert_eq!(flags(Caller { random: true, ..Caller::default() }), "03");
    }
}
