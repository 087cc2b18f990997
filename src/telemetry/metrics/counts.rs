//! What was counted, for people: the same cells that a scrape reads.
//!
//! Owns sums; does not own rates, which follow from two looks.

use std::collections::BTreeMap;

use prometheus::core::Collector;

use super::{
    Latencies, Metrics,
    limits::LimitDecision,
    traffic::{AttemptResult, NO_NAME, STATUSES},
};

/// By the words of a closed set; what was never counted is left out.
pub type ByWord = BTreeMap<&'static str, u64>;

/// What requests of a route to an upstream came to; [`NO_NAME`] where there is none.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RouteCounts {
    /// Which route.
    pub route: Box<str>,
    /// Which upstream.
    pub upstream: Box<str>,
    /// By class of the status.
    pub requests: ByWord,
}

/// What attempts towards an upstream came to.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct AttemptCounts {
    /// Which upstream.
    pub upstream: Box<str>,
    /// By how they ended.
    pub attempts: ByWord,
    /// Attempts after the first.
    pub retries: u64,
}

impl Metrics {
    /// Every route and upstream that had a request.
    pub fn route_counts(&self) -> Vec<RouteCounts> {
        self.traffic.each_route(|(route, upstream), requests| RouteCounts {
            route: route.clone(),
            upstream: upstream.clone(),
            requests: by_word(&STATUSES, requests),
        })
    }

    /// Every upstream that had an attempt.
    pub fn attempt_counts(&self) -> Vec<AttemptCounts> {
        self.traffic.each_upstream(|upstream, attempts, retries| AttemptCounts {
            upstream: upstream.into(),
            attempts: by_word(&AttemptResult::ALL.map(AttemptResult::word), attempts),
            retries,
        })
    }

    /// How long requests took since the process began, of routes that are there.
    pub fn latencies(&self) -> Latencies {
        self.traffic.latencies()
    }

    /// What this limit decided.
    pub fn limit_counts(&self, limit: &str) -> ByWord {
        by_word(&LimitDecision::ALL.map(LimitDecision::word), |nth| self.limits.decided(limit, nth))
    }

    /// Refusals by flag word.
    pub fn refusal_counts(&self) -> BTreeMap<String, u64> {
        let families = self.rejections.collect();
        let all = families.iter().flat_map(|family| family.get_metric());
        let of = |metric: &prometheus::proto::Metric| {
            let flag = metric.get_label().first()?.value().to_owned();
            // Counts are whole and far below 2^53.
            Some((flag, metric.get_counter().get_value() as u64)).filter(|(_, n)| *n > 0)
        };
        all.filter_map(of).collect()
    }
}

impl RouteCounts {
    /// Requests, whatever came of them.
    pub fn all(&self) -> u64 {
        self.requests.values().sum()
    }

    /// Whether an upstream was asked, or would have been.
    pub fn has_upstream(&self) -> bool {
        *self.upstream != *NO_NAME
    }
}

fn by_word(words: &[&'static str], count: impl Fn(usize) -> u64) -> ByWord {
    words.iter().enumerate().map(|(nth, word)| (*word, count(nth))).filter(|(_, n)| *n > 0).collect()
}
