//! One exchange with the store: what was spent since the last one is told, and where
//! the fleet stands is heard.
//!
//! Always holds: it ends within the settings' timeout. What was told is settled or
//! lost, never told again: it may have arrived.

use std::{
    future::Future,
    sync::Arc,
    time::{Duration, Instant},
};

use futures::future::{join_all, try_join_all};
use redis::RedisResult;
use tokio::time::timeout;

use super::{
    StoreSettings,
    client::Client,
    failure,
    script::{BUCKETS, Bucket, Scripts, bucket_of, seeds},
};
use crate::{
    limit::lease::{Lease, Told},
    telemetry::metrics::ExchangeResult,
};

/// A store that answers, and what is exchanged with it.
pub(super) struct Exchange<'a> {
    pub(super) client: &'a Client,
    pub(super) scripts: &'a Scripts,
    pub(super) settings: &'a StoreSettings,
    pub(super) leases: &'a [Arc<Lease>],
}

/// What is known of the fleet after a word with the store.
pub(super) struct Fleet {
    /// At least one, this one.
    pub(super) gateways: u64,
    /// Those of all.
    pub(super) seeds: [u64; 2],
}

impl Exchange<'_> {
    /// Whether every part of the store can be written to, with a call to each.
    pub(super) async fn probe(&self) -> Result<(), ExchangeResult> {
        let buckets = if self.client.is_cluster() { BUCKETS } else { 1 };
        let each = self.leases.iter().flat_map(|lease| (0..buckets).map(move |number| (lease, number)));
        let probes = each.map(|(lease, number)| async move {
            self.scripts.probe(self.client, &self.bucket(lease, number)).await
        });
        self.in_time(async { try_join_all(probes).await.map(drop) }).await
    }

    /// Says that this gateway is there.
    pub(super) async fn present(&self, id: u64, own: [u64; 2]) -> Result<Fleet, ExchangeResult> {
        let prefix = self.settings.spec.prefix.as_str();
        let word = async {
            let gateways = self.scripts.present(self.client, prefix, id).await?;
            Ok(Fleet { gateways, seeds: seeds(self.client, prefix, own).await? })
        };
        self.in_time(word).await
    }

    /// Settles up what was spent, oldest first and not all of it if it is very much.
    /// `more_age` makes what was spent older by the time that it is on its way.
    pub(super) async fn settle_up(&self, more_age: Duration) -> Settled {
        let now = Instant::now();
        let mut calls = Vec::new();
        let (mut room, mut is_all) = (MOST_KEYS, true);
        for (lease, left) in self.leases.iter().zip((1..=self.leases.len()).rev()) {
            // What one leaves, those after it may have; none takes what is another's.
            let share = room.div_ceil(left);
            let told = lease.cut(share, now);
            is_all &= told.len() < share;
            room = room.saturating_sub(told.len());
            calls.extend(in_calls(told).map(|(number, told)| self.call(lease, number, told, more_age)));
        }
        let asked = !calls.is_empty();
        let ended = join_all(calls).await;
        Settled { asked, is_all, failure: ended.into_iter().find_map(Result::err) }
    }

    async fn call(
        &self,
        lease: &Lease,
        number: u8,
        told: Vec<Told>,
        more_age: Duration,
    ) -> Result<(), ExchangeResult> {
        let more_age = u64::try_from(more_age.as_micros()).unwrap_or(u64::MAX);
        let (sent, bucket) = (Instant::now(), self.bucket(lease, number));
        let call = self.scripts.reckon(self.client, &bucket, &told, more_age);
        match self.in_time(call).await.and_then(|answer| answer.ok_or(ExchangeResult::Broken)) {
            Ok(reckoned) => {
                lease.settle(told, reckoned, sent, Instant::now());
                Ok(())
            }
            Err(why) => {
                lease.lost(told);
                Err(why)
            }
        }
    }

    fn bucket<'b>(&'b self, lease: &'b Lease, number: u8) -> Bucket<'b> {
        let most_ahead = lease.most_ahead(self.settings.exchange_every());
        Bucket { prefix: self.settings.spec.prefix.as_str(), limit: lease.id(), number, most_ahead }
    }

    async fn in_time<T>(&self, ask: impl Future<Output = RedisResult<T>>) -> Result<T, ExchangeResult> {
        match timeout(self.settings.timeout(), ask).await {
            Ok(answer) => answer.map_err(|why| failure::of(&why)),
            Err(_) => Err(ExchangeResult::Timeout),
        }
    }
}

/// How settling up ended.
pub(super) struct Settled {
    /// Whether anything was told.
    pub(super) asked: bool,
    /// Whether nothing was left to tell.
    pub(super) is_all: bool,
    /// Of any call.
    pub(super) failure: Option<ExchangeResult>,
}

/// Calls by bucket, none too long.
fn in_calls(told: Vec<Told>) -> impl Iterator<Item = (u8, Vec<Told>)> {
    let mut buckets: Vec<Vec<Told>> = (0..BUCKETS).map(|_| Vec::new()).collect();
    for one in told {
        if let Some(bucket) = buckets.get_mut(usize::from(bucket_of(one.key))) {
            bucket.push(one);
        }
    }
    (0..BUCKETS).zip(buckets).flat_map(|(number, mut bucket)| {
        let mut calls = Vec::new();
        while !bucket.is_empty() {
            calls.push((number, bucket.split_off(bucket.len().saturating_sub(MOST_IN_CALL))));
        }
        calls
    })
}

/// Keys in a call: the store does nothing else for as long as it runs, about a
/// millisecond.
const MOST_IN_CALL: usize = 256;

/// Keys in an exchange, about 20 ms of the store's time.
const MOST_KEYS: usize = 4_096;
