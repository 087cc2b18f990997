//! [`SanPattern`]: which certificates, by the names in them.

use std::{borrow::Cow, fmt, str::FromStr};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use super::{HostPattern, Invalid, text_value};

/// Which certificates, by a name in them: `spiffe://example.org/ns/shop/sa/orders`
/// (each `*` is one segment, `/**` at the end is any rest), `dns:orders.example.org`
/// or `dns:*.example.org` (one or more labels in front), `uri:` and any other URI,
/// `email:ops@example.org`, or `subject:CN=orders,O=Example` (the whole subject, as
/// logs show it). A SPIFFE id counts where it is the certificate's only URI.
#[derive(Clone, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(try_from = "String", into = "String")]
pub enum SanPattern {
    /// A SPIFFE id: what follows `spiffe://`, in segments.
    Spiffe(Vec<Segment>),
    /// A DNS name.
    Dns(HostPattern),
    /// A URI, exactly.
    Uri(String),
    /// An e-mail address, exactly.
    Email(String),
    /// The whole subject, exactly.
    Subject(String),
}

/// A part of a SPIFFE id between two slashes.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Segment {
    /// This one.
    Exact(String),
    /// Any one.
    One,
    /// One or more to the end.
    Rest,
}

/// The names in a certificate.
#[derive(Clone, Copy, Debug)]
pub struct CertificateNames<'a> {
    /// The subject, as `CN=billing,O=Example` with the escapes of RFC 4514.
    pub subject: &'a str,
    /// The SPIFFE id: the only URI, and of that scheme.
    pub spiffe_id: Option<&'a str>,
    /// DNS names.
    pub dns: &'a [Box<str>],
    /// URIs.
    pub uris: &'a [Box<str>],
    /// E-mail addresses.
    pub emails: &'a [Box<str>],
}

impl SanPattern {
    /// Whether any name in a certificate is one of these. Never for a wildcard of the
    /// certificate's own: it names nobody.
    pub fn fits(&self, names: &CertificateNames<'_>) -> bool {
        match self {
            Self::Spiffe(segments) => names.spiffe_id.is_some_and(|id| fits_spiffe(segments, id)),
            Self::Dns(pattern) => names.dns.iter().any(|name| fits_dns(pattern, name)),
            Self::Uri(uri) => names.uris.iter().any(|there| **there == **uri),
            Self::Email(email) => names.emails.iter().any(|there| **there == **email),
            Self::Subject(subject) => names.subject == subject,
        }
    }
}

fn fits_dns(pattern: &HostPattern, name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    let Ok(HostPattern::Exact(name)) = name.parse() else { return false };
    match pattern {
        HostPattern::Exact(host) => name == *host,
        HostPattern::Wildcard(suffix) => {
            name.strip_suffix(suffix.as_str()).is_some_and(|front| !front.is_empty())
        }
        HostPattern::Any => false,
    }
}

fn fits_spiffe(segments: &[Segment], id: &str) -> bool {
    let Some(rest) = id.strip_prefix(SPIFFE) else { return false };
    let mut parts = rest.split('/');
    for segment in segments {
        // What SPIFFE forbids in an id names nobody, whatever it would fit.
        let Some(part) = parts.next().filter(|part| is_segment(part)) else { return false };
        match segment {
            Segment::Exact(text) if text != part => return false,
            Segment::Exact(_) | Segment::One => {}
            Segment::Rest => return parts.all(is_segment),
        }
    }
    parts.next().is_none()
}

/// What SPIFFE allows between two slashes; a trust domain is narrower.
fn is_segment(text: &str) -> bool {
    let known = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    !text.is_empty() && text != "." && text != ".." && text.bytes().all(known)
}

fn is_trust_domain(text: &str) -> bool {
    is_segment(text) && !text.bytes().any(|byte| byte.is_ascii_uppercase())
}

fn spiffe(rest: &str) -> Option<SanPattern> {
    let mut parts = rest.split('/');
    let domain = parts.next().filter(|domain| is_trust_domain(domain))?;
    let segment = |part: &str| match part {
        "*" => Some(Segment::One),
        "**" => Some(Segment::Rest),
        _ => is_segment(part).then(|| Segment::Exact(part.to_owned())),
    };
    let path: Vec<_> = parts.map(segment).collect::<Option<_>>()?;
    let ends_early = path.iter().rev().skip(1).any(|segment| *segment == Segment::Rest);
    let whole = || std::iter::once(Segment::Exact(domain.to_owned())).chain(path.clone()).collect();
    (!path.is_empty() && !ends_early).then(|| SanPattern::Spiffe(whole()))
}

impl fmt::Display for Segment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Exact(text) => text,
            Self::One => "*",
            Self::Rest => "**",
        })
    }
}

impl fmt::Display for SanPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Spiffe(segments) => {
                f.write_str(SPIFFE)?;
                segments.iter().enumerate().try_for_each(|(nth, segment)| {
                    if nth > 0 {
                        f.write_str("/")?;
                    }
                    segment.fmt(f)
                })
            }
            Self::Dns(host) => write!(f, "dns:{host}"),
            Self::Uri(uri) => write!(f, "uri:{uri}"),
            Self::Email(email) => write!(f, "email:{email}"),
            Self::Subject(subject) => write!(f, "subject:{subject}"),
        }
    }
}

