//! Limits that a fleet shares through a real store, and a store that fails in every
//! way that there is.

mod failures;
mod hostile;
mod policies;
mod script;
mod store;
mod together;

use std::time::{Duration, Instant};

use tokio::time::interval;

use crate::support::{Gateway, Http1, Origin, PATIENCE, Request, eventually};

/// A gateway with a limit of the fleet for each `x-key`, which counts in this store.
async fn gateway(origin: &Origin, fleet: &str, limit: &str) -> Gateway {
    let yaml = format!(
        "{fleet}
limits: [{{ name: shared, key: [{{ header: x-key }}], global: true, scope: fleet, {limit} }}]"
    );
    Gateway::builder().origin("origin", origin).yaml(&yaml).start().await
}

/// Whether the store answers, as the gateway says.
async fn is_up(gateway: &Gateway) -> bool {
    gateway.metric("tollgate_limit_store_up", &[]).await == 1.0
}

async fn comes_up(gateway: &Gateway) {
    eventually(PATIENCE, || is_up(gateway)).await;
}

async fn goes_down(gateway: &Gateway) {
    eventually(PATIENCE, async || !is_up(gateway).await).await;
}

fn of(key: &str) -> Request {
    Request::get("/").header("x-key", key)
}

/// What a client saw who asked in time.
#[derive(Debug, Default)]
struct Seen {
    passed: u32,
    refused: u32,
    /// Of any answer.
    slowest: Duration,
}

impl Seen {
    fn asked(&self) -> u32 {
        self.passed + self.refused
    }
}

/// Asks so many a second on one connection; late ones follow at once. Panics at any
/// answer but 200 and 429.
async fn ask_at(gateway: &Gateway, key: &str, per_second: u32, long: Duration) -> Seen {
    let mut client = gateway.connect().await;
    let mut clock = interval(Duration::from_secs(1) / per_second);
    let (mut seen, began) = (Seen::default(), Instant::now());
    while began.elapsed() < long {
        clock.tick().await;
        ask(&mut client, key, &mut seen).await;
    }
    seen
}

async fn ask(client: &mut Http1, key: &str, seen: &mut Seen) {
    let at = Instant::now();
    let answer = client.send(&of(key)).await;
    seen.slowest = seen.slowest.max(at.elapsed());
    match answer.status {
        200 => seen.passed += 1,
        429 => seen.refused += 1,
        _ => panic!("{answer:?}"),
    }
}

/// No request ever waited for a store: the shortest deadline of one is shorter.
const AT_ONCE: Duration = Duration::from_secs(4);
/// Of the store in these tests, so that a machine with much to do is no dead store.
const SLOW: &str = "timeout: 5s";
