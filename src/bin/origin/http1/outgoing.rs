//! Writes the answer to an HTTP/1 request.
//!
//! Owns status line, framing, and the faults that happen while writing. A header
//! that the script gives replaces ours of the same name, the framing ones too:
//! that is how a test makes an answer that contradicts itself.

use std::{io, time::Duration};

use tokio::io::AsyncWriteExt;

use crate::{
    answer::Answer,
    pause::pause,
    payload::Payload,
    request::Field,
    script::{Ending, Fault, Framing, Reading, Script},
    wire::{End, Wire},
};

/// An answer and what decides how it is written.
pub struct Outgoing<'a> {
    /// What to say.
    pub answer: &'a Answer,
    /// How to say it.
    pub script: &'a Script,
    /// The request is a HEAD.
    pub to_head: bool,
    /// The request is HTTP/1.0, which knows no chunks.
    pub one_zero: bool,
    /// The client would keep the connection.
    pub keep_alive: bool,
}

/// What tells the client where the body ends.
#[derive(Clone, Copy, PartialEq)]
enum Delimiter {
    /// There is none and the header says nothing of one.
    Nothing,
    Length(u64),
    Chunks,
    ConnectionEnd,
}

impl Outgoing<'_> {
    /// Writes the answer. `None` keeps the connection.
    pub async fn write<W: Wire>(&self, wire: &mut W) -> io::Result<Option<End>> {
        let delimiter = self.delimiter();
        let mut out = Out { wire, buffer: self.head(delimiter) };
        if self.script.fault == Some(Fault::ResetAfterHeader) {
            out.flush().await?;
            // A reset overtakes bytes that the peer has not read yet.
            pause(BEFORE_RESET).await;
            return Ok(Some(End::Reset));
        }
        if !self.answer.bodyless(self.to_head) {
            self.body(&mut out, delimiter).await?;
        }
        out.flush().await?;
        Ok(self.end(delimiter))
    }

    async fn body<W: Wire>(&self, out: &mut Out<'_, W>, delimiter: Delimiter) -> io::Result<()> {
        let limit = match self.script.fault {
            Some(Fault::Truncate(bytes)) => Some(bytes),
            _ => None,
        };
        for piece in self.answer.payload.pieces(self.answer.pace, limit.unwrap_or(u64::MAX)) {
            if !piece.pause.is_zero() {
                out.flush().await?;
                pause(piece.pause).await;
            }
            out.put(&piece.data, delimiter == Delimiter::Chunks).await?;
        }
        if delimiter == Delimiter::Chunks && limit.is_none() {
            out.buffer.extend_from_slice(b"0\r\n");
            out.fields(&self.answer.trailers);
            out.buffer.extend_from_slice(b"\r\n");
        }
        Ok(())
    }

    fn delimiter(&self) -> Delimiter {
        let status = self.answer.status;
        let silent = self.answer.payload == Payload::Nothing && status == 304;
        let chunks = self.script.framing == Framing::Chunked || !self.answer.trailers.is_empty();
        match self.answer.payload.length() {
            _ if silent || status == 204 => Delimiter::Nothing,
            _ if self.script.framing == Framing::Http10 => Delimiter::ConnectionEnd,
            Some(length) if !chunks => Delimiter::Length(length),
            _ if self.one_zero => Delimiter::ConnectionEnd,
            _ => Delimiter::Chunks,
        }
    }

    fn head(&self, delimiter: Delimiter) -> Vec<u8> {
        let version = if self.script.framing == Framing::Http10 { "HTTP/1.0" } else { "HTTP/1.1" };
        let status = self.answer.status;
        let reason = status.canonical_reason().unwrap_or("");
        let mut head = format!("{version} {} {reason}\r\n", status.as_str()).into_bytes();
        put_fields(&mut head, &self.answer.headers);
        put_fields(&mut head, &self.framing_fields(delimiter));
        head.extend_from_slice(b"\r\n");
        head
    }

    /// The fields of framing and of the connection that the answer has not got.
    fn framing_fields(&self, delimiter: Delimiter) -> Vec<Field> {
        let mut fields = Vec::new();
        let mut add = |name: &str, value: String| {
            if !self.answer.has_header(name) {
                fields.push((name.to_owned(), value));
            }
        };
        match delimiter {
            Delimiter::Length(length) => add("content-length", length.to_string()),
            Delimiter::Chunks => add("transfer-encoding", "chunked".to_owned()),
            Delimiter::Nothing | Delimiter::ConnectionEnd => {}
        }
        if delimiter == Delimiter::Chunks && !self.answer.trailers.is_empty() {
            let names: Vec<&str> = self.answer.trailers.iter().map(|(name, _)| name.as_str()).collect();
            add("trailer", names.join(", "));
        }
        match (self.keeps(delimiter), self.one_zero) {
            (false, _) => add("connection", "close".to_owned()),
            (true, true) => add("connection", "keep-alive".to_owned()),
            (true, false) => {}
        }
        fields
    }

    /// Whether the header says that the connection is kept.
    fn keeps(&self, delimiter: Delimiter) -> bool {
        self.keep_alive
            && delimiter != Delimiter::ConnectionEnd
            && self.script.ending != Ending::Close
            && self.script.reading != Reading::Never
    }

    fn end(&self, delimiter: Delimiter) -> Option<End> {
        let silently = self.script.ending == Ending::CloseSilently;
        let truncated = matches!(self.script.fault, Some(Fault::Truncate(_)));
        match self.script.reading {
            Reading::Never => Some(End::Deaf),
            _ if truncated || silently || !self.keeps(delimiter) => Some(End::Fin),
            _ => None,
        }
    }
}

