//! Looks once at every header field: is the name a name, is the value a value,
//! and do the fields that frame the message say one thing.
//!
//! Answers with the host that the fields name. Counts nothing: the limits have
//! been held against the header as a whole before.

use http::{HeaderMap, HeaderValue, Version};

use super::{connection::Nominations, refusal::Refusal};
use crate::gate::alphabet;

/// The fields that decide where a message goes and where it ends.
#[derive(Default)]
pub(super) struct Fields<'r> {
    /// `Host`, at most one.
    pub host: Option<&'r HeaderValue>,
    length: Option<&'r HeaderValue>,
    coding: Option<&'r HeaderValue>,
    nominations: Nominations,
}

impl<'r> Fields<'r> {
    /// Reads all fields.
    pub fn read(headers: &'r HeaderMap, version: Version) -> Result<Self, Refusal> {
        let mut fields = Self::default();
        for (name, value) in headers {
            let name = name.as_str();
            if alphabet::has(name.as_bytes(), b'_') {
                return Err(Refusal::Underscore);
            }
            fields.note(name, value)?;
            if version == Version::HTTP_2 {
                check_http2(name, value)?;
            }
        }
        fields.check_framing(version)?;
        Ok(fields)
    }

    /// Whether the body is chunked; its `Content-Length`, if there was one, may
    /// have been taken away before us.
    pub fn is_chunked(&self) -> bool {
        self.coding.is_some()
    }

    fn note(&mut self, name: &str, value: &'r HeaderValue) -> Result<(), Refusal> {
        match name {
            "host" if self.host.replace(value).is_some() => Err(Refusal::Host),
            "content-length" if self.length.replace(value).is_some() => Err(Refusal::ContentLength),
            "transfer-encoding" if self.coding.replace(value).is_some() => Err(Refusal::TransferEncoding),
            "connection" => self.nominations.add(value.as_bytes()),
            _ => Ok(()),
        }
    }

    fn check_framing(&self, version: Version) -> Result<(), Refusal> {
        if let Some(coding) = self.coding {
            // RFC 9112 §6.1 lets a server refuse codings it does not know with
            // 501; we know no second one, and none can be told from a trick.
            let chunked = coding.as_bytes().eq_ignore_ascii_case(b"chunked");
            if !chunked || version != Version::HTTP_11 {
                return Err(Refusal::TransferEncoding);
            }
        }
        match (self.length, self.coding) {
            (Some(_), Some(_)) => Err(Refusal::TwoFramings),
            (Some(length), None) if !is_length(length.as_bytes()) => Err(Refusal::ContentLength),
            _ => Ok(()),
        }
    }
}

/// What HTTP/1's parser refuses or repairs, and HTTP/2's brings as it came.
fn check_http2(name: &str, value: &HeaderValue) -> Result<(), Refusal> {
    let is_space = |byte: Option<&u8>| matches!(byte, Some(b' ' | b'\t'));
    let bytes = value.as_bytes();
    // RFC 9113 §8.2.1.
    if is_space(bytes.first()) || is_space(bytes.last()) {
        return Err(Refusal::FieldValue);
    }
    match name {
        // The one byte beyond RFC 9110's token that the `http` crate lets pass.
        _ if alphabet::has(name.as_bytes(), b'"') => Err(Refusal::FieldName),
        // RFC 9113 §8.2.2: no fields that speak of the connection.
        "connection" | "keep-alive" | "proxy-connection" | "upgrade" => Err(Refusal::Connection),
        "te" if value != "trailers" => Err(Refusal::Connection),
        _ => Ok(()),
    }
}

/// Digits only; no more of them than any implementation can count.
fn is_length(value: &[u8]) -> bool {
    (1..=MAX_LENGTH_DIGITS).contains(&value.len()) && value.iter().all(u8::is_ascii_digit)
}

/// A signed 64-bit integer holds every number of 18 digits.
const MAX_LENGTH_DIGITS: usize = 18;
