//! Settles up with the store in time, for as long as the process lives.
//!
//! Owns when: an exchange every `exchange_every`, a word of presence each second, and
//! trying again after a failure. Always holds: two failures in a row make leases
//! stale, and nothing but a store that answers makes them fresh.

use std::{
    panic::AssertUnwindSafe,
    sync::Arc,
    time::{Duration, Instant},
};

use futures::FutureExt;
use tokio::{
    sync::watch,
    time::{sleep_until, timeout},
};

use super::{
    Followed, StoreSettings,
    client::Client,
    exchange::{Exchange, Fleet},
    script::Scripts,
    state::Shared,
};
use crate::telemetry::{metrics::ExchangeResult, random::random};

/// The rounds of one process.
pub(super) struct Rounds {
    followed: watch::Receiver<Followed>,
    shared: Arc<Shared>,
    scripts: Scripts,
    /// Which gateway this is, as others see it: nobody's, until the process ends.
    id: u64,
    settings: Option<Arc<StoreSettings>>,
    client: Option<Client>,
    failures: u32,
    /// When the next word of presence is due.
    present_at: Instant,
    /// What a call took the last time.
    round_trip: Duration,
}

impl Rounds {
    pub(super) fn new(followed: watch::Receiver<Followed>, shared: Arc<Shared>) -> Self {
        let now = Instant::now();
        Self {
            followed,
            shared,
            scripts: Scripts::new(),
            id: u64::from_ne_bytes(random()) >> 1,
            settings: None,
            client: None,
            failures: 0,
            present_at: now,
            round_trip: Duration::ZERO,
        }
    }

    /// Until nobody can say any more what is to be followed.
    pub(super) async fn run(mut self) {
        loop {
            let followed = self.followed.borrow_and_update().clone();
            self.take_over(followed.settings.clone());
            let Some(settings) = followed.settings.clone() else {
                if self.followed.changed().await.is_err() {
                    return;
                }
                continue;
            };
            let round = AssertUnwindSafe(self.round(&settings, &followed)).catch_unwind().await;
            let wait = round.unwrap_or_else(|_| self.failed(ExchangeResult::Broken, &followed));
            let wake = Instant::now() + wait;
            tokio::select! {
                changed = self.followed.changed() => if changed.is_err() { return },
                () = sleep_until(wake.into()) => {}
            }
        }
    }

    /// Begins afresh with another store; what is the same stays connected.
    fn take_over(&mut self, settings: Option<Arc<StoreSettings>>) {
        if settings != self.settings {
            self.client = None;
            self.failures = 0;
            self.shared.begin(settings.as_deref());
        }
        self.settings = settings;
    }

    /// Says how long to wait until the next one.
    async fn round(&mut self, settings: &StoreSettings, followed: &Followed) -> Duration {
        let began = Instant::now();
        let outcome = match self.client.clone() {
            None => self.greet(settings, followed).await.map(|()| Done { asked: true, is_all: true }),
            Some(client) => self.settle_up(client, settings, followed).await,
        };
        let took = began.elapsed();
        match outcome {
            Err(why) => {
                self.shared.series.exchanged(why, took);
                self.failed(why, followed)
            }
            Ok(done) => {
                if done.asked {
                    self.shared.series.exchanged(ExchangeResult::Answered, took);
                    self.answered(took, followed);
                }
                match done.is_all {
                    true => settings.exchange_every().saturating_sub(took),
                    // Half of the time at most: others have something to tell too.
                    false => settings.exchange_every().min(took),
                }
            }
        }
    }

    /// Connects, and sees whether everything works.
    async fn greet(&mut self, settings: &StoreSettings, followed: &Followed) -> Result<(), ExchangeResult> {
        // Once leases are stale nobody waits for it: a cluster's many handshakes may
        // take their time.
        let patience = if self.failures < STALE_AFTER { 1 } else { 4 };
        let client = timeout(settings.timeout() * patience, Client::connect(settings)).await;
        let client = client.unwrap_or(Err(ExchangeResult::Timeout))?;
        let exchange = self.exchange(&client, settings, followed);
        exchange.probe().await?;
        let fleet = exchange.present(self.id, followed.seeds()).await?;
        self.met(fleet, followed);
        self.client = Some(client);
        Ok(())
    }

    async fn settle_up(
        &mut self,
        client: Client,
        settings: &StoreSettings,
        followed: &Followed,
    ) -> Result<Done, ExchangeResult> {
        let exchange = self.exchange(&client, settings, followed);
        let present = self.present_at <= Instant::now();
        let (settled, fleet) = tokio::join!(exchange.settle_up(self.round_trip), async {
            match present {
                true => exchange.present(self.id, followed.seeds()).await.map(Some),
                false => Ok(None),
            }
        });
        if let Some(why) = settled.failure {
            return Err(why);
        }
        if let Some(fleet) = fleet? {
            self.met(fleet, followed);
        }
        Ok(Done { asked: settled.asked || present, is_all: settled.is_all })
    }

    fn exchange<'a>(
        &'a self,
        client: &'a Client,
        settings: &'a StoreSettings,
        followed: &'a Followed,
    ) -> Exchange<'a> {
        Exchange { client, scripts: &self.scripts, settings, leases: &followed.leases }
    }

    fn met(&mut self, fleet: Fleet, followed: &Followed) {
        self.present_at = Instant::now() + PRESENT_EVERY;
        self.shared.met(fleet.gateways);
        followed.adopt(fleet.seeds);
    }

    fn answered(&mut self, took: Duration, followed: &Followed) {
        self.failures = 0;
        self.round_trip = took;
        followed.set_fresh(true);
        self.shared.answered(took);
    }

    /// Says when to try again.
    fn failed(&mut self, why: ExchangeResult, followed: &Followed) -> Duration {
        self.client = None;
        self.failures = self.failures.saturating_add(1);
        log::debug!("exchange with the store failed: result={} failures={}", why.word(), self.failures);
        if self.failures < STALE_AFTER {
            // It may have been the connection alone.
            return Duration::ZERO;
        }
        followed.set_fresh(false);
        self.shared.failed(why);
        let doubled = self.failures.saturating_sub(STALE_AFTER).min(6);
        (RETRY.0 * (1 << doubled)).min(RETRY.1)
    }
}

struct Done {
    /// Whether the store was asked anything.
    asked: bool,
    /// Whether nothing is left to tell.
    is_all: bool,
}

/// One failure may be a connection that a failover or an idle timeout ended.
const STALE_AFTER: u32 = 2;

const PRESENT_EVERY: Duration = Duration::from_secs(1);

/// The first and the longest wait: a store comes back to a fleet within seconds, and
/// is not held down by it.
const RETRY: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(1));
