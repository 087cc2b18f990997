//! Finds the API key of a request, and asks whose it is.

use http::{HeaderMap, HeaderName, header};

use super::Presented;
use crate::{
    identity::{Flaw, Said},
    snapshot::ApiKeyMethod,
};

/// What the keys of a way of authentication say of a request.
pub(super) fn ask(method: &ApiKeyMethod, presented: &Presented<'_>) -> Said {
    let key = match find(&method.header, presented.headers) {
        Found::None => return Said::Nothing,
        Found::Other => return Said::Foreign,
        Found::Twice => return Said::Refused(Flaw::Malformed),
        // The hash of nothing is known to everybody.
        Found::One(b"") => return Said::Refused(Flaw::Malformed),
        Found::One(key) => key,
    };
    match method.keys.find(key, presented.now) {
        Ok(consumer) => match (consumer.tenant, presented.tenancy.tenant()) {
            // Somebody carried it out of its tenant.
            (Some(own), Some(through)) if own != through => Said::Refused(Flaw::Tenant),
            _ => Said::Vouched(consumer.clone()),
        },
        Err(Flaw::Unknown) if is_token(key) => Said::Foreign,
        Err(flaw) => Said::Refused(flaw),
    }
}

enum Found<'h> {
    None,
    One(&'h [u8]),
    /// Whose it is would depend on which line somebody reads.
    Twice,
    /// Credentials of another kind.
    Other,
}

fn find<'h>(name: &HeaderName, headers: &'h HeaderMap) -> Found<'h> {
    let mut lines = headers.get_all(name).iter();
    let Some(line) = lines.next() else { return Found::None };
    if lines.next().is_some() {
        return Found::Twice;
    }
    match *name == header::AUTHORIZATION {
        true => bearer(line.as_bytes()).map_or(Found::Other, Found::One),
        false => Found::One(line.as_bytes().trim_ascii()),
    }
}

/// The credentials of scheme `Bearer` (RFC 6750, 2.1), whose name has no case.
pub(super) fn bearer(value: &[u8]) -> Option<&[u8]> {
    let (scheme, rest) = value.split_at_checked(BEARER.len())?;
    let credentials = rest.strip_prefix(b" ").filter(|_| scheme.eq_ignore_ascii_case(BEARER))?;
    Some(credentials.trim_ascii())
}

/// Whether it looks like a JSON Web Token: what `{"` becomes in base64url, and three parts.
fn is_token(credentials: &[u8]) -> bool {
    credentials.starts_with(b"eyJ") && credentials.iter().filter(|byte| **byte == b'.').count() == 2
}

const BEARER: &[u8] = b"Bearer";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bearer_is_a_word_without_case_and_one_space() {
        for (value, found) in [
            ("Bearer abc", Some("abc")),
            ("bEARER   abc ", Some("abc")),
            ("Bearer", None),
            ("Bearerabc", None),
            ("Basic abc", None),
            ("Bearer\tabc", None),
            ("", None),
        ] {
            assert_eq!(bearer(value.as_bytes()), found.map(str::as_bytes), "{value}");
        }
    }

    #[test]
    fn a_token_is_told_from_a_key() {
        assert!(is_token(b"eyJhbGciOiJFUzI1NiJ9.e30.c2ln"));
        for key in ["tgk_abc", "eyJ", "a.b.c", "eyJ.a.b.c"] {
            assert!(!is_token(key.as_bytes()), "{key}");
        }
    }
}
