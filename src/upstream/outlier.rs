//! Ejects endpoints by what traffic itself says of them.
//!
//! Owns the decision and how long it holds. Always holds: the last endpoint in
//! service is never ejected, nor more than the configured share.

use std::{
    sync::atomic::Ordering::Relaxed,
    time::{Duration, Instant},
};

use super::{
    Endpoint, Trial, Upstream,
    live::{Book, EndpointLive, Record, locked},
};
use crate::config::failover::{OutlierDetectionSpec, SuccessRateSpec};

/// What an attempt says of its endpoint.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Outcome {
    /// An answer below 500.
    Good,
    /// An answer of 500 and above that the service gave itself.
    ServerError,
    /// No answer, no HTTP, silence, no TLS; or an answer 502, 503 or 504.
    GatewayError,
    /// No connection, or nobody acknowledged what was sent on one.
    Unreached,
}

impl Outcome {
    /// What a status says.
    pub fn of(status: u16) -> Self {
        match status {
            502..=504 => Self::GatewayError,
            500.. => Self::ServerError,
            _ => Self::Good,
        }
    }
}

/// When endpoints of an upstream are ejected, and for how long.
#[derive(Clone, Debug)]
pub(super) struct Outliers {
    consecutive_5xx: u32,
    consecutive_gateway_errors: u32,
    success_rate: Option<SuccessRateSpec>,
    interval: Duration,
    base: Duration,
    longest: Duration,
    max_share: f64,
}

impl From<&OutlierDetectionSpec> for Outliers {
    fn from(spec: &OutlierDetectionSpec) -> Self {
        Self {
            consecutive_5xx: spec.consecutive_5xx,
            consecutive_gateway_errors: spec.consecutive_gateway_errors,
            success_rate: spec.success_rate.clone(),
            interval: spec.interval.duration(),
            base: spec.base_ejection.duration(),
            longest: spec.max_ejection.duration(),
            max_share: spec.max_ejected.share(),
        }
    }
}

impl Outliers {
    /// Counts an outcome; says why the endpoint is to be ejected.
    fn judge(&self, live: &EndpointLive, outcome: Outcome) -> Option<&'static str> {
        if outcome == Outcome::Good {
            // Hardly ever written: a line that every core reads stays shared.
            [&live.failures, &live.gateway_errors]
                .iter()
                .filter(|c| c.load(Relaxed) > 0)
                .for_each(|c| c.store(0, Relaxed));
            if live.on_probation.load(Relaxed) {
                live.on_probation.store(false, Relaxed);
            }
            return None;
        }
        let failures = live.failures.fetch_add(1, Relaxed).saturating_add(1);
        let gateway_errors = match outcome {
            Outcome::GatewayError | Outcome::Unreached => {
                live.gateway_errors.fetch_add(1, Relaxed).saturating_add(1)
            }
            _ => {
                live.gateway_errors.store(0, Relaxed);
                0
            }
        };
        let (most, most_gateway) = (self.consecutive_5xx, self.consecutive_gateway_errors);
        let counts = most > 0 || (most_gateway > 0 && outcome != Outcome::ServerError);
        if counts && live.on_probation.load(Relaxed) {
            return Some("probation");
        }
        if most_gateway > 0 && gateway_errors >= most_gateway {
            return Some("consecutive_gateway_errors");
        }
        (most > 0 && failures >= most).then_some("consecutive_5xx")
    }

    /// Whether failures in themselves lead to an ejection.
    pub(super) fn sees_failures(&self) -> bool {
        self.consecutive_5xx > 0 || self.consecutive_gateway_errors > 0 || self.success_rate.is_some()
    }

    /// Whether one more of `all` endpoints may be ejected.
    pub(super) fn allows(&self, book: &Book, all: usize) -> bool {
        let most = ((all as f64 * self.max_share) as usize).max(1);
        book.in_service > 1 && book.ejected < most
    }

    /// How long the next ejection lasts, and which in a row it is. Each `base`
    /// in service takes one off.
    fn sentence(&self, record: &Record, now: Instant) -> (Duration, u32) {
        let served = record.returned.map_or(Duration::ZERO, |at| now.saturating_duration_since(at));
        let forgiven = u32::try_from(served.as_nanos() / self.base.as_nanos().max(1)).unwrap_or(u32::MAX);
        let nth = record.ejections.saturating_sub(forgiven).saturating_add(1);
        (self.base.saturating_mul(nth).min(self.longest.max(self.base)), nth)
    }
}

