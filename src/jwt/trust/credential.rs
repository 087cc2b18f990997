//! Where a request carries its token, and how it is taken off.

use http::{HeaderMap, HeaderValue, header};

use crate::config::issuer::JwtSpec;

/// What a request presents.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Presented<'r> {
    /// Nothing.
    Nothing,
    /// One token, or what stands in its place.
    Token(&'r str),
    /// More than one, or what is no text: which one upstreams would take nobody knows.
    Unclear,
}

/// What a request presents in the place that `spec` names.
pub(super) fn find<'r>(spec: &JwtSpec, headers: &'r HeaderMap) -> Presented<'r> {
    match &spec.cookie {
        Some(name) => one(cookies(headers).filter_map(|cookie| {
            let value = value_of(cookie, name)?;
            Some(str::from_utf8(value).map_err(|_| ()))
        })),
        None => {
            let name = spec.header.header();
            let is_bearer = *name == header::AUTHORIZATION;
            one(headers.get_all(name).iter().filter_map(|value| in_field(value, is_bearer)))
        }
    }
}

/// Takes it off, where there is something.
pub(super) fn take_off(spec: &JwtSpec, headers: &mut HeaderMap) {
    if find(spec, headers) == Presented::Nothing {
        return;
    }
    let Some(name) = &spec.cookie else {
        headers.remove(spec.header.header());
        return;
    };
    let is_other = |cookie: &&[u8]| !cookie.is_empty() && value_of(cookie, name).is_none();
    let rest: Vec<_> = cookies(headers).filter(is_other).collect();
    // What came in a field may go out in one.
    match HeaderValue::from_bytes(&rest.join(&b"; "[..])) {
        Ok(value) if !rest.is_empty() => drop(headers.insert(header::COOKIE, value)),
        _ => drop(headers.remove(header::COOKIE)),
    }
}

fn one<'r>(mut found: impl Iterator<Item = Result<&'r str, ()>>) -> Presented<'r> {
    match (found.next(), found.next()) {
        (None, _) => Presented::Nothing,
        (Some(Ok(token)), None) => Presented::Token(token),
        _ => Presented::Unclear,
    }
}

/// The token in a field, which in `Authorization` stands after `Bearer`, and elsewhere
/// may. Of another scheme it is nobody's here.
fn in_field(value: &HeaderValue, needs_scheme: bool) -> Option<Result<&str, ()>> {
    let Ok(text) = value.to_str() else {
        return (!needs_scheme || starts_with_scheme(value.as_bytes())).then_some(Err(()));
    };
    match text.split_at_checked(SCHEME.len()) {
        Some((_, token)) if starts_with_scheme(text.as_bytes()) => Some(Ok(token.trim())),
        _ => (!needs_scheme).then_some(Ok(text.trim())),
    }
}

fn starts_with_scheme(value: &[u8]) -> bool {
    let begins = value.get(..SCHEME.len()).is_some_and(|start| start.eq_ignore_ascii_case(SCHEME));
    begins && matches!(value.get(SCHEME.len()), None | Some(b' ' | b'\t'))
}

/// Every cookie of every field, in bytes: one that is no text hides no other.
fn cookies(headers: &HeaderMap) -> impl Iterator<Item = &[u8]> {
    let fields = headers.get_all(header::COOKIE).iter();
    fields.flat_map(|field| field.as_bytes().split(|byte| *byte == b';')).map(<[u8]>::trim_ascii)
}

/// What a cookie says, where it is the one of this name.
fn value_of<'c>(cookie: &'c [u8], name: &str) -> Option<&'c [u8]> {
    let equals = cookie.iter().position(|byte| *byte == b'=')?;
    let (found, value) = cookie.split_at_checked(equals)?;
    let value = value.strip_prefix(b"=")?;
    (found.trim_ascii() == name.as_bytes()).then_some(value.trim_ascii())
}

