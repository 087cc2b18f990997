//! Gateways, a store and a network between them, in a time of their own.

use std::collections::HashMap;

use proptest::prelude::*;

use super::*;
use crate::limit::lease::reckon::{Cell, reckon};

/// A fleet and its store.
struct Sim {
    terms: Terms,
    network: Network,
    gateways: Vec<Gateway>,
    store: HashMap<KeyHash, Cell>,
    now: u64,
    /// Nobody asks before.
    until: u64,
    rng: fastrand::Rng,
    /// What was told and never arrived, and the time in which nobody heard of it, in
    /// nanoseconds.
    lost: u64,
}

/// Nanoseconds.
#[derive(Clone, Copy, Debug)]
struct Network {
    every: u64,
    /// The longest that a message takes in one direction.
    flight: u64,
    /// How many exchanges of a hundred get lost on the way there, and as many back.
    lost: u8,
}

impl Network {
    fn timeout(self) -> u64 {
        2 * self.flight
    }

    fn lenience(self) -> Duration {
        lenience(Duration::from_nanos(self.every), Duration::from_nanos(self.timeout()))
    }
}

struct Gateway {
    lease: Lease,
    next: u64,
    step: Step,
}

enum Step {
    Cut,
    Arrive { told: Vec<Told>, sent: u64 },
    Settle { told: Vec<(Told, Reckoned)>, sent: u64 },
    Lose(Vec<Told>),
}

impl Sim {
    fn new(gateways: usize, terms: Terms, network: Network, seed: u64) -> Self {
        let mut rng = fastrand::Rng::with_seed(seed);
        let gateway = |_| {
            let lease = fresh(terms, 1 << 16);
            Gateway { lease, next: START + rng.u64(0..=network.every), step: Step::Cut }
        };
        let gateways = (0..gateways).map(gateway).collect();
        Self { terms, network, gateways, store: HashMap::new(), now: START, until: START, rng, lost: 0 }
    }

    /// Lets time go by with all that is due in it.
    fn pass(&mut self, nanos: u64) {
        self.until = self.now + nanos;
        while let Some(first) = (0..self.gateways.len()).min_by_key(|i| self.gateways[*i].next)
            && self.gateways[first].next <= self.until
        {
            self.now = self.gateways[first].next;
            self.step(first);
        }
        self.now = self.until;
    }

    fn step(&mut self, index: usize) {
        let step = std::mem::replace(&mut self.gateways[index].step, Step::Cut);
        let (pause, next) = match step {
            Step::Cut => self.cut(index),
            Step::Arrive { told, sent } => self.arrive(index, told, sent),
            Step::Settle { told, sent } => {
                let lease = &self.gateways[index].lease;
                told.into_iter().for_each(|(told, reckoned)| lease.settle(told, reckoned, Moment(sent)));
                (self.network.every, Step::Cut)
            }
            Step::Lose(told) => {
                told.into_iter().for_each(|told| self.gateways[index].lease.lost(told));
                (self.network.every, Step::Cut)
            }
        };
        let gateway = &mut self.gateways[index];
        (gateway.next, gateway.step) = (self.now + pause, next);
    }

    fn cut(&mut self, index: usize) -> (u64, Step) {
        let lenience = self.network.lenience();
        let told = self.gateways[index].lease.cut(99, lenience, Moment(self.now));
        if told.is_empty() {
            // As will be the next ones.
            let empty = (self.until - self.now) / self.network.every;
            return ((empty + 1) * self.network.every, Step::Cut);
        }
        if self.fails() {
            self.lost += told.iter().map(|told| told.micros * 1_000).sum::<u64>() + self.exchange();
            return (self.network.timeout(), Step::Lose(told));
        }
        (self.flight(), Step::Arrive { told, sent: self.now })
    }

    fn arrive(&mut self, index: usize, told: Vec<Told>, sent: u64) -> (u64, Step) {
        let exchange = Duration::from_nanos(self.network.every + self.network.timeout());
        let most = micros(self.gateways[index].lease.most_ahead(exchange));
        let mut answers = Vec::new();
        for told in told {
            let cell = self.store.get(&told.key).copied();
            let (cell, reckoned) = reckon(cell, self.now / 1_000, told.micros, micros(told.age), most);
            self.store.insert(told.key, cell);
            answers.push((told, reckoned));
        }
        if self.fails() {
            self.lost += self.exchange();
            let told = answers.into_iter().map(|(told, _)| told).collect();
            return (sent + self.network.timeout() - self.now, Step::Lose(told));
        }
        (self.flight(), Step::Settle { told: answers, sent })
    }

