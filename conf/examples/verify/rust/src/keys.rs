//! The gateway's public keys by `kid`, from a URL or a file, fetched again when needed.
//!
//! A fetch that fails changes nothing: the keys that are here stay good.

use std::{
    collections::HashMap,
    error::Error,
    sync::{Arc, RwLock},
    time::{Duration, Instant},
};

use jsonwebtoken::{
    Algorithm, DecodingKey,
    jwk::{AlgorithmParameters, EllipticCurve, Jwk},
};
use serde_json::Value;
use tokio::sync::Mutex;

/// A key set that is kept.
pub struct Keys {
    pub source: String,
    /// What keys may be for.
    pub algorithms: Vec<Algorithm>,
    /// From one fetch to the next at least.
    pub refetch: Duration,
    /// After so long the set is fetched again though its keys are known.
    pub max_age: Duration,
    known: RwLock<Known>,
    /// When the last fetch began; held while one goes on.
    tried: Mutex<Option<Instant>>,
    client: reqwest::Client,
}

type Key = Arc<(Algorithm, DecodingKey)>;

#[derive(Default)]
struct Known {
    keys: HashMap<String, Key>,
    fetched: Option<Instant>,
}

impl Keys {
    pub fn new(source: String, algorithms: Vec<Algorithm>, refetch: Duration, max_age: Duration) -> Self {
        let (known, tried, client) = Default::default();
        Self { source, algorithms, refetch, max_age, known, tried, client }
    }

    /// The key of this name and what it verifies; `None` if there is none.
    pub async fn get(&self, kid: &str) -> Option<Key> {
        let (key, is_old) = self.look(kid);
        let mut tried = match (&key, is_old) {
            (Some(_), false) => return key,
            // Nobody waits for a fetch whose key is here already.
            (Some(_), true) => match self.tried.try_lock() {
                Ok(tried) => tried,
                Err(_) => return key,
            },
            (None, _) => self.tried.lock().await,
        };
        // Made-up names must not make us flood the gateway.
        if tried.is_none_or(|tried| tried.elapsed() >= self.refetch) {
            *tried = Some(Instant::now());
            match self.fetch().await {
                Ok(keys) => *self.known.write().unwrap() = Known { keys, fetched: *tried },
                Err(why) => eprintln!("key set not fetched: {why:?}"),
            }
        }
        self.look(kid).0
    }

    fn look(&self, kid: &str) -> (Option<Key>, bool) {
        let known = self.known.read().unwrap();
        let is_old = known.fetched.is_none_or(|fetched| fetched.elapsed() >= self.max_age);
        (known.keys.get(kid).cloned(), is_old)
    }

    async fn fetch(&self) -> Result<HashMap<String, Key>, Box<dyn Error>> {
        let text = match self.source.contains("://") {
            true => {
                let answer = self.client.get(&self.source).timeout(Duration::from_secs(5)).send().await?;
                answer.error_for_status()?.bytes().await?.to_vec()
            }
            false => tokio::fs::read(&self.source).await?,
        };
        let set: Value = serde_json::from_slice(&text)?;
        let entries = set["keys"].as_array().ok_or("there is no list `keys`")?;
        // One by one: a key of a kind that is unknown here spoils none of the others.
        Ok(entries.iter().filter_map(|entry| self.read(entry)).collect())
    }

    fn read(&self, entry: &Value) -> Option<(String, Key)> {
        let jwk: Jwk = serde_json::from_value(entry.clone()).ok()?;
        let algorithm = jwk.common.key_algorithm?.to_string().parse().ok()?;
        let fits = match (&jwk.algorithm, algorithm) {
            (AlgorithmParameters::EllipticCurve(key), Algorithm::ES256) => key.curve == EllipticCurve::P256,
            (AlgorithmParameters::OctetKeyPair(key), Algorithm::EdDSA) => key.curve == EllipticCurve::Ed25519,
            (AlgorithmParameters::RSA(_), Algorithm::RS256 | Algorithm::PS256) => true,
            _ => false,
        };
        if !fits || !self.algorithms.contains(&algorithm) {
            return None;
        }
        let key = DecodingKey::from_jwk(&jwk).ok()?;
        Some((jwk.common.key_id?, Arc::new((algorithm, key))))
    }
}
