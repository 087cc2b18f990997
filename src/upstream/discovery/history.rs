//! What became of a source's look-ups: what it stands for, whether that is still
//! so, and when to look again.
//!
//! Pure: outcomes, time and draws are arguments. Always holds: a look-up that
//! fails takes nothing away before `keep` is over.

use std::{
    collections::HashSet,
    net::SocketAddr,
    time::{Duration, Instant},
};

use super::super::FoundSet;
use crate::telemetry::metrics::LookupResult;

/// A source's past and its next look-up.
#[derive(Debug)]
pub(super) struct History {
    good: Option<Good>,
    failing: Option<Failing>,
    /// What was odd about the last good answer.
    odd: Odd,
    next: Instant,
}

#[derive(Debug)]
struct Good {
    set: FoundSet,
    /// When it was last confirmed.
    at: Instant,
}

/// Look-ups that fail, since the last that did not.
#[derive(Clone, Copy, Debug)]
pub(super) struct Failing {
    pub(super) since: Instant,
    pub(super) why: LookupResult,
    times: u32,
}

/// A good answer.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) set: FoundSet,
    /// How long it may be taken for true.
    pub(super) ttl: Duration,
    pub(super) odd: Odd,
}

/// What was left out of an answer.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Odd {
    /// Addresses where no endpoint may be.
    pub(super) refused: usize,
    /// Addresses beyond the ceiling.
    pub(super) cut: usize,
}

/// How soon and how late.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    /// Between good answers.
    pub(super) ttl: (Duration, Duration),
    /// After a failure, doubled with each.
    pub(super) retry: (Duration, Duration),
    /// How long the last good answer counts; `None` is for ever.
    pub(super) keep: Option<Duration>,
}

/// What someone should hear of.
#[derive(Debug, Eq, PartialEq)]
pub(super) enum News {
    /// It stands for something else now.
    Changed { added: usize, removed: usize, kept: usize },
    /// Look-ups begin to fail.
    Failing(LookupResult),
    /// And end to.
    Recovered,
    /// They failed for too long: it stands for nothing.
    Dropped,
    /// Addresses are left out that were not before.
    LeftOut(Odd),
}

impl History {
    /// Nothing is known; the first look-up is due.
    pub(super) fn new(now: Instant) -> Self {
        Self { good: None, failing: None, odd: Odd::default(), next: now }
    }

    /// Takes an outcome in and says what is new. `draw`, 0 to 1, spreads the next
    /// look-ups of gateways that began together.
    pub(super) fn settle(
        &mut self,
        outcome: Result<Answer, LookupResult>,
        bounds: &Bounds,
        now: Instant,
        draw: f64,
    ) -> Vec<News> {
        match outcome {
            Ok(answer) => self.found(answer, bounds, now, draw),
            Err(why) => self.failed(why, bounds, now, draw),
        }
    }

    /// Nothing was to be found out: look again after `pause`.
    pub(super) fn wait(&mut self, now: Instant, pause: Duration) {
        self.next = now + pause;
    }

    /// Look again at once.
    pub(super) fn hurry(&mut self, now: Instant) {
        self.next = now;
    }

    fn found(&mut self, answer: Answer, bounds: &Bounds, now: Instant, draw: f64) -> Vec<News> {
        let Answer { set, ttl, odd } = answer;
        let mut news = Vec::new();
        if self.failing.take().is_some() {
            news.push(News::Recovered);
        }
        // Counts may differ from answer to answer; that there are any is the news.
        let is_new = |before: usize, now: usize| before == 0 && now > 0;
        if is_new(self.odd.refused, odd.refused) || is_new(self.odd.cut, odd.cut) {
            news.push(News::LeftOut(odd));
        }
        if self.set() != Some(&set) {
            news.push(change(self.set(), &set));
        }
        self.odd = odd;
        self.good = Some(Good { set, at: now });
        self.next = now + ttl.clamp(bounds.ttl.0, bounds.ttl.1).mul_f64(1.0 + JITTER * draw);
        news
    }

    fn failed(&mut self, why: LookupResult, bounds: &Bounds, now: Instant, draw: f64) -> Vec<News> {
        let mut news = Vec::new();
        let before = self.failing;
        if before.is_none() {
            news.push(News::Failing(why));
        }
        let times = before.map_or(0, |failing| failing.times).saturating_add(1);
        self.failing = Some(Failing { since: before.map_or(now, |failing| failing.since), why, times });
        let over =
            |good: &Good| bounds.keep.is_some_and(|keep| now.saturating_duration_since(good.at) >= keep);
        if self.good.as_ref().is_some_and(over) {
            self.good = None;
            news.push(News::Dropped);
        }
        let doubled = bounds.retry.0.saturating_mul(1 << times.saturating_sub(1).min(16));
        self.next = now + doubled.min(bounds.retry.1).mul_f64(1.0 + JITTER * draw);
        news
    }

    /// What it stands for.
    pub(super) fn set(&self) -> Option<&FoundSet> {
        self.good.as_ref().map(|good| &good.set)
    }

    /// When that was last confirmed.
    pub(super) fn confirmed(&self) -> Option<Instant> {
        self.good.as_ref().map(|good| good.at)
    }

    /// Whether look-ups fail, and why.
    pub(super) fn failing(&self) -> Option<Failing> {
        self.failing
    }

    /// When it is to be looked up again.
    pub(super) fn next(&self) -> Instant {
        self.next
    }
}

