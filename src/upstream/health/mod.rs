//! Active health checks: asks endpoints whether they can serve, and writes what
//! it finds into their [`EndpointLive`](super::EndpointLive), where the pick
//! reads it.
//!
//! Owns questions, schedule, thresholds and what is told of a change. Does not
//! own what the pick makes of it, nor passive ejection.
//!
//! Always holds: an endpoint is asked once at a time, whatever the number of
//! upstreams, zones and configurations that name it with the same check; at most
//! `MOST_PROBES` are under way, and those that failed before never take all of
//! these places, so that a dark zone does not hold up the probes of the others.
//! A thread of its own does it: data traffic cannot starve it into seeing
//! timeouts that are its own.
//!
//! Why not Pingora's `HealthRegistry` (pingora-load-balancing 0.9.1), of which
//! this has the idea: there, an endpoint is healthy before it was asked; a pass
//! asks everyone at once and ends with its slowest; there is one interval for
//! healthy and unhealthy, no jitter, and no deadline over a whole probe; what it
//! holds can be read only through its `Backends`, whose selection we do not use.

mod check;
mod grpc;
mod probe;
mod schedule;
mod streak;
mod targets;

use std::{
    collections::HashSet,
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

pub use check::Check;
use futures::{FutureExt, StreamExt, stream};
use probe::{Outcome, Prober};
use streak::Streak;
use targets::Targets;
use tokio::{
    runtime::{Builder, Runtime},
    sync::mpsc,
    task::JoinSet,
};

use super::{Health, Upstream};
use crate::telemetry::{Metrics, metrics::ProbeResult};

/// The health checks of the process.
pub struct HealthChecks {
    runtime: Runtime,
    prober: Arc<Prober>,
    metrics: Arc<Metrics>,
    orders: mpsc::UnboundedSender<Vec<Arc<Upstream>>>,
    /// Whose health probes look after already.
    followed: Mutex<HashSet<Known>>,
}

/// An upstream's name and an endpoint's address.
type Known = (Arc<str>, SocketAddr);

impl HealthChecks {
    /// Begins with nobody to ask. Fails when the system gives no thread.
    pub fn start(metrics: Arc<Metrics>) -> io::Result<Self> {
        let runtime =
            Builder::new_multi_thread().worker_threads(1).thread_name("health").enable_all().build()?;
        let prober = Arc::new(Prober::new());
        let (orders, ordered) = mpsc::unbounded_channel();
        let rounds = Rounds {
            targets: Targets::default(),
            metrics: metrics.clone(),
            prober: prober.clone(),
            under_way: 0,
            failing: 0,
        };
        runtime.spawn(rounds.run(ordered));
        Ok(Self { runtime, prober, metrics, orders, followed: Mutex::default() })
    }

    /// Asks each endpoint that was not asked before, once; to be called before
    /// these upstreams get traffic. Blocks until all answered or timed out, and
    /// 2 s at most; who is left over stays unproven.
    pub fn prove(&self, upstreams: &[Arc<Upstream>]) {
        let began = Instant::now();
        let mut new = self.new_endpoints(upstreams);
        if new.is_empty() {
            return;
        }
        // A dark zone that stands first must not take every place.
        fastrand::shuffle(&mut new);
        let proofs = stream::iter(&new)
            .for_each_concurrent(MOST_PROBES, |(upstream, endpoint)| self.prove_one(upstream, *endpoint));
        let whole = self.runtime.block_on(async { tokio::time::timeout(PROVING, proofs).await });
        let held = |health| {
            let endpoints = new.iter().filter_map(|(upstream, index)| upstream.endpoints().get(*index));
            endpoints.filter(|endpoint| endpoint.health() == health).count()
        };
        log::info!(
            "endpoints asked for the first time: healthy={} unhealthy={} unproven={} took_ms={}{}",
            held(Health::Healthy),
            held(Health::Unhealthy),
            held(Health::Unproven),
            began.elapsed().as_millis(),
            if whole.is_err() { " cut=true" } else { "" }
        );
    }

    /// From now on the endpoints of these upstreams are asked, and no others.
    pub fn follow(&self, upstreams: &[Arc<Upstream>]) {
        let known = checked(upstreams).flat_map(|upstream| {
            upstream.endpoints().iter().map(|endpoint| (upstream.name.clone(), endpoint.address))
        });
        *self.followed() = known.collect();
        // The other end lives as long as the runtime.
        let _ = self.orders.send(upstreams.to_vec());
    }

    fn new_endpoints<'u>(&self, upstreams: &'u [Arc<Upstream>]) -> Vec<(&'u Arc<Upstream>, usize)> {
        let followed = self.followed();
        let mut new = Vec::new();
        for upstream in checked(upstreams) {
            for (index, endpoint) in upstream.endpoints().iter().enumerate() {
                if !followed.contains(&(upstream.name.clone(), endpoint.address)) {
                    // What an earlier check left is not true any more.
                    endpoint.live.set_health(Health::Unproven);
                    new.push((upstream, index));
                }
            }
        }
        new
    }

    async fn prove_one(&self, upstream: &Upstream, index: usize) {
        let (Some(endpoint), Some(check)) = (upstream.endpoints().get(index), &upstream.check) else {
            return;
        };
        let outcome = self.prober.probe(&check.peer(endpoint), check).await;
        self.metrics.health(&upstream.name).checked(outcome.result);
        if let Some(change) = Streak::new(Health::Unproven).note(outcome.passed(), check.thresholds) {
            targets::tell(upstream, index, change, outcome);
        }
    }

    fn followed(&self) -> MutexGuard<'_, HashSet<Known>> {
        self.followed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn checked(upstreams: &[Arc<Upstream>]) -> impl Iterator<Item = &Arc<Upstream>> {
    upstreams.iter().filter(|upstream| upstream.check.is_some())
}

/// Asks one target after the other, for as long as the process lives.
struct Rounds {
    targets: Targets,
    metrics: Arc<Metrics>,
    prober: Arc<Prober>,
    under_way: usize,
    /// Those under way that failed the last time.
    failing: usize,
}

/// A probe that is over.
struct Over {
    target: u64,
    was_failing: bool,
    outcome: Outcome,
}

impl Rounds {
    async fn run(mut self, mut orders: mpsc::UnboundedReceiver<Vec<Arc<Upstream>>>) {
        let mut probes = JoinSet::new();
        loop {
            let now = Instant::now();
            self.begin_due(now, &mut probes);
            // With every place taken, the next thing to happen is that one ends.
            let wake = self.targets.next().filter(|_| self.under_way < MOST_PROBES);
            let wake = wake.map_or(now + IDLE, |due| due.max(now + TICK));
            tokio::select! {
                Some(over) = probes.join_next() => {
                    let more = std::iter::from_fn(|| probes.try_join_next()).collect::<Vec<_>>();
                    [over].into_iter().chain(more).flatten().for_each(|over| self.settle(over));
                }
                upstreams = orders.recv() => match upstreams {
                    Some(upstreams) => self.targets.follow(&upstreams, &self.metrics, Instant::now()),
                    None => return,
                },
                () = tokio::time::sleep_until(wake.into()) => {}
            }
        }
    }

    fn begin_due(&mut self, now: Instant, probes: &mut JoinSet<Over>) {
        while self.under_way < MOST_PROBES {
            let Some((target, was_failing)) = self.targets.due(now) else { return };
            if was_failing && self.failing >= MOST_FAILING {
                self.targets.postpone(target, now + POSTPONED);
                continue;
            }
            let Some(asking) = self.targets.asking(target) else { continue };
            self.under_way += 1;
            self.failing += usize::from(was_failing);
            let prober = self.prober.clone();
            probes.spawn(async move {
                let asked = async {
                    let (endpoint, check) = asking.endpoint()?;
                    Some(prober.probe(&check.peer(endpoint), check).await)
                };
                // A target whose probe never ended would never be asked again.
                let asked = std::panic::AssertUnwindSafe(asked).catch_unwind().await;
                let outcome = asked.ok().flatten().unwrap_or(ProbeResult::ProtocolError.into());
                Over { target, was_failing, outcome }
            });
        }
    }

    fn settle(&mut self, over: Over) {
        self.under_way = self.under_way.saturating_sub(1);
        self.failing = self.failing.saturating_sub(usize::from(over.was_failing));
        self.targets.settle(over.target, over.outcome, Instant::now(), fastrand::f64());
    }
}

/// The sockets and memory that probes may take. At 20 ms a probe it is 25,000 a
/// second: 10,000 endpoints every 2 s need a fifth. Measured with that many at
/// 5 s: schedule 0.3 % of a core, with the sockets of HTTP 18 % (without
/// optimisation); with a third of them silent, the others keep their pace.
const MOST_PROBES: usize = 512;

/// Probes of endpoints that do not answer take their whole timeout.
const MOST_FAILING: usize = 384;
const POSTPONED: Duration = Duration::from_millis(200);

/// The first pass holds up a start or a reload for no longer.
const PROVING: Duration = Duration::from_secs(2);

/// Many probes are due in a tick when there are many: one look for all.
const TICK: Duration = Duration::from_millis(2);
const IDLE: Duration = Duration::from_secs(3600);
