//! Who is probed: every endpoint of every upstream with a check, each address
//! once for each definition, whoever shares it.
//!
//! Owns what is held of them between two configurations. Always holds: a target
//! that a reload keeps goes on with its count and its place in the schedule; one
//! that it takes away is not probed again.

use std::{
    collections::{HashMap, HashSet},
    hash::{BuildHasher, RandomState},
    net::SocketAddr,
    sync::Arc,
    time::Instant,
};

use super::{
    super::{Endpoint, EndpointLive, Health, Upstream},
    check::Check,
    probe::Outcome,
    schedule::{self, Schedule},
    streak::{Change, Streak},
};
use crate::telemetry::{
    Metrics,
    metrics::{EndpointState, HealthSeries},
};

/// Everything that is probed, and when.
#[derive(Default)]
pub(super) struct Targets {
    by_number: HashMap<u64, Target>,
    numbers: HashMap<Key, u64>,
    series: HashMap<Arc<str>, Arc<HealthSeries>>,
    schedule: Schedule,
    last_number: u64,
    hashes: RandomState,
}

/// Where is asked, and the definition of what.
type Key = (SocketAddr, Arc<str>);

/// One address and who wants to know of it.
pub(super) struct Target {
    asking: Vec<Asking>,
    streak: Streak,
    was_due: Instant,
}

/// An upstream's endpoint.
#[derive(Clone)]
pub(super) struct Asking {
    upstream: Arc<Upstream>,
    endpoint: usize,
    series: Arc<HealthSeries>,
}

impl Asking {
    pub(super) fn endpoint(&self) -> Option<(&Endpoint, &Check)> {
        Some((self.upstream.endpoints().get(self.endpoint)?, self.upstream.check.as_deref()?))
    }

    fn live(&self) -> Option<&EndpointLive> {
        self.upstream.endpoints().get(self.endpoint).map(|endpoint| &*endpoint.live)
    }
}

impl Targets {
    /// From now on it is these upstreams.
    pub(super) fn follow(&mut self, upstreams: &[Arc<Upstream>], metrics: &Metrics, now: Instant) {
        let checked = || upstreams.iter().filter(|upstream| upstream.check.is_some());
        let names: HashSet<&str> = checked().map(|upstream| &*upstream.name).collect();
        self.series.retain(|name, _| names.contains(&**name));
        metrics.retain_health(&names);
        let mut old = std::mem::take(&mut self.by_number);
        let numbers = std::mem::take(&mut self.numbers);
        old.values_mut().for_each(|target| target.asking.clear());
        for upstream in checked() {
            let fresh = || Arc::new(metrics.health(&upstream.name));
            let series = self.series.entry(upstream.name.clone()).or_insert_with(fresh).clone();
            for endpoint in 0..upstream.endpoints().len() {
                let asking = Asking { upstream: upstream.clone(), endpoint, series: series.clone() };
                self.add(asking, &numbers, &mut old, now);
            }
        }
        let unasked = upstreams.iter().filter(|upstream| upstream.check.is_none());
        for endpoint in unasked.flat_map(|upstream| upstream.endpoints()) {
            // Nobody would ever find it healthy again. For requests that still
            // go by the check, unproven is as good a reason to stay away.
            if endpoint.health() == Health::Unhealthy {
                endpoint.live.set_health(Health::Unproven);
            }
        }
        let (schedule, kept) = (&mut self.schedule, &self.by_number);
        schedule.retain(|number| kept.contains_key(&number));
        self.count(upstreams);
    }

    fn add(
        &mut self,
        asking: Asking,
        numbers: &HashMap<Key, u64>,
        old: &mut HashMap<u64, Target>,
        now: Instant,
    ) {
        let (Some((endpoint, check)), Some(live)) = (asking.endpoint(), asking.live()) else { return };
        let key = (check.address(endpoint), check.definition().clone());
        if let Some(target) = self.numbers.get(&key).and_then(|n| self.by_number.get_mut(n)) {
            live.set_health(target.streak.health());
            target.asking.push(asking);
            return;
        }
        let known = numbers.get(&key).copied().and_then(|n| Some((n, old.remove(&n)?)));
        let (number, mut target) = known.unwrap_or_else(|| {
            let interval = check.interval(live.health());
            let was_due = schedule::first(now, interval, self.hashes.hash_one(&key));
            self.last_number += 1;
            self.schedule.put(was_due, self.last_number);
            (self.last_number, Target { asking: Vec::new(), streak: Streak::new(live.health()), was_due })
        });
        live.set_health(target.streak.health());
        target.asking.push(asking);
        self.by_number.insert(number, target);
        self.numbers.insert(key, number);
    }

