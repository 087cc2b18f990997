//! Bodies in chunks (RFC 9112, section 7.1) of who answers the gateway itself.

/// All chunks in one; `None` while the last one is missing.
pub fn dechunked(mut body: &[u8]) -> Option<Vec<u8>> {
    let mut whole = Vec::new();
    while let Ok(httparse::Status::Complete((begin, length))) = httparse::parse_chunk_size(body) {
        if length == 0 {
            return Some(whole);
        }
        let end = begin.checked_add(usize::try_from(length).ok()?)?;
        whole.extend_from_slice(body.get(begin..end)?);
        body = body.get(end..)?.strip_prefix(b"\r\n")?;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_are_put_together_once_the_last_one_is_there() {
        assert_eq!(dechunked(b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n").as_deref(), Some(&b"abcde"[..]));
        for bad in
            [&b""[..], b"3\r\nabc\r\n", b"3\r\nab", b"x\r\nabc\r\n0\r\n\r\n", b"3\r\nabcd\r\n0\r\n\r\n"]
        {
            assert_eq!(dechunked(bad), None);
        }
        assert_eq!(dechunked(b"ffffffffffffffff\r\na"), None);
    }
}
