//! What becomes of a well-formed request before an endpoint is picked: the order
//! of the questions, and nothing else.
//!
//! Pure but for what it is given as [`Outside`], and allocates nothing: the data path and `tollgate explain` ask the same
//! functions. Each question is answered where its subject is; one that comes new
//! takes its place among the lines of [`decide`]. Does not own the connection's
//! questions (its server name) nor the pick.

use std::net::IpAddr;

use http::{HeaderMap, HeaderValue, Method, header};

use super::{limits::Which, rejection::Rejection};
use crate::{
    config::authentication::AuthenticatorIndex,
    identity::{Authenticated, Believed, Consumer, Flaw, Said, Tenancy},
    route::{Action, Caller, Facts, RouteMatch, Rule, UpstreamIndex, preflight_method},
    snapshot::Snapshot,
};

/// What was decided.
#[derive(Debug, Default)]
pub struct Decision<'s> {
    /// The route that won; also of a request that it then refuses.
    pub found: Option<RouteMatch<'s>>,
    /// The place of the route that was asked first who asks: the one that won, or
    /// everyone's.
    pub first: Option<usize>,
    /// The method for which a web page's browser asks if it may; the route's policy says.
    pub preflight: Option<Method>,
    /// The route was looked for as if it were known who asks: nobody was asked before it.
    pub whoever: bool,
    /// Who asks, where somebody vouched.
    pub consumer: Option<Consumer>,
    /// Who asked, as the first route was told, where the look-up with them let them in
    /// nowhere: they count for nothing then, but it was made with them.
    pub turned_away: Option<Consumer>,
    /// To whom something was presented that is not good, and what is wrong with it.
    pub flaw: Option<(AuthenticatorIndex, Flaw)>,
    /// Which rule of the route refuses who asks.
    pub rule: Option<Rule>,
    /// Who has to fetch something first. Nothing further was decided: ask again then.
    pub unsettled: Option<AuthenticatorIndex>,
    /// The upstream that the route chose; `None` where it answers itself.
    pub upstream: Option<UpstreamIndex>,
    /// Why it goes no further.
    pub refused: Option<Rejection>,
}

impl Decision<'_> {
    /// What a request is, as the route was looked for that was found, or was not, in the
    /// end: for whoever tells why. `facts` are those that were decided about.
    pub fn facts<'a>(&'a self, facts: Facts<'a>) -> Facts<'a> {
        let known = self.consumer.as_ref().or(self.turned_away.as_ref());
        let method = self.preflight.as_ref().unwrap_or(facts.method);
        Facts { method, whoever: self.whoever, ..with_consumer(facts, known) }
    }
}

/// What a decision needs that is not the same each time.
pub trait Outside {
    /// What a way of authentication says of the request.
    fn ask(&mut self, authenticator: AuthenticatorIndex) -> Said;

    /// Whether these limits of a route let the request through. Which were asked once
    /// are not asked again.
    fn limit(&mut self, found: RouteMatch<'_>, facts: &Facts<'_>, which: Which) -> Result<(), Rejection>;

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
    let mut asked = Asked { snapshot, outside, decision: &mut decision };
    let admitted = match asked.preflight(facts) {
        Some(found) => asked.before(found, facts, true),
        None => asked.admit(facts, length),
    };
    decision.refused = admitted.err();
    decision
}

/// A request on its way through the questions.
struct Asked<'s, 'd, O> {
    snapshot: &'s Snapshot,
    outside: &'d mut O,
    decision: &'d mut Decision<'s>,
}

