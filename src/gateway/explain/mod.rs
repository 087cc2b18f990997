//! Says what the gateway would do with a request, and why.
//!
//! Puts nothing in motion: no connection, no place at an endpoint, nothing counted.
//! Decides nothing either: the gate, [`decide()`], the split and the tables of the
//! upstreams are asked as the data path asks them, in its order, and what they say
//! is told. A question that comes new to `decide` gets its section in
//! [`Explanation`] here.
//!
//! Knows no connection: the server name is taken to be the host's, and the request
//! to come by HTTP/1.1.

mod answer;
mod limits;
mod question;
mod routes;
mod signing;
mod upstreams;

use std::{
    net::{IpAddr, Ipv4Addr},
    time::{Instant, SystemTime},
};

use http::HeaderMap;

pub use answer::{
    AccessTold, ActionTold, AuthenticationTold, EndpointTold, Explanation, ForwardTold, HashTold, LimitTold,
    LoserTold, OverrideTold, PrincipalTold, RefusalTold, RequestTold, RetriesTold, RouteTold, RoutingTold,
    ShareTold, StickyTold, TierTold, UpstreamTold, Verdict,
};
use limits::Looks;
pub use question::Question;

use super::{
    authenticate::Presented,
    decide::{self, Decision, decide},
    limits::Limited,
    rejection::Rejection,
};
use crate::{
    config::authentication::AuthenticatorIndex,
    config::types::{Invalid, VpcEndpointId},
    gate::Refusal,
    identity::{Principal, Requirement},
    route::{Action, Facts, Part, Redirect, Respond, Route, Rule, Split, UpstreamIndex, path},
    snapshot::Snapshot,
    upstream::rounded,
};

/// What `snapshot` would do with a request now. It fails where no client could
/// send what is asked; what the gate refuses is told.
pub fn explain(snapshot: &Snapshot, question: &Question, now: Instant) -> Result<Explanation, Invalid> {
    question.check()?;
    let behind = question.vpc_endpoint.as_ref().map(VpcEndpointId::as_str);
    let sender = question.from.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST));
    let sent = question.header().map(|request| request.headers.clone()).unwrap_or_default();
    let (_, address) = decide::client(snapshot, sender, behind, &sent);
    let who = Principal {
        tenancy: snapshot.tenants.of(behind),
        vpc_endpoint: behind,
        address,
        consumer: None,
        certificate: None,
    };
    let principal = principal(snapshot, who, sender);
    let (request, host_len) = match question.through(&snapshot.gate) {
        Ok(admitted) => admitted,
        Err(refusal) => return Ok(malformed(snapshot, question, principal, refusal)),
    };
    let path = request.uri.path();
    let seen = path::matched(path);
    let facts = Facts {
        host: text(&request.headers).get(..host_len).unwrap_or_default(),
        path: &seen,
        query: request.uri.query(),
        method: &request.method,
        headers: &request.headers,
        client: address,
        vpc_endpoint: behind,
        tenant: who.tenancy.tenant(),
        consumer: None,
        whoever: false,
    };
    let has_tls = snapshot.config().listeners.iter().any(|listener| listener.spec.tls.is_some());
    let asked = Asked { snapshot, path, facts, who, secure: has_tls && !question.cleartext, now };
    Ok(asked.explain(question, principal))
}

/// A request that the gate let in, and what it is asked of.
#[derive(Clone, Copy)]
struct Asked<'a> {
    snapshot: &'a Snapshot,
    /// As it is logged and goes on.
    path: &'a str,
    facts: Facts<'a>,
    who: Principal<'a>,
    secure: bool,
    now: Instant,
}

