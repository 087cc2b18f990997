//! Settles up with the store in time, for as long as the process lives.
//!
//! Owns when: an exchange every `exchange_every`, a word of presence each second, and
//! trying again after a failure. Always holds: two failures in a row make leases
//! stale, and nothing but a store that answers makes them fresh: one that settles up,
//! if it was that which failed.

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
    failure::StoreError,
    script::Scripts,
    state::Shared,
};
use crate::{
    limit::Clock,
    telemetry::{metrics::ExchangeResult, random::random},
};

/// The rounds of one process.
pub(super) struct Rounds {
    followed: watch::Receiver<Followed>,
    shared: Arc<Shared>,
    scripts: Scripts,
    /// Which gateway this is, as others see it: nobody's, until the process ends.
    id: u64,
    settings: Option<Arc<StoreSettings>>,
    client: Option<Client>,
    /// In a row, of exchanges: a store that lets us in and answers nothing else is none.
    failures: u32,
    /// Ways in that failed, since the last one that did not: the wait grows with them.
    retries: u32,
    /// Exchanges that failed though the store let us in, since the last one that
    /// settled up. While there are any, to be let in again says nothing.
    unsettled: u32,
    /// Keys in an exchange: fewer for a store that is too slow for more.
    most_keys: usize,
    /// When the next word of presence is due.
    present_at: Instant,
    clock: Clock,
}

impl Rounds {
    pub(super) fn new(followed: watch::Receiver<Followed>, shared: Arc<Shared>, clock: Clock) -> Self {
        Self {
            followed,
            shared,
            scripts: Scripts::new(),
            id: u64::from_ne_bytes(random()) >> 1,
            settings: None,
            client: None,
            failures: 0,
            retries: 0,
            unsettled: 0,
            most_keys: MOST_KEYS,
            present_at: Instant::now(),
            clock,
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
            let wait = round.unwrap_or_else(|_| self.failed(ExchangeResult::Broken.into()));
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
            (self.client, self.failures, self.most_keys) = (None, 0, MOST_KEYS);
            (self.retries, self.unsettled) = (0, 0);
            self.shared.begin(settings.as_deref());
        }
        self.settings = settings;
    }

    /// Says how long to wait until the next one.
    async fn round(&mut self, settings: &StoreSettings, followed: &Followed) -> Duration {
        let began = Instant::now();
        let outcome = match self.client.clone() {
            None => self.greet(settings, followed).await,
            Some(client) => self.settle_up(client, settings, followed).await,
        };
        let took = began.elapsed();
        match outcome {
            Err(why) => {
                self.shared.series.exchanged(why.result(), took);
                self.failed(why)
            }
            Ok(done) => {
                if done.asked {
                    self.shared.series.exchanged(ExchangeResult::Answered, took);
                    self.shared.answered(took);
                }
                match done.is_all {
                    true => settings.exchange_every().saturating_sub(took),
                    // Half of the time at most: others have something to tell too.
                    false => settings.exchange_every().min(took),
                }
            }
        }
    }

    /// Is let in, all of it within one deadline; and settles up, if it was that which
    /// failed.
    async fn greet(&mut self, settings: &StoreSettings, followed: &Followed) -> Result<Done, StoreError> {
        // Once leases are stale nobody waits for it: a cluster's many handshakes may
        // take their time.
        let patience = if self.failures < STALE_AFTER { 1 } else { 4 };
        let let_in = timeout(settings.timeout() * patience, self.be_let_in(settings, followed)).await;
        let (client, fleet) = let_in.unwrap_or(Err(ExchangeResult::Timeout.into()))?;
        self.met(&fleet);
        self.client = Some(client.clone());
        // The next exchange shows whether it was more than a greeting.
        self.failures = self.failures.min(STALE_AFTER - 1);
        self.retries = 0;
        if self.unsettled > 0 {
            return self.settle_up(client, settings, followed).await;
        }
        Ok(Done { asked: true, is_all: true })
    }

