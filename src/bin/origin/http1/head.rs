//! Reads the head of an HTTP/1 request.
//!
//! Owns strictness: what could be understood in two ways is refused, because the
//! gateway in front must never have sent it. Nothing is corrected.

use std::mem::MaybeUninit;

use http::StatusCode;

use super::{chunk::Chunks, incoming::Incoming};
use crate::{request::Request, text::latin1};

/// What the bytes received so far are.
pub enum Parsed {
    /// Not a whole head yet.
    Partial,
    /// A plain request for `/__origin/fast`, this many bytes long.
    Fast(usize),
    /// Any other request.
    Whole(Box<Head>),
    /// No request; to be refused with this.
    Bad(StatusCode, &'static str),
}

/// A request whose body follows.
pub struct Head {
    /// How many bytes it took.
    pub length: usize,
    /// What it says.
    pub request: Request,
    /// How its body comes.
    pub body: Incoming,
    /// Whether the client waits for a 100 before it sends the body.
    pub expects_continue: bool,
    /// Whether the client wants the connection kept.
    pub keep_alive: bool,
}

/// Reads the head at the beginning of `input`.
pub fn parse(input: &[u8]) -> Parsed {
    let mut fields = [const { MaybeUninit::uninit() }; MAX_FIELDS];
    let mut head = httparse::Request::new(&mut []);
    match head.parse_with_uninit_headers(input, &mut fields) {
        Ok(httparse::Status::Complete(length)) if is_fast(&head) => Parsed::Fast(length),
        Ok(httparse::Status::Complete(length)) => whole(&head, input.get(..length).unwrap_or_default()),
        Ok(httparse::Status::Partial) if input.len() < MAX_HEAD => Parsed::Partial,
        Ok(httparse::Status::Partial) | Err(httparse::Error::TooManyHeaders) => {
            Parsed::Bad(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "more than 64 KiB or 256 fields of head")
        }
        Err(_) => Parsed::Bad(StatusCode::BAD_REQUEST, "not a request"),
    }
}

/// Whether the request is for the fast path and nothing about it is special. A
/// name's length decides first: this runs for every request of a load test.
fn is_fast(head: &httparse::Request<'_, '_>) -> bool {
    let special = |field: &httparse::Header<'_>| match field.name.len() {
        6 => field.name.eq_ignore_ascii_case("expect"),
        10 => field.name.eq_ignore_ascii_case("connection"),
        14 => field.name.eq_ignore_ascii_case("content-length"),
        17 => field.name.eq_ignore_ascii_case("transfer-encoding"),
        _ => false,
    };
    head.path == Some("/__origin/fast")
        && head.method == Some("GET")
        && head.version == Some(1)
        && !head.headers.iter().any(special)
}

fn whole(head: &httparse::Request<'_, '_>, raw: &[u8]) -> Parsed {
    if has_bare_line_feed(raw) {
        return Parsed::Bad(StatusCode::BAD_REQUEST, "a line ends without a carriage return");
    }
    let one_one = head.version == Some(1);
    let fields = head.headers.iter();
    let request = Request {
        method: head.method.unwrap_or_default().to_owned(),
        target: head.path.unwrap_or_default().to_owned(),
        version: if one_one { "HTTP/1.1" } else { "HTTP/1.0" },
        headers: fields.map(|field| (field.name.to_owned(), latin1(field.value))).collect(),
        authority: None,
        raw_head: Some(latin1(raw)),
    };
    let body = match incoming(&request) {
        Ok(body) => body,
        Err(what) => return Parsed::Bad(StatusCode::BAD_REQUEST, what),
    };
    let keep_alive = if one_one {
        !request.lists("connection", "close")
    } else {
        request.lists("connection", "keep-alive")
    };
    let expects_continue = one_one && request.lists("expect", "100-continue");
    Parsed::Whole(Box::new(Head { length: raw.len(), request, body, expects_continue, keep_alive }))
}

