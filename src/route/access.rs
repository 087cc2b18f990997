//! Who may use a route: 403 for everyone else.
//!
//! Owns `allow` and `deny` of a route. It stands behind the match: a caller who
//! may not use the route that takes the request gets no other one. Each line that is
//! written lets fewer in, never more: `allow` lets in who has all of what it says,
//! `deny` refuses who has any of it.

use super::{
    Facts,
    build::Site,
    callers::{Callers, Part},
};
use crate::config::route::RouteSpec;

/// Who may use a route.
#[derive(Debug, Default)]
pub struct Access {
    /// These alone; `None` is everyone.
    allow: Option<Box<Callers>>,
    deny: Option<Box<Callers>>,
}

/// What refuses a caller. The client does not hear it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Rule {
    /// They are not as this part of `allow` says.
    Allow(Part),
    /// They are as this part of `deny` says.
    Deny(Part),
}

impl Rule {
    /// As the log writes it: the key in the route.
    pub fn word(self) -> &'static str {
        match self {
            Self::Allow(Part::Networks) => "allow.networks",
            Self::Allow(Part::Tenants) => "allow.tenants",
            Self::Allow(Part::Authenticators) => "allow.authenticators",
            Self::Allow(Part::Consumers) => "allow.consumers",
            Self::Allow(Part::Claims) => "allow.claims",
            Self::Allow(Part::Scopes) => "allow.scopes",
            Self::Deny(Part::Networks) => "deny.networks",
            Self::Deny(Part::Tenants) => "deny.tenants",
            Self::Deny(Part::Authenticators) => "deny.authenticators",
            Self::Deny(Part::Consumers) => "deny.consumers",
            Self::Deny(Part::Claims) => "deny.claims",
            Self::Deny(Part::Scopes) => "deny.scopes",
        }
    }
}

impl Access {
    /// `None` when it cannot be as written; the site hears why.
    pub(super) fn build(spec: &RouteSpec, site: &mut Site<'_>) -> Option<Self> {
        let allow = spec.allow.as_ref().map(|callers| Callers::build(callers, "allow", site));
        let deny = spec.deny.as_ref().map(|callers| Callers::build(callers, "deny", site));
        let once = refuse_both(spec, site);
        let is_whole = once && allow.as_ref().is_none_or(Option::is_some);
        (is_whole && deny.as_ref().is_none_or(Option::is_some))
            .then(|| Self { allow: allow.flatten().map(Box::new), deny: deny.flatten().map(Box::new) })
    }

    /// What refuses a request before anybody is authenticated. What an authentication
    /// may yet bring (`may_become`: a tenant) is not held against it.
    pub fn refuses_before(&self, facts: &Facts<'_>, may_become: bool) -> Option<Rule> {
        let known = |part: Part| match part {
            Part::Tenants => facts.tenant.is_some() || !may_become,
            other => !other.needs_consumer(),
        };
        self.refuses_by(facts, known)
    }

    /// What refuses a request, once it is known who asks.
    pub fn refuses(&self, facts: &Facts<'_>) -> Option<Rule> {
        self.refuses_by(facts, |_| true)
    }

    fn refuses_by(&self, facts: &Facts<'_>, known: impl Fn(Part) -> bool) -> Option<Rule> {
        let mut denied = self.deny.iter().flat_map(|deny| deny.written().map(move |part| (deny, part)));
        let deny = denied.find(|(deny, part)| known(*part) && deny.hold_any(*part, facts));
        if let Some((_, part)) = deny {
            return Some(Rule::Deny(part));
        }
        let mut allowed = self.allow.iter().flat_map(|allow| allow.written().map(move |part| (allow, part)));
        let allow = allowed.find(|(allow, part)| known(*part) && !allow.hold_all(*part, facts));
        allow.map(|(_, part)| Rule::Allow(part))
    }

    /// Who alone gets in; `None` is everyone.
    pub fn allowed(&self) -> Option<&Callers> {
        self.allow.as_deref()
    }

    /// Who does not get in.
    pub fn denied(&self) -> Option<&Callers> {
        self.deny.as_deref()
    }
}

