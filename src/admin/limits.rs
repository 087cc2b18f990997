//! `GET /limits`: what each limit holds now, and the keys that have most of it.
//! Keys are told by their hash, which is all that a limit knows of them, and by
//! their name where one was noted down.

use std::{sync::Arc, time::Instant};

use http::{Response, StatusCode};
use pingora::protocols::http::ServerSession;
use serde::Serialize;

use super::{
    operator::{Operator, json},
    pages::text,
};
use crate::{
    config::{Share, Unknown},
    limit::{Counts, Freshness, KeyHash, Lease, Limit, Moment, Source, Standing, whole_seconds},
    snapshot::Snapshot,
};

/// A limit.
#[derive(Clone, Debug, Serialize)]
#[allow(missing_docs)]
pub struct LimitStatus {
    pub name: String,
    pub enforced: bool,
    /// By the gateways of a fleet: `instance` is not at all, `divided` or `leased`.
    pub share: &'static str,
    /// Of a leased one whether its store answers.
    pub store_up: Option<bool>,
    /// Of a leased one what holds while it does not: `local`, `allow` or `deny`.
    pub on_store_error: Option<&'static str>,
    /// As it was written; none of a concurrency limit.
    pub rate: Option<String>,
    /// The most at once.
    pub most: u32,
    /// Those that owe something, or have a request under way.
    pub keys: usize,
    /// How many have room; none where memory follows the keys.
    pub capacity: Option<usize>,
    /// How often a key was forgotten that still owed something.
    pub overflowed: Option<u64>,
    /// Most used first.
    pub top: Vec<KeyStatus>,
}

/// A key.
#[derive(Clone, Debug, Serialize)]
#[allow(missing_docs)]
pub struct KeyStatus {
    pub key: String,
    /// What it counts by; of whom a part names, a hash, unless asked for.
    pub name: Option<String>,
    pub remaining: u32,
    /// Until all is there again; none of a concurrency limit.
    pub whole_in_seconds: Option<u64>,
}

impl Operator {
    /// The limits that are asked for, by `limit=NAME`, `top=N` and `reveal=yes`.
    pub(super) async fn limits(&self, session: &mut ServerSession) -> Response<Vec<u8>> {
        let Some(Asked { name, top, reveal }) = asked(session.req_header().uri.query().unwrap_or_default())
        else {
            return text(
                session,
                StatusCode::BAD_REQUEST,
                "write limit=NAME, top=N (at most 1000) or reveal=yes\n",
            );
        };
        let now = self.current.load();
        let known = || now.rate_limits.iter().map(|limit| &*limit.name);
        if let Some(Err(why)) = name.as_ref().map(|name| Unknown::check("limit", name, known())) {
            return text(session, StatusCode::NOT_FOUND, &format!("{why}\n"));
        }
        // Reads whole tables.
        match tokio::task::spawn_blocking(move || status(&now, name.as_deref(), top, reveal)).await {
            Ok(told) => json(session, StatusCode::OK, &told),
            Err(_) => text(session, StatusCode::INTERNAL_SERVER_ERROR, "it broke; see the log\n"),
        }
    }
}

/// Every limit and its busiest keys, by their hashes alone.
pub(super) fn hashes(snapshot: &Snapshot, top: usize) -> Vec<LimitStatus> {
    let limits = &snapshot.rate_limits;
    let now = limits.clock.at(Instant::now());
    let share = |limit| snapshot.config().share_of(Limit::spec(limit));
    limits.iter().map(|limit| one(limit, share(limit), now, &Telling { top, name: &|_| None })).collect()
}

fn status(snapshot: &Arc<Snapshot>, name: Option<&str>, top: usize, reveal: bool) -> Vec<LimitStatus> {
    let limits = &snapshot.rate_limits;
    let now = limits.clock.at(Instant::now());
    let wanted = limits.iter().filter(|limit| name.is_none_or(|name| *limit.name == *name));
    let one = |limit| {
        let share = snapshot.config().share_of(Limit::spec(limit));
        one(limit, share, now, &Telling { top, name: &|key| limit.names.told(key, &limits.seeds, reveal) })
    };
    wanted.map(one).collect()
}

