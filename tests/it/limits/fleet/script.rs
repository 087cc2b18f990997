//! The script in the store is the function in the gateway.

use std::cell::RefCell;

use proptest::{
    prelude::*,
    test_runner::{Config, TestRunner},
};
use redis::{Commands, Connection};
use tollgate::limit::lease::reckon::{Cell, reckon};

use crate::support::redis::Redis;

/// One thing told of one of three keys.
#[derive(Clone, Debug)]
struct Spent {
    key: usize,
    /// Since the one before, or back: a store's clock may be set.
    passed: i64,
    micros: u64,
    age: u64,
}

#[tokio::test]
async fn the_script_reckons_as_the_gateway_does() {
    let redis = Redis::start().await;
    let url = format!("redis://{}/", redis.address);
    let connection = RefCell::new(redis::Client::open(url).unwrap().get_connection().unwrap());
    let mut runner = TestRunner::new(Config { cases: 200, failure_persistence: None, ..Config::default() });

    let told =
        (proptest::array::uniform3(found()), proptest::collection::vec(spent(), 1..20), 1_u64..1 << 40);
    runner
        .run(&told, |(found, spent, most)| run(&mut connection.borrow_mut(), &found, &spent, most))
        .unwrap();
}

fn spent() -> impl Strategy<Value = Spent> {
    let micros = prop_oneof![Just(0), 1_u64..10_000, 0_u64..1 << 48];
    let passed = prop_oneof![0_i64..2_000_000, -5_000_000_i64..5_000_000];
    let age = prop_oneof![Just(0), 0_u64..1_000_000, 0_u64..1 << 52];
    (0..3_usize, passed, micros, age).prop_map(|(key, passed, micros, age)| Spent {
        key,
        passed,
        micros,
        age,
    })
}

/// What may stand there before: nothing, what a gateway wrote, and what nobody should
/// have.
fn found() -> impl Strategy<Value = Option<Vec<u8>>> {
    let numbers = ("[0-9]{0,25}", "[0-9]{1,400}").prop_map(|(due, total)| format!("{due} {total}"));
    let cell = (0_u64..1 << 52, 0_u64..1 << 52).prop_map(|(due, total)| format!("{due} {total}"));
    prop_oneof![
        Just(None),
        cell.prop_map(|text| Some(text.into_bytes())),
        numbers.prop_map(|text| Some(text.into_bytes())),
        "[-+. 0-9a-fx]{0,12}".prop_map(|text| Some(text.into_bytes())),
        proptest::collection::vec(any::<u8>(), 0..12).prop_map(Some),
    ]
}

fn run(
    connection: &mut Connection,
    found: &[Option<Vec<u8>>; 3],
    told: &[Spent],
    most: u64,
) -> Result<(), TestCaseError> {
    let keys = ["{t}:a", "{t}:b", "{t}:c"];
    let _: () = connection.del(&keys).unwrap();
    for (key, found) in keys.iter().zip(found) {
        let _: () = found.as_ref().map_or(Ok(()), |found| connection.set(key, found)).unwrap();
    }
    let mut cells = found.each_ref().map(|found| found.as_deref().and_then(Cell::read));
    let mut now = 1_790_000_000_000_000_u64;
    for spent in told {
        now = now.saturating_add_signed(spent.passed);
        let (cell, reckoned) = reckon(cells[spent.key], now, spent.micros, spent.age, most);
        cells[spent.key] = Some(cell);

        let mut call = redis::cmd("EVAL");
        call.arg(at(now)).arg(1).arg(keys[spent.key]).arg(&[most, spent.micros, spent.age]);
        let [ahead, total]: [u64; 2] = call.query(connection).unwrap();
        let kept: String = connection.get(keys[spent.key]).unwrap();
        let lives: i64 = connection.pttl(keys[spent.key]).unwrap();

        prop_assert_eq!((u128::from(ahead), total), (reckoned.ahead.as_micros(), reckoned.total));
        let Cell { due, total } = cell;
        prop_assert_eq!(kept, format!("{due} {total}"));
        // As long as it says anything.
        prop_assert!(lives > i64::try_from(ahead / 1000).unwrap());
    }
    Ok(())
}

/// The script at this moment.
fn at(now: u64) -> String {
    let script = include_str!("../../../../src/limit/store/reckon.lua");
    let clock = "redis.call('TIME')";
    assert_eq!(script.matches(clock).count(), 1);
    script.replace(clock, &format!("{{'{}', '{}'}}", now / 1_000_000, now % 1_000_000))
}
