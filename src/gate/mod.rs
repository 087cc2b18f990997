//! Decides first of all whether a request is well-formed: one meaning, for us
//! and for every server behind us.
//!
//! Pure: looks at the header as Pingora parsed it and, in HTTP/1, at the bytes
//! it was parsed from; knows no route, no client and no time. What is admitted
//! has one canonical host, one canonical path and at most one framing, and
//! [`Rewrite`] makes the forwarded request say exactly what was matched.
//! Framing is looked at before everything else, so that a refusal that lets the
//! connection go on has never overlooked one that must end it.
//!
//! Refused, by [`Refusal`]:
//!
//! - `LineEnding`: LF or CR alone anywhere in an HTTP/1 header block.
//! - `Underscore`, `FieldName`: a field name with `_` (`Content_Length`,
//!   `X_Forwarded_For`: many servers read a dash), or that is no token
//!   (HTTP/2's parser lets `"` pass).
//! - `FieldValue`: space at an end of a value (HTTP/2). Control characters other
//!   than tab never come so far: no `HeaderValue` holds one, httparse (HTTP/1) and
//!   `h2` refuse them, and a test holds Pingora to it.
//! - `TransferEncoding`: anything but one `chunked` in HTTP/1.1, unknown codings
//!   too (400, not 501: none can be told from a trick); and any body that is not
//!   chunked as it says ([`self::chunks`]).
//! - `TwoFramings`: with `Content-Length` beside it. Pingora takes the length
//!   away and goes on; the bytes still show it.
//! - `ContentLength`: not exactly one line of 1 to 18 digits: `5,5`, `+5`, empty.
//! - `Connection`: names a field that decides (host, length, authorization,
//!   cookie, forwarded and trace fields), ten fields or more, or no token; in
//!   HTTP/2 any field that speaks of the connection. Other nominations are
//!   Pingora's to remove. `Upgrade` is dropped later, not refused here.
//! - `TooManyFields`, `HeaderTooLarge`, `TargetTooLong`: above the limits of
//!   `requests`; an HTTP/2 header counts as RFC 9113 §10.5.1 counts it.
//! - `MethodNotAllowed`: not in `requests.methods`, which names neither CONNECT
//!   nor TRACE; methods are case-sensitive, so `get` is one that is not allowed.
//! - `Target`: not `/…` or `http(s)://host/…`; `*` too, since it asks about a
//!   server and not about a resource; a space, control, `#` or byte beyond ASCII
//!   in the query. Over HTTP/2 the parser cuts `#…` off before us.
//! - `Path`: [`crate::route::path`] finds no single meaning: those bytes in the
//!   path, `\` and other bytes that need an escape, encoded slashes, dots.
//! - `PathParameter`: `;` or `%3B` in the path, unless `requests.path_parameters` keeps it.
//! - `HostMissing`: no or empty `Host`, in HTTP/1.0 and beside an absolute-form
//!   too, since a route needs a host; in HTTP/2 neither `Host` nor `:authority`.
//! - `Host`: two lines, or not one host and at most one port.
//! - `HostMismatch`: an absolute-form or `:authority` that is not `Host`, byte by
//!   byte.
//!
//! `RequestLine` and `Method` are found by [`self::line`], before the parser.

mod alphabet;
pub mod chunks;
mod connection;
pub mod cookies;
pub mod ending;
mod fields;
mod head;
mod host;
pub mod line;
#[cfg(any(test, fuzzing))]
pub mod oracle;
mod refusal;
mod target;

use std::borrow::Cow;

use http::{HeaderValue, Method, Uri, Version, header};
use pingora::http::RequestHeader;

use self::{fields::Fields, host::Authority, target::Target};
use crate::config::server::{PathsSpec, RequestsSpec};

pub use self::refusal::Refusal;

/// What requests may look like; built once for each snapshot.
#[derive(Clone, Debug)]
pub struct Gate {
    methods: Box<[Method]>,
    allow: String,
    max_fields: usize,
    max_header: usize,
    max_target: usize,
    paths: PathsSpec,
}

