//! What an upstream's answer says of its own connection, which is nobody else's.

use http::{HeaderName, HeaderValue, StatusCode, header};
use pingora::{Result, http::ResponseHeader};

/// Takes off an answer what concerns the upstream's connection alone (RFC 9110,
/// 7.6.1), and leaves one line of a length that came several times. A switch to
/// another protocol stays as it is.
pub fn clean(answer: &mut ResponseHeader) -> Result<()> {
    let (mut hops, mut lengths) = (false, 0);
    for (name, value) in &answer.headers {
        if *name == header::CONTENT_LENGTH {
            lengths += if value.as_bytes().contains(&b',') { 2 } else { 1 };
        } else {
            hops |= *name == header::CONNECTION || OF_A_CONNECTION.contains(&name.as_str());
        }
    }
    if lengths > 1 {
        one_length(answer)?;
    }
    if hops && answer.status != StatusCode::SWITCHING_PROTOCOLS {
        remove(answer);
    }
    Ok(())
}

/// Pingora read the answer because all of them say the same.
fn one_length(answer: &mut ResponseHeader) -> Result<()> {
    let first = answer.headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok());
    let first = first.and_then(|text| HeaderValue::from_str(text.split(',').next()?.trim()).ok());
    first.map_or(Ok(()), |first| answer.insert_header(header::CONTENT_LENGTH, first))
}

fn remove(answer: &mut ResponseHeader) {
    let lines = answer.headers.get_all(header::CONNECTION).iter();
    let words = lines.filter_map(|line| line.to_str().ok()).flat_map(|line| line.split(','));
    let named: Vec<_> = words.filter_map(|word| word.trim().parse::<HeaderName>().ok()).collect();
    for name in named.iter().filter(|name| !FRAMING.contains(name)) {
        answer.remove_header(name);
    }
    for name in OF_A_CONNECTION {
        answer.remove_header(name);
    }
    answer.remove_header(&header::CONNECTION);
}

const OF_A_CONNECTION: [&str; 4] = ["keep-alive", "proxy-connection", "te", "upgrade"];

/// Without them nobody knows where the body ends, whoever names them.
const FRAMING: [HeaderName; 2] = [header::CONTENT_LENGTH, header::TRANSFER_ENCODING];

#[cfg(test)]
mod tests {
    use super::*;

    fn cleaned(status: u16, fields: &[(&'static str, &str)]) -> Vec<String> {
        let mut answer = ResponseHeader::build(status, None).unwrap();
        for (name, value) in fields {
            answer.append_header(*name, *value).unwrap();
        }
        clean(&mut answer).unwrap();
        let line =
            |(name, value): (&HeaderName, &HeaderValue)| format!("{name}: {}", value.to_str().unwrap());
        answer.headers.iter().map(line).collect()
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