impl<'s, O: Outside> Asked<'s, '_, O> {
    /// The route that a preflight is for: the one that takes the request that the page
    /// means to send. `None` where it has no policy; then `OPTIONS` is like any method.
    fn preflight(&mut self, facts: &Facts<'_>) -> Option<RouteMatch<'s>> {
        let method = preflight_method(facts.method, facts.headers)?;
        let (found, whoever) = self.find(&Facts { method: &method, ..*facts })?;
        found.route.cors.as_ref()?;
        self.decision.preflight = Some(method);
        self.decision.whoever = whoever;
        Some(found)
    }

    /// The route that takes a request of which it is not known who asks: the one for
    /// everyone, or else one for some consumers (and then true), which says how they are
    /// known.
    fn find(&self, facts: &Facts<'_>) -> Option<(RouteMatch<'s>, bool)> {
        let router = &self.snapshot.router;
        if let Some(found) = router.find(facts) {
            return Some((found, false));
        }
        let whoever = || router.find(&Facts { whoever: true, ..*facts });
        router.asks_for_consumers().then(whoever).flatten().map(|found| (found, true))
    }

    fn admit(&mut self, facts: &Facts<'_>, length: Option<u64>) -> Result<(), Rejection> {
        let (first, whoever) = self.find(facts).ok_or(Rejection::NoRoute)?;
        self.decision.first = Some(first.route.index);
        self.decision.whoever = whoever;
        let known = self.enter(first, facts)?;
        if self.decision.unsettled.is_some() {
            return Ok(());
        }
        let settled = self.settle(first, &with_consumer(*facts, known.as_ref()));
        let (found, again) = match settled {
            Ok(settled) => settled,
            Err(why) => {
                self.decision.turned_away = known;
                return Err(why);
            }
        };
        if self.decision.unsettled.is_some() {
            return Ok(());
        }
        let consumer = known_as(known, again);
        let facts = &with_consumer(*facts, consumer.as_ref());
        self.decision.consumer.clone_from(&consumer);
        self.decision.rule = found.route.access.refuses(facts);
        if self.decision.rule.is_some() {
            return Err(Rejection::Forbidden);
        }
        let which = if self.asks(found) || self.asks(first) { Which::Rest } else { Which::All };
        self.outside.limit(found, facts, which)?;
        if let Action::Forward(split) = &found.route.action {
            self.decision.upstream = Some(split.choose(facts, self.outside.draw()));
        }
        match length.is_some_and(|length| length > found.route.max_body) {
            true => Err(Rejection::BodyTooLarge),
            false => Ok(()),
        }
    }

    /// What a route asks before it is known who asks, and then who that is.
    fn enter(&mut self, found: RouteMatch<'s>, facts: &Facts<'_>) -> Result<Option<Consumer>, Rejection> {
        self.before(found, facts, self.asks(found))?;
        self.authenticate(found)
    }

    /// What a route asks of a request of which it is not known who asks, or, `by_address`,
    /// never will be: so that guessing has its price, and strangers use up nothing of
    /// others'.
    fn before(
        &mut self,
        found: RouteMatch<'s>,
        facts: &Facts<'_>,
        by_address: bool,
    ) -> Result<(), Rejection> {
        self.decision.found = Some(found);
        self.decision.rule = found.route.access.refuses_before(facts, self.asks(found));
        if self.decision.rule.is_some() {
            return Err(Rejection::Forbidden);
        }
        match by_address {
            true => self.outside.limit(found, facts, Which::BeforeAuthentication),
            false => Ok(()),
        }
    }

    /// The route of a request, once it is known who asks: another one where routes are
    /// for some consumers, or for tenants whom a key is of. With it what that one's own
    /// ways of authentication say of who asks, where it is asked for any.
    fn settle(
        &mut self,
        first: RouteMatch<'s>,
        facts: &Facts<'_>,
    ) -> Result<(RouteMatch<'s>, Option<Consumer>), Rejection> {
        if !self.snapshot.router.asks_for_consumers() && facts.consumer.is_none() {
            return Ok((first, None));
        }
        let found = self.snapshot.router.find(facts);
        self.decision.whoever = false;
        let found = found.ok_or(Rejection::NoRoute).inspect_err(|_| self.decision.found = None)?;
        if found.route.index == first.route.index {
            return Ok((found, None));
        }
        // What the other one asks for has to hold too, and of the same caller.
        let known = facts.consumer.map(|consumer| (consumer.vouched, consumer.name));
        let Some(again) = self.enter(found, facts)? else { return Ok((found, None)) };
        match Some((again.vouched, &*again.name)) == known {
            true => Ok((found, Some(again))),
            false => Err(Rejection::Unauthenticated),
        }
    }

    fn asks(&self, found: RouteMatch<'_>) -> bool {
        !self.snapshot.authentication.of_route(found.route.index).authenticators().is_empty()
    }

    /// Asks those who have to vouch for the route's requests.
    fn authenticate(&mut self, found: RouteMatch<'_>) -> Result<Option<Consumer>, Rejection> {
        let requirement = self.snapshot.authentication.of_route(found.route.index);
        match requirement.ask(|index| self.outside.ask(index)) {
            Authenticated::Anonymous => Ok(None),
            Authenticated::As(consumer) => Ok(Some(consumer)),
            Authenticated::Unsettled(index) => {
                self.decision.unsettled = Some(index);
                Ok(None)
            }
            Authenticated::Refused(flaw) => {
                self.decision.flaw = flaw;
                Err(match flaw {
                    Some((_, Flaw::Unavailable)) => Rejection::AuthenticationUnavailable,
                    // It is known who asks; it is not for them.
                    Some((_, Flaw::Scope)) => Rejection::Forbidden,
                    _ => Rejection::Unauthenticated,
                })
            }
        }
    }
}

/// Who asks, by what the route that counts was told, and by the one before it where that
/// knew more.
fn known_as(known: Option<Consumer>, again: Option<Consumer>) -> Option<Consumer> {
    let Some(mut again) = again else { return known };
    if let Some(known) = known {
        again.learn(known);
    }
    Some(again)
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
