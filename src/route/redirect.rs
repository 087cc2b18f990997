//! Redirects: where a client is sent instead.
//!
//! Owns the `Location`. It is always a whole URL when the host is known, so that
//! no path can be read as a host, and holds visible ASCII only, whatever the
//! request held.

use std::fmt::Write;

use http::{HeaderValue, StatusCode};

use super::{authority, build::Site, path};
use crate::config::{
    route::{RedirectScheme, RedirectSpec},
    types::Invalid,
};

/// A redirect.
#[derive(Debug)]
pub struct Redirect {
    /// 301, 302, 303, 307 or 308.
    pub status: StatusCode,
    scheme: Option<RedirectScheme>,
    host: Option<Box<str>>,
    path: Option<Box<str>>,
    query: Option<Box<str>>,
}

impl Redirect {
    /// The `Location` for a request: what the redirect does not say stays.
    /// `secure` is whether the client came by TLS; `host` is the client's, with
    /// its port, which goes when the scheme changes. Never fails, and never
    /// holds a byte that was not allowed.
    pub fn location(&self, secure: bool, host: &str, path: &str, query: Option<&str>) -> HeaderValue {
        let target_secure = self.scheme.map_or(secure, |scheme| scheme == RedirectScheme::Https);
        let kept_host = if target_secure == secure { host } else { authority::split(host).0 };
        let host = self.host.as_deref().unwrap_or(kept_host);
        let mut out = String::with_capacity(16 + host.len() + path.len() + query.map_or(0, str::len));
        if !host.is_empty() {
            out.push_str(if target_secure { "https://" } else { "http://" });
            push_visible(&mut out, host);
        }
        push_visible(&mut out, self.path.as_deref().unwrap_or(path));
        // An empty query of the redirect takes away the client's.
        if let Some(query) = self.query.as_deref().or(query).filter(|query| !query.is_empty()) {
            out.push('?');
            push_visible(&mut out, query);
        }
        HeaderValue::try_from(out).unwrap_or(HeaderValue::from_static("/"))
    }

    /// `None` when any of it is not usable.
    pub(super) fn build(spec: &RedirectSpec, site: &mut Site<'_>) -> Option<Self> {
        let status = matches!(spec.status, 301 | 302 | 303 | 307 | 308).then_some(spec.status);
        if status.is_none() {
            let text = format!("{} is not a redirect; write 301, 302, 303, 307 or 308", spec.status);
            site.error("redirect.status", text);
        }
        if spec.scheme.is_none() && spec.host.is_none() && spec.path.is_none() {
            site.error(
                "redirect",
                "it leads to where the client came from; write `scheme`, `host` or `path`",
            );
        }
        let host = spec.host.as_deref().map(authority::authority).transpose();
        let host = host.map_err(|why| site.error("redirect.host", why.to_string())).ok();
        let target = spec.path.as_deref().map(|path| target(path, site)).transpose();
        let target = target.map_err(|why| site.error("redirect.path", why.to_string())).ok();
        let (path, query) = target?.unzip();
        Some(Self {
            status: StatusCode::from_u16(status?).ok()?,
            scheme: spec.scheme,
            host: host?.map(Into::into),
            path,
            query: query.flatten(),
        })
    }
}

/// Path and query of a redirect.
type Target = (Box<str>, Option<Box<str>>);

fn target(text: &str, site: &Site<'_>) -> Result<Target, Invalid> {
    let (path, query) = text.split_once('?').map_or((text, None), |(path, query)| (path, Some(query)));
    let path = path::sent(path, site.defaults.paths)?;
    let visible = |byte: u8| is_visible(byte) && byte != b'#';
    if !query.is_none_or(|query| query.bytes().all(visible)) {
        return Err(Invalid::new(format!(
            "`{text}` has a query that is not one; write escapes, as `%20` for a space"
        )));
    }
    Ok((Box::from(&*path), query.map(Box::from)))
}