/// Gathers small writes into one.
struct Out<'a, W> {
    wire: &'a mut W,
    buffer: Vec<u8>,
}

impl<W: Wire> Out<'_, W> {
    async fn put(&mut self, data: &[u8], as_chunk: bool) -> io::Result<()> {
        if as_chunk {
            self.buffer.extend_from_slice(format!("{:x}\r\n", data.len()).as_bytes());
        }
        self.buffer.extend_from_slice(data);
        if as_chunk {
            self.buffer.extend_from_slice(b"\r\n");
        }
        if self.buffer.len() >= GATHERED { self.flush().await } else { Ok(()) }
    }

    fn fields(&mut self, fields: &[Field]) {
        put_fields(&mut self.buffer, fields);
    }

    async fn flush(&mut self) -> io::Result<()> {
        self.wire.write_all(&self.buffer).await?;
        self.buffer.clear();
        self.wire.flush().await
    }
}

fn put_fields(out: &mut Vec<u8>, fields: &[Field]) {
    for (name, value) in fields {
        out.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
    }
}

/// Long enough for a peer on the same machine to read the header first.
const BEFORE_RESET: Duration = Duration::from_millis(20);
const GATHERED: usize = 64 * 1024;

/// A 103 with one link.
pub const EARLY_HINTS: &str = "HTTP/1.1 103 Early Hints\r\nlink: </style.css>; rel=preload; as=style\r\n\r\n";

