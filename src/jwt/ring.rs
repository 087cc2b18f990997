//! The keys of a signer at work: whose turn it is, as time passes.
//!
//! Whoever signs looks whether the turn is over; no task has to. What is known of a
//! key is in its [`Record`], which outlives snapshots.

use std::{
    collections::BTreeMap,
    net::IpAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use arc_swap::{ArcSwap, Guard};
use http::HeaderValue;
use serde::{Deserialize, Serialize};

use super::{
    base64url,
    cache::Cache,
    folder::Found,
    jwk::Jwk,
    key::SigningKey,
    rotation::{Fetches, KeyState, Known, Now, Terms},
};

/// The keys of a signer; at least one.
pub(super) struct Ring {
    signer: Arc<str>,
    members: Vec<Member>,
    terms: Terms,
    is_cached: bool,
    turn: ArcSwap<Turn>,
    /// One at a time finds out whose turn is next.
    turning: Mutex<()>,
}

/// A key and what is known of it.
pub(super) struct Member {
    pub name: Arc<str>,
    pub key: Arc<SigningKey>,
    pub record: Arc<Record>,
    /// The encoded header of its tokens, with the dot behind it.
    pub header: Arc<[u8]>,
}

/// The key that signs, while it does.
pub(super) struct Turn {
    pub key: Arc<SigningKey>,
    pub record: Arc<Record>,
    pub header: Arc<[u8]>,
    /// The tokens of this turn, each for half of its life; they go with it.
    pub cache: Arc<Cache<HeaderValue>>,
    until: Option<Instant>,
}

impl Ring {
    /// `None` without a key.
    pub fn new(
        signer: Arc<str>,
        (members, terms): (Vec<Member>, Terms),
        is_cached: bool,
        now: Instant,
    ) -> Option<Self> {
        let turn = ArcSwap::from_pointee(first_turn(&members, &terms, is_cached, now)?);
        Some(Self { signer, members, terms, is_cached, turn, turning: Mutex::default() })
    }

    /// Whose turn it is.
    #[inline]
    pub fn turn(&self, now: Instant) -> Guard<Arc<Turn>> {
        let turn = self.turn.load();
        match turn.until {
            Some(until) if now >= until => {
                self.look(now);
                self.turn.load()
            }
            _ => turn,
        }
    }

    /// Looks whose turn it is. A turn that goes on keeps its tokens.
    #[cold]
    pub fn look(&self, now: Instant) {
        let _alone = locked(&self.turning);
        let before = self.turn.load();
        let Some(mut next) = first_turn(&self.members, &self.terms, self.is_cached, now) else { return };
        if Arc::ptr_eq(&next.key, &before.key) {
            next.cache = before.cache.clone();
        } else {
            let (signer, kid) = (&self.signer, &next.key.public.kid);
            log::info!("signing key changed: signer={signer} kid={kid}");
        }
        self.turn.store(Arc::new(next));
    }

    /// Each key and what it does.
    pub fn states(&self, now: Instant) -> impl Iterator<Item = (&Member, KeyState)> {
        self.members.iter().zip(self.terms.states(&known(&self.members), now))
    }

    /// How long the key that signs should still be published first; zero if it is ready.
    pub fn early(&self, now: Instant) -> Duration {
        self.terms.early(&known(&self.members), now)
    }

    /// Whether one of these keys, which are gone, would sign if it were here.
    pub fn misses(&self, gone: &[Arc<Record>], now: Instant) -> bool {
        let mut all = known(&self.members);
        all.extend(gone.iter().map(|record| record.known(&record.name)));
        self.terms.signing(&all, now).is_some_and(|signing| signing >= self.members.len())
    }

    /// Each key.
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// Notes that a verifier fetched all of these keys, from this address.
    pub fn fetched(&self, verifier: &Arc<str>, from: IpAddr, now: Instant) {
        for member in &self.members {
            locked(&member.record.fetched_by).entry(verifier.clone()).or_default().add(from);
        }
        self.look(now);
    }
}

impl Member {
    pub fn new(found: Found, record: Arc<Record>) -> Self {
        let header = header(&found.key);
        Self { name: found.name, key: found.key, record, header }
    }
}

/// What is known of a signer's key while this process lives, and the one after an
/// upgrade.
#[derive(Debug)]
pub(super) struct Record {
    pub public: Jwk,
    /// Its file's, when it was first met.
    name: Arc<str>,
    since: Instant,
    /// Seconds that its tokens count.
    ttl: u64,
    fetched_by: Mutex<BTreeMap<Arc<str>, Fetches>>,
    /// When the last token that it signed expires, seconds since 1970.
    last_expiry: AtomicU64,
    /// When its file was gone, seconds since 1970; 0 while it is there.
    retired: AtomicU64,
}

/// What of a [`Record`] outlives its process.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub(super) struct Past {
    /// For how long the key is published; to the nanosecond, so that of two keys the
    /// same one stays the newer.
    published_for: Duration,
    name: String,
    ttl: u64,
    fetched_by: BTreeMap<String, Fetches>,
    last_expiry: u64,
    retired: u64,
}