/// How much is told of keys.
struct Telling<'a> {
    /// So many.
    top: usize,
    /// What a key is called.
    name: &'a dyn Fn(KeyHash) -> Option<String>,
}

fn one(limit: &Limit, share: Share, now: Moment, telling: &Telling<'_>) -> LimitStatus {
    let (top, name) = (telling.top, telling.name);
    let told = LimitStatus {
        name: limit.name.to_string(),
        enforced: limit.spec().enforce,
        share: share.word(),
        store_up: leased(limit).map(|lease| lease.fleet().freshness() == Freshness::Fresh),
        on_store_error: leased(limit).map(|_| limit.spec().on_store_error.word()),
        rate: limit.spec().rate.map(|rate| rate.to_string()),
        most: 0,
        keys: 0,
        capacity: None,
        overflowed: None,
        top: Vec::new(),
    };
    if let Counts::Concurrency(counts, most) = &limit.counts {
        let all = counts.busiest(usize::MAX);
        let key = |(key, count): &(KeyHash, u32)| KeyStatus {
            key: key.to_string(),
            name: name(*key),
            remaining: most.get().saturating_sub(*count),
            whole_in_seconds: None,
        };
        let top = all.iter().take(top).map(key).collect();
        return LimitStatus { most: most.get(), keys: all.len(), top, ..told };
    }
    // Nobody is asked who has cells while the store decides.
    let Some(Source::Cells { cells, terms, .. }) = limit.source() else {
        return LimitStatus { most: limit.spec().burst(), ..told };
    };
    let key = |(key, standing): (KeyHash, Standing)| KeyStatus {
        key: key.to_string(),
        name: name(key),
        remaining: standing.under(terms).remaining(),
        whole_in_seconds: Some(whole_seconds(standing.reset_after())),
    };
    LimitStatus {
        most: terms.burst(),
        keys: cells.live(now),
        capacity: Some(cells.capacity()),
        overflowed: Some(cells.overflowed()),
        top: cells.busiest(top, now).into_iter().map(key).collect(),
        ..told
    }
}

fn leased(limit: &Limit) -> Option<&Lease> {
    match &limit.counts {
        Counts::Leased(lease, _) => Some(lease),
        Counts::Rate(..) | Counts::Concurrency(..) => None,
    }
}

/// What an operator wants to know.
#[derive(Debug, PartialEq)]
struct Asked {
    name: Option<String>,
    top: usize,
    reveal: bool,
}

/// `limit=NAME`, `top=N` and `reveal=yes`, joined by `&`.
fn asked(query: &str) -> Option<Asked> {
    let mut asked = Asked { name: None, top: USUAL_TOP, reveal: false };
    for word in query.split('&').filter(|word| !word.is_empty()) {
        match word.split_once('=')? {
            ("limit", limit) => asked.name = Some(limit.to_owned()),
            ("top", n) => asked.top = n.parse().ok().filter(|n| *n <= MOST_TOP)?,
            ("reveal", "yes") => asked.reveal = true,
            _ => return None,
        }
    }
    Some(asked)
}

const USUAL_TOP: usize = 10;
const MOST_TOP: usize = 1_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_names_a_limit_and_how_many_keys() {
        assert_eq!(asked(""), Some(Asked { name: None, top: 10, reveal: false }));
        let whole = Asked { name: Some("a".to_owned()), top: 1_000, reveal: true };
        assert_eq!(asked("limit=a&top=1000&reveal=yes"), Some(whole));
        let bad = ["limit", "top=many", "top=1001", "color=red", "reveal=1"];
        assert!(bad.iter().all(|bad| asked(bad).is_none()));
    }
}