/// The whole answer of `/__origin/fast`; a test holds it to the control path's.
pub const FAST: &str = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 121\r\n\r\n\
{\"origin\":\"fast\",\"message\":\"a fixed answer for load tests, as long as a small answer of an API\",\"order\":7,\"status\":\"ok\"}\n";

#[cfg(test)]
mod tests {
    use http::StatusCode;
    use tokio::{
        io::AsyncReadExt,
        net::{TcpListener, TcpStream},
    };

    use super::*;
    use crate::control::FAST_BODY;

    /// What the client reads of the answer to this script, and how the connection ends.
    async fn written(script: &str, to_head: bool, one_zero: bool) -> (String, Option<End>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap());
        let (client, server) = tokio::join!(client, listener.accept());
        let (mut client, mut server) = (client.unwrap(), server.unwrap().0);
        let script: Script = script.parse().unwrap();
        let answer = Answer::scripted(&script, || b"{}".to_vec());

        let outgoing = Outgoing { answer: &answer, script: &script, to_head, one_zero, keep_alive: true };
        let end = outgoing.write(&mut server).await.unwrap();

        drop(server);
        let mut text = String::new();
        client.read_to_string(&mut text).await.unwrap();
        (text, end)
    }

    #[test]
    fn the_fast_answer_is_the_control_paths() {
        let (_, body) = FAST.split_once("\r\n\r\n").unwrap();

        assert_eq!(body, FAST_BODY);
        assert!(FAST.contains(&format!("content-length: {}\r\n", body.len())));
    }

    #[tokio::test]
    async fn a_chunked_answer_carries_its_trailers() {
        let (text, end) = written("body=hello,drip=1us/2,trailers=X-T:1", false, false).await;

        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.ends_with("transfer-encoding: chunked\r\ntrailer: X-T"), "{head}");
        assert_eq!(body, "2\r\nhe\r\n2\r\nll\r\n1\r\no\r\n0\r\nX-T: 1\r\n\r\n");
        assert_eq!(end, None);
    }

    #[tokio::test]
    async fn head_204_and_304_never_carry_a_body() {
        let head = written("size=5", true, false).await.0;
        let no_content = written("status=204,size=5", false, false).await.0;
        let not_modified = written("status=304,size=5", false, false).await.0;

        assert!(head.ends_with("content-length: 5\r\n\r\n"), "{head}");
        assert!(no_content.ends_with("\r\n\r\n") && !no_content.contains("content-length"), "{no_content}");
        assert!(not_modified.ends_with("content-length: 5\r\n\r\n"), "{not_modified}");
    }

    #[tokio::test]
    async fn a_truncated_answer_promises_more_than_it_sends() {
        let (text, end) = written("size=500,truncate=3", false, false).await;
        let (chunked, _) = written("size=500,truncate=3,chunked", false, false).await;

        assert!(text.ends_with("content-length: 500\r\n\r\nABC"), "{text}");
        assert!(chunked.ends_with("\r\n\r\n3\r\nABC\r\n"), "{chunked}");
        assert_eq!(end, Some(End::Fin));
    }

    #[tokio::test]
    async fn a_scripted_framing_header_contradicts_the_body() {
        let (text, _) = written("body=hello,chunked,header=content-length:3", false, false).await;

        assert!(
            text.contains("content-length: 3\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n"),
            "{text}"
        );
    }

    #[tokio::test]
    async fn http_1_0_bodies_end_with_the_connection() {
        let (scripted, end) = written("body=hi,http10", false, false).await;
        let (asked, _) = written("body=hi,chunked", false, true).await;

        assert!(
            scripted.starts_with("HTTP/1.0 200 OK\r\n") && scripted.ends_with("close\r\n\r\nhi"),
            "{scripted}"
        );
        assert_eq!(end, Some(End::Fin));
        assert!(asked.ends_with("connection: close\r\n\r\nhi"), "{asked}");
    }

    #[tokio::test]
    async fn a_silent_close_says_nothing_of_it() {
        let (text, end) = written("close_silently", false, false).await;
        let (said, _) = written("close", false, false).await;

        assert!(!text.contains("connection:"), "{text}");
        assert_eq!(end, Some(End::Fin));
        assert!(said.contains("connection: close\r\n"), "{said}");
    }

    #[test]
    fn an_unassigned_status_has_an_empty_reason() {
        let answer = Answer::text(StatusCode::from_u16(799).unwrap(), "x");
        let script = Script::default();

        let outgoing =
            Outgoing { answer: &answer, script: &script, to_head: false, one_zero: false, keep_alive: true };

        assert!(outgoing.head(Delimiter::Nothing).starts_with(b"HTTP/1.1 799 \r\n"));
    }
}