    /// Counts the endpoints of each upstream anew.
    fn count(&self, upstreams: &[Arc<Upstream>]) {
        for upstream in upstreams {
            let Some(series) = self.series.get(&upstream.name) else { continue };
            let held = |health| upstream.endpoints().iter().filter(|e| e.live.health() == health).count();
            let counts = [Health::Unproven, Health::Healthy, Health::Unhealthy].map(held);
            series.counted(counts.map(|count| i64::try_from(count).unwrap_or(i64::MAX)));
        }
    }

    /// When the next probe is due.
    pub(super) fn next(&self) -> Option<Instant> {
        self.schedule.next()
    }

    /// Takes the next target that is due, with whether it has been failing.
    pub(super) fn due(&mut self, now: Instant) -> Option<(u64, bool)> {
        let number = self.schedule.due(now)?;
        let failing = self.by_number.get(&number).is_some_and(|target| target.streak.is_failing());
        Some((number, failing))
    }

    /// Puts a target that was due off.
    pub(super) fn postpone(&mut self, number: u64, until: Instant) {
        if self.by_number.contains_key(&number) {
            self.schedule.put(until, number);
        }
    }

    /// For whom a target is asked; any of them says how. `None` when it is gone.
    pub(super) fn asking(&self, number: u64) -> Option<Asking> {
        self.by_number.get(&number)?.asking.first().cloned()
    }

    /// Takes a result in and says when the next one is wanted. A target that is
    /// gone by now is forgotten.
    pub(super) fn settle(&mut self, number: u64, outcome: Outcome, now: Instant, draw: f64) {
        let Some(target) = self.by_number.get_mut(&number) else { return };
        let Some(asking) = target.asking.first() else { return };
        let Some((_, check)) = asking.endpoint() else { return };
        let change = target.streak.note(outcome.passed(), check.thresholds);
        let interval = check.interval(target.streak.health());
        target.was_due = schedule::next(target.was_due, now, interval, draw);
        self.schedule.put(target.was_due, number);
        for asking in &target.asking {
            asking.series.checked(outcome.result);
            if let Some(change) = change {
                asking.series.moved(state(change.from), state(change.to));
                tell(&asking.upstream, asking.endpoint, change, outcome);
            }
        }
    }
}

/// Writes a change where the pick reads it, and into the log.
pub(super) fn tell(upstream: &Upstream, endpoint: usize, change: Change, outcome: Outcome) {
    let Some(endpoint) = upstream.endpoints().get(endpoint) else { return };
    endpoint.live.set_health(change.to);
    let (name, address, after) = (&upstream.name, endpoint.address, change.after);
    match (change.from, change.to) {
        (_, Health::Unhealthy) => {
            log::warn!(
                "endpoint unhealthy: upstream={name} endpoint={address} after={after} reason={outcome}"
            );
        }
        // As everyone expects; the start says how many.
        (Health::Unproven, _) => {
            log::debug!("endpoint healthy: upstream={name} endpoint={address} after={after}")
        }
        _ => log::info!("endpoint healthy: upstream={name} endpoint={address} after={after}"),
    }
}