impl Asked<'_> {
    fn explain(&self, question: &Question, mut principal: PrincipalTold) -> Explanation {
        let length = decide::length(self.facts.headers);
        let now = self.snapshot.rate_limits.clock.at(self.now);
        let presented = Presented {
            headers: self.facts.headers,
            certificate: None,
            tenancy: self.who.tenancy,
            now: SystemTime::now(),
            // Nothing is fetched for it.
            settled: (0..self.snapshot.config().authentication.len()).map(AuthenticatorIndex).collect(),
        };
        let mut looks = Looks {
            snapshot: self.snapshot,
            presented,
            assumed: question.assumed(),
            now,
            limited: Limited::default(),
            told: Vec::new(),
            refuses: None,
        };
        let decision = decide(self.snapshot, &self.facts, self.who.tenancy, length, &mut looks);
        let by_limit = looks.refuses.as_deref();
        let looked = decision.refused != Some(Rejection::UnknownEndpoint);
        let route = decision.found.map(|found| &**found.route);
        let used = route.filter(|_| decision.rule.is_none());
        let settled = self.settled(&decision);
        principal.tenant = principal.tenant.or_else(|| settled.tenant());
        let (action, upstreams) = match used {
            Some(route) => settled.action(route, decision.refused.is_none()),
            None => (None, Vec::new()),
        };
        Explanation {
            generation: self.snapshot.generation,
            zone: zone(self.snapshot),
            request: self.request(question, length),
            principal,
            routing: looked.then(|| routes::told(self.snapshot, decision.found, &settled.facts)),
            access: route.map(|route| self.access(route, &decision)),
            authentication: route.and_then(|route| self.authentication(route, &decision)),
            max_body: used.map(|route| route.max_body),
            verdict: settled.verdict(&decision, by_limit, action.as_ref(), &upstreams),
            limits: looks.told,
            action,
            upstreams,
            notes: Vec::new(),
        }
    }

    /// The same, once it is known who asks.
    fn settled<'d>(&'d self, decision: &'d Decision<'_>) -> Asked<'d> {
        let who = Principal { consumer: decision.consumer.as_ref(), ..self.who };
        Asked { facts: decision.facts(self.facts), who, ..*self }
    }

    /// Whose the request is: by the VPC endpoint, or else by the key.
    fn tenant(&self) -> Option<String> {
        self.who.tenant().and_then(|tenant| self.snapshot.tenants.name(tenant)).map(str::to_owned)
    }

    fn request(&self, question: &Question, body_bytes: Option<u64>) -> RequestTold {
        let written = question.path.split_once('?').map_or(&*question.path, |(path, _)| path);
        RequestTold {
            method: self.facts.method.to_string(),
            host: self.facts.host.to_owned(),
            path: self.path.to_owned(),
            query: self.facts.query.map(str::to_owned),
            written_path: (written != self.path).then(|| written.to_owned()),
            seen_path: (self.facts.path != self.path).then(|| self.facts.path.to_owned()),
            body_bytes,
        }
    }

    fn access(&self, route: &Route, decision: &Decision<'_>) -> AccessTold {
        AccessTold {
            allow: route.access.allowed().map(|allowed| routes::callers(self.snapshot, allowed)),
            deny: route
                .access
                .denied()
                .map(|denied| routes::callers(self.snapshot, denied))
                .unwrap_or_default(),
            admits: decision.rule.is_none(),
            rule: decision.rule.map(|rule| rule.word().to_owned()),
        }
    }

    /// Who has to vouch; absent where nobody is asked.
    fn authentication(&self, route: &Route, decision: &Decision<'_>) -> Option<AuthenticationTold> {
        let requirement = self.snapshot.authentication.of_route(route.index);
        let name = |index| self.snapshot.authentication.get(index).map(|one| one.name.to_string());
        let (how, of) = match requirement {
            Requirement::Nobody => return None,
            Requirement::Any { of, anonymous: false } => ("any", of),
            Requirement::Any { of, anonymous: true } => ("any, or nobody", of),
            Requirement::All(of) => ("all", of),
        };
        Some(AuthenticationTold {
            needs: how.to_owned(),
            of: of.iter().filter_map(|index| name(*index)).collect(),
            vouched: decision.consumer.as_ref().and_then(|consumer| name(consumer.vouched)),
            consumer: decision.consumer.as_ref().map(|consumer| consumer.name.to_string()),
            flaw: decision.flaw.map(|(_, flaw)| flaw.word().to_owned()),
        })
    }

    fn action(&self, route: &Route, goes_on: bool) -> (Option<ActionTold>, Vec<UpstreamTold>) {
        match &route.action {
            Action::Redirect(to) => (Some(self.redirect(to)), Vec::new()),
            Action::Respond(with) => (Some(respond(with)), Vec::new()),
            Action::KeySet => (Some(ActionTold::KeySet), Vec::new()),
            Action::Forward(split) => {
                let (told, chances) = self.forward(route, split);
                let chances = chances.into_iter().filter(|_| goes_on);
                let upstreams = chances.filter_map(|(index, share)| {
                    let upstream = self.snapshot.upstreams.get(index.0)?;
                    Some(upstreams::told(self, route, upstream, share))
                });
                (Some(ActionTold::Forward(told)), upstreams.collect())
            }
        }
    }

    fn redirect(&self, to: &Redirect) -> ActionTold {
        // As the reply does it: without the port.
        let location = to.location(self.secure, self.facts.host, self.path, self.facts.query);
        ActionTold::Redirect {
            status: to.status.as_u16(),
            location: String::from_utf8_lossy(location.as_bytes()).into_owned(),
        }
    }

    /// How it is forwarded, and the upstreams that it can be sent to.
    fn forward(&self, route: &Route, split: &Split) -> (ForwardTold, Vec<(UpstreamIndex, f64)>) {
        let choice = split.explain(&self.facts);
        let name = |index: UpstreamIndex| {
            self.snapshot.upstreams.get(index.0).map(|upstream| upstream.name.to_string()).unwrap_or_default()
        };
        let total = choice.weights.iter().map(|(_, weight)| weight).sum::<u64>() as f64;
        let part = |weight: u64| weight as f64 / total;
        let rewrite = route.rewrite.as_ref();
        let path = rewrite.map_or(Ok(self.path.into()), |rewrite| rewrite.path(self.path));
        let host = rewrite.and_then(|rewrite| rewrite.host.as_ref()).and_then(|host| host.to_str().ok());
        let shares = choice.weights.iter().map(|(index, weight)| ShareTold {
            upstream: name(*index),
            weight: *weight,
            share: rounded(part(*weight)),
        });
        let overrides = choice.overrides.into_iter();
        let told = ForwardTold {
            split: shares.collect(),
            overrides: overrides
                .map(|(by, index, applies)| OverrideTold { by, upstream: name(index), applies })
                .collect(),
            sticky: choice.sticky.map(|(by, has_key)| StickyTold { by, has_key }),
            path: path.ok().map(std::borrow::Cow::into_owned),
            host: host.unwrap_or(text(self.facts.headers)).to_owned(),
            signed: signing::told(self.snapshot, route),
        };
        let drawn = choice.weights.iter().map(|(index, weight)| (*index, part(*weight)));
        let chances = choice.decided.map_or_else(|| drawn.collect(), |decided| vec![(decided, 1.0)]);
        (told, chances)
    }

    fn verdict(
        &self,
        decision: &Decision<'_>,
        by_limit: Option<&str>,
        action: Option<&ActionTold>,
        upstreams: &[UpstreamTold],
    ) -> Verdict {
        if let Some(why) = decision.refused {
            let of = by_limit.map(|limit| format!("by limit {limit}: {}", why.detail()));
            return refused(why, of.unwrap_or_else(|| self.reason(why, decision)));
        }
        if decision.preflight.is_some() {
            return answered(204, "by the route's `cors`, before anybody is authenticated".to_owned());
        }
        match action {
            Some(ActionTold::Redirect { status, location }) => answered(*status, format!("to {location}")),
            Some(ActionTold::Respond { status, .. }) => answered(*status, "by the route".to_owned()),
            Some(ActionTold::KeySet) => answered(200, "with the public keys of every signer".to_owned()),
            Some(ActionTold::Forward(told)) => forwarded(told, upstreams),
            None => refused(Rejection::Internal, Rejection::Internal.detail().to_owned()),
        }
    }

    fn reason(&self, why: Rejection, decision: &Decision<'_>) -> String {
        let name = decision.found.map(|found| &*found.route.name).unwrap_or_default();
        match why {
            Rejection::UnknownEndpoint => {
                "the VPC endpoint is of no tenant, and `privatelink.unknown_endpoint` refuses such".to_owned()
            }
            Rejection::NoRoute => "no route takes it".to_owned(),
            Rejection::Forbidden => {
                let whom = self
                    .tenant()
                    .map_or("a request of no tenant".to_owned(), |name| format!("tenant {name}"));
                match decision.rule {
                    Some(Rule::Allow(Part::Tenants) | Rule::Deny(Part::Tenants)) | None => {
                        format!("route {name} does not let in {whom}")
                    }
                    Some(rule) => format!("`{}` of route {name} refuses it", rule.word()),
                }
            }
            Rejection::Unauthenticated => match decision.flaw {
                Some((_, flaw)) => format!("what it presents to route {name} is not good: {}", flaw.word()),
                None => format!("it presents nothing to those who vouch for callers of route {name}"),
            },
            Rejection::BodyTooLarge => format!("the body is larger than `max_body` of route {name}"),
            other => other.detail().to_owned(),
        }
    }
}

