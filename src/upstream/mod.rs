//! Chooses the endpoint of an upstream for one attempt of one request.
//!
//! Owns the draw by weight, the order in which endpoints are tried and what is
//! in flight on each. Does not own connections, retries or the outcome: the
//! caller says what was tried, what time it is, and gives the [`Lease`] back by
//! dropping it. An endpoint of weight 0 is never picked.

pub mod health;
pub mod peer;
mod tried;

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU8, AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use health::Check;
use pingora::upstreams::peer::HttpPeer;
pub use tried::Tried;

use crate::config::upstream::{EndpointSpec, TimeoutsSpec, UpstreamSpec};

/// A named group of endpoints that answer alike.
pub struct Upstream {
    /// Its name in the configuration.
    pub name: Arc<str>,
    /// How long each step may take.
    pub timeouts: Timeouts,
    /// Attempts in all for one request, at least 1.
    pub attempts: u8,
    /// How endpoints are asked whether they can serve; `None` takes all to.
    pub check: Option<Arc<Check>>,
    endpoints: Box<[Endpoint]>,
    /// `cumulative[i]` is the weight of the endpoints up to and with `i`.
    cumulative: Box<[u32]>,
}

impl Upstream {
    /// The upstream at work. `live` hands out what is known of an endpoint,
    /// the same for the same address as long as anyone holds it.
    pub fn new(
        spec: &UpstreamSpec,
        tls: Option<&peer::PeerTls>,
        live: &dyn Fn(SocketAddr) -> Arc<EndpointLive>,
    ) -> Self {
        let timeouts = Timeouts::from(&spec.timeouts);
        let endpoint = |e: &EndpointSpec| Endpoint {
            address: e.address.socket(),
            zone: e.zone.as_ref().map(|zone| zone.as_str().into()),
            live: live(e.address.socket()),
            peer: peer::template(e.address.socket(), spec.protocol, &timeouts, tls),
        };
        let mut total = 0;
        let cumulative = spec.endpoints.iter().map(|e| {
            total += u32::from(e.weight);
            total
        });
        Self {
            name: spec.name.as_str().into(),
            timeouts,
            attempts: spec.retries.attempts.max(1),
            check: Check::new(spec, tls).map(Arc::new),
            cumulative: cumulative.collect(),
            endpoints: spec.endpoints.iter().map(endpoint).collect(),
        }
    }

    /// Picks where the next attempt goes: of two draws by weight, the endpoint
    /// with less in flight. Endpoints in `tried` come only when no other is
    /// left; with `draw` the choice is reproducible.
    ///
    /// `None` means that every endpoint that may be picked was tried.
    pub fn pick(&self, tried: &Tried, draw: u64, _now: Instant) -> Option<Lease> {
        let first = self.draw(draw as u32)?;
        let second = self.draw((draw >> 32) as u32)?;
        let busier = self.in_flight(first) > self.in_flight(second);
        let (best, other) = if busier { (second, first) } else { (first, second) };
        let fresh = |index: &usize| !tried.contains(*index) && self.may_serve(*index);
        let index = [best, other].into_iter().find(fresh).or_else(|| self.untried(best, tried))?;
        let live = self.endpoints.get(index)?.live.clone();
        live.in_flight.fetch_add(1, Ordering::Relaxed);
        Some(Lease { live, index })
    }

    /// The endpoint that a lease stands for.
    pub fn endpoint(&self, lease: &Lease) -> Option<&Endpoint> {
        self.endpoints.get(lease.index)
    }

    /// Every endpoint, in the order of the configuration.
    pub fn endpoints(&self) -> &[Endpoint] {
        &self.endpoints
    }

    fn draw(&self, random: u32) -> Option<usize> {
        let total = *self.cumulative.last().filter(|total| **total > 0)?;
        let point = ((u64::from(random) * u64::from(total)) >> 32) as u32;
        Some(self.cumulative.partition_point(|sum| *sum <= point))
    }

    fn in_flight(&self, index: usize) -> u32 {
        self.endpoints.get(index).map_or(u32::MAX, |e| e.live.in_flight())
    }

    /// The next endpoint after `from` that may be picked and was not tried.
    fn untried(&self, from: usize, tried: &Tried) -> Option<usize> {
        let len = self.endpoints.len();
        let fresh = |i: &usize| self.weight(*i) > 0 && !tried.contains(*i) && self.may_serve(*i);
        (1..len).map(|step| (from + step) % len).find(fresh)
    }

    /// With a health check only who passed it.
    fn may_serve(&self, index: usize) -> bool {
        let passed = || self.endpoints.get(index).is_some_and(|e| e.health() == Health::Healthy);
        self.check.is_none() || passed()
    }

    fn weight(&self, index: usize) -> u32 {
        let below = index.checked_sub(1).and_then(|i| self.cumulative.get(i)).copied().unwrap_or(0);
        self.cumulative.get(index).copied().unwrap_or(0) - below
    }
}

/// One address of an upstream.
pub struct Endpoint {
    /// Where it answers.
    pub address: SocketAddr,
    /// The availability zone's id.
    pub zone: Option<Arc<str>>,
    live: Arc<EndpointLive>,
    peer: HttpPeer,
}

