//! `GET /zones`, `POST /zone/drain`, `POST /zone/restore` and `POST /simulate`:
//! what the operator's socket says of zones, and what it does to them.
//!
//! Owns the spelling of the questions; the answers are `snapshot`'s and
//! `lifecycle`'s. All of them can take a while: nothing of it runs on the socket's thread.

use std::{sync::Arc, time::Instant};

use http::{Response, StatusCode};
use pingora::protocols::http::ServerSession;
use serde::Serialize;

use super::{
    operator::{Operator, json},
    pages::text,
};
use crate::{
    lifecycle::ZoneRefused,
    snapshot::{Question, Snapshot},
    upstream::{EndpointState, Upstream, ZoneView, rounded},
};

/// A zone that the gateway knows.
#[derive(Debug, Serialize)]
#[allow(missing_docs)]
pub struct ZoneStatus {
    pub zone: String,
    /// The gateway's own.
    pub own: bool,
    /// Taken out by an operator.
    pub drained: bool,
    pub upstreams: Vec<ZoneUpstream>,
}

/// What an upstream has in a zone; endpoints of weight 0 do not count.
#[derive(Debug, Serialize)]
#[allow(missing_docs)]
pub struct ZoneUpstream {
    pub upstream: String,
    pub endpoints: usize,
    pub in_service: usize,
    pub unhealthy: usize,
    pub unproven: usize,
    pub unreachable: usize,
    pub ejected: usize,
    pub drained: usize,
    /// Of the upstream's traffic.
    pub share: f64,
}

impl Operator {
    /// Every zone now.
    pub(super) async fn zones(&self, session: &mut ServerSession) -> Response<Vec<u8>> {
        let (snapshot, now) = (self.current.load(), Instant::now());
        match tokio::task::spawn_blocking(move || status(&snapshot, now)).await {
            Ok(zones) => json(session, StatusCode::OK, &zones),
            Err(_) => text(session, StatusCode::INTERNAL_SERVER_ERROR, BROKE),
        }
    }

    /// Takes a zone out, or with `drains` false back in.
    pub(super) async fn change_zone(&self, session: &mut ServerSession, drains: bool) -> Response<Vec<u8>> {
        let query = session.req_header().uri.query().unwrap_or_default().to_owned();
        let Some((zone, force)) = change_asked(&query).filter(|(_, force)| drains || !force) else {
            return text(
                session,
                StatusCode::BAD_REQUEST,
                "write zone=NAME, and force to drain in any case\n",
            );
        };
        let (reloader, now) = (self.reloader.clone(), Instant::now());
        let change = move || match drains {
            true => reloader.drain_zone(&zone, force, now),
            false => reloader.restore_zone(&zone, now),
        };
        match tokio::task::spawn_blocking(change).await {
            Ok(Ok(done)) => json(session, StatusCode::OK, &done),
            Ok(Err(why @ ZoneRefused::Unknown(_))) => {
                text(session, StatusCode::NOT_FOUND, &format!("{why}\n"))
            }
            Ok(Err(why @ ZoneRefused::Elsewhere)) => {
                text(session, StatusCode::SERVICE_UNAVAILABLE, &format!("{why}\n"))
            }
            Ok(Err(ZoneRefused::Overload(change))) => {
                let told = ZoneRefused::Overload(change.clone()).to_string();
                json(session, StatusCode::CONFLICT, &serde_json::json!({ "refused": told, "change": change }))
            }
            Err(_) => text(session, StatusCode::INTERNAL_SERVER_ERROR, BROKE),
        }
    }

    /// What would be; changes nothing.
    pub(super) async fn simulate(&self, session: &mut ServerSession) -> Response<Vec<u8>> {
        let Some(question) = question(session.req_header().uri.query().unwrap_or_default()) else {
            return text(session, StatusCode::BAD_REQUEST, QUESTION);
        };
        let (snapshot, now) = (self.current.load(), Instant::now());
        match tokio::task::spawn_blocking(move || snapshot.simulate(&question, now)).await {
            Ok(Ok(report)) => json(session, StatusCode::OK, &report),
            Ok(Err(why)) => text(session, StatusCode::NOT_FOUND, &format!("{why}\n")),
            Err(_) => text(session, StatusCode::INTERNAL_SERVER_ERROR, BROKE),
        }
    }
}