fn malformed(
    snapshot: &Snapshot,
    question: &Question,
    principal: PrincipalTold,
    refusal: Refusal,
) -> Explanation {
    let (path, query) = question.path.split_once('?').unzip();
    Explanation {
        generation: snapshot.generation,
        zone: zone(snapshot),
        request: RequestTold {
            method: question.method.clone(),
            host: question.host.clone(),
            path: path.unwrap_or(&question.path).to_owned(),
            query: query.map(str::to_owned),
            written_path: None,
            seen_path: None,
            body_bytes: None,
        },
        principal,
        routing: None,
        access: None,
        authentication: None,
        limits: Vec::new(),
        max_body: None,
        action: None,
        upstreams: Vec::new(),
        notes: Vec::new(),
        verdict: refused(Rejection::Malformed(refusal), refusal.reason().to_owned()),
    }
}

fn zone(snapshot: &Snapshot) -> Option<String> {
    snapshot.place().zone.as_deref().map(str::to_owned)
}

fn principal(snapshot: &Snapshot, who: Principal<'_>, sender: IpAddr) -> PrincipalTold {
    let tenant = who.tenancy.tenant().and_then(|tenant| snapshot.tenants.name(tenant));
    let sender = Some(sender.to_canonical()).filter(|sender| *sender != who.address);
    PrincipalTold {
        address: who.address.to_string(),
        sender: sender.map(|sender| sender.to_string()),
        vpc_endpoint: who.vpc_endpoint.map(str::to_owned),
        tenant: tenant.map(str::to_owned),
    }
}

