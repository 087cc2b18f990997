//! Asks every upstream of a snapshot what would be if something failed.
//!
//! Owns what a question may name and from where it looks; the answers are the
//! upstreams' own. A name that nothing has is refused, never ignored.

use std::{collections::BTreeSet, net::SocketAddr, sync::Arc, time::Instant};

use serde::{Deserialize, Serialize};

use super::Snapshot;
use crate::{
    config::{Unknown, upstream::UpstreamSpec},
    upstream::{Place, Seen, Simulation, Upstream, WhatIf},
};

/// What is asked.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Question {
    /// One upstream alone.
    pub upstream: Option<String>,
    /// Zones whose endpoints all fail.
    pub zones_down: Vec<String>,
    /// Regions whose endpoints all fail.
    pub regions_down: Vec<String>,
    /// Endpoints that fail, as `10.0.1.10:8080`.
    pub endpoints_down: Vec<String>,
    /// Zones that an operator takes out.
    pub zones_drained: Vec<String>,
    /// Looks from there instead of from the gateway's own zone.
    pub from_zone: Option<String>,
    /// How many requests are drawn.
    pub requests: u32,
}

impl Question {
    /// The question as the query of a request to the operator's socket.
    pub fn query(&self) -> String {
        let one = |key: &str, value: &String| format!("&{key}={value}");
        let each = |key: &str, list: &[String]| list.iter().map(|value| one(key, value)).collect::<String>();
        let parts = [
            self.upstream.iter().map(|name| one("upstream", name)).collect(),
            each("zone_down", &self.zones_down),
            each("region_down", &self.regions_down),
            each("endpoint_down", &self.endpoints_down),
            each("zone_drain", &self.zones_drained),
            self.from_zone.iter().map(|zone| one("from_zone", zone)).collect(),
        ];
        format!("requests={}{}", self.requests, parts.concat())
    }
}

/// What would be.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Report {
    /// The zone from which it is looked at, if one is known.
    pub zone: Option<String>,
    /// How many requests were drawn.
    pub requests: u32,
    /// In the order of the configuration.
    pub upstreams: Vec<Simulation>,
}

impl Snapshot {
    /// What would be. Nothing changes, and nobody is told.
    pub fn simulate(&self, question: &Question, now: Instant) -> Result<Report, Unknown> {
        let what_if = self.check(question)?;
        let place = match &question.from_zone {
            Some(zone) => self.seen_from(zone),
            None => self.place().clone(),
        };
        let asked =
            |upstream: &Upstream| question.upstream.as_deref().is_none_or(|name| name == &*upstream.name);
        let one = |(spec, upstream): (_, &Arc<Upstream>)| {
            let seen = Seen { spec, upstream, home: self.place(), place: &place };
            seen.simulate(&what_if, question.requests, now)
        };
        Ok(Report {
            zone: place.zone.as_deref().map(str::to_owned),
            requests: question.requests,
            upstreams: self.with_specs().filter(|(_, upstream)| asked(upstream)).map(one).collect(),
        })
    }

    /// Every zone of an endpoint, and those that were taken out, by name.
    pub fn zones(&self) -> BTreeSet<Arc<str>> {
        let endpoints = self.upstreams.iter().flat_map(|upstream| upstream.endpoints());
        endpoints.filter_map(|e| e.zone.clone()).chain(self.place.drained.iter().cloned()).collect()
    }

    /// Upstreams and what they were built from.
    pub fn with_specs(&self) -> impl Iterator<Item = (&UpstreamSpec, &Arc<Upstream>)> {
        self.config().upstreams.iter().map(|upstream| &*upstream.spec).zip(&self.upstreams)
    }

    fn check(&self, question: &Question) -> Result<WhatIf, Unknown> {
        let endpoints = || self.upstreams.iter().flat_map(|upstream| upstream.endpoints());
        let zones = self.zones();
        let regions: BTreeSet<Arc<str>> =
            endpoints().filter_map(|e| e.region.clone()).chain(self.place.region.clone()).collect();
        let addresses: Vec<String> = endpoints().map(|endpoint| endpoint.address.to_string()).collect();
        let gateways = self.place.zone.iter().chain(self.place.gateways.iter().map(|(zone, _)| zone));
        if let Some(zone) = &question.from_zone {
            Unknown::check("zone", zone, zones.iter().chain(gateways).map(|zone| &**zone))?;
        }
        if let Some(name) = &question.upstream {
            Unknown::check("upstream", name, self.upstreams.iter().map(|upstream| &*upstream.name))?;
        }
        let address = |text: &String| -> Result<SocketAddr, Unknown> {
            Unknown::check("endpoint", text, addresses.iter().map(String::as_str))?;
            let found = endpoints().find(|endpoint| endpoint.address.to_string() == *text);
            found.map(|e| e.address).ok_or_else(|| Unknown {
                what: "endpoint",
                given: text.clone(),
                known: Vec::new(),
            })
        };
        Ok(WhatIf {
            zones_down: names("zone", &question.zones_down, &zones)?,
            regions_down: names("region", &question.regions_down, &regions)?,
            endpoints_down: question.endpoints_down.iter().map(address).collect::<Result<_, _>>()?,
            zones_drained: names("zone", &question.zones_drained, &zones)?,
        })
    }

    /// The place of a gateway in that zone: in the region of its endpoints.
    fn seen_from(&self, zone: &str) -> Place {
        let mut endpoints = self.upstreams.iter().flat_map(|upstream| upstream.endpoints());
        let there = endpoints.find(|endpoint| endpoint.zone.as_deref() == Some(zone));
        let region = there.and_then(|endpoint| endpoint.region.clone());
        let region = region.or_else(|| self.place.region.clone());
        Place { zone: Some(zone.into()), region, ..self.place.clone() }
    }
}

fn names(what: &'static str, given: &[String], known: &BTreeSet<Arc<str>>) -> Result<Vec<Arc<str>>, Unknown> {
    let check = |name: &String| {
        Unknown::check(what, name, known.iter().map(|known| &**known))?;
        Ok(Arc::from(name.as_str()))
    };
    given.iter().map(check).collect()
}
