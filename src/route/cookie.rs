//! Cookies of a request, read without copying.
//!
//! Values are as they were sent: quotes are part of them.

use http::{HeaderMap, header};

/// The values of every cookie with this name, in the order sent. HTTP/2 splits
/// cookies over several lines; all of them are read.
pub(super) fn values<'a>(headers: &'a HeaderMap, name: &str) -> impl Iterator<Item = &'a [u8]> {
    let lines = headers.get_all(header::COOKIE).into_iter();
    let pairs = lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b';'));
    pairs.filter_map(move |pair| {
        let value = pair.trim_ascii().strip_prefix(name.as_bytes())?;
        // A space before the sign is not in the grammar, but some servers allow it.
        value.trim_ascii_start().strip_prefix(b"=").map(<[u8]>::trim_ascii)
    })
}

/// Whether a cookie can be called so: an RFC 9110 token.
pub(super) fn is_name(name: &str) -> bool {
    let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !name.is_empty() && name.bytes().all(token)
}

/// Whether a cookie can have this value: visible ASCII without `;`.
pub(super) fn is_value(value: &str) -> bool {
    value.bytes().all(|byte| (b'!'..=b'~').contains(&byte) && byte != b';')
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn read(lines: &[&'static str], name: &str) -> Vec<String> {
        let lines = lines.iter().map(|line| (header::COOKIE, HeaderValue::from_static(line)));
        let headers: HeaderMap = lines.collect();
        values(&headers, name).map(|value| String::from_utf8(value.to_vec()).unwrap()).collect()
    }

    #[test]
    fn every_line_and_every_pair_is_read() {
        assert_eq!(read(&["a=1; b=2", "c=3;a=4"], "a"), ["1", "4"]);
        assert_eq!(read(&["a=1; b=2", "c=3"], "c"), ["3"]);
    }

    #[test]
    fn names_are_whole_and_their_case_counts() {
        assert_eq!(read(&["session=1; xsession=2; Session=3; session2=4; session"], "session"), ["1"]);
    }

    #[test]
    fn values_are_as_they_were_sent() {
        assert_eq!(read(&["a=\"x\"; a=b=c; a=; a= d "], "a"), ["\"x\"", "b=c", "", "d"]);
        assert_eq!(read(&["", ";;", "="], "a"), Vec::<String>::new());
    }
}
