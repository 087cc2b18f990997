//! A lease by itself; a fleet of them is in `fleet`.

mod fleet;

use super::*;
use crate::limit::{Ask, Verdict, decide};

fn key(n: u64) -> KeyHash {
    KeyHash::from_tag((n + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15)).unwrap()
}

fn ms(millis: u64) -> Moment {
    Moment(millis * 1_000_000)
}

/// Ten a second, five at once, and a store that answers.
fn lease() -> Lease {
    fresh(Terms::new(10, Duration::from_secs(1), 5), 1 << 16)
}

fn fresh(terms: Terms, memory: usize) -> Lease {
    let fleet = Arc::<FleetLive>::default();
    fleet.stand(Freshness::Fresh);
    Lease::new("a".into(), terms, memory, fleet)
}

fn ask(lease: &Lease, n: u64, cost: u32, now: Moment) -> Verdict {
    let asked = Ask { limit: lease.cells(), terms: lease.terms(), key: key(n), cost };
    let verdict = decide(&[asked], now).unwrap();
    if verdict.is_admitted() {
        lease.spend(key(n), cost, now);
    }
    verdict
}

fn remaining(lease: &Lease, n: u64, now: Moment) -> u32 {
    lease.cells().standing(key(n), now).remaining()
}

fn reckoned(ahead: u64, total: u64) -> Reckoned {
    Reckoned { ahead: Duration::from_millis(ahead), total: total * 1_000 }
}

const LENIENCE: Duration = Duration::from_millis(100);

#[test]
fn what_is_spent_is_told_once_and_what_costs_nothing_never() {
    let lease = lease();
    ask(&lease, 1, 2, ms(1_000));
    ask(&lease, 1, 1, ms(1_010));
    ask(&lease, 2, 0, ms(1_010));

    let told = lease.cut(10, LENIENCE, ms(1_020));

    assert_eq!(told, [Told { key: key(1), micros: 300_000, age: LENIENCE, extra: 0 }]);
    assert_eq!(lease.cut(10, LENIENCE, ms(1_020)), []);
    assert_eq!((lease.keys(), lease.untold()), (0, 0));
}

#[test]
fn what_others_spent_is_gone_here_and_what_was_spent_since_the_cut_too() {
    let lease = lease();
    ask(&lease, 1, 1, ms(1_000));
    let told = lease.cut(10, LENIENCE, ms(1_000)).remove(0);
    ask(&lease, 1, 1, ms(1_000));

    lease.settle(told, reckoned(300, 300), ms(1_000));

    assert_eq!(remaining(&lease, 1, ms(1_000)), 1);
}

/// The store lets all begin earlier than it did: that is for the others.
#[test]
fn what_this_gateway_knows_better_than_the_store_stays() {
    let lease = lease();
    ask(&lease, 1, 5, ms(1_000));

    let told = lease.cut(10, LENIENCE, ms(1_000)).remove(0);
    lease.settle(told, reckoned(400, 500), ms(1_000));

    assert_eq!(remaining(&lease, 1, ms(1_000)), 0);
}

#[test]
fn what_was_spent_longer_ago_than_is_told_is_told_with_so_much_less() {
    let lease = lease();
    ask(&lease, 1, 5, ms(1_000));
    ask(&lease, 2, 1, ms(1_000));

    let told = lease.cut(10, LENIENCE, ms(1_300));

    let told = |n| told.iter().find(|told| told.key == key(n)).unwrap().micros;
    assert_eq!((told(1), told(2)), (300_000, 0));
    assert_eq!(lease.untold(), 2);
    ask(&lease, 3, 1, ms(1_300));
    assert_eq!((lease.cut(10, LENIENCE, ms(1_400)).len(), lease.untold()), (1, 2));
}

/// A key in debt at 10 ms, with others that spend three times as much.
fn weighed() -> Lease {
    let lease = lease();
    ask(&lease, 1, 1, ms(0));
    let told = lease.cut(10, LENIENCE, ms(0)).remove(0);
    lease.settle(told, reckoned(400, 400), ms(0));
    ask(&lease, 1, 1, ms(0));
    let told = lease.cut(10, LENIENCE, ms(10)).remove(0);
    lease.settle(told, reckoned(501, 800), ms(10));
    lease
}

#[test]
fn a_key_that_its_fleet_overspends_costs_here_what_all_spend_of_it() {
    let lease = weighed();

    assert!(!ask(&lease, 1, 1, ms(110)).is_admitted());
    assert!(ask(&lease, 1, 1, ms(111)).is_admitted());

    let next = |now| ask(&lease, 1, 1, now).is_admitted();
    assert!(!next(ms(510)) && next(ms(511)));
}

#[test]
fn a_weighed_key_is_told_unweighed_and_settled_to_what_was_spent() {
    let lease = weighed();
    ask(&lease, 1, 1, ms(111));

    let told = lease.cut(10, LENIENCE, ms(120)).remove(0);
    assert_eq!(told.micros, 100_000);
    lease.settle(told, reckoned(0, 900), ms(120));

    assert!(ask(&lease, 1, 1, ms(211)).is_admitted());
    assert!(ask(&lease, 1, 1, ms(311)).is_admitted());
}