impl Endpoint {
    /// What Pingora connects to, ready but for what this request needs.
    pub fn peer(&self) -> HttpPeer {
        self.peer.clone()
    }

    /// Requests that are on their way to it.
    pub fn in_flight(&self) -> u32 {
        self.live.in_flight()
    }

    /// What probes say; means nothing without a [`Check`].
    pub fn health(&self) -> Health {
        self.live.health()
    }
}

/// What traffic and probes taught about an endpoint; it outlives snapshots.
#[derive(Debug, Default)]
pub struct EndpointLive {
    in_flight: AtomicU32,
    health: AtomicU8,
}

/// What active probes say of an endpoint.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Health {
    /// No probe ended yet, or none is configured.
    Unproven,
    /// The last probes passed.
    Healthy,
    /// The last probes failed.
    Unhealthy,
}

impl Health {
    /// The word in status.
    pub fn word(self) -> &'static str {
        match self {
            Self::Unproven => "unproven",
            Self::Healthy => "healthy",
            Self::Unhealthy => "unhealthy",
        }
    }
}

impl EndpointLive {
    /// Requests that are on their way.
    pub fn in_flight(&self) -> u32 {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// What probes say.
    pub fn health(&self) -> Health {
        match self.health.load(Ordering::Relaxed) {
            1 => Health::Healthy,
            2 => Health::Unhealthy,
            _ => Health::Unproven,
        }
    }

    /// Notes what probes say.
    pub fn set_health(&self, health: Health) {
        self.health.store(health as u8, Ordering::Relaxed);
    }
}

/// One attempt towards one endpoint; dropping it, in whatever way the request
/// ends, takes it off what is in flight.
pub struct Lease {
    live: Arc<EndpointLive>,
    index: usize,
}

impl Lease {
    /// The endpoint's place in the upstream, for [`Tried`].
    pub fn index(&self) -> usize {
        self.index
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.live.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

/// How long each step towards an upstream may take.
#[derive(Clone, Copy, Debug)]
pub struct Timeouts {
    /// TCP, and again TLS.
    pub connect: Duration,
    /// The longest silence of the endpoint.
    pub read: Duration,
    /// The longest silence on a stream.
    pub stream_idle: Duration,
    /// The longest that the endpoint may not take what is sent.
    pub write: Duration,
    /// Up to the response's header.
    pub request: Duration,
    /// How long an unused connection is kept.
    pub idle: Duration,
}

impl From<&TimeoutsSpec> for Timeouts {
    fn from(spec: &TimeoutsSpec) -> Self {
        Self {
            connect: spec.connect.duration(),
            read: spec.read.duration(),
            stream_idle: spec.stream_idle.duration(),
            write: spec.write.duration(),
            request: spec.request.duration(),
            idle: spec.idle.duration(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn upstream(weights: &[u16]) -> Upstream {
        let endpoints = weights.iter().enumerate().map(|(i, weight)| {
            serde_json::json!({ "address": format!("127.0.0.1:{}", 1000 + i), "weight": weight })
        });
        let spec = serde_json::json!({ "name": "u", "endpoints": endpoints.collect::<Vec<_>>() });
        let spec = serde_json::from_value(spec).unwrap();
        Upstream::new(&spec, None, &|_| Arc::default())
    }

    fn picks(upstream: &Upstream, tried: &Tried) -> Vec<usize> {
        let mut random = fastrand::Rng::with_seed(7);
        let now = Instant::now();
        (0..100_000).filter_map(|_| upstream.pick(tried, random.u64(..), now)).map(|l| l.index()).collect()
    }

    #[test]
    fn the_weights_share_the_traffic() {
        let upstream = upstream(&[3, 1]);

        let first = picks(&upstream, &Tried::default()).iter().filter(|i| **i == 0).count();

        assert!((74_000..76_000).contains(&first), "{first}");
    }

    #[test]
    fn weight_zero_is_never_picked_even_when_all_others_were_tried() {
        let upstream = upstream(&[0, 1, 0]);
        let mut tried = Tried::default();

        assert!(picks(&upstream, &tried).iter().all(|i| *i == 1));
        tried.insert(1);
        assert!(picks(&upstream, &tried).is_empty());
    }

    #[test]
    fn a_tried_endpoint_gives_way_to_the_others() {
        let upstream = upstream(&[1, 1, 1]);
        let mut tried = Tried::default();
        tried.insert(0);
        tried.insert(2);

        assert!(picks(&upstream, &tried).iter().all(|i| *i == 1));
    }

    #[test]
    fn the_less_busy_of_two_draws_is_picked() {
        let upstream = upstream(&[1, 1]);
        let now = Instant::now();
        let busy: Vec<_> = (0..100).filter_map(|_| upstream.pick(&Tried::default(), 0, now)).collect();

        let next = upstream.pick(&Tried::default(), 0xffff_ffff, now).unwrap();

        assert_eq!((busy.len(), next.index()), (100, 1));
    }

    #[test]
    fn a_dropped_lease_is_no_longer_in_flight() {
        let upstream = upstream(&[1]);
        let lease = upstream.pick(&Tried::default(), 0, Instant::now());
        assert_eq!(upstream.endpoints()[0].in_flight(), 1);

        drop(lease);

        assert_eq!(upstream.endpoints()[0].in_flight(), 0);
    }
}
