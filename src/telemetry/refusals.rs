//! What was refused lately: for the person who is paged and looks before they search a
//! log.
//!
//! Owns a bounded list in which refusals of one kind are one entry with a count, so that
//! a storm of 429s, or a client that wants to hide something, pushes nothing else out. A
//! kind has configured names and members of closed sets alone, never a path, a host or a
//! client.
//!
//! Always holds: nobody waits here. A refusal that finds the list in use is counted as
//! missed; `tollgate_rejections_total` has every one.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::SystemTime,
};

/// The kinds of refusals that came last.
#[derive(Default)]
pub struct RecentRefusals {
    kinds: Mutex<Vec<Seen>>,
    missed: AtomicU64,
}

/// What makes refusals alike.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Kind<'a> {
    /// Why.
    pub flag: &'static str,
    /// What was answered; 0 when nobody was left to hear it.
    pub status: u16,
    /// Where it came in.
    pub listener: &'a str,
    /// Which route had matched.
    pub route: Option<&'a str>,
    /// Which upstream had been chosen.
    pub upstream: Option<&'a str>,
    /// Which limit refused.
    pub limit: Option<&'a str>,
}

/// A kind, how often it came since it is in the list, and when.
#[derive(Clone, Debug, PartialEq)]
pub struct Seen {
    /// Why.
    pub flag: &'static str,
    /// What was answered.
    pub status: u16,
    /// Where it came in.
    pub listener: Box<str>,
    /// Which route had matched.
    pub route: Option<Box<str>>,
    /// Which upstream had been chosen.
    pub upstream: Option<Box<str>>,
    /// Which limit refused.
    pub limit: Option<Box<str>>,
    /// At least so often.
    pub count: u64,
    /// The first of them.
    pub first: SystemTime,
    /// The last of them.
    pub last: SystemTime,
}

impl RecentRefusals {
    /// Notes one. Allocates for a kind that is new in the list alone.
    pub fn note(&self, kind: &Kind<'_>, at: SystemTime) {
        let Ok(mut kinds) = self.kinds.try_lock() else {
            self.missed.fetch_add(1, Ordering::Relaxed);
            return;
        };
        if let Some(nth) = kinds.iter().position(|seen| seen.is(kind)) {
            // Half way to the front: the kind of a storm is soon found at once.
            kinds.swap(nth, nth / 2);
            if let Some(seen) = kinds.get_mut(nth / 2) {
                seen.count += 1;
                seen.last = seen.last.max(at);
            }
            return;
        }
        let oldest = kinds.iter().enumerate().min_by_key(|(_, seen)| seen.last).map(|(nth, _)| nth);
        if let Some(oldest) = oldest.filter(|_| kinds.len() >= MOST) {
            kinds.swap_remove(oldest);
        }
        kinds.push(Seen::new(kind, at));
    }

    /// The kinds, those that came last first.
    pub fn seen(&self) -> Vec<Seen> {
        let mut seen = self.kinds.lock().unwrap_or_else(PoisonError::into_inner).clone();
        seen.sort_by_key(|seen| std::cmp::Reverse(seen.last));
        seen
    }

    /// How many refusals found the list in use.
    pub fn missed(&self) -> u64 {
        self.missed.load(Ordering::Relaxed)
    }
}

impl Seen {
    fn new(kind: &Kind<'_>, at: SystemTime) -> Self {
        Self {
            flag: kind.flag,
            status: kind.status,
            listener: kind.listener.into(),
            route: kind.route.map(Into::into),
            upstream: kind.upstream.map(Into::into),
            limit: kind.limit.map(Into::into),
            count: 1,
            first: at,
            last: at,
        }
    }

    fn is(&self, kind: &Kind<'_>) -> bool {
        let own = Kind {
            flag: self.flag,
            status: self.status,
            listener: &self.listener,
            route: self.route.as_deref(),
            upstream: self.upstream.as_deref(),
            limit: self.limit.as_deref(),
        };
        own == *kind
    }
}

/// More than a screen shows; the kinds of a gateway in trouble are few.
const MOST: usize = 64;

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    fn limited(route: &str) -> Kind<'_> {
        let (route, limit) = (Some(route), Some("per-client"));
        Kind { flag: "rate_limited", status: 429, listener: "public", route, upstream: None, limit }
    }

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(seconds)
    }

    #[test]
    fn refusals_of_one_kind_are_one_entry_and_a_storm_hides_nothing() {
        let recent = RecentRefusals::default();
        let broken = Kind { flag: "connect_failed", status: 502, limit: None, ..limited("orders") };
        recent.note(&broken, at(1));

        (2..1_002).for_each(|second| recent.note(&limited("orders"), at(second)));

        let seen = recent.seen();
        let told: Vec<_> = seen.iter().map(|seen| (seen.flag, seen.count, seen.first, seen.last)).collect();
        assert_eq!(told, [("rate_limited", 1_000, at(2), at(1_001)), ("connect_failed", 1, at(1), at(1))]);
        assert_eq!(recent.missed(), 0);
    }

    #[test]
    fn the_kind_that_came_longest_ago_makes_room() {
        let recent = RecentRefusals::default();
        let routes: Vec<_> = (0..=MOST).map(|nth| format!("r{nth}")).collect();
        routes[..MOST].iter().zip(1..).for_each(|(route, second)| recent.note(&limited(route), at(second)));
        recent.note(&limited("r0"), at(100));

        recent.note(&limited(&routes[MOST]), at(101));

        let seen = recent.seen();
        let has = |route: &str| seen.iter().any(|seen| seen.route.as_deref() == Some(route));
        assert_eq!((seen.len(), has("r0"), has("r1"), has("r64")), (MOST, true, false, true));
    }

    #[test]
    fn who_finds_the_list_in_use_goes_on_and_is_counted() {
        let recent = RecentRefusals::default();
        let reader = recent.kinds.lock().unwrap();

        recent.note(&limited("orders"), at(1));

        drop(reader);
        assert_eq!((recent.missed(), recent.seen()), (1, Vec::new()));
    }
}
