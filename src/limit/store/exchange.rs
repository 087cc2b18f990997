//! One exchange with the store: what was spent since the last one is told, and where
//! the fleet stands is heard.
//!
//! Always holds: it ends within the settings' timeout. What was told is settled or
//! lost, never told again: it may have arrived.

use std::{future::Future, sync::Arc, time::Instant};

use futures::future::{join_all, try_join_all};
use redis::RedisResult;
use tokio::time::timeout;

use super::{
    StoreSettings,
    client::Client,
    failure::{self, StoreError},
    script::{BUCKETS, Bucket, Scripts, bucket_of, seeds},
};
use crate::{
    limit::{Clock, FleetSeeds, Lease, Told},
    telemetry::metrics::ExchangeResult,
};

/// A store that answers, and what is exchanged with it.
pub(super) struct Exchange<'a> {
    pub(super) client: &'a Client,
    pub(super) scripts: &'a Scripts,
    pub(super) settings: &'a StoreSettings,
    pub(super) leases: &'a [Arc<Lease>],
    /// The one that leases count in.
    pub(super) clock: Clock,
}

/// What is known of the fleet after a word with the store.
pub(super) struct Fleet {
    /// At least one, this one.
    pub(super) gateways: u32,
    /// Those of all.
    pub(super) seeds: FleetSeeds,
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
    pub(super) async fn present(&self, id: u64, own: FleetSeeds) -> Result<Fleet, StoreError> {
        let prefix = self.settings.spec.prefix.as_str();
        let word = async {
            let gateways = self.scripts.present(self.client, prefix, id).await?;
            Ok((gateways, seeds(self.client, prefix, own).await?))
        };
        let (gateways, seeds) = self.in_time(word).await?;
        Ok(Fleet { gateways, seeds: seeds? })
    }

    /// Settles up what was spent, oldest first: at most so many keys of all leases.
    pub(super) async fn settle_up(&self, most_keys: usize) -> Settled {
        let now = self.clock.at(Instant::now());
        let mut calls = Vec::new();
        let (mut room, mut is_all) = (most_keys, true);
        for (lease, left) in self.leases.iter().zip((1..=self.leases.len()).rev()) {
            // What one leaves, those after it may have; none takes what is another's.
            let share = room.div_ceil(left);
            let told = lease.cut(share, self.settings.lenience(), now);
            is_all &= told.len() < share;
            room = room.saturating_sub(told.len());
            calls.extend(in_calls(told).map(|(number, told)| self.call(lease, number, told)));
        }
        let asked = !calls.is_empty();
        let ended = join_all(calls).await;
        Settled { asked, is_all, failure: ended.into_iter().find_map(Result::err) }
    }

    async fn call(&self, lease: &Lease, number: u8, told: Vec<Told>) -> Result<(), ExchangeResult> {
        let (sent, bucket) = (self.clock.at(Instant::now()), self.bucket(lease, number));
        match self.in_time(self.scripts.reckon(self.client, &bucket, &told)).await {
            Ok(reckoned) => {
                told.into_iter()
                    .zip(reckoned)
                    .for_each(|(told, reckoned)| lease.settle(told, reckoned, sent));
                Ok(())
            }
            Err(why) => {
                told.into_iter().for_each(|told| lease.lost(told));
                Err(why)
            }
        }
    }

    fn bucket<'b>(&'b self, lease: &'b Lease, number: u8) -> Bucket<'b> {
        let most_ahead = lease.most_ahead(self.settings.lenience());
        Bucket { prefix: self.settings.spec.prefix.as_str(), limit: lease.identity(), number, most_ahead }
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

/// Keys in a call: the store does nothing else for as long as it runs, a millisecond
/// or two (6 µs a key).
const MOST_IN_CALL: usize = 256;