impl Gate {
    /// Takes over the limits of `requests`.
    pub fn new(spec: &RequestsSpec) -> Self {
        let methods: Box<[Method]> = spec.methods.iter().map(|name| name.method().clone()).collect();
        let allow = methods.iter().map(Method::as_str).collect::<Vec<_>>().join(", ");
        let size = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
        Self {
            methods,
            allow,
            max_fields: usize::from(spec.max_header_fields),
            max_header: size(spec.max_header_bytes.bytes()),
            max_target: size(spec.max_target_bytes.bytes()),
            paths: spec.paths(),
        }
    }

    /// The value of `Allow` in a 405 answer.
    pub fn allow(&self) -> &str {
        &self.allow
    }

    /// The longest target in bytes, for [`self::line`].
    pub fn max_target(&self) -> usize {
        self.max_target
    }

    /// Checks a request and makes it say what was matched: see [`Rewrite`].
    /// Returns how much of the `Host` that it then has is the host without the
    /// port.
    ///
    /// `raw_head` is the HTTP/1 header block as read, request line included;
    /// `None` for HTTP/2.
    pub fn admit(&self, request: &mut RequestHeader, raw_head: Option<&[u8]>) -> Result<usize, Refusal> {
        let admitted = self.check(request, raw_head)?;
        let host_len = admitted.host.len();
        let rewrite = admitted.rewrite();
        rewrite.apply(request)?;
        Ok(host_len)
    }

    /// Checks a request and says what it asks for, or why it is refused. See
    /// [`Gate::admit`] for `raw_head`.
    pub fn check<'r>(
        &self,
        request: &'r RequestHeader,
        raw_head: Option<&[u8]>,
    ) -> Result<Admitted<'r>, Refusal> {
        let fields = read_fields(request, raw_head)?;
        self.check_sizes(request, raw_head)?;
        if !self.methods.contains(&request.method) {
            return Err(Refusal::MethodNotAllowed);
        }
        let target = Target::read(request, self.paths)?;
        let authority = Authority::read(find_host(request, &fields, &target)?)?;
        Ok(Admitted {
            target_is_canonical: target.canonical && !request.uri.path().is_empty(),
            host_is_canonical: authority.canonical && fields.host.is_some(),
            uri_has_authority: request.uri.authority().is_some(),
            host: authority.host,
            port: authority.port,
            path: target.path,
            query: target.query,
        })
    }

    fn check_sizes(&self, request: &RequestHeader, raw_head: Option<&[u8]>) -> Result<(), Refusal> {
        if request.headers.len() > self.max_fields {
            return Err(Refusal::TooManyFields);
        }
        if request.raw_path().len() > self.max_target {
            return Err(Refusal::TargetTooLong);
        }
        if raw_head.map_or_else(|| http2_size(request), <[u8]>::len) > self.max_header {
            return Err(Refusal::HeaderTooLarge);
        }
        Ok(())
    }
}

/// What a well-formed request asks for, in the one spelling that is matched,
/// logged and forwarded.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Admitted<'r> {
    /// Lower case, without port and trailing dot; IPv6 in brackets.
    pub host: Cow<'r, str>,
    /// As the client wrote it; never filled in from the scheme.
    pub port: Option<u16>,
    /// Canonical, begins with `/`, without query.
    pub path: Cow<'r, str>,
    /// As the client wrote it, without `?`; `None` differs from an empty one.
    pub query: Option<&'r str>,
    target_is_canonical: bool,
    host_is_canonical: bool,
    uri_has_authority: bool,
}

impl Admitted<'_> {
    /// What must change in the request before it is matched and forwarded.
    pub fn rewrite(&self) -> Rewrite {
        let target = (!self.target_is_canonical).then(|| match self.query {
            Some(query) => format!("{}?{query}", self.path),
            None => self.path.to_string(),
        });
        let host = (!self.host_is_canonical).then(|| host::text(&self.host, self.port));
        Rewrite { target, host, drop_authority: self.uri_has_authority }
    }
}

