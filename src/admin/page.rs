//! `/` and `/overview.json` beside the metrics: a page that draws what the gateway does,
//! for whoever is paged.
//!
//! Owns who gets it and what the browser may do with it; what is on it is `board`'s. It
//! asks nobody who they are, so that it is for this machine alone: for clients of the
//! loopback interface that ask for it by an address or as `localhost`. The second half
//! keeps web pages out whose own name was made to stand for 127.0.0.1.

use std::{
    net::IpAddr,
    sync::{Arc, LazyLock},
};

use http::{HeaderName, HeaderValue, Method, Response, StatusCode, header, uri::Authority};
use pingora::protocols::http::ServerSession;

use super::{board::Board, pages::text};

/// The page itself.
pub(super) fn answer(session: &mut ServerSession) -> Response<Vec<u8>> {
    if let Some(refusal) = refuse(session) {
        return refusal;
    }
    let mut page = text(session, StatusCode::OK, PAGE);
    let headers = page.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    if let Ok(policy) = HeaderValue::from_str(&POLICY) {
        headers.insert(header::CONTENT_SECURITY_POLICY, policy);
    }
    guard(page)
}

/// What it draws.
pub(super) async fn overview(session: &mut ServerSession, board: &Arc<Board>) -> Response<Vec<u8>> {
    match refuse(session) {
        Some(refusal) => refusal,
        None => guard(board.answer(session).await),
    }
}

fn refuse(session: &mut ServerSession) -> Option<Response<Vec<u8>>> {
    let request = session.req_header();
    if !matches!(request.method, Method::GET | Method::HEAD) {
        return Some(text(session, StatusCode::METHOD_NOT_ALLOWED, "write GET\n"));
    }
    let client = session.client_addr().and_then(|address| address.as_inet()).map(|address| address.ip());
    let host = request.headers.get(header::HOST).and_then(|host| host.to_str().ok());
    (!is_let_in(client, host)).then(|| text(session, StatusCode::FORBIDDEN, ELSEWHERE))
}

fn is_let_in(client: Option<IpAddr>, host: Option<&str>) -> bool {
    client.is_some_and(|client| client.to_canonical().is_loopback()) && is_own(host)
}

/// Whether this `Host` names an address or `localhost`, whatever the port.
fn is_own(host: Option<&str>) -> bool {
    let Some(Ok(authority)) = host.map(str::parse::<Authority>) else { return false };
    let name = authority.host();
    let bare = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
    name.eq_ignore_ascii_case("localhost") || bare.parse::<IpAddr>().is_ok()
}

fn guard(mut page: Response<Vec<u8>>) -> Response<Vec<u8>> {
    for (name, value) in GUARDS {
        page.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    page
}

/// Everything is refused but this style, this script and questions to where it came from;
/// the script can turn no text into markup.
static POLICY: LazyLock<String> = LazyLock::new(|| {
    let hash = |tag| boring::base64::encode_block(&boring::sha::sha256(inside(PAGE, tag).as_bytes()));
    format!(
        "default-src 'none'; script-src 'sha256-{}'; style-src 'sha256-{}'; connect-src 'self'; \
         img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; \
         require-trusted-types-for 'script'; trusted-types 'none'",
        hash("script"),
        hash("style")
    )
});

/// What stands in the first element of this name.
fn inside<'p>(page: &'p str, tag: &str) -> &'p str {
    let after = page.split_once(&format!("<{tag}>")).map_or("", |(_, after)| after);
    after.split_once(&format!("</{tag}>")).map_or("", |(inside, _)| inside)
}

const PAGE: &str = include_str!("page.html");
const GUARDS: [(HeaderName, &str); 3] = [
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "no-referrer"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
];
const ELSEWHERE: &str = "this page is for the gateway's own machine: ssh -L 9901:127.0.0.1:9901 to it with \
                         the port of admin.metrics, and open http://localhost:9901/\n";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_elsewhere_is_not_let_in_whatever_they_say() {
        let let_in = |client: &str| is_let_in(client.parse().ok(), Some("127.0.0.1:9901"));

        assert!(["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"].into_iter().all(let_in));
        assert!(!["10.0.0.5", "::ffff:10.0.0.5", "2001:db8::1", ""].into_iter().any(let_in));
        assert!(!is_let_in("127.0.0.1".parse().ok(), Some("evil.example")));
    }

    #[test]
    fn an_address_and_localhost_are_own_names_and_no_other() {
        for own in ["127.0.0.1:9901", "127.0.0.1", "[::1]:9901", "localhost", "LOCALHOST:9901"] {
            assert!(is_own(Some(own)), "{own}");
        }
        for other in ["evil.example:9901", "localhost.evil.example", "127.0.0.1.evil.example", "", "[::1"] {
            assert!(!is_own(Some(other)), "{other}");
        }
        assert!(!is_own(None));
    }

    #[test]
    fn the_page_is_one_file_that_loads_nothing_and_makes_no_markup_of_text() {
        assert_eq!((PAGE.matches("<script").count(), PAGE.matches("<style").count()), (1, 1));
        assert!(!inside(PAGE, "script").is_empty() && !inside(PAGE, "style").is_empty());
        for bad in
            ["src=", "innerHTML", "outerHTML", "insertAdjacent", "document.write", "eval(", "Function("]
        {
            assert!(!PAGE.contains(bad), "{bad}");
        }
        // SVG's own name is the only address in it.
        assert_eq!(PAGE.matches("http").count(), PAGE.matches("http://www.w3.org/2000/svg").count());
        assert!(POLICY.contains("default-src 'none'") && !POLICY.contains("unsafe"));
    }
}