/// Writes text of which nobody knows what is in it: what cannot stand in a URL
/// becomes an escape.
fn push_visible(out: &mut String, text: &str) {
    for byte in text.bytes() {
        if is_visible(byte) {
            out.push(char::from(byte));
        } else {
            // Writing to a string cannot fail.
            let _ = write!(out, "%{byte:02X}");
        }
    }
}

fn is_visible(byte: u8) -> bool {
    (b'!'..=b'~').contains(&byte) && !b"\"<>\\`".contains(&byte)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use crate::route::{
        Action, Router,
        testing::{Request, problems, router},
    };

    struct Redirecting(Router);

    impl Redirecting {
        fn new(redirect: Value) -> Self {
            Self(router(json!([{ "name": "a", "redirect": redirect }])))
        }

        fn location(&self, secure: bool, host: &str, path: &str, query: Option<&str>) -> String {
            let found = self.0.find(&Request::get("h", "/").facts()).unwrap();
            let Action::Redirect(redirect) = &found.route.action else { panic!("{:?}", found.route.action) };
            redirect.location(secure, host, path, query).to_str().unwrap().to_owned()
        }
    }

    #[test]
    fn what_is_not_given_stays() {
        let to_https = Redirecting::new(json!({ "scheme": "https", "status": 308 }));
        let to_host = Redirecting::new(json!({ "host": "New.example.com:8443" }));
        let to_path = Redirecting::new(json!({ "path": "/new//place" }));

        assert_eq!(to_https.location(false, "a.b", "/x", Some("q=1")), "https://a.b/x?q=1");
        assert_eq!(to_host.location(true, "a.b:444", "/x", None), "https://new.example.com:8443/x");
        assert_eq!(to_path.location(false, "a.b:81", "/x", Some("q=1")), "http://a.b:81/new/place?q=1");
    }

    #[test]
    fn a_port_goes_with_its_scheme() {
        let to_https = Redirecting::new(json!({ "scheme": "https" }));

        assert_eq!(to_https.location(false, "a.b:8080", "/", None), "https://a.b/");
        assert_eq!(to_https.location(false, "[::1]:8080", "/", None), "https://[::1]/");
        assert_eq!(to_https.location(true, "a.b:8443", "/", None), "https://a.b:8443/");
    }

    #[test]
    fn a_query_of_its_own_takes_the_place_of_the_clients() {
        let own = Redirecting::new(json!({ "path": "/x?a=b" }));
        let none = Redirecting::new(json!({ "path": "/x?" }));

        assert_eq!(own.location(true, "a.b", "/", Some("q=1")), "https://a.b/x?a=b");
        assert_eq!(none.location(true, "a.b", "/", Some("q=1")), "https://a.b/x");
    }

    #[test]
    fn no_request_breaks_out_of_the_location() {
        let to_https = Redirecting::new(json!({ "scheme": "https" }));

        let location =
            to_https.location(false, "a.b\r\nx: y", "//evil\n", Some("\r\nset-cookie: a\u{10a}\0 \"<>"));

        assert_eq!(location, "https://a.b%0D%0Ax//evil%0A?%0D%0Aset-cookie:%20a%C4%8A%00%20%22%3C%3E");
        assert_eq!(to_https.location(false, "", "/x", None), "/x");
    }

    #[test]
    fn everything_wrong_with_a_redirect_is_told() {
        let told = problems(json!([
            { "name": "a", "redirect": { "status": 304, "host": "*.a.b", "path": "new" } },
            { "name": "b", "redirect": {}, "match": { "path": "/b" } },
            { "name": "c", "redirect": { "path": "/x?a b" }, "match": { "path": "/c" } },
        ]));

        assert!(told.contains("routes[0].redirect.status: 304 is not a redirect"), "{told}");
        assert!(told.contains("routes[0].redirect.host: `*.a.b` is not one host"), "{told}");
        assert!(told.contains("routes[0].redirect.path: `new` is not a path"), "{told}");
        assert!(told.contains("routes[1].redirect: it leads to where the client came from"), "{told}");
        assert!(told.contains("routes[2].redirect.path: `/x?a b` has a query that is not one"), "{told}");
    }
}