/// How the body comes; what is wrong when the head leaves room for doubt.
fn incoming(request: &Request) -> Result<Incoming, &'static str> {
    let mut lengths = request.values("content-length");
    let mut codings = request.values("transfer-encoding");
    match (lengths.next(), codings.next()) {
        (Some(_), Some(_)) => Err("both content-length and transfer-encoding"),
        (None, None) => Ok(Incoming::Length(0)),
        (None, Some(_)) if request.version != "HTTP/1.1" => Err("transfer-encoding in HTTP/1.0"),
        (None, Some(coding)) if coding.eq_ignore_ascii_case("chunked") && codings.next().is_none() => {
            Ok(Incoming::Chunked(Chunks::default()))
        }
        (None, Some(_)) => Err("transfer-encoding is not `chunked`"),
        (Some(_), None) if lengths.next().is_some() => Err("more than one content-length"),
        (Some(length), None) if length.is_empty() || !length.bytes().all(|byte| byte.is_ascii_digit()) => {
            Err("content-length is not a number")
        }
        (Some(length), None) => {
            length.parse().map(Incoming::Length).map_err(|_| "content-length is too large")
        }
    }
}

/// Whether a line ends with a line feed alone.
pub fn has_bare_line_feed(bytes: &[u8]) -> bool {
    let mut before = 0;
    bytes.iter().any(|&byte| {
        let bare = byte == b'\n' && before != b'\r';
        before = byte;
        bare
    })
}

const MAX_HEAD: usize = 64 * 1024;
const MAX_FIELDS: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    fn head(text: &str) -> Head {
        match parse(text.as_bytes()) {
            Parsed::Whole(head) => *head,
            _ => panic!("not a whole request: {text}"),
        }
    }

    fn refusal(text: &str) -> &'static str {
        match parse(text.as_bytes()) {
            Parsed::Bad(_, what) => what,
            _ => panic!("not refused: {text}"),
        }
    }

    #[test]
    fn a_head_is_kept_as_received() {
        let text = "GET //a%2e?x HTTP/1.1\r\nHoSt: h\r\nX:  \u{e9} \r\n\r\n";

        let head = head(text);

        assert_eq!(head.request.target, "//a%2e?x");
        assert_eq!(head.request.headers[0], ("HoSt".to_owned(), "h".to_owned()));
        assert_eq!(head.request.headers[1].1, "\u{c3}\u{a9}");
        assert_eq!(head.length, text.len());
        assert!(head.keep_alive);
    }

    #[test]
    fn a_plain_fast_request_is_fast_and_a_special_one_is_not() {
        let plain = "GET /__origin/fast HTTP/1.1\r\nhost: h\r\n\r\n";
        assert!(matches!(parse(plain.as_bytes()), Parsed::Fast(length) if length == plain.len()));

        for special in ["Connection: close", "Content-Length: 2", "Transfer-Encoding: chunked", "Expect: x"] {
            let text = format!("GET /__origin/fast HTTP/1.1\r\n{special}\r\n\r\n");
            assert!(matches!(parse(text.as_bytes()), Parsed::Whole(_)), "{special}");
        }
    }

    #[test]
    fn framing_that_leaves_doubt_is_refused() {
        let refused = |fields: &str| refusal(&format!("POST / HTTP/1.1\r\n{fields}\r\n\r\n"));

        assert!(refused("Content-Length: 2\r\nTransfer-Encoding: chunked").starts_with("both"));
        assert!(refused("Content-Length: 2\r\nContent-Length: 2").starts_with("more than one"));
        assert!(refused("Content-Length: +2").ends_with("not a number"));
        assert!(refused("Content-Length: 2, 2").ends_with("not a number"));
        assert!(refused("Content-Length: 99999999999999999999").ends_with("too large"));
        assert!(refused("Transfer-Encoding: gzip, chunked").contains("not `chunked`"));
        assert!(
            refused("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked").contains("not `chunked`")
        );
        assert!(refusal("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n").contains("HTTP/1.0"));
        assert!(refusal("GET / HTTP/1.1\nhost: h\r\n\r\n").contains("carriage return"));
    }

    #[test]
    fn a_head_without_end_is_refused_at_its_limit() {
        let mut text = "GET / HTTP/1.1\r\nx: ".to_owned();
        assert!(matches!(parse(text.as_bytes()), Parsed::Partial));

        text.push_str(&"a".repeat(MAX_HEAD));

        assert!(refusal(&text).contains("64 KiB"));
    }

    #[test]
    fn http_1_0_keeps_the_connection_only_when_asked() {
        assert!(!head("GET / HTTP/1.0\r\n\r\n").keep_alive);
        assert!(head("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n").keep_alive);
        assert!(!head("GET / HTTP/1.1\r\nConnection: te, close\r\n\r\n").keep_alive);
    }
}
