//! The body of an HTTP/1 request as it comes in.
//!
//! Owns its framing, by length or chunked. Does no reading.

use bytes::{Bytes, BytesMut};

use super::chunk::Chunks;
use crate::request::Field;

/// How the body comes, and how much of it is still to come.
#[derive(Debug)]
pub enum Incoming {
    /// So many bytes to come.
    Length(u64),
    /// In chunks.
    Chunked(Chunks),
}

/// The next part of a body.
#[derive(Debug)]
pub enum Part {
    /// Bytes; never none.
    Data(Bytes),
    /// The bytes at hand do not suffice.
    NeedMore,
    /// The body is whole; its trailers.
    End(Vec<Field>),
}

/// A body that is not well-formed: what is wrong with it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BadBody(pub &'static str);

impl Incoming {
    /// Whether there is no body at all.
    pub fn is_empty(&self) -> bool {
        matches!(self, Self::Length(0))
    }

    /// Takes the next part of the body out of `input`; at most `max` bytes.
    pub fn decode(&mut self, input: &mut BytesMut, max: usize) -> Result<Part, BadBody> {
        match self {
            Self::Chunked(chunks) => chunks.decode(input, max),
            Self::Length(0) => Ok(Part::End(Vec::new())),
            Self::Length(_) if input.is_empty() => Ok(Part::NeedMore),
            Self::Length(left) => {
                let whole = usize::try_from(*left).unwrap_or(usize::MAX);
                let data = input.split_to(input.len().min(max).min(whole));
                *left -= data.len() as u64;
                Ok(Part::Data(data.freeze()))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_by_length_leaves_the_next_request() {
        let (mut body, mut input) = (Incoming::Length(5), BytesMut::from("helloGET /"));

        let Part::Data(first) = body.decode(&mut input, 3).unwrap() else { panic!("no data") };
        let Part::Data(second) = body.decode(&mut input, 3).unwrap() else { panic!("no data") };

        assert_eq!((&first[..], &second[..]), (&b"hel"[..], &b"lo"[..]));
        assert!(matches!(body.decode(&mut input, 3), Ok(Part::End(_))));
        assert_eq!(input, "GET /");
    }
}