/// To allow and to deny the same is a mistake in one of the two.
fn refuse_both(spec: &RouteSpec, site: &mut Site<'_>) -> bool {
    let (Some(allow), Some(deny)) = (&spec.allow, &spec.deny) else { return true };
    let tenant = deny.tenants.iter().position(|name| allow.tenants.contains(name));
    let consumer = deny.consumers.iter().position(|name| allow.consumers.contains(name));
    let tenant = tenant.and_then(|index| Some(("tenants", index, deny.tenants.get(index)?.as_str())));
    let consumer = consumer.and_then(|index| Some(("consumers", index, deny.consumers.get(index)?.as_str())));
    for (key, index, name) in tenant.into_iter().chain(consumer) {
        site.error(
            &format!("deny.{key}[{index}]"),
            format!("`{name}` is in `allow` too; take it out of one"),
        );
    }
    tenant.is_none() && consumer.is_none()
}

#[cfg(test)]
mod tests {
    use serde_json::{Map, Value, json};

    use super::{Part, Rule};
    use crate::{
        config::{authentication::AuthenticatorIndex, tenant::TenantIndex},
        route::{
            Caller, Facts,
            testing::{Request, problems, router},
        },
    };

    const ALPHA: Option<TenantIndex> = Some(TenantIndex(0));
    const BETA: Option<TenantIndex> = Some(TenantIndex(1));

    fn route(access: Value) -> Value {
        let mut route = json!({ "name": "a", "respond": { "status": 200 } });
        route.as_object_mut().unwrap().extend(access.as_object().unwrap().clone());
        json!([route])
    }

    fn refused(access: &Value, change: impl Fn(&mut Facts<'_>)) -> Option<Rule> {
        let router = router(route(access.clone()));
        let request = Request::get("h", "/");
        let mut facts = request.facts();
        change(&mut facts);
        router.find(&facts).unwrap().route.access.refuses(&facts)
    }

    /// Whether alpha, beta and a request of no tenant get in.
    fn admitted(access: Value) -> [bool; 3] {
        [ALPHA, BETA, None].map(|tenant| refused(&access, |facts| facts.tenant = tenant).is_none())
    }

    fn claims() -> Map<String, Value> {
        let claims = json!({ "groups": ["ops", "admin"], "org": { "id": 7 }, "sub": "alice" });
        claims.as_object().unwrap().clone()
    }

    fn alice(claims: &Map<String, Value>) -> Caller<'_> {
        let scopes = "orders:read orders:write";
        Caller { vouched: AuthenticatorIndex(1), name: "alice", scopes, claims: Some(claims), limits: &[] }
    }

    #[test]
    fn allow_lets_in_whom_it_names_and_deny_everyone_else() {
        assert_eq!(admitted(json!({})), [true, true, true]);
        assert_eq!(admitted(json!({ "allow": { "tenants": ["alpha"] } })), [true, false, false]);
        assert_eq!(admitted(json!({ "allow": { "tenants": ["beta", "alpha"] } })), [true, true, false]);
        assert_eq!(admitted(json!({ "deny": { "tenants": ["alpha"] } })), [false, true, true]);
        let both = json!({ "allow": { "tenants": ["alpha"] }, "deny": { "tenants": ["beta"] } });
        assert_eq!(admitted(both), [true, false, false]);
    }