impl Upstream {
    /// Takes in what an attempt says of its endpoint. Who is unreachable from now
    /// on is to be tried, beside the traffic.
    pub fn observe(&self, index: usize, outcome: Outcome, now: Instant) -> Option<Trial> {
        let endpoint = self.endpoints.get(index)?;
        let trial = self.reached(endpoint, outcome);
        if let Some(outliers) = &self.outliers {
            self.weigh(outliers, endpoint, outcome, now);
        }
        trial
    }

    fn weigh(&self, outliers: &Outliers, endpoint: &Endpoint, outcome: Outcome, now: Instant) {
        if outliers.success_rate.is_some() {
            let [all, good] = &endpoint.live.outcomes;
            all.fetch_add(1, Relaxed);
            good.fetch_add(u32::from(outcome == Outcome::Good), Relaxed);
            self.compare(outliers, now);
        }
        if let Some(why) = outliers.judge(&endpoint.live, outcome) {
            self.eject(outliers, endpoint, why, now);
        }
    }

    /// Takes an endpoint out for a while, unless it is out or has to stay.
    pub(super) fn eject(&self, outliers: &Outliers, endpoint: &Endpoint, why: &'static str, now: Instant) {
        // The book has to know who else is left.
        drop(self.table(now));
        let mut book = locked(&self.live.book);
        let mut record = locked(&endpoint.live.record);
        let live = &endpoint.live;
        [&live.failures, &live.gateway_errors].iter().for_each(|counter| counter.store(0, Relaxed));
        if record.in_service != Some(true) || !outliers.allows(&book, self.all) {
            return;
        }
        let (length, nth) = outliers.sentence(&record, now);
        record.ejected = Some(now + length);
        record.ejections = nth;
        record.in_service = Some(false);
        live.on_probation.store(false, Relaxed);
        book.in_service -= 1;
        book.ejected += 1;
        self.live.ejections.fetch_add(1, Relaxed);
        live.changed();
        if self.live.is_copy {
            return;
        }
        log::warn!(
            "endpoint ejected: upstream={} endpoint={} zone={} reason={why} for_s={} nth={nth}",
            self.name,
            endpoint.address,
            endpoint.zone.as_deref().unwrap_or("-"),
            length.as_secs_f64()
        );
    }

    /// Once an interval: ejects who is far below the others.
    fn compare(&self, outliers: &Outliers, now: Instant) {
        let Some(rule) = &outliers.success_rate else { return };
        let age =
            now.saturating_duration_since(self.live.born).as_nanos() / outliers.interval.as_nanos().max(1);
        let age = u64::try_from(age).unwrap_or(u64::MAX);
        let before = self.live.compared.load(Relaxed);
        if age <= before || self.live.compared.compare_exchange(before, age, Relaxed, Relaxed).is_err() {
            return;
        }
        let rate = |endpoint: &Endpoint| {
            let [all, good] = &endpoint.live.outcomes;
            let (all, good) = (all.swap(0, Relaxed), good.swap(0, Relaxed));
            (all >= rule.requests.max(1)).then(|| f64::from(good.min(all)) / f64::from(all))
        };
        let rates: Vec<_> = self.endpoints.iter().map(rate).collect();
        let known: Vec<_> = rates.iter().flatten().copied().collect();
        if known.len() < rule.endpoints.max(2) as usize {
            return;
        }
        let least = least(&known, f64::from(rule.deviation_tenths) / 10.0);
        let below = |(_, rate): &(&Endpoint, &Option<f64>)| rate.is_some_and(|rate| rate < least);
        self.endpoints.iter().zip(&rates).filter(below).for_each(|(endpoint, _)| {
            self.eject(outliers, endpoint, "success_rate", now);
        });
    }
}

/// The share of good answers below which an endpoint is none of the others.
fn least(rates: &[f64], deviations: f64) -> f64 {
    let count = rates.len().max(1) as f64;
    let mean = rates.iter().sum::<f64>() / count;
    let variance = rates.iter().map(|rate| (rate - mean).powi(2)).sum::<f64>() / count;
    mean - deviations * variance.sqrt()
}