/// The changes that make a request say exactly what was matched.
///
/// A request to which it was applied has its target in origin-form with the
/// canonical path, no authority in its URI (HTTP/2's is moved), and one `Host`
/// in its canonical spelling, in all versions. The gate admits it again
/// unchanged. A plain HTTP/1 request has nothing to change, and nothing is
/// allocated.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Rewrite {
    target: Option<String>,
    host: Option<String>,
    drop_authority: bool,
}

impl Rewrite {
    /// Changes the request that was checked.
    ///
    /// Refuses a target that escaping made longer than the 65,534 bytes which
    /// the `http` crate takes; everything else that was admitted fits.
    pub fn apply(self, request: &mut RequestHeader) -> Result<(), Refusal> {
        if let Some(target) = self.target {
            request.set_raw_path(target.as_bytes()).map_err(|_| Refusal::Target)?;
        } else if self.drop_authority {
            let origin_form = Uri::from(request.uri.path_and_query().cloned().ok_or(Refusal::Target)?);
            // HTTP/2's parser cuts a `:path` of `#x` down to nothing, which is
            // forwarded as `/` but reads as "".
            let is_lost = origin_form.path().is_empty();
            request.set_uri(if is_lost { Uri::default() } else { origin_form });
        }
        if let Some(host) = self.host {
            let value = HeaderValue::try_from(host).map_err(|_| Refusal::Host)?;
            request.insert_header(header::HOST, value).map_err(|_| Refusal::Host)?;
        }
        Ok(())
    }
}

/// The host and port of a request that [`Gate::admit`] let in.
///
/// `None` before that, when `Host` may be anything.
pub fn host_of(request: &RequestHeader) -> Option<(&str, Option<u16>)> {
    let text = request.headers.get(header::HOST)?.to_str().ok()?;
    host::split(text)
}

fn read_fields<'r>(request: &'r RequestHeader, raw_head: Option<&[u8]>) -> Result<Fields<'r>, Refusal> {
    if let Some(raw) = raw_head {
        head::check(raw, &request.method, request.raw_path())?;
    }
    let fields = Fields::read(&request.headers, request.version)?;
    if fields.is_chunked() && raw_head.is_some_and(|raw| head::has_field(raw, b"content-length")) {
        return Err(Refusal::TwoFramings);
    }
    Ok(fields)
}

/// The one host that is named, wherever that may be.
fn find_host<'r>(
    request: &'r RequestHeader,
    fields: &Fields<'r>,
    target: &Target<'r>,
) -> Result<&'r [u8], Refusal> {
    let http2 = request.version == Version::HTTP_2;
    let web = matches!(request.uri.scheme_str(), None | Some("http" | "https"));
    // HTTP/2 has `:scheme` and `:authority` for what an absolute-form says.
    if !web || (http2 && target.authority.is_some()) {
        return Err(Refusal::Target);
    }
    let in_uri = request.uri.authority().map(|authority| authority.as_str().as_bytes());
    let field = fields.host.map(HeaderValue::as_bytes);
    match (in_uri.or(target.authority), field) {
        (Some(named), Some(field)) if named != field => Err(Refusal::HostMismatch),
        (_, Some(field)) => Ok(field),
        (Some(named), None) if http2 => Ok(named),
        _ => Err(Refusal::HostMissing),
    }
}

/// RFC 9113 §10.5.1: names and values as they are before compression, and 32
/// for each field, pseudo-fields included.
fn http2_size(request: &RequestHeader) -> usize {
    let authority = request.uri.authority().map_or(0, |a| ":authority".len() + a.as_str().len() + FIELD);
    let scheme = request.uri.scheme_str().map_or(0, |s| ":scheme".len() + s.len() + FIELD);
    let path = ":path".len() + request.raw_path().len() + FIELD;
    let method = ":method".len() + request.method.as_str().len() + FIELD;
    let field =
        |(name, value): (&header::HeaderName, &HeaderValue)| name.as_str().len() + value.len() + FIELD;
    request.headers.iter().map(field).sum::<usize>() + authority + scheme + path + method
}

/// What RFC 9113 §10.5.1 adds for each field.
const FIELD: usize = 32;

#[cfg(test)]
mod tests;
