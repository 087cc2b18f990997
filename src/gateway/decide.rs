//! What becomes of a well-formed request before an endpoint is picked: the order
//! of the questions, and nothing else.
//!
//! Pure but for what it is given as [`Outside`], and allocates nothing: the data path and `tollgate explain` ask the same
//! functions. Each question is answered where its subject is; one that comes new
//! takes its place among the lines of [`decide`]. Does not own the connection's
//! questions (its server name) nor the pick.

use std::net::IpAddr;

use http::{HeaderMap, HeaderValue, header};

use super::rejection::Rejection;
use crate::{
    config::authentication::AuthenticatorIndex,
    identity::{Authenticated, Believed, Consumer, Flaw, Said, Tenancy},
    route::{Action, Caller, Facts, RouteMatch, UpstreamIndex},
    snapshot::Snapshot,
};

/// What was decided.
#[derive(Debug, Default)]
pub struct Decision<'s> {
    /// The route that won; also of a request that it then refuses.
    pub found: Option<RouteMatch<'s>>,
    /// Who asks, where somebody vouched.
    pub consumer: Option<Consumer>,
    /// To whom something was presented that is not good, and what is wrong with it.
    pub flaw: Option<(AuthenticatorIndex, Flaw)>,
    /// Who has to fetch something first. Nothing else was decided: ask again then.
    pub unsettled: Option<AuthenticatorIndex>,
    /// The upstream that the route chose; `None` where it answers itself.
    pub upstream: Option<UpstreamIndex>,
    /// Why it goes no further.
    pub refused: Option<Rejection>,
}

/// What a decision needs that is not the same each time.
pub trait Outside {
    /// What a way of authentication says of the request. Asked once at most for each,
    /// unless it was unsettled.
    fn ask(&mut self, authenticator: AuthenticatorIndex) -> Said;

    /// Whether the limits that hold for a request of this route let it through.
    /// Asked once at most.
    fn limit(&mut self, found: RouteMatch<'_>, facts: &Facts<'_>) -> Result<(), Rejection>;

    /// Any number, each as likely as any other; asked only for a route that forwards.
    fn draw(&mut self) -> u64;
}

/// Decides what becomes of a request. `length` is that of its body, where it is
/// known.
pub fn decide<'s>(
    snapshot: &'s Snapshot,
    facts: &Facts<'_>,
    tenancy: Tenancy,
    length: Option<u64>,
    outside: &mut impl Outside,
) -> Decision<'s> {
    let mut decision = Decision::default();
    // Before any route is looked for: a stranger learns nothing of what there is.
    if snapshot.tenants.refuse(tenancy) {
        decision.refused = Some(Rejection::UnknownEndpoint);
        return decision;
    }
    let Some(found) = snapshot.router.find(facts) else {
        decision.refused = Some(Rejection::NoRoute);
        return decision;
    };
    decision.found = Some(found);
    if !found.route.access.admits(facts.tenant) {
        decision.refused = Some(Rejection::TenantDenied);
        return decision;
    }
    if let Err(why) = authenticate(snapshot, found, outside, &mut decision) {
        decision.refused = Some(why);
        return decision;
    }
    if decision.unsettled.is_some() {
        return decision;
    }
    let consumer = decision.consumer.clone();
    let facts = &with_consumer(*facts, consumer.as_ref());
    if let Err(why) = outside.limit(found, facts) {
        decision.refused = Some(why);
        return decision;
    }
    if let Action::Forward(split) = &found.route.action {
        decision.upstream = Some(split.choose(facts, outside.draw()));
    }
    if length.is_some_and(|length| length > found.route.max_body) {
        decision.refused = Some(Rejection::BodyTooLarge);
    }
    decision
}

/// Asks those who have to vouch for the route's requests.
fn authenticate(
    snapshot: &Snapshot,
    found: RouteMatch<'_>,
    outside: &mut impl Outside,
    decision: &mut Decision<'_>,
) -> Result<(), Rejection> {
    let requirement = snapshot.authentication.of_route(found.route.index);
    match requirement.ask(|index| outside.ask(index)) {
        Authenticated::Anonymous => {}
        Authenticated::As(consumer) => decision.consumer = Some(consumer),
        Authenticated::Unsettled(index) => decision.unsettled = Some(index),
        Authenticated::Refused(flaw) => {
            decision.flaw = flaw;
            return Err(match flaw {
                Some((_, Flaw::Unavailable)) => Rejection::AuthenticationUnavailable,
                _ => Rejection::Unauthenticated,
            });
        }
    }
    Ok(())
}

/// What a request is, once it is known who asks.
fn with_consumer<'a>(facts: Facts<'a>, consumer: Option<&'a Consumer>) -> Facts<'a> {
    let caller = |consumer: &'a Consumer| Caller {
        vouched: consumer.vouched,
        name: &consumer.name,
        scopes: &consumer.scopes,
        claims: consumer.claims.as_deref(),
        limits: consumer.limits.as_deref().unwrap_or_default(),
    };
    let tenant = facts.tenant.or(consumer.and_then(|consumer| consumer.tenant));
    Facts { consumer: consumer.map(caller), tenant, ..facts }
}

/// Who asks, and which fields count that tell where the request came from. It
/// came from `sender` through this VPC endpoint.
///
/// Who comes through a VPC endpoint is never a trusted proxy: the address is of
/// another network, where the same numbers are somebody else's.
pub fn client(
    snapshot: &Snapshot,
    sender: IpAddr,
    vpc_endpoint: Option<&str>,
    headers: &HeaderMap,
) -> (Believed, IpAddr) {
    let sender = sender.to_canonical();
    let believed = match vpc_endpoint {
        None => snapshot.hops.believe(sender),
        Some(_) => Believed::NOTHING,
    };
    (believed, snapshot.hops.client(sender, believed, headers))
}

/// The length of the body, where the header tells it.
pub fn length(headers: &HeaderMap) -> Option<u64> {
    let value: &HeaderValue = headers.get(header::CONTENT_LENGTH)?;
    value.to_str().ok()?.parse().ok()
}
