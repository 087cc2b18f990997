//! Which answers may go on for long, so that a connection that has to end waits
//! for them: WebSockets, server-sent events, gRPC.
//!
//! The answer decides, not what was asked for: a client that asks for events has
//! not got any.

use http::{HeaderValue, StatusCode, header};
use pingora::http::ResponseHeader;

use super::context::RequestContext;
use crate::edge::{StreamGuard, StreamKind};

/// Notes what the request becomes with this answer. One whose body has a length is no
/// stream: then nothing is looked up.
pub fn note(answer: &ResponseHeader, ctx: &mut RequestContext, has_length: bool) {
    if has_length {
        ctx.stream = None;
        return;
    }
    if answer.status.is_informational() && answer.status != StatusCode::SWITCHING_PROTOCOLS {
        return;
    }
    let connection = ctx.connection.as_ref();
    // The new one before the old one goes: a gRPC call is one from its begin.
    ctx.stream = kind(answer).zip(connection).map(|(kind, on)| StreamGuard::new(on, kind));
}

/// Whether silence is part of this answer, as [`note`] sees it.
pub fn is_stream(answer: &ResponseHeader) -> bool {
    let switches = answer.status == StatusCode::SWITCHING_PROTOCOLS;
    let goes_on = !answer.status.is_informational() && !answer.headers.contains_key(header::CONTENT_LENGTH);
    (switches || goes_on) && kind(answer).is_some()
}

fn kind(answer: &ResponseHeader) -> Option<StreamKind> {
    if answer.status == StatusCode::SWITCHING_PROTOCOLS {
        return Some(StreamKind::WebSocket);
    }
    let begins = |value: &HeaderValue, with: &str| {
        value.as_bytes().get(..with.len()).is_some_and(|kind| kind.eq_ignore_ascii_case(with.as_bytes()))
    };
    let streams = |value: &&HeaderValue| STREAMS.iter().any(|with| begins(value, with));
    answer.headers.get(header::CONTENT_TYPE).filter(streams).map(|_| StreamKind::Stream)
}

const STREAMS: [&str; 2] = ["text/event-stream", "application/grpc"];

#[cfg(test)]
mod tests {
    use super::*;

    fn of(status: u16, content_type: Option<&str>) -> Option<StreamKind> {
        let mut answer = ResponseHeader::build(status, None).unwrap();
        if let Some(value) = content_type {
            answer.insert_header("content-type", value).unwrap();
        }
        kind(&answer)
    }

    #[test]
    fn the_answer_says_what_a_request_becomes() {
        assert_eq!(of(101, None), Some(StreamKind::WebSocket));
        for kind in ["text/event-stream", "Text/Event-Stream; charset=utf-8", "application/grpc+proto"] {
            assert_eq!(of(200, Some(kind)), Some(StreamKind::Stream), "{kind}");
        }
        for kind in ["text/html", "text/event", "application/json", ""] {
            assert_eq!(of(200, Some(kind)), None, "{kind}");
        }
        assert_eq!(of(200, None), None);
    }
}