const SCHEME: &[u8] = b"Bearer";

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(more: &str) -> JwtSpec {
        serde_yaml::from_str(&format!("{{ issuer: i, {more} }}")).unwrap()
    }

    fn headers(fields: &[(&'static str, &[u8])]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, HeaderValue::from_bytes(value).unwrap());
        }
        headers
    }

    #[test]
    fn in_authorization_it_stands_after_bearer() {
        let bearer = spec("");
        for (value, wanted) in [
            (&b"Bearer a.b.c"[..], Presented::Token("a.b.c")),
            (b"bearer   a.b.c ", Presented::Token("a.b.c")),
            (b"BEARER\ta.b.c", Presented::Token("a.b.c")),
            (b"Bearer", Presented::Token("")),
            (b"Bearera.b.c", Presented::Nothing),
            (b"Basic YTpi", Presented::Nothing),
            (b"a.b.c", Presented::Nothing),
            (b"Bearer \xff", Presented::Unclear),
            (b"\xff", Presented::Nothing),
        ] {
            assert_eq!(find(&bearer, &headers(&[("authorization", value)])), wanted, "{value:?}");
        }
        assert_eq!(find(&bearer, &headers(&[])), Presented::Nothing);
    }

    #[test]
    fn two_are_not_one() {
        let twice = |name: &'static str, value: &'static [u8]| headers(&[(name, value), (name, value)]);

        assert_eq!(find(&spec(""), &twice("authorization", b"Bearer a")), Presented::Unclear);
        assert_eq!(find(&spec("header: X-Token"), &twice("x-token", b"a")), Presented::Unclear);
        assert_eq!(find(&spec("cookie: sid"), &twice("cookie", b"sid=a")), Presented::Unclear);
        assert_eq!(find(&spec("cookie: sid"), &headers(&[("cookie", b"sid=a; sid=a")])), Presented::Unclear);
    }

    #[test]
    fn another_field_and_a_cookie_carry_it_too() {
        let field = headers(&[("x-token", b"a.b.c")]);
        assert_eq!(find(&spec("header: X-Token"), &field), Presented::Token("a.b.c"));
        let field = headers(&[("x-token", b"Bearer a.b.c")]);
        assert_eq!(find(&spec("header: X-Token"), &field), Presented::Token("a.b.c"));

        let cookies = headers(&[("cookie", b"a=b; sid=a.b.c==; other=x"), ("cookie", b"xsid=1; sid2=2")]);
        assert_eq!(find(&spec("cookie: sid"), &cookies), Presented::Token("a.b.c=="));
        assert_eq!(find(&spec("cookie: none"), &cookies), Presented::Nothing);
    }

    #[test]
    fn it_alone_is_taken_off() {
        let mut both =
            headers(&[("authorization", b"Bearer a"), ("cookie", b"sid=a; b=c"), ("cookie", b"d=e")]);

        take_off(&spec("cookie: sid"), &mut both);
        assert_eq!(both.get_all("cookie").iter().collect::<Vec<_>>(), ["b=c; d=e"]);
        assert!(both.contains_key("authorization"));
        take_off(&spec(""), &mut both);
        assert!(!both.contains_key("authorization"));

        let mut alone = headers(&[("cookie", b"sid=a")]);
        take_off(&spec("cookie: sid"), &mut alone);
        assert!(alone.is_empty());
        let mut basic = headers(&[("authorization", b"Basic YTpi")]);
        take_off(&spec(""), &mut basic);
        assert!(basic.contains_key("authorization"));
    }

    #[test]
    fn a_byte_that_is_no_text_hides_no_cookie() {
        let sid = spec("cookie: sid");
        let joined = headers(&[("cookie", b"sid=TOKEN; theme=\xe9; x")]);
        assert_eq!(find(&sid, &joined), Presented::Token("TOKEN"));
        let utf8 = headers(&[("cookie", "name=J\u{fc}rgen; sid=TOKEN".as_bytes())]);
        assert_eq!(find(&sid, &utf8), Presented::Token("TOKEN"));
        let second = headers(&[("cookie", b"sid=GOOD"), ("cookie", b"sid=EVIL; x=\xff")]);
        assert_eq!(find(&sid, &second), Presented::Unclear);
        assert_eq!(find(&sid, &headers(&[("cookie", b"sid=\xff")])), Presented::Unclear);

        for (mut headers, rest) in
            [(joined, &b"theme=\xe9; x"[..]), (utf8, "name=J\u{fc}rgen".as_bytes()), (second, b"x=\xff")]
        {
            take_off(&sid, &mut headers);
            assert_eq!(headers.get_all("cookie").iter().map(|v| v.as_bytes()).collect::<Vec<_>>(), [rest]);
        }
    }
}