pub(super) fn status(snapshot: &Snapshot, now: Instant) -> Vec<ZoneStatus> {
    let views = |upstream: &Arc<Upstream>| upstream.zone_views(&upstream.view(now), now);
    let upstreams: Vec<_> = snapshot.upstreams.iter().map(|upstream| (upstream, views(upstream))).collect();
    let of = |zone: &str| ZoneStatus {
        zone: zone.to_owned(),
        own: snapshot.place().zone.as_deref() == Some(zone),
        drained: snapshot.place().is_drained(Some(zone)),
        upstreams: upstreams.iter().filter_map(|(upstream, views)| in_zone(upstream, views, zone)).collect(),
    };
    snapshot.zones().iter().map(|zone| of(zone)).collect()
}

/// `None` where the upstream has no endpoint that counts.
fn in_zone(upstream: &Upstream, views: &[ZoneView], zone: &str) -> Option<ZoneUpstream> {
    let (_, view) = upstream.zones().iter().zip(views).find(|(name, _)| ***name == *zone)?;
    let of = |state| view.count(state);
    let told = ZoneUpstream {
        upstream: upstream.name.to_string(),
        endpoints: EndpointState::ALL
            .into_iter()
            .filter(|state| *state != EndpointState::Never)
            .map(of)
            .sum(),
        in_service: of(EndpointState::InService),
        unhealthy: of(EndpointState::Unhealthy),
        unproven: of(EndpointState::Unproven),
        unreachable: of(EndpointState::Unreachable),
        ejected: of(EndpointState::Ejected),
        drained: of(EndpointState::Drained),
        share: rounded(view.share),
    };
    (told.endpoints > 0).then_some(told)
}

/// `zone=NAME` and `force`, joined by `&`.
fn change_asked(query: &str) -> Option<(String, bool)> {
    let (mut zone, mut force) = (None, false);
    for word in query.split('&').filter(|word| !word.is_empty()) {
        match word.split_once('=') {
            None if word == "force" => force = true,
            Some(("zone", name)) => zone = Some(name.to_owned()),
            _ => return None,
        }
    }
    Some((zone?, force))
}

/// The question that [`Question::query`] wrote.
fn question(query: &str) -> Option<Question> {
    let mut question = Question::default();
    for word in query.split('&').filter(|word| !word.is_empty()) {
        let (key, value) = word.split_once('=')?;
        let name = value.to_owned();
        match key {
            "upstream" => question.upstream = Some(name),
            "zone_down" => question.zones_down.push(name),
            "region_down" => question.regions_down.push(name),
            "endpoint_down" => question.endpoints_down.push(name),
            "zone_drain" => question.zones_drained.push(name),
            "from_zone" => question.from_zone = Some(name),
            "requests" => question.requests = value.parse().ok().filter(|n| *n <= MOST_REQUESTS)?,
            _ => return None,
        }
    }
    Some(question)
}

/// Each takes 0.1 to 0.3 µs for each upstream.
const MOST_REQUESTS: u32 = 1_000_000;
const BROKE: &str = "it broke; see the log\n";
const QUESTION: &str = "write upstream=, zone_down=, region_down=, endpoint_down=, zone_drain=, from_zone= or \
                        requests= (at most 1000000), joined by &\n";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_is_read_as_it_was_written() {
        let asked = Question {
            upstream: Some("orders".into()),
            zones_down: vec!["use1-az1".into(), "use1-az2".into()],
            regions_down: vec!["us-west-2".into()],
            endpoints_down: vec!["[::1]:80".into()],
            zones_drained: vec!["use1-az3".into()],
            from_zone: Some("use1-az2".into()),
            requests: 1000,
        };

        assert_eq!(question(&asked.query()), Some(asked));
        for bad in ["zone", "zone_down", "color=red", "requests=many", "requests=1000001"] {
            assert_eq!(question(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_change_names_its_zone() {
        assert_eq!(change_asked("zone=z1"), Some(("z1".into(), false)));
        assert_eq!(change_asked("zone=z1&force"), Some(("z1".into(), true)));
        assert_eq!(
            (change_asked(""), change_asked("force"), change_asked("zone=z1&all")),
            (None, None, None)
        );
    }
}
