//! Who may use a route: 403 for everyone else.
//!
//! Owns `allow` and `deny` of a route. It stands behind the match: a caller who
//! may not use the route that takes the request gets no other one.

use super::build::Site;
use crate::config::{
    route::{CallersSpec, RouteSpec},
    tenant::TenantIndex,
};

/// Who may use a route.
#[derive(Debug, Default)]
pub struct Access {
    /// These alone; `None` is everyone.
    allow: Option<Box<[TenantIndex]>>,
    deny: Box<[TenantIndex]>,
}

impl Access {
    /// `None` when it cannot be as written; the site hears why.
    pub(super) fn build(spec: &RouteSpec, site: &mut Site<'_>) -> Option<Self> {
        let allow = spec.allow.as_ref().map(|callers| tenants(callers, "allow", site));
        let deny = spec.deny.as_ref().map(|callers| tenants(callers, "deny", site));
        let once = refuse_both(spec, site);
        let allow = match allow {
            Some(allow) => Some(allow?),
            None => None,
        };
        let deny = deny.unwrap_or_else(|| Some(Box::default()))?;
        once.then_some(Self { allow, deny })
    }

    /// Whether a request of this tenant, or of none, gets in.
    pub fn admits(&self, tenant: Option<TenantIndex>) -> bool {
        let is_in = |list: &[TenantIndex]| tenant.is_some_and(|tenant| list.contains(&tenant));
        self.allow.as_deref().is_none_or(is_in) && !is_in(&self.deny)
    }

    /// Who alone gets in; `None` is everyone.
    pub fn allowed(&self) -> Option<&[TenantIndex]> {
        self.allow.as_deref()
    }

    /// Who does not get in.
    pub fn denied(&self) -> &[TenantIndex] {
        &self.deny
    }
}

/// A list that names nobody says two things: with `allow` everyone is refused,
/// and who forgot to fill it in meant everyone.
fn tenants(callers: &CallersSpec, key: &str, site: &mut Site<'_>) -> Option<Box<[TenantIndex]>> {
    if callers.tenants.is_empty() {
        site.error(key, "nobody is named; write at least one of `tenants`, or remove the key");
        return None;
    }
    site.tenants(&callers.tenants, &format!("{key}.tenants"))
}

fn refuse_both(spec: &RouteSpec, site: &mut Site<'_>) -> bool {
    let allowed = spec.allow.as_ref().map(|callers| callers.tenants.as_slice()).unwrap_or_default();
    let denied = spec.deny.iter().flat_map(|callers| callers.tenants.iter().enumerate());
    let mut both = denied.filter(|(_, name)| allowed.contains(name));
    both.next().is_none_or(|(index, name)| {
        let text = format!("`{name}` is in `allow` too; take it out of one");
        site.error(&format!("deny.tenants[{index}]"), text)
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use crate::{
        config::tenant::TenantIndex,
        route::testing::{Request, problems, router},
    };

    const ALPHA: Option<TenantIndex> = Some(TenantIndex(0));
    const BETA: Option<TenantIndex> = Some(TenantIndex(1));

    fn route(access: Value) -> Value {
        let mut route = json!({ "name": "a", "respond": { "status": 200 } });
        route.as_object_mut().unwrap().extend(access.as_object().unwrap().clone());
        json!([route])
    }

    /// Whether alpha, beta and a request of no tenant get in.
    fn admitted(access: Value) -> [bool; 3] {
        let router = router(route(access));
        let found = router.find(&Request::get("h", "/").facts()).unwrap();
        [ALPHA, BETA, None].map(|tenant| found.route.access.admits(tenant))
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
    fn a_list_that_names_nobody_or_a_stranger_is_refused() {
        let told = |access| problems(route(access));

        assert!(told(json!({ "allow": {} })).contains("routes[0].allow: nobody is named"));
        assert!(told(json!({ "deny": { "tenants": [] } })).contains("routes[0].deny: nobody is named"));
        let stranger = told(json!({ "allow": { "tenants": ["alpha", "alphas"] } }));
        assert!(
            stranger.contains("routes[0].allow.tenants[1]: there is no tenant `alphas`; write `alpha`"),
            "{stranger}"
        );
    }

    #[test]
    fn to_allow_and_to_deny_one_tenant_is_refused() {
        let both = json!({ "allow": { "tenants": ["alpha"] }, "deny": { "tenants": ["beta", "alpha"] } });

        let told = problems(route(both));

        assert!(told.contains("routes[0].deny.tenants[1]: `alpha` is in `allow` too"), "{told}");
    }
}