    /// Connects, and sees whether all of it can be written to.
    async fn be_let_in(
        &self,
        settings: &StoreSettings,
        followed: &Followed,
    ) -> Result<(Client, Fleet), StoreError> {
        let client = Client::connect(settings).await?;
        let exchange = self.exchange(&client, settings, followed);
        exchange.probe().await?;
        let fleet = exchange.present(self.id, self.shared.fleet.seeds()).await?;
        Ok((client, fleet))
    }

    async fn settle_up(
        &mut self,
        client: Client,
        settings: &StoreSettings,
        followed: &Followed,
    ) -> Result<Done, StoreError> {
        let exchange = self.exchange(&client, settings, followed);
        let present = self.present_at <= Instant::now();
        let (settled, fleet) = tokio::join!(exchange.settle_up(self.most_keys), async {
            match present {
                true => exchange.present(self.id, self.shared.fleet.seeds()).await.map(Some),
                false => Ok(None),
            }
        });
        if let Some(why) = settled.failure {
            return Err(why.into());
        }
        if let Some(fleet) = fleet? {
            self.met(&fleet);
        }
        let asked = settled.asked || present || self.unsettled > 0;
        if asked {
            (self.failures, self.unsettled) = (0, 0);
            self.most_keys = (self.most_keys * 2).min(MOST_KEYS);
        }
        Ok(Done { asked, is_all: settled.is_all })
    }

    fn exchange<'a>(
        &'a self,
        client: &'a Client,
        settings: &'a StoreSettings,
        followed: &'a Followed,
    ) -> Exchange<'a> {
        let (scripts, leases, clock) = (&self.scripts, &followed.leases, self.clock);
        Exchange { client, scripts, settings, leases, clock }
    }

    fn met(&mut self, fleet: &Fleet) {
        self.present_at = Instant::now() + PRESENT_EVERY;
        self.shared.met(fleet);
    }

    /// Says when to try again.
    fn failed(&mut self, why: StoreError) -> Duration {
        let was_let_in = self.client.take().is_some();
        self.failures = self.failures.saturating_add(1);
        self.shared.fleet.note_asked();
        let again = if was_let_in { &mut self.unsettled } else { &mut self.retries };
        let wait = wait(*again, if was_let_in { LONGEST_UNSETTLED } else { LONGEST });
        *again = again.saturating_add(1);
        if why.result() == ExchangeResult::Timeout {
            self.most_keys = (self.most_keys / 2).max(FEWEST_KEYS);
        }
        log::debug!("exchange with the store failed: result={} failures={}", why.word(), self.failures);
        if self.failures < STALE_AFTER {
            // It may have been the connection alone.
            return Duration::ZERO;
        }
        self.shared.failed(why);
        wait
    }
}

/// Before another try, after so many.
fn wait(tries: u32, longest: Duration) -> Duration {
    RETRY.saturating_mul(1 << tries.min(10)).min(longest)
}

struct Done {
    /// Whether the store was asked anything.
    asked: bool,
    /// Whether nothing is left to tell.
    is_all: bool,
}

/// One failure may be a connection that a failover or an idle timeout ended.
const STALE_AFTER: u32 = 2;

/// Keys in an exchange, about 25 ms of the store's time; and the fewest.
const MOST_KEYS: usize = 4_096;
const FEWEST_KEYS: usize = 256;

const PRESENT_EVERY: Duration = Duration::from_secs(1);

/// The first and the longest wait: a store comes back to a fleet within seconds, and
/// is not held down by it.
const RETRY: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(1);
/// For one that lets in and settles nothing: that is seldom over in a second, and each
/// try costs what it told.
const LONGEST_UNSETTLED: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_doubles_up_to_its_longest() {
        let waits = |longest| [0, 1, 3, 4, 7, 99].map(|tries| wait(tries, longest).as_millis());

        assert_eq!(waits(LONGEST), [100, 200, 800, 1_000, 1_000, 1_000]);
        assert_eq!(waits(LONGEST_UNSETTLED), [100, 200, 800, 1_600, 10_000, 10_000]);
    }
}
