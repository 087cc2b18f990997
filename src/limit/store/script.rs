//! What is asked of the store: names of keys, the two scripts, and what their answers
//! mean.
//!
//! Always holds: the keys of one call lie in one slot of a cluster, and a call is
//! counted once: it is sent again only when the store says that it did not run it.

use std::time::Duration;

use redis::{Cmd, RedisError, RedisResult, ServerErrorKind, Value, cmd};

use super::client::Client;
use crate::limit::{FleetSeeds, KeyHash, NoSeeds, Reckoned, Told};

/// A script, as the store knows it.
pub(super) struct Script {
    code: &'static str,
    hash: String,
}

impl Script {
    fn new(code: &'static str) -> Self {
        Self { code, hash: redis::Script::new(code).get_hash().to_owned() }
    }

    /// Runs it. The store knows it by its hash, or is told it once more: a restart or
    /// `SCRIPT FLUSH` forgets it.
    async fn run(&self, client: &Client, keys: &[String], arguments: &[u64]) -> RedisResult<Value> {
        let call = |name: &str, script: &str| -> Cmd {
            let mut call = cmd(name);
            call.arg(script).arg(keys.len()).arg(keys).arg(arguments);
            call
        };
        match client.ask(&call("EVALSHA", &self.hash)).await {
            Err(why) if why.kind() == ServerErrorKind::NoScript.into() => {
                client.ask(&call("EVAL", self.code)).await
            }
            answered => answered,
        }
    }
}

/// Both scripts, and what every key begins with.
pub(super) struct Scripts {
    reckon: Script,
    present: Script,
}

impl Scripts {
    pub(super) fn new() -> Self {
        Self { reckon: Script::new(RECKON), present: Script::new(PRESENT) }
    }

    /// Tells what was spent on keys of one bucket, and hears where the fleet stands
    /// with each, in the same order.
    pub(super) async fn reckon(
        &self,
        client: &Client,
        bucket: &Bucket<'_>,
        told: &[Told],
    ) -> RedisResult<Vec<Reckoned>> {
        let keys: Vec<_> = told.iter().map(|one| bucket.cell(one.key)).collect();
        let mut arguments = vec![micros(bucket.most_ahead)];
        told.iter().for_each(|one| arguments.extend([one.micros.min(MOST), micros(one.age)]));
        let answer = self.reckon.run(client, &keys, &arguments).await?;
        reckoned(&answer, told.len()).ok_or_else(unfit)
    }

    /// Whether a bucket can be written to; takes nothing from anybody.
    pub(super) async fn probe(&self, client: &Client, bucket: &Bucket<'_>) -> RedisResult<()> {
        let answer = self.reckon.run(client, &[bucket.probe()], &[0, 0, 0]).await?;
        reckoned(&answer, 1).map(drop).ok_or_else(unfit)
    }

    /// Says that this gateway is there, and hears how many are.
    pub(super) async fn present(&self, client: &Client, prefix: &str, id: u64) -> RedisResult<u32> {
        let keys = [format!("{prefix}:gateways")];
        match self.present.run(client, &keys, &[id, ABSENT_AFTER_MS]).await? {
            Value::Int(count) => u32::try_from(count).map_err(|_| unfit()),
            _ => Err(unfit()),
        }
    }
}

/// The seeds that the fleet hashes keys with: those that are there, else `own`; or what
/// is there is none.
pub(super) async fn seeds(
    client: &Client,
    prefix: &str,
    own: FleetSeeds,
) -> RedisResult<Result<FleetSeeds, NoSeeds>> {
    let key = seeds_key(prefix);
    client.ask(cmd("SET").arg(&key).arg(own.to_string()).arg("NX")).await?;
    let answer = client.ask(cmd("GET").arg(&key)).await?;
    let Value::BulkString(text) = answer else { return Err(unfit()) };
    Ok(str::from_utf8(&text).map_err(|_| NoSeeds).and_then(str::parse))
}

/// Where the fleet's seeds are.
pub(super) fn seeds_key(prefix: &str) -> String {
    format!("{prefix}:seeds")
}

/// A sixteenth of a limit's keys, which lie together.
pub(super) struct Bucket<'a> {
    pub(super) prefix: &'a str,
    /// The limit, and all that its counts depend on.
    pub(super) limit: &'a str,
    pub(super) number: u8,
    /// How far ahead of now a key may be at most.
    pub(super) most_ahead: Duration,
}

impl Bucket<'_> {
    fn cell(&self, key: KeyHash) -> String {
        format!("{{{}:{}:{:02x}}}:{key}", self.prefix, self.limit, self.number)
    }

    fn probe(&self) -> String {
        format!("{{{}:{}:{:02x}}}:probe", self.prefix, self.limit, self.number)
    }
}

/// Which bucket a key is in.
pub(super) fn bucket_of(key: KeyHash) -> u8 {
    u8::try_from(key.tag() >> 60).unwrap_or(0)
}

/// How many there are: a cluster's nodes share a limit's keys by them, and a call has
/// a bucket's keys alone.
pub(super) const BUCKETS: u8 = 16;

fn reckoned(answer: &Value, count: usize) -> Option<Vec<Reckoned>> {
    let Value::Array(values) = answer else { return None };
    let number = |value: &Value| match value {
        Value::Int(number) => u64::try_from(*number).ok(),
        _ => None,
    };
    let pairs = values.chunks_exact(2).map(|pair| match pair {
        [ahead, total] => {
            let ahead = Duration::from_micros(number(ahead)?);
            Some(Reckoned { ahead, total: number(total)? })
        }
        _ => None,
    });
    let all: Vec<_> = pairs.collect::<Option<_>>()?;
    (all.len() == count && values.len() == 2 * count).then_some(all)
}

fn micros(span: Duration) -> u64 {
    u64::try_from(span.as_micros()).unwrap_or(MOST).min(MOST)
}

fn unfit() -> RedisError {
    RedisError::from((redis::ErrorKind::UnexpectedReturnType, "an answer that fits nothing"))
}

const RECKON: &str = include_str!("reckon.lua");
const PRESENT: &str = include_str!("present.lua");

/// So long without a word, and a gateway is none: ten of its words.
const ABSENT_AFTER_MS: u64 = 10_000;

/// What is added up there is a double, exact up to 2^53, and today is 2^51.
const MOST: u64 = 1 << 52;