fn change(before: Option<&FoundSet>, now: &FoundSet) -> News {
    let before: HashSet<SocketAddr> =
        before.map(FoundSet::addresses).unwrap_or_default().into_iter().collect();
    let now: HashSet<SocketAddr> = now.addresses().into_iter().collect();
    let kept = now.intersection(&before).count();
    News::Changed { added: now.len() - kept, removed: before.len() - kept, kept }
}

/// Later, never sooner: a resolver that caches says the same until then.
const JITTER: f64 = 0.1;

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: Bounds = Bounds {
        ttl: (Duration::from_secs(1), Duration::from_secs(300)),
        retry: (Duration::from_secs(1), Duration::from_secs(30)),
        keep: Some(Duration::from_secs(3600)),
    };

    fn answer(addresses: &[&str], ttl: u64) -> Result<Answer, LookupResult> {
        let set = FoundSet::Addresses(addresses.iter().map(|text| text.parse().unwrap()).collect());
        Ok(Answer { set, ttl: Duration::from_secs(ttl), odd: Odd::default() })
    }

    fn seconds(history: &History, now: Instant) -> f64 {
        (history.next() - now).as_secs_f64()
    }

    #[test]
    fn only_a_change_is_news() {
        let now = Instant::now();
        let mut history = History::new(now);
        let mut told = |addresses: &[&str]| history.settle(answer(addresses, 5), &BOUNDS, now, 0.0);

        assert_eq!(told(&["10.0.0.1:80"]), [News::Changed { added: 1, removed: 0, kept: 0 }]);
        assert_eq!(told(&["10.0.0.1:80"]), []);
        assert_eq!(
            told(&["10.0.0.1:80", "10.0.0.2:80", "10.0.0.3:80"]),
            [News::Changed { added: 2, removed: 0, kept: 1 }]
        );
        assert_eq!(told(&["10.0.0.3:80", "10.0.0.4:80"]), [News::Changed { added: 1, removed: 2, kept: 1 }]);
    }

    #[test]
    fn the_time_to_live_counts_within_its_bounds_and_later_by_a_tenth_at_most() {
        let now = Instant::now();
        let mut history = History::new(now);
        let mut after = |ttl, draw| {
            history.settle(answer(&["10.0.0.1:80"], ttl), &BOUNDS, now, draw);
            seconds(&history, now)
        };

        assert_eq!([after(0, 0.0), after(20, 0.0), after(86_400, 0.0)], [1.0, 20.0, 300.0]);
        assert!((after(20, 1.0) - 22.0).abs() < 1e-6);
    }

    #[test]
    fn failures_are_told_once_and_asked_again_less_and_less_often() {
        let now = Instant::now();
        let mut history = History::new(now);
        history.settle(answer(&["10.0.0.1:80"], 5), &BOUNDS, now, 0.0);

        let mut waits = Vec::new();
        for nth in 0..8 {
            // What exactly fails may change; that it fails is what counts.
            let why = if nth % 2 == 0 { LookupResult::NoSuchName } else { LookupResult::Timeout };
            let news = history.settle(Err(why), &BOUNDS, now, 0.0);
            assert_eq!(news.is_empty(), nth > 0, "{news:?}");
            waits.push(seconds(&history, now));
        }

        assert_eq!(waits, [1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0, 30.0]);
        assert!(history.set().is_some() && history.failing().is_some());
        assert_eq!(history.settle(answer(&["10.0.0.1:80"], 5), &BOUNDS, now, 0.0), [News::Recovered]);
        assert!(history.failing().is_none());
    }

    #[test]
    fn the_last_good_answer_stays_for_its_time_and_is_then_dropped_once() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut history = History::new(start);
        history.settle(answer(&["10.0.0.1:80"], 5), &BOUNDS, start, 0.0);
        history.settle(answer(&["10.0.0.1:80"], 5), &BOUNDS, at(100), 0.0);

        let mut failed = |seconds| {
            let news = history.settle(Err(LookupResult::ServerFailure), &BOUNDS, at(seconds), 0.0);
            (news, history.set().is_some())
        };

        assert_eq!(failed(200), (vec![News::Failing(LookupResult::ServerFailure)], true));
        assert_eq!(failed(3_699), (vec![], true));
        assert_eq!(failed(3_700), (vec![News::Dropped], false));
        assert_eq!(failed(9_999), (vec![], false));
        assert_eq!(
            history.settle(answer(&["10.0.0.2:80"], 5), &BOUNDS, at(10_000), 0.0),
            [News::Recovered, News::Changed { added: 1, removed: 0, kept: 0 }]
        );
    }

    #[test]
    fn what_is_kept_for_ever_is_never_dropped() {
        let start = Instant::now();
        let mut history = History::new(start);
        let bounds = Bounds { keep: None, ..BOUNDS };
        history.settle(answer(&["10.0.0.1:80"], 5), &bounds, start, 0.0);

        history.settle(Err(LookupResult::MissingFile), &bounds, start + Duration::from_secs(1 << 30), 0.0);

        assert!(history.set().is_some());
    }

    #[test]
    fn that_addresses_are_left_out_is_told_when_it_begins() {
        let now = Instant::now();
        let mut history = History::new(now);
        let mut told = |refused, cut| {
            let odd = Odd { refused, cut };
            let answer = answer(&["10.0.0.1:80"], 5).map(|answer| Answer { odd, ..answer });
            let news = history.settle(answer, &BOUNDS, now, 0.0);
            news.contains(&News::LeftOut(odd))
        };

        assert_eq!(
            [told(0, 0), told(1, 0), told(2, 0), told(2, 9), told(0, 0), told(1, 0)],
            [false, true, false, true, false, true]
        );
    }
}
