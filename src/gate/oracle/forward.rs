//! Writes an admitted request as it goes to an HTTP/1 upstream, reads it back,
//! and compares.

use http::{Version, header};
use pingora::http::RequestHeader;

use super::requests::read_http1;
use crate::gate::{
    Admitted, Gate,
    cookies::join_cookie_crumbs,
    line::{LineVerdict, inspect_request_line},
};

/// `changed` is the request after its rewrite, `admitted` what was matched.
pub(super) fn compare(admitted: &Admitted, changed: &RequestHeader, gate: &Gate) {
    let wire = write(changed);
    let verdict = inspect_request_line(&wire, wire.len());
    assert!(matches!(verdict, LineVerdict::Good { .. }), "forwards a bad request line");

    let mut fields = [httparse::EMPTY_HEADER; 256];
    let mut parsed = httparse::Request::new(&mut fields);
    assert_eq!(
        parsed.parse(&wire),
        Ok(httparse::Status::Complete(wire.len())),
        "forwards more than a header"
    );
    assert_eq!(parsed.method, Some(changed.method.as_str()));
    assert_eq!(parsed.path, Some(&*target_text(admitted)));
    compare_fields(admitted, parsed.headers);

    let (request, raw_head) = read_http1(&wire).expect("forwards what Pingora does not read");
    let again = gate.check(&request, Some(raw_head)).expect("forwards what it would refuse");
    assert_eq!(again, gate.check(changed, None).unwrap(), "the next reader sees another request");
    assert_eq!((&again.host, again.port), (&admitted.host, admitted.port));
    assert_eq!((&again.path, again.query), (&admitted.path, admitted.query));
}

fn compare_fields(admitted: &Admitted, fields: &[httparse::Header]) {
    let values = |name: &str| {
        let named = fields.iter().filter(move |field| field.name.eq_ignore_ascii_case(name));
        named.map(|field| field.value).collect::<Vec<_>>()
    };
    assert_eq!(values("host"), [host_text(admitted).as_bytes()]);
    let framings = values("transfer-encoding").len() + values("content-length").len();
    assert!(framings <= 1, "two framings");
    for coding in values("transfer-encoding") {
        assert!(coding.eq_ignore_ascii_case(b"chunked"));
    }
    for length in values("content-length") {
        let digits = std::str::from_utf8(length).unwrap();
        assert!(digits.parse::<i64>().is_ok() && !digits.starts_with(['+', '-']), "length {digits}");
    }
    for field in fields {
        assert!(!field.name.contains('_'), "an underscore in {}", field.name);
    }
}

fn write(request: &RequestHeader) -> Vec<u8> {
    let mut request = request.clone();
    if request.version == Version::HTTP_2 {
        if let Some(joined) = join_cookie_crumbs(&request.headers) {
            request.insert_header(header::COOKIE, joined).unwrap();
        }
        assert!(request.headers.get_all(header::COOKIE).iter().count() <= 1, "cookie crumbs");
        request.set_version(Version::HTTP_11);
    }
    let version = if request.version == Version::HTTP_10 { "HTTP/1.0" } else { "HTTP/1.1" };
    let mut wire = format!("{} ", request.method).into_bytes();
    wire.extend(request.raw_path());
    wire.extend(format!(" {version}\r\n").as_bytes());
    request.header_to_h1_wire(&mut wire);
    wire.extend(b"\r\n");
    wire
}

fn target_text(admitted: &Admitted) -> String {
    match admitted.query {
        Some(query) => format!("{}?{query}", admitted.path),
        None => admitted.path.to_string(),
    }
}

fn host_text(admitted: &Admitted) -> String {
    match admitted.port {
        Some(port) => format!("{}:{port}", admitted.host),
        None => admitted.host.to_string(),
    }
}
