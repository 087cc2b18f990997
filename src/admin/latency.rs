//! The latencies of the last minute, for whoever looks.
//!
//! Owns which look the present one is held against. Nothing is kept while nobody looks:
//! who looks for the first time is told of all the time since the process began, and of
//! the last minute once he looks for so long.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use serde::Serialize;

use crate::telemetry::metrics::Latencies;

/// How long requests took, from the first byte to the end of the answer.
#[derive(Debug, Serialize)]
pub struct LatencyStatus {
    /// Of requests that ended in so long.
    pub over_seconds: u64,
    /// How many they were.
    pub requests: u64,
    /// Half of them took no longer.
    pub p50_ms: f64,
    /// 95 of 100.
    pub p95_ms: f64,
    /// 99 of 100.
    pub p99_ms: f64,
}

/// What was seen lately: each look and when, the oldest first.
pub(super) struct Looks(VecDeque<(Instant, Latencies)>);

impl Looks {
    /// Nothing was answered before.
    pub(super) fn since(started: Instant) -> Self {
        Self([(started, Latencies::default())].into())
    }

    /// What came since a minute ago, or since the oldest look; `None` when nothing did.
    pub(super) fn look(&mut self, now: Instant, latest: Latencies) -> Option<LatencyStatus> {
        if self.0.back().is_some_and(|(_, last)| !latest.include(last)) {
            // Held against what is gone, what came since would not show.
            self.0 = [(now, latest.clone())].into();
        }
        while self.0.get(1).is_some_and(|(at, _)| now.duration_since(*at) >= MINUTE) {
            self.0.pop_front();
        }
        let (from, before) = self.0.front()?;
        let (over, since) = (now.duration_since(*from), latest.since(before));
        if self.0.back().is_some_and(|(at, _)| now.duration_since(*at) >= APART) {
            self.0.push_back((now, latest));
        }
        let ms = |share| since.quantile(share).map(|took| (took.as_secs_f64() * 1e5).round() / 100.0);
        Some(LatencyStatus {
            over_seconds: over.as_secs(),
            requests: since.count(),
            p50_ms: ms(0.5)?,
            p95_ms: ms(0.95)?,
            p99_ms: ms(0.99)?,
        })
    }
}

const MINUTE: Duration = Duration::from_secs(60);
/// However many look, a minute is so few looks.
const APART: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::Metrics;

    #[test]
    fn the_last_minute_is_told_once_somebody_looked_for_so_long() {
        let metrics = Metrics::new().unwrap();
        let series = metrics.series("a", "b");
        let start = Instant::now();
        let mut looks = Looks::since(start);
        let mut look = |seconds| looks.look(start + Duration::from_secs(seconds), metrics.latencies());
        assert!(look(1).is_none());

        (0..99).for_each(|_| series.record(200, Duration::from_millis(2), 0, 0));
        series.record(200, Duration::from_secs(2), 0, 0);
        let first = look(3600).unwrap();
        series.record(200, Duration::from_micros(100), 0, 0);
        let (young, minute) = (look(3601).unwrap(), look(3660).unwrap());

        assert_eq!((first.over_seconds, first.requests), (3599, 100));
        assert!(first.p50_ms < 2.5 && first.p99_ms <= 2.5, "{first:?}");
        assert_eq!((young.over_seconds, young.requests), (3600, 101));
        assert_eq!((minute.over_seconds, minute.requests, minute.p99_ms), (60, 1, 0.5), "{minute:?}");
        assert!(look(3661).is_none());
        metrics.retain(&[("c", "d")]);
        let series = metrics.series("c", "d");
        assert!(look(3662).is_none());
        series.record(200, Duration::from_millis(2), 0, 0);
        assert_eq!(look(3663).unwrap().requests, 1);
    }
}