    fn flight(&mut self) -> u64 {
        self.rng.u64(0..=self.network.flight)
    }

    /// From one hearing to the next.
    fn exchange(&self) -> u64 {
        self.network.every + self.network.timeout()
    }

    fn fails(&mut self) -> bool {
        self.rng.u8(0..100) < self.network.lost
    }

    fn ask(&self, gateway: usize, key: u64, cost: u32) -> bool {
        ask(&self.gateways[gateway].lease, key, cost, Moment(self.now)).is_admitted()
    }

    fn token(&self) -> u64 {
        u64::try_from(self.terms.interval().as_nanos()).unwrap()
    }

    fn ticks(&self, cost: u32) -> u64 {
        self.token() * u64::from(cost.min(self.terms.burst()))
    }

    fn whole(&self) -> u64 {
        self.ticks(u32::MAX)
    }

    /// The most that the fleet may spend of a key beyond the rate, in nanoseconds.
    fn bound(&self) -> u64 {
        let exchange = self.exchange();
        let lenience = u64::try_from(self.network.lenience().as_nanos()).unwrap();
        let others = self.gateways.len() as u64 - 1;
        // What is not a whole microsecond is told later, or never.
        let rounding = 2_000 * self.gateways.len() as u64;
        self.whole() + lenience + others * (self.whole() + exchange) + rounding + self.lost
    }
}

/// One limit that sees every request at once: when each key owes nothing any more.
#[derive(Default)]
struct Ideal(HashMap<u64, u64>);

impl Ideal {
    /// How far ahead a key would be with so much more.
    fn with(&self, key: u64, ticks: u64, now: u64) -> u64 {
        self.0.get(&key).copied().unwrap_or(0).max(now) - now + ticks
    }

