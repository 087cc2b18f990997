//! Makes requests of bytes as Pingora does, and says what holds for those that
//! the gate admits.

use http::{HeaderName, HeaderValue, Method, Request, Uri, Version, header};
use pingora::{http::RequestHeader, protocols::http::authority::validate_request_authority};

use super::{forward, paths::every_rule};
use crate::{
    config::{
        server::{PathsSpec, RequestsSpec},
        types::ByteSize,
    },
    gate::{
        Gate,
        ending::HeadEnd,
        host_of,
        line::{LineVerdict, inspect_request_line},
    },
};

/// What is admitted is forwarded as what was matched, and means the same to the
/// next one who reads it.
///
/// The bytes are an HTTP/1 header block; or, after a line `h2`, an HTTP/2
/// request: a line `METHOD scheme authority target` (`-` for no authority),
/// then a `name:value` on each line.
pub fn gate(bytes: &[u8]) {
    match bytes.strip_prefix(b"h2\n") {
        Some(description) => {
            if let Some(request) = read_http2(description) {
                examine(&request, None);
            }
        }
        None => {
            if let Some((request, raw_head)) = read_http1(bytes) {
                examine(&request, Some(raw_head));
            }
        }
    }
}

fn examine(request: &RequestHeader, raw_head: Option<&[u8]>) {
    for paths in every_rule() {
        let gate = Gate::new(&with(paths));
        let Ok(admitted) = gate.check(request, raw_head) else { continue };
        assert!(validate_request_authority(request).is_ok(), "looser than Pingora");
        assert!(raw_head.is_none_or(ends_where_it_ends), "the header's end is found elsewhere");

        let mut changed = request.clone();
        admitted.rewrite().apply(&mut changed).unwrap();

        // A limit is for what the client wrote: moving `:authority` into `Host`
        // makes one field more, an escape makes a longer target.
        let gate = unlimited(paths);
        let again = gate.check(&changed, None).expect("refuses what it made");
        assert_eq!(again.rewrite(), Default::default(), "not stable");
        assert_eq!(host_of(&changed), Some((&*admitted.host, admitted.port)));
        assert_eq!(changed.uri.path(), admitted.path);
        assert_eq!(changed.uri.query(), admitted.query);
        forward::compare(&admitted, &changed, &gate);
    }
}

/// Whether the end that is looked for before parsing is the end of this block. A
/// bad line, as one after three empty ones, is refused before anyone looks for it.
fn ends_where_it_ends(raw_head: &[u8]) -> bool {
    let LineVerdict::Good { used } = inspect_request_line(raw_head, raw_head.len()) else { return true };
    HeadEnd::default().push(raw_head.get(used..).unwrap()) == Some(b"")
}

fn with(PathsSpec { encoded_slash, path_parameters }: PathsSpec) -> RequestsSpec {
    RequestsSpec { encoded_slash, path_parameters, ..RequestsSpec::default() }
}

fn unlimited(paths: PathsSpec) -> Gate {
    let size = ByteSize::new(1 << 30);
    let spec = RequestsSpec { max_header_bytes: size, max_target_bytes: size, ..with(paths) };
    Gate::new(&RequestsSpec { max_header_fields: u16::MAX, ..spec })
}

/// As `HttpSession::read_request` of `pingora-core` does it. A block that
/// Pingora would repair is not for the gate: the line inspector refuses it.
pub(in crate::gate) fn read_http1(bytes: &[u8]) -> Option<(RequestHeader, &[u8])> {
    let mut fields = [httparse::EMPTY_HEADER; 256];
    let mut parsed = httparse::Request::new(&mut fields);
    let line_is_good = matches!(inspect_request_line(bytes, bytes.len()), LineVerdict::Good { .. });
    let length = match parsed.parse(bytes) {
        Ok(httparse::Status::Complete(length)) => length,
        Err(httparse::Error::Token | httparse::Error::Version) => {
            assert!(!line_is_good, "Pingora would repair a line that was found good");
            return None;
        }
        _ => return None,
    };
    let mut request = RequestHeader::build(parsed.method?, parsed.path?.as_bytes(), None).ok()?;
    request.set_version(if parsed.version == Some(1) { Version::HTTP_11 } else { Version::HTTP_10 });
    for field in parsed.headers.iter() {
        let value = HeaderValue::from_bytes(field.value).ok()?;
        request.append_header(field.name.to_owned(), value).ok()?;
    }
    if request.headers.contains_key(header::TRANSFER_ENCODING) {
        request.remove_header(&header::CONTENT_LENGTH);
    }
    Some((request, bytes.get(..length)?))
}

/// As `h2` builds a request, but without its look at connection fields.
pub(in crate::gate) fn read_http2(description: &[u8]) -> Option<RequestHeader> {
    let mut lines = description.split(|byte| *byte == b'\n');
    let words: Vec<&[u8]> = lines.next()?.split(|byte| *byte == b' ').collect();
    let [method, scheme, authority, target] = words.try_into().ok()?;
    let uri = match authority {
        b"-" => Uri::builder(),
        _ => Uri::builder().scheme(scheme).authority(authority),
    };
    let uri = uri.path_and_query(target).build().ok()?;
    let method = Method::from_bytes(method).ok()?;
    let mut request = Request::builder().version(Version::HTTP_2).method(method).uri(uri).body(()).ok()?;
    for line in lines.filter(|line| !line.is_empty()) {
        let colon = line.iter().position(|byte| *byte == b':')?;
        let (name, value) = line.split_at(colon);
        let name = HeaderName::from_lowercase(name).ok()?;
        let value = HeaderValue::from_bytes(value.get(1..)?).ok()?;
        request.headers_mut().try_append(name, value).ok()?;
    }
    Some(request.into_parts().0.into())
}