    #[test]
    fn each_part_of_who_somebody_is_decides() {
        let claims = claims();
        for (callers, is_alice) in [
            (json!({ "networks": ["192.0.2.0/24"] }), true),
            (json!({ "networks": ["192.0.3.0/24"] }), false),
            (json!({ "authenticators": ["keys", "cognito"] }), true),
            (json!({ "authenticators": ["keys"] }), false),
            (json!({ "consumers": ["bob", "alice"] }), true),
            (json!({ "consumers": ["Alice"] }), false),
            (json!({ "claims": [{ "name": "groups", "any": ["admin"] }] }), true),
            (json!({ "claims": [{ "name": "groups", "any": ["dev"] }] }), false),
            (json!({ "claims": [{ "name": "org.id", "any": ["6", "7"] }] }), true),
            (json!({ "claims": [{ "name": "sub" }] }), true),
            (json!({ "claims": [{ "name": "email" }] }), false),
            (json!({ "scopes": ["orders:read"] }), true),
            (json!({ "scopes": ["orders"] }), false),
        ] {
            let alice = |facts: &mut Facts<'_>| {
                // The claims live as long as this test.
                facts.consumer = Some(alice(Box::leak(Box::new(claims.clone()))));
            };
            let stranger = |_: &mut Facts<'_>| {};
            let is_place = callers.get("networks").is_some();

            let allow = json!({ "allow": callers });
            assert_eq!(refused(&allow, alice).is_none(), is_alice, "{allow}");
            assert_eq!(refused(&allow, stranger).is_none(), is_alice && is_place, "{allow}");
            let deny = json!({ "deny": callers });
            assert_eq!(refused(&deny, alice).is_some(), is_alice, "{deny}");
            assert_eq!(refused(&deny, stranger).is_some(), is_alice && is_place, "{deny}");
        }
    }

    #[test]
    fn each_line_lets_fewer_in() {
        let claims = claims();
        let alice = |facts: &mut Facts<'_>| {
            facts.consumer = Some(alice(Box::leak(Box::new(claims.clone()))));
        };

        let allow = json!({ "allow": { "consumers": ["alice"], "scopes": ["orders:read", "admin"] } });
        assert_eq!(refused(&allow, alice), Some(Rule::Allow(Part::Scopes)));
        let two = json!({ "allow": { "claims": [{ "name": "sub" }, { "name": "email" }] } });
        assert_eq!(refused(&two, alice), Some(Rule::Allow(Part::Claims)));
        let deny = json!({ "deny": { "consumers": ["bob"], "scopes": ["admin", "orders:read"] } });
        assert_eq!(refused(&deny, alice), Some(Rule::Deny(Part::Scopes)));
    }

    #[test]
    fn before_somebody_is_authenticated_only_what_is_known_counts() {
        let access = json!({ "allow": { "tenants": ["alpha"], "consumers": ["alice"] } });
        let router = router(route(access));
        let request = Request::get("h", "/");
        let before = |tenant, may_become| {
            let facts = Facts { tenant, ..request.facts() };
            router.find(&facts).unwrap().route.access.refuses_before(&facts, may_become)
        };

        assert_eq!(before(ALPHA, true), None);
        assert_eq!(before(None, true), None, "a key may be alpha's");
        assert_eq!(before(None, false), Some(Rule::Allow(Part::Tenants)));
        assert_eq!(before(BETA, true), Some(Rule::Allow(Part::Tenants)));
    }

    #[test]
    fn an_address_behind_an_endpoint_is_in_no_network_here() {
        let networks = json!({ "networks": ["192.0.2.0/24"] });
        let behind = |facts: &mut Facts<'_>| facts.vpc_endpoint = Some("vpce-0a1b2c3d");

        assert_eq!(refused(&json!({ "allow": networks }), behind), Some(Rule::Allow(Part::Networks)));
        assert_eq!(refused(&json!({ "deny": networks }), behind), None);
    }

    #[test]
    fn a_list_that_names_nobody_or_a_stranger_is_refused() {
        let told = |access| problems(route(access));

        assert!(told(json!({ "allow": {} })).contains("routes[0].allow: nobody is named"));
        assert!(told(json!({ "deny": { "tenants": [] } })).contains("routes[0].deny: nobody is named"));
        let stranger = told(json!({ "allow": { "tenants": ["alpha", "alphas"] } }));
        assert!(
            stranger.contains("routes[0].allow.tenants[1]: there is no tenant `alphas`; write `alpha`"),
            "{stranger}"
        );
        let stranger = told(json!({ "allow": { "authenticators": ["cognita"] } }));
        assert!(
            stranger
                .contains("allow.authenticators[0]: there is no authentication `cognita`; write `cognito`"),
            "{stranger}"
        );
    }

    #[test]
    fn to_allow_and_to_deny_one_is_refused() {
        let both = json!({
            "allow": { "tenants": ["alpha"], "consumers": ["a"] },
            "deny": { "tenants": ["beta", "alpha"], "consumers": ["a"] },
        });

        let told = problems(route(both));

        assert!(told.contains("routes[0].deny.tenants[1]: `alpha` is in `allow` too"), "{told}");
        assert!(told.contains("routes[0].deny.consumers[0]: `a` is in `allow` too"), "{told}");
    }
}