fn state(health: Health) -> EndpointState {
    match health {
        Health::Unproven => EndpointState::Unproven,
        Health::Healthy => EndpointState::Healthy,
        Health::Unhealthy => EndpointState::Unhealthy,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{
        telemetry::metrics::ProbeResult,
        upstream::{Found, Place, UpstreamLive},
    };

    fn built_of(spec: &str, known: Arc<UpstreamLive>) -> Arc<Upstream> {
        let spec = serde_yaml::from_str(spec).unwrap();
        let endpoints = Found::default().resolve(&spec, None);
        Arc::new(Upstream::new(&spec, endpoints, None, &Place::default(), known))
    }

    fn upstream(name: &str, addresses: &[String], check: &str) -> Arc<Upstream> {
        let endpoints = addresses.iter().map(|address| format!("{{ address: \"{address}\" }}"));
        let endpoints = endpoints.collect::<Vec<_>>().join(", ");
        let spec = format!("{{ name: {name}, endpoints: [{endpoints}], health_check: {{ {check} }} }}");
        built_of(&spec, Arc::default())
    }

    fn addresses(count: usize) -> Vec<String> {
        (0..count).map(|n| format!("10.0.{}.{}:80", n / 250, n % 250)).collect()
    }

    /// Follows, lets everyone pass for an interval, and counts.
    struct Simulated {
        targets: Targets,
        metrics: Arc<Metrics>,
        now: Instant,
    }

    impl Simulated {
        fn new() -> Self {
            Self { targets: Targets::default(), metrics: Metrics::new().unwrap(), now: Instant::now() }
        }

        fn follow(&mut self, upstreams: &[Arc<Upstream>]) {
            self.targets.follow(upstreams, &self.metrics, self.now);
        }

        /// Answers everyone for so long; how many probes that were.
        fn run(&mut self, span: Duration, result: ProbeResult) -> usize {
            let (end, mut probes) = (self.now + span, 0);
            while self.now < end {
                self.now += Duration::from_millis(2);
                while let Some((number, _)) = self.targets.due(self.now) {
                    probes += usize::from(self.answer(number, result));
                }
            }
            probes
        }

        /// What a probe costs, but for its socket; false when the target is gone.
        fn answer(&mut self, number: u64, result: ProbeResult) -> bool {
            let Some(asking) = self.targets.asking(number) else { return false };
            let (endpoint, check) = asking.endpoint().unwrap();
            std::hint::black_box(check.peer(endpoint));
            self.targets.settle(number, result.into(), self.now, fastrand::f64());
            true
        }
    }

    #[test]
    fn ten_thousand_endpoints_are_asked_once_an_interval_at_next_to_no_cost() {
        let mut simulated = Simulated::new();
        simulated.follow(&[upstream("many", &addresses(10_000), "path: /, interval: 5s")]);
        simulated.run(Duration::from_secs(10), ProbeResult::Passed);

        let began = cpu_time();
        let probes = simulated.run(Duration::from_secs(50), ProbeResult::Passed);
        let spent = cpu_time() - began;

        let share = spent.as_secs_f64() / 50.0;
        println!("{probes} probes in 50 s: {:.3} % of a core", share * 100.0);
        assert!((95_000..105_000).contains(&probes), "{probes}");
        // The promise, kept even without optimisation.
        assert!(share < 0.01, "{share}");
    }

    #[test]
    fn a_reload_that_changes_nothing_puts_nobody_back() {
        let mut simulated = Simulated::new();
        let (addresses, check) = (addresses(100), "path: /, interval: 10s, unhealthy_interval: 10s");
        simulated.follow(&[upstream("u", &addresses, check)]);

        let mut probes = 0;
        for _ in 0..100 {
            probes += simulated.run(Duration::from_secs(1), ProbeResult::Passed);
            simulated.follow(&[upstream("u", &addresses, check)]);
        }

        assert!((900..1200).contains(&probes), "{probes}");
        assert_eq!(simulated.targets.by_number.len(), 100);
    }

    #[test]
    fn who_is_added_with_the_check_of_another_is_what_that_one_is() {
        let mut simulated = Simulated::new();
        let (one, check) = (addresses(1), "path: /, interval: 1s");
        let first = upstream("first", &one, check);
        simulated.follow(std::slice::from_ref(&first));
        simulated.run(Duration::from_secs(3), ProbeResult::Refused);

        let second = upstream("second", &one, check);
        simulated.follow(&[first.clone(), second.clone()]);

        assert_eq!(first.endpoints()[0].health(), Health::Unhealthy);
        assert_eq!(second.endpoints()[0].health(), Health::Unhealthy);
        simulated.run(Duration::from_secs(5), ProbeResult::Passed);
        assert_eq!(second.endpoints()[0].health(), Health::Healthy);
    }

    #[test]
    fn who_is_not_asked_any_more_is_not_held_unhealthy() {
        let mut simulated = Simulated::new();
        let known = Arc::new(UpstreamLive::default());
        let live = known.endpoint("10.0.0.1:80".parse().unwrap());
        let built = |check: &str| {
            let spec = format!("{{ name: u, endpoints: [{{ address: \"10.0.0.1:80\" }}]{check} }}");
            built_of(&spec, known.clone())
        };
        simulated.follow(&[built(", health_check: { path: /, interval: 1s }")]);
        simulated.run(Duration::from_secs(5), ProbeResult::Refused);
        assert_eq!(live.health(), Health::Unhealthy);

        simulated.follow(&[built("")]);

        assert_eq!(live.health(), Health::Unproven);
        assert_eq!(simulated.run(Duration::from_secs(5), ProbeResult::Refused), 0);
    }

    #[test]
    fn results_of_who_is_gone_change_nothing() {
        let mut simulated = Simulated::new();
        let gone = upstream("gone", &addresses(1), "path: /, interval: 1s");
        simulated.follow(std::slice::from_ref(&gone));
        let late = simulated.now + Duration::from_secs(2);
        let (number, _) = simulated.targets.due(late).unwrap();

        simulated.follow(&[]);
        simulated.targets.settle(number, ProbeResult::Passed.into(), late, 0.5);
        simulated.targets.postpone(number, late);

        assert_eq!(gone.endpoints()[0].health(), Health::Unproven);
        assert!(simulated.targets.next().is_none());
    }

    /// Of this thread: the machine may be busy with other things.
    fn cpu_time() -> Duration {
        let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        // SAFETY: the clock exists, and the place for its answer is ours.
        unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) };
        Duration::new(u64::try_from(time.tv_sec).unwrap(), u32::try_from(time.tv_nsec).unwrap())
    }
}
