//! Where the answer to a request comes from.
//!
//! Owns that there is exactly one place, and fixed responses.

use bytes::Bytes;
use http::{HeaderValue, StatusCode};

use super::{Redirect, Split, build::Site};
use crate::config::route::{RespondSpec, RouteSpec};

/// What a route does with a request.
#[derive(Debug)]
pub enum Action {
    /// It goes to one of these upstreams.
    Forward(Split),
    /// It is sent elsewhere.
    Redirect(Box<Redirect>),
    /// It is answered here.
    Respond(Box<Respond>),
    /// It is answered with the public keys of every signer.
    KeySet,
}

impl Action {
    /// `None` when there is not exactly one, or it is not usable.
    pub(super) fn build(spec: &RouteSpec, site: &mut Site<'_>) -> Option<Self> {
        let given = [!spec.to.is_empty(), spec.redirect.is_some(), spec.respond.is_some(), spec.jwks];
        let one = match given.iter().filter(|given| **given).count() {
            1 => true,
            0 => site.error("", "it says nothing to do; write one of `to`, `redirect`, `respond` and `jwks`"),
            _ => {
                site.error("", "`to`, `redirect`, `respond` and `jwks` exclude each other; keep one of them")
            }
        };
        // Each that is there, so that everything wrong is told at once.
        let forward = if spec.to.is_empty() { None } else { Split::build(spec, site) };
        let redirect = spec.redirect.as_ref().and_then(|redirect| Redirect::build(redirect, site));
        let respond = spec.respond.as_ref().and_then(|respond| Respond::build(respond, site));
        if spec.to.is_empty() {
            refuse_what_nothing_reads(spec, site);
        }
        let forward = forward.map(Self::Forward);
        let forward = forward.or(redirect.map(|redirect| Self::Redirect(Box::new(redirect))));
        let respond = respond.map(|respond| Self::Respond(Box::new(respond)));
        forward.or(respond).or(spec.jwks.then_some(Self::KeySet)).filter(|_| one)
    }
}

/// A fixed response.
#[derive(Debug)]
pub struct Respond {
    /// 200 to 599.
    pub status: StatusCode,
    /// Its body; empty with a status that has none.
    pub body: Bytes,
    /// What the body is.
    pub content_type: HeaderValue,
}

impl Respond {
    fn build(spec: &RespondSpec, site: &mut Site<'_>) -> Option<Self> {
        let status =
            StatusCode::from_u16(spec.status).ok().filter(|status| (200..600).contains(&status.as_u16()));
        let Some(status) = status else {
            site.error(
                "respond.status",
                format!("{} is not a status to respond; write 200 to 599", spec.status),
            );
            return None;
        };
        if matches!(spec.status, 204 | 205 | 304) && !spec.body.is_empty() {
            site.error(
                "respond.body",
                format!("a response with status {} has no body; remove it", spec.status),
            );
            return None;
        }
        let body = Bytes::from(spec.body.clone());
        Some(Self { status, body, content_type: spec.content_type.value().clone() })
    }
}

fn refuse_what_nothing_reads(spec: &RouteSpec, site: &mut Site<'_>) {
    let unread = [
        ("overrides", !spec.overrides.is_empty()),
        ("sticky", spec.sticky.is_some()),
        ("rewrite", spec.rewrite.is_some()),
        ("request_headers", spec.request_headers != Default::default()),
    ];
    for (key, _) in unread.into_iter().filter(|(_, given)| *given) {
        site.error(key, "it is about requests that go upstream, and this route has no `to`; remove it");
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::route::testing::{Request, problems, router};

    #[test]
    fn a_fixed_response_is_what_was_written() {
        let router = router(json!([{ "name": "a", "respond": { "status": 503, "body": "later" } }]));

        let found = router.find(&Request::get("h", "/").facts()).unwrap();

        let Action::Respond(respond) = &found.route.action else { panic!("{:?}", found.route.action) };
        assert_eq!((respond.status.as_u16(), &respond.body[..]), (503, &b"later"[..]));
        assert_eq!(respond.content_type, "text/plain; charset=utf-8");
    }

    #[test]
    fn exactly_one_action_is_wanted() {
        let told = problems(json!([
            { "name": "none" },
            { "name": "two", "to": [{ "upstream": "orders" }], "respond": { "status": 200 }, "match": { "path": "/2" } }
        ]));

        assert!(told.contains("routes[0]: it says nothing to do"), "{told}");
        assert!(
            told.contains("routes[1]: `to`, `redirect`, `respond` and `jwks` exclude each other"),
            "{told}"
        );
    }

    #[test]
    fn a_response_has_a_final_status_and_a_body_only_where_there_can_be_one() {
        let respond = |status: u16, body: &str| {
            problems(json!([{ "name": "a", "respond": { "status": status, "body": body } }]))
        };

        assert!(respond(101, "").contains("routes[0].respond.status: 101 is not a status to respond"));
        assert!(respond(600, "").contains("write 200 to 599"));
        assert!(respond(204, "x").contains("routes[0].respond.body: a response with status 204 has no body"));
        assert_eq!(respond(204, "") + &respond(599, "x") + &respond(200, ""), "");
    }

    #[test]
    fn keys_that_nothing_would_read_are_refused() {
        let told = problems(json!([{
            "name": "a", "respond": { "status": 200 }, "sticky": "client_address",
            "overrides": [{ "header": "x", "value": "1", "upstream": "orders" }],
            "rewrite": { "strip_prefix": "/a" }, "request_headers": { "remove": ["x"] }
        }]));

        for key in ["overrides", "sticky", "rewrite", "request_headers"] {
            assert!(
                told.contains(&format!("routes[0].{key}: it is about requests that go upstream")),
                "{told}"
            );
        }
    }
}
