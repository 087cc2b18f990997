//! One address of an upstream, and the hold that a request has on it.

use std::{
    net::SocketAddr,
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use pingora::upstreams::peer::HttpPeer;

use super::{
    found::Resolved,
    live::{EndpointLive, Health, Record, UpstreamLive, locked},
};
use crate::telemetry::metrics::OwnZone;

/// One address of an upstream.
pub struct Endpoint {
    /// Where it answers.
    pub address: SocketAddr,
    /// The availability zone's id.
    pub zone: Option<Arc<str>>,
    /// The region, where it is not the gateway's own.
    pub region: Option<Arc<str>>,
    /// Its share beside the others; 0 is never.
    pub weight: u16,
    /// Which of the upstream's zones it is in.
    pub(super) zone_index: usize,
    /// Its zone was taken out.
    pub(super) drained: bool,
    /// It is known to be in another zone than the gateway.
    pub(super) is_elsewhere: bool,
    pub(super) live: Arc<EndpointLive>,
    pub(super) peer: HttpPeer,
}

impl Endpoint {
    /// What Pingora connects to, ready but for what this request needs.
    pub fn peer(&self) -> HttpPeer {
        self.peer.clone()
    }

    /// Whether nothing about it would change.
    pub(super) fn is(&self, other: &Resolved) -> bool {
        let Resolved { address, zone, region, weight } = other;
        (&self.address, &self.zone, &self.region, &self.weight) == (address, zone, region, weight)
    }

    /// Requests that are on their way to it.
    pub fn in_flight(&self) -> u32 {
        self.live.in_flight()
    }

    /// What probes say of it.
    pub fn health(&self) -> Health {
        self.live.health()
    }

    /// Takes it to be so, as if probes had said it.
    pub fn assume(&self, health: Health) {
        self.live.set_health(health);
    }

    /// Whether an operator took its zone out.
    pub fn is_drained(&self) -> bool {
        self.drained
    }

    /// How much longer it is ejected.
    pub fn ejected_for(&self, now: Instant) -> Option<Duration> {
        let until = locked(&self.live.record).ejected?;
        until.checked_duration_since(now).filter(|left| !left.is_zero())
    }
}

/// By what an endpoint counts as in service.
#[derive(Clone, Copy)]
pub(super) struct Admission {
    /// Without a passed probe it does not.
    pub(super) probed: bool,
    /// How long its share rises once it does.
    pub(super) slow_start: Duration,
    /// Whether the upstream is at work for a while: then who comes is new.
    pub(super) settled: bool,
}

/// What an endpoint is now.
pub(super) struct Look {
    /// Tenths of its weight; 0 is out of service.
    pub(super) level: u8,
    pub(super) ejected: bool,
    /// It came back from an ejection since the last look.
    pub(super) is_back: bool,
    /// When this may change by time alone.
    pub(super) next: Option<Instant>,
}

impl EndpointLive {
    /// Looks whether it is in service, and remembers since when.
    pub(super) fn look(&self, how: Admission, now: Instant) -> Look {
        let mut record = locked(&self.record);
        let is_back = record.ejected.is_some_and(|until| until <= now);
        if is_back {
            record.ejected = None;
            record.returned = Some(now);
            self.on_probation.store(true, Ordering::Relaxed);
        }
        let healthy = match self.health() {
            Health::Healthy => true,
            Health::Unhealthy => false,
            Health::Unproven => !how.probed,
        };
        let in_service = healthy && record.ejected.is_none();
        if in_service && record.in_service != Some(true) {
            let comes_anew = record.served || how.settled;
            record.rising = comes_anew.then_some(now);
            record.served = true;
        }
        record.in_service = Some(in_service);
        let (level, step) = if in_service { record.rise(how.slow_start, now) } else { (0, None) };
        Look { level, ejected: record.ejected.is_some(), is_back, next: step.or(record.ejected) }
    }

    /// Remembers that it is out of service, whatever else is said of it, so that
    /// its share rises when it is taken back.
    pub(super) fn withdraw(&self) {
        let mut record = locked(&self.record);
        (record.in_service, record.rising) = (Some(false), None);
    }
}

impl Record {
    /// Tenths of the weight, 1 to 10, and when they grow.
    fn rise(&mut self, slow_start: Duration, now: Instant) -> (u8, Option<Instant>) {
        let Some(since) = self.rising else { return (WHOLE, None) };
        let tenth = slow_start / u32::from(WHOLE);
        let passed = now.saturating_duration_since(since).as_nanos() / tenth.as_nanos().max(1);
        let level = u8::try_from(passed + 1).unwrap_or(WHOLE).min(WHOLE);
        if level == WHOLE {
            self.rising = None;
            return (WHOLE, None);
        }
        (level, Some(since + tenth * u32::from(level)))
    }
}

/// A whole weight, in tenths.
pub(super) const WHOLE: u8 = 10;

/// One attempt towards one endpoint; dropping it, in whatever way the request
/// ends, takes it off what is in flight.
pub struct Lease {
    live: Arc<EndpointLive>,
    /// Where all of the upstream's requests are counted, if they are.
    group: Option<Arc<UpstreamLive>>,
    /// Whether someone may wait for its end.
    is_awaited: bool,
    leaves_zone: Option<OwnZone>,
    index: usize,
}

impl Lease {
    /// Takes a place at the endpoint; `None` when it has `most` already.
    pub(super) fn take(live: &Arc<EndpointLive>, index: usize, most: u32) -> Option<Self> {
        let before = live.in_flight.fetch_add(1, Ordering::Relaxed);
        let lease = Self { live: live.clone(), group: None, is_awaited: false, leaves_zone: None, index };
        // Dropped, it gives its place back.
        (before < most).then_some(lease)
    }

    /// Takes a place in the upstream too; `None` when it has `most` already.
    pub(super) fn within(mut self, group: &Arc<UpstreamLive>, most: u32, queues: bool) -> Option<Self> {
        let before = group.in_flight.fetch_add(1, Ordering::Relaxed);
        self.group = Some(group.clone());
        // One that never was a place wakes nobody: who looks for one in vain would
        // wake itself.
        self.is_awaited = queues && before < most;
        (before < most).then_some(self)
    }

    /// Notes that its endpoint is in another zone, and what the own one has.
    pub(super) fn leaving(mut self, own_zone: OwnZone) -> Self {
        self.leaves_zone = Some(own_zone);
        self
    }

    /// What the own zone had when an endpoint of another was picked; `None` where
    /// it was the own one, or zones are not known.
    pub fn leaves_zone(&self) -> Option<OwnZone> {
        self.leaves_zone
    }

    /// The endpoint's place in the upstream, for [`Tried`](super::Tried).
    pub fn index(&self) -> usize {
        self.index
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.live.in_flight.fetch_sub(1, Ordering::Relaxed);
        if let Some(group) = &self.group {
            group.in_flight.fetch_sub(1, Ordering::Relaxed);
            if self.is_awaited {
                group.queue.room();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOW: Admission = Admission { probed: false, slow_start: Duration::from_secs(10), settled: false };

    #[test]
    fn who_serves_from_the_start_has_its_whole_share() {
        assert_eq!(EndpointLive::default().look(HOW, Instant::now()).level, WHOLE);
    }

    #[test]
    fn who_comes_later_rises_in_tenths() {
        let (live, start) = (EndpointLive::default(), Instant::now());
        let mut level =
            |second| live.look(Admission { settled: true, ..HOW }, start + Duration::from_secs(second)).level;

        assert_eq!([0, 1, 5, 8, 9, 20].map(&mut level), [1, 2, 6, 9, 10, 10]);
    }

    #[test]
    fn unproven_serves_only_where_nobody_probes() {
        let (live, now) = (EndpointLive::default(), Instant::now());

        assert_eq!(live.look(Admission { probed: true, ..HOW }, now).level, 0);
        live.set_health(Health::Healthy);
        assert_eq!(live.look(Admission { probed: true, ..HOW }, now).level, WHOLE);
        live.set_health(Health::Unhealthy);
        assert_eq!(live.look(HOW, now).level, 0);
        live.set_health(Health::Healthy);
        assert_eq!(live.look(HOW, now).level, 1);
    }

    #[test]
    fn an_ejected_endpoint_comes_back_on_probation_and_rises() {
        let (live, now) = (EndpointLive::default(), Instant::now());
        let until = now + Duration::from_secs(30);
        live.look(HOW, now);
        live.record.lock().unwrap().ejected = Some(until);

        let (out, back) = (live.look(HOW, now), live.look(HOW, until));

        assert!(out.level == 0 && out.ejected && out.next == Some(until));
        assert!(back.level == 1 && !back.ejected && back.is_back);
        assert!(live.on_probation.load(Ordering::Relaxed));
    }
}
