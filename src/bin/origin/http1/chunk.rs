//! Undoes the chunked coding, strictly.
//!
//! Owns the state between reads. Does no reading. A size is plain hexadecimal
//! digits and an extension may follow; each line ends with CR LF and nothing else.

use bytes::{Buf, BytesMut};

use super::{
    head::has_bare_line_feed,
    incoming::{BadBody, Part},
};
use crate::text::latin1;

/// Where in a chunked body the next byte is.
#[derive(Debug, Default)]
pub enum Chunks {
    /// At a chunk's size line.
    #[default]
    Size,
    /// In a chunk with so many bytes to come.
    Data(u64),
    /// At the line end after a chunk.
    DataEnd,
    /// At the trailers.
    Trailers,
}

impl Chunks {
    /// Takes the next part of the body out of `input`; at most `max` bytes of data.
    pub fn decode(&mut self, input: &mut BytesMut, max: usize) -> Result<Part, BadBody> {
        loop {
            match self {
                Self::Size => match take_size(input)? {
                    None => return Ok(Part::NeedMore),
                    Some(0) => *self = Self::Trailers,
                    Some(size) => *self = Self::Data(size),
                },
                Self::Data(_) if input.is_empty() => return Ok(Part::NeedMore),
                Self::Data(left) => {
                    let data = input.split_to(input.len().min(max).min(clamp(*left)));
                    *left -= data.len() as u64;
                    if *left == 0 {
                        *self = Self::DataEnd;
                    }
                    return Ok(Part::Data(data.freeze()));
                }
                Self::DataEnd if input.len() < 2 => return Ok(Part::NeedMore),
                Self::DataEnd if input.starts_with(b"\r\n") => {
                    input.advance(2);
                    *self = Self::Size;
                }
                Self::DataEnd => return Err(BadBody("a chunk is longer than its size")),
                Self::Trailers => return take_trailers(input),
            }
        }
    }
}

/// The size of the next chunk; `None` while its line is not whole.
fn take_size(input: &mut BytesMut) -> Result<Option<u64>, BadBody> {
    let Some(end) = input.iter().take(MAX_SIZE_LINE).position(|&byte| byte == b'\n') else {
        let endless = input.len() >= MAX_SIZE_LINE;
        return if endless { Err(BadBody("a chunk size line without end")) } else { Ok(None) };
    };
    let line = input.split_to(end + 1);
    let line = line.strip_suffix(b"\r\n").ok_or(BadBody("a chunk size line ends without CR LF"))?;
    let digits = line.split(|&byte| byte == b';').next().unwrap_or_default();
    // from_str_radix takes a sign, which a chunk size has not.
    if line.contains(&b'\r') || !digits.iter().all(u8::is_ascii_hexdigit) {
        return Err(BadBody("a chunk size is not plain hexadecimal"));
    }
    let size = std::str::from_utf8(digits).ok().and_then(|digits| u64::from_str_radix(digits, 16).ok());
    size.map(Some).ok_or(BadBody("a chunk size is empty or too large"))
}

fn take_trailers(input: &mut BytesMut) -> Result<Part, BadBody> {
    let mut fields = [httparse::EMPTY_HEADER; 64];
    match httparse::parse_headers(input, &mut fields) {
        Ok(httparse::Status::Complete((length, fields))) => {
            if has_bare_line_feed(input.get(..length).unwrap_or_default()) {
                return Err(BadBody("a trailer ends without a carriage return"));
            }
            let trailers = fields.iter().map(|field| (field.name.to_owned(), latin1(field.value))).collect();
            input.advance(length);
            Ok(Part::End(trailers))
        }
        Ok(httparse::Status::Partial) if input.len() < MAX_TRAILERS => Ok(Part::NeedMore),
        Ok(httparse::Status::Partial) => Err(BadBody("more than 16 KiB of trailers")),
        Err(_) => Err(BadBody("trailers are not header fields")),
    }
}

fn clamp(length: u64) -> usize {
    usize::try_from(length).unwrap_or(usize::MAX)
}

const MAX_SIZE_LINE: usize = 4096;
const MAX_TRAILERS: usize = 16 * 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::Field;

    /// Feeds the text in steps of `step` bytes.
    fn decoded(text: &str, step: usize) -> Result<(Vec<u8>, Vec<Field>, usize), BadBody> {
        let (mut chunks, mut input, mut body) = (Chunks::default(), BytesMut::new(), Vec::new());
        let mut rest = text.as_bytes().chunks(step);
        loop {
            match chunks.decode(&mut input, usize::MAX)? {
                Part::Data(data) => body.extend_from_slice(&data),
                Part::End(trailers) => return Ok((body, trailers, input.len() + rest.flatten().count())),
                Part::NeedMore => input.extend_from_slice(rest.next().expect("the body has no end")),
            }
        }
    }

    fn refusal(text: &str) -> &'static str {
        decoded(text, usize::MAX).unwrap_err().0
    }

    #[test]
    fn a_body_is_the_same_however_its_bytes_arrive() {
        let text = "5;a=b\r\nhello\r\n00A\r\n, world!!!\r\n0\r\nX-A: 1\r\nx-b:2\r\n\r\nGET /";

        for step in 1..text.len() {
            let (body, trailers, left) = decoded(text, step).unwrap();

            assert_eq!(body, b"hello, world!!!", "{step}");
            assert_eq!(trailers, [("X-A", "1"), ("x-b", "2")].map(|(n, v)| (n.to_owned(), v.to_owned())));
            assert_eq!(left, "GET /".len(), "{step}");
        }
    }

    #[test]
    fn what_other_parsers_forgive_is_refused() {
        assert!(refusal("5\nhello\r\n0\r\n\r\n").contains("CR LF"));
        assert!(refusal("0x5\r\nhello\r\n0\r\n\r\n").contains("hexadecimal"));
        assert!(refusal("+5\r\nhello\r\n0\r\n\r\n").contains("hexadecimal"));
        assert!(refusal("5 \r\nhello\r\n0\r\n\r\n").contains("hexadecimal"));
        assert!(refusal("5\r;\r\nhello\r\n0\r\n\r\n").contains("hexadecimal"));
        assert!(refusal("\r\nhello\r\n0\r\n\r\n").contains("empty"));
        assert!(refusal("fffffffffffffffff\r\n").contains("too large"));
        assert!(refusal("5\r\nhello!\r\n0\r\n\r\n").contains("longer than its size"));
        assert!(refusal("0\r\nx: 1\n\r\n").contains("carriage return"));
        assert!(refusal("0\r\nx y\r\n\r\n").contains("not header fields"));
        assert!(refusal(&"0".repeat(5000)).contains("without end"));
    }

    #[test]
    fn data_comes_in_parts_of_at_most_the_limit() {
        let (mut chunks, mut input) = (Chunks::default(), BytesMut::from("5\r\nhello\r\n"));

        let Part::Data(data) = chunks.decode(&mut input, 2).unwrap() else { panic!("no data") };

        assert_eq!(data, "he");
    }
}