    fn spend(&mut self, key: u64, ticks: u64, now: u64) -> u64 {
        let ahead = self.with(key, ticks, now);
        self.0.insert(key, now + ahead);
        ahead
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap()
}

/// Time that goes by: in hundredths of a token, or of the time between exchanges.
#[derive(Clone, Copy, Debug)]
enum Pause {
    Tokens(u64),
    Exchanges(u64),
}

impl Pause {
    fn nanos(self, sim: &Sim) -> u64 {
        match self {
            Self::Tokens(hundredths) => hundredths * sim.token() / 100,
            Self::Exchanges(hundredths) => hundredths * sim.network.every / 100,
        }
    }
}

fn terms() -> impl Strategy<Value = Terms> {
    let rate = prop_oneof![
        Just((1, 86_400)),
        Just((1_000_000, 1)),
        (1..1_000u32, prop_oneof![4 => Just(1u64), 1 => Just(60), 1 => Just(3_600)])
    ];
    let burst = prop_oneof![Just(1), 1..30u32];
    (rate, burst).prop_map(|((events, secs), burst)| Terms::new(events, Duration::from_secs(secs), burst))
}

fn network() -> impl Strategy<Value = Network> {
    (10..500u64, 0..250u64, prop_oneof![Just(0), 0..40u8]).prop_map(|(every, flight, lost)| Network {
        every: every * MS,
        flight: flight * MS,
        lost,
    })
}

/// Pause, gateway, key, cost.
fn requests() -> impl Strategy<Value = Vec<(Pause, usize, u64, u32)>> {
    let pause = prop_oneof![
        3 => Just(Pause::Tokens(0)),
        4 => (0..250u64).prop_map(Pause::Tokens),
        4 => (0..60u64).prop_map(Pause::Exchanges),
        1 => (0..2_000u64).prop_map(Pause::Exchanges),
    ];
    let cost = prop_oneof![4 => Just(1u32), 1 => 0..35u32];
    prop::collection::vec((pause, 0..6usize, 0..3u64, cost), 1..400)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whoever_stays_below_in_the_whole_fleet_is_never_refused(
        gateways in 1..6usize, terms in terms(), network in network(), requests in requests(), seed: u64,
    ) {
        let (mut sim, mut ideal) = (Sim::new(gateways, terms, network, seed), Ideal::default());

        for (pause, gateway, key, cost) in requests {
            sim.pass(pause.nanos(&sim));
            let (gateway, ticks) = (gateway % gateways, sim.ticks(cost));
            // One key takes what it gets: the others are not to suffer for it.
            if key == 0 {
                sim.ask(gateway, key, cost);
            } else if ideal.with(key, ticks, sim.now) <= sim.whole() {
                ideal.spend(key, ticks, sim.now);
                prop_assert!(sim.ask(gateway, key, cost));
            }
        }
    }

    #[test]
    fn a_fleet_never_spends_more_than_the_bound(
        gateways in 1..6usize, terms in terms(), network in network(), requests in requests(), seed: u64,
    ) {
        let (mut sim, mut meter) = (Sim::new(gateways, terms, network, seed), Ideal::default());

        for (pause, gateway, key, cost) in requests {
            sim.pass(pause.nanos(&sim));
            let ticks = sim.ticks(cost);
            // All that there is, at one gateway or at each.
            let all = (0..gateways).filter(|one| gateway == 5 || *one == gateway % gateways);
            for one in all.flat_map(|one| (0..terms.burst()).map(move |_| one)) {
                if ticks > 0 && sim.ask(one, key, cost) {
                    let ahead = meter.spend(key, ticks, sim.now);
                    prop_assert!(ahead <= sim.bound(), "{} of {}", ahead, sim.bound());
                }
            }
        }
    }

    #[test]
    fn one_gateway_alone_is_exact(
        terms in terms(), network in network(), requests in requests(), seed: u64,
    ) {
        let (mut sim, mut ideal) = (Sim::new(1, terms, network, seed), Ideal::default());

        for (pause, _, key, cost) in requests {
            sim.pass(pause.nanos(&sim));
            let ticks = sim.ticks(cost);
            let fits = ticks == 0 || ideal.with(key, ticks, sim.now) <= sim.whole();
            prop_assert_eq!(sim.ask(0, key, cost), fits);
            if fits {
                ideal.spend(key, ticks, sim.now);
            }
        }
    }
}

/// Asks at every gateway, so often at each; what the fleet admits in each 100 ms.
fn overload(sim: &mut Sim, per_second: &[u64], seconds: u64) -> Vec<u64> {
    let mut admitted = vec![0; usize::try_from(seconds * 10).unwrap()];
    let mut next: Vec<_> = per_second.iter().map(|_| sim.now + sim.rng.u64(0..MS)).collect();
    let (begin, end) = (sim.now, sim.now + seconds * 1_000 * MS);
    loop {
        let (gateway, at) = next.iter().copied().enumerate().min_by_key(|(_, at)| *at).unwrap();
        if at >= end {
            return admitted;
        }
        sim.pass(at.saturating_sub(sim.now));
        let tenth = usize::try_from((at - begin) / (100 * MS)).unwrap();
        admitted[tenth] += u64::from(sim.ask(gateway, 1, 1));
        next[gateway] += 1_000_000_000 / per_second[gateway];
    }
}

#[test]
fn over_a_long_time_the_rate_is_exact_whoever_asks_how_much() {
    for demand in [&[150, 150][..], &[400, 20, 20, 20], &[10, 90, 30], &[1_000; 10]] {
        let terms = Terms::new(100, Duration::from_secs(1), 20);
        let mut sim = Sim::new(demand.len(), terms, USUAL, 7);

        let admitted: u64 = overload(&mut sim, demand, 60).iter().sum();

        let bound = sim.bound() / sim.token();
        assert!((5_940..=6_000 + bound).contains(&admitted), "{demand:?}: {admitted}, {bound}");
    }
}

/// Without weights each tenth of a second would admit ten times what it may, and the
/// next nine nothing.
#[test]
fn a_fleet_held_at_its_limit_stays_there_without_swinging() {
    let terms = Terms::new(1_000, Duration::from_secs(1), 100);
    let mut sim = Sim::new(10, terms, USUAL, 7);

    let admitted = overload(&mut sim, &[1_000; 10], 30);

    let settled = &admitted[100..];
    assert!(settled.iter().all(|admitted| (85..=115).contains(admitted)), "{settled:?}");
}

#[test]
fn a_key_that_comes_back_below_its_limit_is_soon_let() {
    let mut sim = Sim::new(3, Terms::new(100, Duration::from_secs(1), 10), USUAL, 7);
    overload(&mut sim, &[200; 3], 10);

    let admitted = overload(&mut sim, &[50, 10, 20], 5);

    assert_eq!(admitted[10..].iter().sum::<u64>(), 4 * 80);
}

const USUAL: Network = Network { every: 100 * MS, flight: 2 * MS, lost: 0 };
const START: u64 = 10_000_000_000_000;
const MS: u64 = 1_000_000;
