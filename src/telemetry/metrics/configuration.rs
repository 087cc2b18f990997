//! Which configuration is at work, and what became of those that were tried.
//!
//! Changed a few times a day; no request touches it.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::SystemTime,
};

use prometheus::proto::MetricType;

use super::{
    closed_set::closed_set,
    family::{Family, Sample, Scrape},
    unix_seconds,
};
use crate::telemetry::short_hash;

/// What is counted of configurations, told as a whole at each scrape.
#[derive(Default)]
pub struct Configuration(Mutex<State>);

#[derive(Default)]
struct State {
    generation: u64,
    hash: String,
    /// When the last one was tried, and whether it was taken.
    last: (bool, i64),
    taken: u64,
    refused: u64,
    rollbacks: [u64; Rollback::ALL.len()],
    is_unconfirmed: bool,
    certificates: [u64; CertificateReload::ALL.len()],
}

closed_set! {
    /// Why a former configuration was called back.
    pub enum Rollback {
        /// An operator asked for it.
        Asked = "asked",
        /// Nobody confirmed the new one in time.
        Unconfirmed = "unconfirmed",
    }
}

closed_set! {
    /// What became of certificates, keys or authorities whose files changed.
    pub enum CertificateReload {
        /// They are shown from now on.
        Taken = "ok",
        /// They did not fit for a minute, and the former ones go on.
        Refused = "refused",
    }
}

impl Configuration {
    /// One was read and is at work; the first one of the process counts too.
    pub fn taken(&self, generation: u64, hash: &str, now: SystemTime) {
        let mut state = self.locked();
        state.at_work(generation, hash);
        state.last = (true, unix_seconds(now));
        state.taken += 1;
    }

    /// One was refused; the one before stays at work.
    pub fn refused(&self, now: SystemTime) {
        let mut state = self.locked();
        state.last = (false, unix_seconds(now));
        state.refused += 1;
    }

    /// A former one is at work again. What was said of the last reload stays said: the
    /// files are still those.
    pub fn rolled_back(&self, why: Rollback, generation: u64, hash: &str) {
        let mut state = self.locked();
        state.at_work(generation, hash);
        if let Some(count) = state.rollbacks.get_mut(why as usize) {
            *count += 1;
        }
    }

    /// Whether the one at work waits for somebody to confirm it.
    pub fn waits_for_confirmation(&self, waits: bool) {
        self.locked().is_unconfirmed = waits;
    }

    /// Files of certificates changed.
    pub fn certificates_read(&self, result: CertificateReload) {
        if let Some(count) = self.locked().certificates.get_mut(result as usize) {
            *count += 1;
        }
    }

    fn locked(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn at_work(&mut self, generation: u64, hash: &str) {
        self.generation = generation;
        short_hash(hash).clone_into(&mut self.hash);
    }
}

impl Scrape for Configuration {
    const FAMILIES: &'static [Family] =
        &[GENERATION, INFO, SUCCESSFUL, TIMESTAMP, RELOADS, ROLLBACKS, UNCONFIRMED, CERTIFICATES];

    fn scrape(&self) -> Vec<Vec<Sample>> {
        let state = self.locked();
        let (is_good, at) = state.last;
        let rollbacks = Rollback::ALL.iter().zip(state.rollbacks);
        let certificates = CertificateReload::ALL.iter().zip(state.certificates);
        vec![
            vec![GENERATION.count(&[], state.generation)],
            vec![INFO.count(&[&state.hash], 1)],
            vec![SUCCESSFUL.count(&[], u64::from(is_good))],
            vec![TIMESTAMP.value(&[], at as f64)],
            vec![RELOADS.count(&[TAKEN], state.taken), RELOADS.count(&[REFUSED], state.refused)],
            rollbacks.map(|(why, n)| ROLLBACKS.count(&[why.word()], n)).collect(),
            vec![UNCONFIRMED.count(&[], u64::from(state.is_unconfirmed))],
            certificates.map(|(result, n)| CERTIFICATES.count(&[result.word()], n)).collect(),
        ]
    }
}

const TAKEN: &str = "ok";
const REFUSED: &str = "refused";

const fn gauge(name: &'static str, help: &'static str, labels: &'static [&'static str]) -> Family {
    Family { name, help, labels, kind: MetricType::GAUGE }
}

const fn counter(name: &'static str, help: &'static str, labels: &'static [&'static str]) -> Family {
    Family { name, help, labels, kind: MetricType::COUNTER }
}

const GENERATION: Family = gauge(
    "tollgate_config_generation",
    "The configuration at work, counted from 1 as they are taken or called back.",
    &[],
);
const INFO: Family = gauge(
    "tollgate_config_info",
    "Always 1; the configuration at work, by the first digits of its hash.",
    &["hash"],
);
const SUCCESSFUL: Family = gauge(
    "tollgate_config_last_reload_successful",
    "1 if the last reload was taken, 0 if it was refused.",
    &[],
);
const TIMESTAMP: Family = gauge(
    "tollgate_config_last_reload_timestamp_seconds",
    "When the last reload was, taken or refused.",
    &[],
);
const RELOADS: Family = counter(
    "tollgate_config_reloads_total",
    "Configurations taken and refused; the first one counts too.",
    &["result"],
);
const ROLLBACKS: Family = counter(
    "tollgate_config_rollbacks_total",
    "Times that the configuration before was called back, by why.",
    &["reason"],
);
const UNCONFIRMED: Family =
    gauge("tollgate_config_unconfirmed", "1 while the configuration at work waits to be confirmed.", &[]);
const CERTIFICATES: Family = counter(
    "tollgate_certificate_reloads_total",
    "Times that files of certificates changed and were taken, or did not fit for a minute.",
    &["result"],
);
