//! What is told at the end, and whether it is good.
//!
//! Owns the names of the JSON's members and the verdict: a run that could not hold
//! its rate has measured something else, so that it fails whatever its latencies.

use std::{collections::BTreeMap, time::Duration};

use serde::Serialize;

use crate::{
    connection::Failure,
    histogram::{Histogram, Told},
    idle::Idle,
    schedule::Schedule,
    tally::Tally,
};

/// What has to hold beside the rate.
#[derive(Clone, Copy, Debug, Default)]
pub struct Gates {
    /// Half of the requests took no longer.
    pub p50: Option<Duration>,
    /// 99 of 100.
    pub p99: Option<Duration>,
    /// 999 of 1000.
    pub p999: Option<Duration>,
    /// So many requests may have no good answer.
    pub failures: u64,
}

/// One line of JSON; times in microseconds.
#[derive(Debug, Serialize)]
pub struct Report {
    /// Whether nothing is wrong.
    pub passed: bool,
    /// What is, in sentences.
    pub wrong: Vec<String>,
    /// Requests that were due.
    due: u64,
    /// Those that were sent, in time or late.
    sent: u64,
    /// Sent later than `--late` after they were due.
    late: u64,
    /// Never sent: no connection was free within the timeout.
    unsent: u64,
    /// From the instant that each was due at, to the end of its answer.
    latency_us: Told,
    /// From the instant that each was sent at: what hides an overload.
    service_us: Told,
    /// How long after it was due each was ready to be sent: this machine's part.
    clock_us: Told,
    /// Good answers.
    statuses: BTreeMap<u16, u64>,
    /// All others, by why.
    failures: BTreeMap<Failure, u64>,
    /// Connections that were opened after the start.
    reopened: u64,
    /// Those among them whose predecessor the server ended while nothing was under way.
    closed_between: u64,
    /// Connections beside the requests that did nothing.
    idle: Idle,
}

impl Report {
    /// Judges what was seen.
    pub fn new(schedule: Schedule, tally: &Tally, idle: Idle, gates: &Gates) -> Self {
        let wrong = [rate(schedule, tally), failures(tally, gates), idle.wrong()];
        let wrong: Vec<_> = wrong.into_iter().flatten().chain(times(&tally.latency, gates)).collect();
        Self {
            passed: wrong.is_empty(),
            wrong,
            due: schedule.count,
            sent: tally.sent(),
            late: tally.late,
            unsent: tally.unsent,
            latency_us: tally.latency.told(),
            service_us: tally.service.told(),
            clock_us: tally.clock.told(),
            statuses: tally.statuses.clone(),
            failures: tally.failures.clone(),
            reopened: tally.reopened,
            closed_between: tally.closed_between,
            idle,
        }
    }
}

/// One in a hundred may be late: machines pause.
fn rate(schedule: Schedule, tally: &Tally) -> Option<String> {
    let in_time = tally.sent().saturating_sub(tally.late);
    let held = u128::from(in_time) * 100 >= u128::from(schedule.count) * 99;
    (!held || tally.unsent > 0).then(|| {
        format!(
            "the rate was not held: of {} requests {in_time} were sent in time, {} late, {} never; the clock \
             was {} µs behind (p99): if that is little, all --connections waited for answers",
            schedule.count,
            tally.late,
            tally.unsent,
            tally.clock.of_a_million(990_000)
        )
    })
}

fn failures(tally: &Tally, gates: &Gates) -> Option<String> {
    let failed = tally.failed();
    (failed > gates.failures)
        .then(|| format!("{failed} requests without a good answer, {} may be", gates.failures))
}

fn times(latency: &Histogram, gates: &Gates) -> Vec<String> {
    let each = [("p50", 500_000, gates.p50), ("p99", 990_000, gates.p99), ("p999", 999_000, gates.p999)];
    let wrong = each.into_iter().filter_map(|(name, part, most)| {
        let (most, found) = (most?.as_micros(), latency.of_a_million(part));
        (u128::from(found) > most).then(|| format!("{name} is {found} µs, {most} were allowed"))
    });
    wrong.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(seen: impl FnOnce(&mut Tally), gates: &Gates) -> Vec<String> {
        let schedule = Schedule::new(100, Duration::from_secs(1));
        let mut tally = Tally::new();
        for _ in 0..98 {
            tally.record(Ok(200), Duration::from_millis(2), Duration::from_millis(1));
        }
        seen(&mut tally);
        Report::new(schedule, &tally, Idle::default(), gates).wrong
    }

    fn answered(tally: &mut Tally, count: u64, found: Result<u16, Failure>) {
        for _ in 0..count {
            tally.record(found, Duration::from_millis(500), Duration::from_millis(1));
        }
    }

    #[test]
    fn a_rate_is_held_when_one_in_a_hundred_is_late_and_none_is_missing() {
        let gates = Gates { failures: 9, ..Gates::default() };

        assert_eq!(judged(|tally| answered(tally, 2, Ok(200)), &gates), [""; 0]);
        assert_eq!(judged(|tally| answered(tally, 2, Err(Failure::Cut)), &gates), [""; 0]);
        let late = |late| move |tally: &mut Tally| (answered(tally, 2, Ok(200)), tally.late = late).1;
        assert_eq!(judged(late(1), &gates), [""; 0]);
        assert!(judged(late(2), &gates)[0].contains("98 were sent in time, 2 late, 0 never"));
        let unsent = |tally: &mut Tally| (answered(tally, 1, Ok(200)), tally.unsent = 1).1;
        assert!(judged(unsent, &gates)[0].contains("99 were sent in time, 0 late, 1 never"));
        // A worker that vanished with what it had sent.
        assert!(judged(|_| (), &gates)[0].contains("98 were sent in time, 0 late, 0 never"));
    }

    #[test]
    fn gates_are_on_what_clients_waited_and_not_on_what_the_answer_took() {
        let slow = |tally: &mut Tally| answered(tally, 2, Ok(200));
        let of_ms = |p99, p50| Gates {
            p99: Some(Duration::from_millis(p99)),
            p50: Some(Duration::from_millis(p50)),
            ..Gates::default()
        };

        assert_eq!(judged(slow, &of_ms(500, 3)), [""; 0]);
        let wrong = judged(slow, &of_ms(499, 1));
        assert_eq!(wrong, ["p50 is 2007 µs, 1000 were allowed", "p99 is 500000 µs, 499000 were allowed"]);
    }

    #[test]
    fn one_failure_is_one_too_many_unless_it_was_allowed() {
        let cut = |tally: &mut Tally| answered(tally, 2, Err(Failure::Cut));

        assert_eq!(judged(cut, &Gates { failures: 2, ..Gates::default() }), [""; 0]);
        assert_eq!(judged(cut, &Gates::default()), ["2 requests without a good answer, 0 may be"]);
    }
}
