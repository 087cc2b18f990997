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
    ///
    /// `values_checked` spares the look at the values, for a caller who has
    /// seen the whole header block.
    pub fn read(headers: &'r HeaderMap, version: Version, values_checked: bool) -> Result<Self, Refusal> {
        let mut fields = Self::default();
        for (name, value) in headers {
            check_name(name.as_str())?;
            if !values_checked {
                check_value(value.as_bytes())?;
            }
            fields.note(name.as_str(), value)?;
            if version == Version::HTTP_2 {
                check_http2(name.as_str(), value)?;
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

fn check_name(name: &str) -> Result<(), Refusal> {
    if alphabet::all(name.as_bytes(), |byte| alphabet::is_token(byte) & (byte != b'_')) {
        return Ok(());
    }
    if name.contains('_') { Err(Refusal::Underscore) } else { Err(Refusal::FieldName) }
}

/// HTTP/1's parser trims values; HTTP/2 brings them as they are, and RFC 9113
/// §8.2.1 calls space at an end malformed.
fn check_value(value: &[u8]) -> Result<(), Refusal> {
    let space = |byte: Option<&u8>| matches!(byte, Some(b' ' | b'\t'));
    if space(value.first()) || space(value.last()) || !alphabet::all(value, alphabet::is_value) {
        return Err(Refusal::FieldValue);
    }
    Ok(())
}

/// RFC 9113 §8.2.2: HTTP/2 has no fields that speak of the connection.
fn check_http2(name: &str, value: &HeaderValue) -> Result<(), Refusal> {
    match name {
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

#[cfg(test)]
mod tests {
    use super::*;

    // `HeaderValue` cannot hold one unless somebody made it unchecked, as
    // Pingora does: so the bytes are tried here.
    #[test]
    fn a_value_with_a_control_character_is_refused() {
        for bad in ["a\0b", "a\rb", "a\nb", "a\x1bb", "\x7f", "a\x0b"] {
            assert_eq!(check_value(bad.as_bytes()), Err(Refusal::FieldValue), "{bad:?}");
        }
        assert_eq!(check_value(b"a \t\xe9b"), Ok(()));
        assert_eq!(check_value(b""), Ok(()));
    }
}
