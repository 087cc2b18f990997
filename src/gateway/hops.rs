//! What an upstream's answer says of its own connection, which is nobody else's.

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};

/// Takes off an answer what concerns the upstream's connection alone (RFC 9110,
/// 7.6.1), and leaves one line of a length that came several times. A switch to
/// another protocol stays as it is. Says whether the body has a length.
///
/// One pass over the names: nearly every answer has `Connection` at the most.
pub fn clean(headers: &mut HeaderMap, status: StatusCode) -> bool {
    let (mut lengths, mut named, mut others) = (0, false, false);
    for (name, value) in headers.iter() {
        if *name == header::CONTENT_LENGTH {
            lengths += if value.as_bytes().contains(&b',') { 2 } else { 1 };
        } else if *name == header::CONNECTION {
            named = true;
        } else {
            others |= OF_A_CONNECTION.contains(&name.as_str());
        }
    }
    if lengths > 1 {
        one_length(headers);
    }
    if status == StatusCode::SWITCHING_PROTOCOLS {
        return false;
    }
    if named {
        remove_named(headers);
    }
    if others {
        OF_A_CONNECTION.iter().for_each(|name| drop(headers.remove(*name)));
    }
    lengths > 0
}

/// Pingora read the answer because all of them say the same.
fn one_length(headers: &mut HeaderMap) {
    let first = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok());
    let first = first.and_then(|text| HeaderValue::from_str(text.split(',').next()?.trim()).ok());
    if let Some(first) = first {
        headers.insert(header::CONTENT_LENGTH, first);
    }
}

/// Removes `Connection` and every field that it names.
fn remove_named(headers: &mut HeaderMap) {
    let plain = |line: &HeaderValue| {
        let line = line.as_bytes();
        line.eq_ignore_ascii_case(b"keep-alive") || line.eq_ignore_ascii_case(b"close")
    };
    let lines = headers.get_all(header::CONNECTION).iter().filter(|line| !plain(line));
    let words = lines.filter_map(|line| line.to_str().ok()).flat_map(|line| line.split(','));
    let named: Vec<_> = words.filter_map(|word| word.trim().parse::<HeaderName>().ok()).collect();
    for name in named.iter().filter(|name| !FRAMING.contains(name)) {
        headers.remove(name);
    }
    headers.remove(header::CONNECTION);
}

const OF_A_CONNECTION: [&str; 5] = ["keep-alive", "proxy-connection", "te", "upgrade", "http2-settings"];

/// Without them nobody knows where the body ends, whoever names them.
const FRAMING: [HeaderName; 2] = [header::CONTENT_LENGTH, header::TRANSFER_ENCODING];

#[cfg(test)]
mod tests {
    use super::*;

    fn cleaned(status: u16, fields: &[(&'static str, &str)]) -> Vec<String> {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
            headers.append(name, HeaderValue::from_str(value).unwrap());
        }
        clean(&mut headers, StatusCode::from_u16(status).unwrap());
        let line =
            |(name, value): (&HeaderName, &HeaderValue)| format!("{name}: {}", value.to_str().unwrap());
        headers.iter().map(line).collect()
    }

    #[test]
    fn what_concerns_a_connection_and_what_it_names_goes() {
        let fields = [
            ("Connection", "keep-alive, X-Own"),
            ("connection", "content-length"),
            ("Keep-Alive", "timeout=5"),
            ("Upgrade", "h2c"),
            ("X-Own", "1"),
            ("Content-Length", "5"),
            ("Via", "1.1 a"),
        ];

        assert_eq!(cleaned(200, &fields), ["content-length: 5", "via: 1.1 a"]);
    }

    #[test]
    fn a_switch_of_protocols_keeps_what_it_says() {
        let fields = [("upgrade", "websocket"), ("connection", "upgrade")];

        assert_eq!(cleaned(101, &fields), ["upgrade: websocket", "connection: upgrade"]);
    }

    #[test]
    fn a_length_that_came_twice_is_left_once() {
        assert_eq!(cleaned(200, &[("content-length", "5"), ("content-length", "5")]), ["content-length: 5"]);
        assert_eq!(cleaned(200, &[("content-length", "5, 5")]), ["content-length: 5"]);
    }
}