fn respond(with: &Respond) -> ActionTold {
    ActionTold::Respond {
        status: with.status.as_u16(),
        body_bytes: with.body.len(),
        content_type: String::from_utf8_lossy(with.content_type.as_bytes()).into_owned(),
    }
}

fn refused(why: Rejection, text: String) -> Verdict {
    let told = upstreams::refusal(why);
    let (status, flag) = told.map(|told| (told.status, told.flag)).unzip();
    Verdict { status, flag, upstreams: Vec::new(), text }
}

fn answered(status: u16, text: String) -> Verdict {
    Verdict { status: Some(status), flag: None, upstreams: Vec::new(), text }
}

fn forwarded(told: &ForwardTold, upstreams: &[UpstreamTold]) -> Verdict {
    let names = |list: Vec<&UpstreamTold>| list.iter().map(|u| u.name.clone()).collect::<Vec<_>>();
    let (down, up): (Vec<_>, Vec<_>) = upstreams.iter().partition(|upstream| upstream.refuses.is_some());
    if let (true, Some(why)) = (up.is_empty(), down.first().and_then(|first| first.refuses.clone())) {
        let text = format!("no endpoint of upstream {} takes it", names(down).join(" or "));
        return Verdict { status: Some(why.status), flag: Some(why.flag), upstreams: Vec::new(), text };
    }
    if told.path.is_none() {
        // What `upstream_request_filter` finds.
        let text = "the rewrite makes no path of it".to_owned();
        return refused(Rejection::Malformed(Refusal::Path), text);
    }
    let full = names(up.iter().copied().filter(|upstream| upstream.waits_ms.is_some()).collect());
    let (up, down) = (names(up), names(down));
    let but =
        if down.is_empty() { String::new() } else { format!(", 503 where {} is drawn", down.join(", ")) };
    let once = if full.is_empty() { String::new() } else { format!(", once {} has room", full.join(", ")) };
    let text = format!("forwarded to upstream {}{once}{but}", up.join(" or "));
    Verdict { status: None, flag: None, upstreams: up, text }
}

/// The `Host` of a request that was admitted.
fn text(headers: &HeaderMap) -> &str {
    headers.get(http::header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default()
}