impl Record {
    pub fn new(public: Jwk, name: Arc<str>, since: Instant, ttl: u64) -> Self {
        let (fetched_by, last_expiry, retired) = Default::default();
        Self { public, name, since, ttl, fetched_by, last_expiry, retired }
    }

    /// What another process told of it.
    pub fn recall(public: Jwk, past: Past, now: Instant) -> Self {
        let since = now.checked_sub(past.published_for).unwrap_or(now);
        let (last_expiry, retired) = (past.last_expiry.into(), past.retired.into());
        let fetched_by = past.fetched_by.into_iter().map(|(name, fetches)| (name.into(), fetches));
        let fetched_by = Mutex::new(fetched_by.collect());
        Self { public, name: past.name.into(), since, ttl: past.ttl, fetched_by, last_expiry, retired }
    }

    /// What to tell another process of it; `None` once nobody needs the key.
    pub fn remember(&self, now: Now) -> Option<Past> {
        let retired = self.retired.load(Ordering::Relaxed);
        (retired == 0 || self.is_published(now)).then(|| Past {
            published_for: now.steady.saturating_duration_since(self.since),
            name: self.name.to_string(),
            ttl: self.ttl,
            fetched_by: self.fetched_by().into_iter().map(|(name, f)| (name.to_string(), f)).collect(),
            last_expiry: self.last_expiry.load(Ordering::Relaxed),
            retired,
        })
    }

    fn known(&self, name: &Arc<str>) -> Known {
        Known { name: name.clone(), since: self.since, fetched_by: self.fetched_by() }
    }

    /// Who fetched it, and how often.
    pub fn fetched_by(&self) -> BTreeMap<Arc<str>, Fetches> {
        locked(&self.fetched_by).clone()
    }

    /// Notes when a token expires that it signed.
    pub fn signed(&self, expires: u64) {
        self.last_expiry.fetch_max(expires, Ordering::Relaxed);
    }

    /// Notes that its file is gone; the first time counts.
    pub fn retire(&self, now: Now) {
        let now = (now.unix_millis() / 1000).max(1);
        self.retired.compare_exchange(0, now, Ordering::Relaxed, Ordering::Relaxed).ok();
    }

    /// Whether its file is gone.
    pub fn is_retired(&self) -> bool {
        self.retired.load(Ordering::Relaxed) != 0
    }

    /// Notes that its file is there.
    pub fn revive(&self) {
        self.retired.store(0, Ordering::Relaxed);
    }

    /// Until when a retired key stays published, in seconds since 1970: until its last
    /// token has expired, also for verifiers with some patience. A request that began
    /// before it retired may still sign with it.
    pub fn published_until(&self) -> u64 {
        let at_least = self.retired.load(Ordering::Relaxed) + self.ttl;
        self.last_expiry.load(Ordering::Relaxed).max(at_least) + PATIENCE
    }

    /// Whether a retired key is published still.
    pub fn is_published(&self, now: Now) -> bool {
        now.unix_millis() / 1000 <= self.published_until()
    }
}

fn first_turn(members: &[Member], terms: &Terms, is_cached: bool, now: Instant) -> Option<Turn> {
    let known = known(members);
    let member = members.get(terms.signing(&known, now)?)?;
    Some(Turn {
        key: member.key.clone(),
        record: member.record.clone(),
        header: member.header.clone(),
        cache: Arc::new(if is_cached { Cache::new(PLACES, MAX_CLAIMS) } else { Cache::none() }),
        until: terms.next_change(&known, now),
    })
}

fn known(members: &[Member]) -> Vec<Known> {
    members.iter().map(|member| member.record.known(&member.name)).collect()
}

/// The encoded header of a key's tokens and a dot. `typ` is `JWT`: libraries look at
/// another only where they were told to.
fn header(key: &SigningKey) -> Arc<[u8]> {
    let (alg, kid) = (key.algorithm(), &key.public.kid);
    // The plugin writes base64url where RFC 7515 has base64; who verifies its tokens
    // reads that.
    let certificate = key.certificate.as_ref().map(|der| format!(r#","x5c":["{}"]"#, base64url::encode(der)));
    let certificate = certificate.unwrap_or_default();
    let json = format!(r#"{{"typ":"JWT","alg":"{alg}","kid":"{kid}"{certificate}}}"#);
    let mut header = Vec::new();
    base64url::push(&mut header, json.as_bytes());
    header.push(b'.');
    header.into()
}

/// With 100 clients a second that differ and 15 s of use each, 1500 are alive.
const PLACES: usize = 4096;

/// 4096 of them with their tokens, a third longer and more, take 13 MiB.
const MAX_CLAIMS: usize = 1024;

/// A panic elsewhere breaks no promise of these values.
pub(super) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Seconds that verifiers take a token longer than it counts; most allow a minute.
const PATIENCE: u64 = 60;