impl FromStr for SanPattern {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let exact = |rest: &str| !rest.is_empty() && !rest.contains('*') && !rest.contains(char::is_control);
        let parsed = if let Some(rest) = text.strip_prefix(SPIFFE) {
            spiffe(rest)
        } else if let Some(host) = text.strip_prefix("dns:") {
            host.parse().ok().filter(|host| *host != HostPattern::Any).map(Self::Dns)
        } else if let Some(uri) = text.strip_prefix("uri:") {
            (exact(uri) && uri.contains(':') && !uri.starts_with(SPIFFE)).then(|| Self::Uri(uri.to_owned()))
        } else if let Some(email) = text.strip_prefix("email:") {
            (exact(email) && email.contains('@')).then(|| Self::Email(email.to_owned()))
        } else if let Some(subject) = text.strip_prefix("subject:") {
            (exact(subject) && subject.contains('=')).then(|| Self::Subject(subject.to_owned()))
        } else {
            None
        };
        parsed.ok_or_else(|| {
            Invalid::new(format!(
                "`{text}` is not a name in a certificate; write `spiffe://example.org/ns/shop/sa/*`, \
                 `dns:*.example.org`, `uri:`, `email:` or `subject:` and the name"
            ))
        })
    }
}

text_value!(SanPattern, r"^(spiffe://|dns:|uri:|email:|subject:).+$", "spiffe://example.org/ns/shop/sa/*");

const SPIFFE: &str = "spiffe://";

#[cfg(test)]
mod tests {
    use super::*;

    fn fits(pattern: &str, id: &str) -> bool {
        let names =
            CertificateNames { subject: "", spiffe_id: Some(id), dns: &[], uris: &[id.into()], emails: &[] };
        pattern.parse::<SanPattern>().unwrap().fits(&names)
    }

    #[test]
    fn a_spiffe_id_fits_segment_by_segment() {
        let id = "spiffe://example.org/ns/shop/sa/orders";

        for pattern in [
            id,
            "spiffe://example.org/ns/*/sa/orders",
            "spiffe://example.org/ns/shop/sa/*",
            "spiffe://example.org/**",
            "spiffe://example.org/ns/**",
        ] {
            assert!(fits(pattern, id), "{pattern}");
            assert_eq!(pattern.parse::<SanPattern>().unwrap().to_string(), pattern);
        }
        for pattern in [
            "spiffe://example.org/ns/shop/sa/order",
            "spiffe://example.org/ns/shop/sa",
            "spiffe://example.org/ns/shop/sa/orders/*",
            "spiffe://example.org/ns/shop/sa/orders/**",
            "spiffe://example.org/*",
            "spiffe://other.org/**",
        ] {
            assert!(!fits(pattern, id), "{pattern}");
        }
    }

    #[test]
    fn what_is_no_spiffe_id_fits_nothing() {
        for id in [
            "spiffe://example.org",
            "spiffe://example.org/",
            "spiffe://example.org/a/",
            "spiffe://example.org/a//b",
            "spiffe://example.org/a/..",
            "spiffe://example.org/./a",
            "spiffe://example.org/a%2fb",
            "spiffe://example.org/a?b",
            "SPIFFE://example.org/a",
            "https://example.org/a",
        ] {
            assert!(!fits("spiffe://example.org/**", id), "{id}");
        }
        assert!(!fits("spiffe://example.org/a/*", "spiffe://example.org/a/.."));
    }

    #[test]
    fn names_of_each_kind_fit_their_own_pattern_alone() {
        let (dns, uris) = (["A.b.test".into(), "*.wild.test".into()], ["urn:x:y".into()]);
        let names = CertificateNames {
            subject: "CN=orders,O=Example",
            spiffe_id: None,
            dns: &dns,
            uris: &uris,
            emails: &["ops@b.test".into()],
        };
        let fits = |pattern: &str| pattern.parse::<SanPattern>().unwrap().fits(&names);

        for pattern in
            ["dns:a.B.test", "dns:*.b.test", "uri:urn:x:y", "email:ops@b.test", "subject:CN=orders,O=Example"]
        {
            assert!(fits(pattern), "{pattern}");
        }
        for pattern in [
            "dns:b.test",
            "dns:*.a.b.test",
            "dns:x.wild.test",
            "dns:*.wild.test",
            "uri:urn:x:z",
            "email:ops@B.test",
            "subject:CN=orders",
        ] {
            assert!(!fits(pattern), "{pattern}");
        }
    }

    #[test]
    fn what_says_no_name_is_refused() {
        for bad in [
            "",
            "orders.internal",
            "spiffe://",
            "spiffe://example.org",
            "spiffe://Example.org/a",
            "spiffe://*/a",
            "spiffe://example.org/a*",
            "spiffe://example.org/**/a",
            "spiffe://example.org/a/",
            "dns:",
            "dns:*",
            "dns:a b",
            "uri:x",
            "uri:https://a/*",
            "uri:spiffe://example.org/a",
            "email:ops",
            "subject:orders",
        ] {
            let why = bad.parse::<SanPattern>().unwrap_err().to_string();
            assert!(why.contains("write `spiffe://"), "{bad}: {why}");
        }
    }
}
