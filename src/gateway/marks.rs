//! What a request's header holds, found in one pass.
//!
//! Asking a header map for a field costs a hash each time, and most requests
//! have none of what the gateway asks for. So one loop over the names marks
//! what is there; only that is looked up.

use http::{HeaderMap, HeaderName, header};

/// Which of the fields that the gateway cares about are there.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Marks(u16);

impl Marks {
    /// `X-Request-Id`.
    pub const REQUEST_ID: Self = Self(1);
    /// `traceparent` or `tracestate`.
    pub const TRACE: Self = Self(1 << 1);
    /// `X-Amzn-Trace-Id`.
    pub const AMAZON: Self = Self(1 << 2);
    /// `Content-Length`.
    pub const LENGTH: Self = Self(1 << 3);
    /// Something that may ask for a stream: `Upgrade`, `Accept`, `Content-Type`.
    pub const STREAM: Self = Self(1 << 4);
    /// `Via`, `Forwarded` or `X-Forwarded-…`: lists that are added to.
    pub const FORWARDED: Self = Self(1 << 5);
    /// What only a trusted proxy may claim and the gateway does not overwrite.
    pub const CLAIMS: Self = Self(1 << 6);

    /// Something that speaks of one connection only (RFC 9110, 7.6.1).
    pub const HOP: Self = Self(1 << 7);

    /// Something that may frame a body in HTTP/1.
    pub const FRAMED: Self = Self(Self::LENGTH.0 | Self::HOP.0);

    /// Looks at every name once.
    pub fn of(headers: &HeaderMap) -> Self {
        headers.keys().fold(Self::default(), |marks, name| Self(marks.0 | mark(name).0))
    }

    /// Whether any of these is there.
    pub fn any(self, of: Self) -> bool {
        self.0 & of.0 != 0
    }
}

fn mark(name: &HeaderName) -> Marks {
    let text = name.as_str();
    match text.as_bytes().first() {
        Some(b'x') if text.starts_with("x-") => mark_private(text),
        Some(b't') if text == "traceparent" || text == "tracestate" => Marks::TRACE,
        Some(b't') if matches!(text, "te" | "trailer" | "transfer-encoding") => Marks::HOP,
        Some(b'c') if *name == header::CONTENT_LENGTH => Marks::LENGTH,
        Some(b'c') if *name == header::CONTENT_TYPE => Marks::STREAM,
        Some(b'c') if *name == header::CONNECTION => Marks::HOP,
        Some(b'c') if text == "client-cert" || text == "client-cert-chain" => Marks::CLAIMS,
        Some(b'u') if *name == header::UPGRADE => Marks(Marks::STREAM.0 | Marks::HOP.0),
        Some(b'k' | b'p') if text == "keep-alive" || text.starts_with("proxy-") => Marks::HOP,
        Some(b'h') if text == "http2-settings" => Marks::HOP,
        Some(b'a') if *name == header::ACCEPT => Marks::STREAM,
        Some(b'v') if *name == header::VIA => Marks::FORWARDED,
        Some(b'f') if *name == header::FORWARDED => Marks(Marks::FORWARDED.0 | Marks::CLAIMS.0),
        _ => Marks::default(),
    }
}

fn mark_private(text: &str) -> Marks {
    match text {
        "x-request-id" => Marks::REQUEST_ID,
        "x-amzn-trace-id" => Marks::AMAZON,
        "x-forwarded-for" | "x-forwarded-proto" | "x-forwarded-host" => Marks::FORWARDED,
        "x-real-ip" | "x-original-url" | "x-rewrite-url" | "x-amzn-vpce-id" => Marks::CLAIMS,
        "x-http-method-override" | "x-http-method" | "x-method-override" => Marks::CLAIMS,
        _ if text.starts_with("x-forwarded-") => Marks::CLAIMS,
        _ => Marks::default(),
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn marks(names: &[&'static str]) -> Marks {
        let value = HeaderValue::from_static("v");
        Marks::of(&names.iter().map(|name| (HeaderName::from_static(name), value.clone())).collect())
    }

    #[test]
    fn every_field_that_is_looked_up_is_marked() {
        for (name, mark) in [
            ("x-request-id", Marks::REQUEST_ID),
            ("traceparent", Marks::TRACE),
            ("tracestate", Marks::TRACE),
            ("x-amzn-trace-id", Marks::AMAZON),
            ("content-length", Marks::LENGTH),
            ("upgrade", Marks::STREAM),
            ("accept", Marks::STREAM),
            ("content-type", Marks::STREAM),
            ("via", Marks::FORWARDED),
            ("x-forwarded-for", Marks::FORWARDED),
            ("forwarded", Marks::CLAIMS),
            ("x-forwarded-port", Marks::CLAIMS),
            ("x-forwarded-anything", Marks::CLAIMS),
            ("x-real-ip", Marks::CLAIMS),
            ("x-original-url", Marks::CLAIMS),
            ("x-rewrite-url", Marks::CLAIMS),
            ("x-http-method-override", Marks::CLAIMS),
            ("x-http-method", Marks::CLAIMS),
            ("x-method-override", Marks::CLAIMS),
            ("client-cert", Marks::CLAIMS),
            ("client-cert-chain", Marks::CLAIMS),
            ("connection", Marks::HOP),
            ("upgrade", Marks::HOP),
            ("keep-alive", Marks::HOP),
            ("proxy-connection", Marks::HOP),
            ("proxy-authorization", Marks::HOP),
            ("proxy-authenticate", Marks::HOP),
            ("te", Marks::HOP),
            ("trailer", Marks::HOP),
            ("transfer-encoding", Marks::HOP),
            ("http2-settings", Marks::HOP),
        ] {
            assert!(marks(&["host", name, "cookie"]).any(mark), "{name}");
        }
    }

    #[test]
    fn a_plain_request_has_no_marks() {
        assert_eq!(marks(&["host", "user-agent", "cookie", "x-tenant"]), Marks::default());
    }
}