#[test]
fn a_lost_exchange_takes_its_surcharge_with_it_and_is_not_told_again() {
    let lease = weighed();
    ask(&lease, 1, 1, ms(111));

    let told = lease.cut(10, LENIENCE, ms(120)).remove(0);
    lease.lost(told);

    assert!(ask(&lease, 1, 1, ms(211)).is_admitted());
    assert_eq!(lease.cut(10, LENIENCE, ms(220)).len(), 1);
    assert_eq!(lease.untold(), 1);
}

#[test]
fn a_weight_ends_with_the_debt_and_with_the_epoch() {
    let held = weighed();
    assert_eq!(held.cut(10, LENIENCE, ms(20)), []);
    assert_eq!(held.keys(), 1);
    held.cut(10, LENIENCE, ms(200));
    assert_eq!(held.keys(), 0);

    let again = weighed();
    again.fleet().stand(Freshness::Stale);
    again.fleet().stand(Freshness::Fresh);
    assert!(ask(&again, 1, 1, ms(111)).is_admitted());
    assert!(ask(&again, 1, 1, ms(211)).is_admitted());
}

#[test]
fn a_key_that_is_at_its_limit_without_debt_is_not_weighed() {
    let lease = lease();
    ask(&lease, 1, 1, ms(0));
    let told = lease.cut(10, LENIENCE, ms(0)).remove(0);
    lease.settle(told, reckoned(100, 100), ms(0));
    ask(&lease, 1, 1, ms(0));
    let told = lease.cut(10, LENIENCE, ms(10)).remove(0);
    lease.settle(told, reckoned(490, 900), ms(10));

    assert!(ask(&lease, 1, 1, ms(100)).is_admitted());
    assert!(ask(&lease, 1, 1, ms(200)).is_admitted());
}

#[test]
fn a_key_that_lost_its_cell_meanwhile_is_left_alone() {
    let lease = fresh(Terms::new(10, Duration::from_secs(1), 5), 0);
    ask(&lease, 0, 1, ms(0));
    let told = lease.cut(1, LENIENCE, ms(0)).remove(0);
    assert!((1..=8).all(|n| ask(&lease, n, 2, ms(0)).is_admitted()));

    lease.settle(told, reckoned(9_000, 9_000), ms(0));

    assert_eq!(remaining(&lease, 0, ms(0)), 5);
    assert!((1..=8).all(|n| remaining(&lease, n, ms(0)) == 3));
}

#[test]
fn while_nothing_is_known_nothing_is_recorded_and_afterwards_nothing_is_owed_for_it() {
    let lease = lease();
    lease.fleet().stand(Freshness::Stale);
    lease.fleet().learn_gateways(2);
    let share = lease.share(None);
    assert_eq!((share.burst(), share.interval()), (3, Duration::from_millis(200)));
    assert_eq!(lease.share(Some(5)).burst(), 1);

    let alone = Ask { limit: lease.alone(), terms: share, key: key(1), cost: 3 };
    assert!(decide(&[alone], ms(0)).unwrap().is_admitted());
    lease.spend(key(1), 3, ms(0));

    assert_eq!(lease.keys(), 0);
    lease.fleet().stand(Freshness::Fresh);
    assert_eq!(remaining(&lease, 1, ms(0)), 5);
}

#[test]
fn a_ledger_that_is_full_refuses_nobody() {
    let lease = fresh(Terms::new(10, Duration::from_secs(1), 5), 0);

    assert!((0..1_000).all(|n| ask(&lease, n, 1, ms(n * 1_000)).is_admitted()));

    let told = lease.cut(1_000, Duration::from_secs(9_999), ms(1_000_000));
    assert_eq!(told.len() as u64 + lease.untold(), 1_000);
    assert_eq!(told.len(), 64);
}

#[test]
fn nothing_overflows_at_the_ends() {
    for terms in [Terms::new(1, Duration::MAX, u32::MAX), Terms::new(1_000_000, Duration::from_secs(1), 1)] {
        let lease = fresh(terms, 0);
        for now in [Moment(0), Moment(u64::MAX), ms(5)] {
            ask(&lease, 1, u32::MAX, now);
            for told in lease.cut(9, Duration::MAX, now) {
                assert!(told.micros < 1 << 52);
                let ahead = Duration::from_micros(u64::MAX);
                lease.settle(told, Reckoned { ahead, total: u64::MAX }, now);
            }
        }
        assert!(lease.most_ahead(Duration::MAX).as_micros() < 1 << 52);
    }
}

#[test]
fn threads_and_an_exchange_beside_them_lose_nothing_that_was_spent() {
    let lease = fresh(Terms::new(1, Duration::from_secs(1), 100_000), 1 << 16);
    let work = || (0..5_000).for_each(|_| assert!(ask(&lease, 1, 1, ms(1)).is_admitted()));
    let exchange = || {
        let mut cell = None;
        while cell.is_none_or(|cell: reckon::Cell| cell.total < 20_000_000_000) {
            for told in lease.cut(9, Duration::ZERO, ms(1)) {
                let (next, reckoned) = reckon::reckon(cell, 1_000, told.micros, 0, 1 << 50);
                cell = Some(next);
                lease.settle(told, reckoned, ms(1));
            }
        }
        cell.unwrap().total
    };

    let told = std::thread::scope(|scope| {
        (0..4).for_each(|_| drop(scope.spawn(work)));
        scope.spawn(exchange).join().unwrap()
    });

    assert_eq!(told, 20_000_000_000);
    assert_eq!(remaining(&lease, 1, ms(1)), 80_000);
}
