//! `GET /limits`: what each limit holds now, and the keys that have most of it.
//! Keys are told by their hash: it is all that a limit knows of them.

use std::{sync::Arc, time::Instant};

use http::{Response, StatusCode};
use pingora::protocols::http::ServerSession;
use serde::Serialize;

use super::{
    operator::{Operator, json},
    pages::text,
};
use crate::{
    config::Share,
    limit::{Counts, Freshness, KeyHash, Lease, Limit, Moment, Source, Standing, whole_seconds},
    snapshot::Snapshot,
};

/// A limit.
#[derive(Debug, Serialize)]
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
#[derive(Debug, Serialize)]
#[allow(missing_docs)]
pub struct KeyStatus {
    pub key: String,
    pub remaining: u32,
    /// Until all is there again; none of a concurrency limit.
    pub whole_in_seconds: Option<u64>,
}

impl Operator {
    /// The limits that are asked for, by `limit=NAME` and `top=N`.
    pub(super) async fn limits(&self, session: &mut ServerSession) -> Response<Vec<u8>> {
        let Some((name, top)) = asked(session.req_header().uri.query().unwrap_or_default()) else {
            return text(session, StatusCode::BAD_REQUEST, "write limit=NAME or top=N (at most 1000)\n");
        };
        let now = self.current.load();
        if name.as_ref().is_some_and(|name| !now.rate_limits.iter().any(|limit| *limit.name == **name)) {
            return text(session, StatusCode::NOT_FOUND, "there is no such limit\n");
        }
        // Reads whole tables.
        match tokio::task::spawn_blocking(move || status(&now, name.as_deref(), top)).await {
            Ok(told) => json(session, StatusCode::OK, &told),
            Err(_) => text(session, StatusCode::INTERNAL_SERVER_ERROR, "it broke; see the log\n"),
        }
    }
}

fn status(snapshot: &Arc<Snapshot>, name: Option<&str>, top: usize) -> Vec<LimitStatus> {
    let limits = &snapshot.rate_limits;
    let now = limits.clock.at(Instant::now());
    let wanted = limits.iter().filter(|limit| name.is_none_or(|name| *limit.name == *name));
    wanted.map(|limit| one(limit, snapshot.config().share_of(limit.spec()), top, now)).collect()
}

fn one(limit: &Limit, share: Share, top: usize, now: Moment) -> LimitStatus {
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

/// `limit=NAME` and `top=N`, joined by `&`.
fn asked(query: &str) -> Option<(Option<String>, usize)> {
    let (mut name, mut top) = (None, USUAL_TOP);
    for word in query.split('&').filter(|word| !word.is_empty()) {
        match word.split_once('=')? {
            ("limit", limit) => name = Some(limit.to_owned()),
            ("top", n) => top = n.parse().ok().filter(|n| *n <= MOST_TOP)?,
            _ => return None,
        }
    }
    Some((name, top))
}

const USUAL_TOP: usize = 10;
const MOST_TOP: usize = 1_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_names_a_limit_and_how_many_keys() {
        assert_eq!(asked(""), Some((None, 10)));
        assert_eq!(asked("limit=a&top=1000"), Some((Some("a".to_owned()), 1_000)));
        assert!(["limit", "top=many", "top=1001", "color=red"].iter().all(|bad| asked(bad).is_none()));
    }
}
