//! Every order in which threads can meet in a set, by a model checker (loom):
//! sets of one or two cells, so that the orders stay countable.

use std::time::Duration;

use loom::{
    sync::{Arc, Mutex, atomic::AtomicU64 as Modelled},
    thread,
};

use super::*;
use crate::limit::room::Room;

/// A set that is always contended: a newcomer has to take someone's cell.
struct Shared<const WAYS: usize> {
    set: Set<Modelled, WAYS>,
    spare: Option<Set<Modelled, WAYS>>,
    lock: Mutex<()>,
    terms: Terms,
}

impl<const WAYS: usize> Shared<WAYS> {
    fn new(burst: u32) -> Arc<Self> {
        Arc::new(Self::with(burst, None))
    }

    fn with_spare(burst: u32) -> Self {
        Self::with(burst, Some(empty()))
    }

    fn with(burst: u32, spare: Option<Set<Modelled, WAYS>>) -> Self {
        let terms = Terms::new(1, Duration::from_nanos(TOKEN), burst);
        Self { set: empty(), spare, lock: Mutex::new(()), terms }
    }

    fn draw(&self, tag: u64) -> bool {
        let draw = Draw { terms: &self.terms, now: NOW, ticks: TOKEN };
        self.room().draw(tag, draw, || self.lock.lock().unwrap()).granted
    }

    fn room(&self) -> Room<'_, Modelled, WAYS> {
        Room { home: &self.set, spare: self.spare.as_ref() }
    }

    fn give_back_old(&self) -> bool {
        self.room().put(OLD, |due| due - TOKEN, || self.lock.lock().unwrap());
        true
    }
}

fn empty<const WAYS: usize>() -> Set<Modelled, WAYS> {
    Set { cells: std::array::from_fn(|_| Cell { tag: Modelled::new(0), due: Modelled::new(0) }) }
}

/// What one thread does, told by whether it was granted.
type Act<const WAYS: usize> = fn(&Shared<WAYS>) -> bool;

/// Does `acts` beside each other on a set made by `set_up`, once for each order
/// that has at most two switches which no thread asked for. Each on a thread of
/// its own: what the first thread does, the checker orders less thoroughly.
fn race<const WAYS: usize, const ACTS: usize>(
    set_up: fn() -> Arc<Shared<WAYS>>,
    acts: [Act<WAYS>; ACTS],
    check: fn(&Shared<WAYS>, [bool; ACTS]),
) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(2);
    builder.check(move || {
        let shared = set_up();
        let threads = acts.map(|act| {
            let shared = shared.clone();
            thread::spawn(move || act(&shared))
        });
        let granted = threads.map(|thread| thread.join().unwrap());
        check(&shared, granted);
    });
}

#[test]
fn two_threads_that_bring_a_new_key_share_its_cell() {
    let bring: Act<2> = |set| set.draw(NEW);

    race(
        || Shared::new(1),
        [bring, bring],
        |_, granted| {
            assert_eq!(granted.iter().filter(|granted| **granted).count(), 1);
        },
    );
}

#[test]
fn two_threads_that_bring_a_new_key_to_its_spare_set_share_its_cell() {
    let set_up = || {
        let shared = Shared::<1>::with_spare(1);
        assert!(shared.draw(OLD));
        Arc::new(shared)
    };
    let bring: Act<1> = |set| set.draw(NEW);

    race(set_up, [bring, bring, |set| !set.draw(OLD)], |shared, granted| {
        assert_eq!(granted.iter().filter(|granted| **granted).count(), 2);
        assert_eq!((shared.set.due(OLD), shared.set.due(NEW)), (Some(NOW + TOKEN), None));
        assert_eq!(shared.room().due(NEW), Some(NOW + TOKEN));
    });
}

#[test]
fn a_key_in_the_cell_of_another_is_not_charged_what_that_one_takes() {
    let acts: [Act<1>; 2] = [|set| set.draw(NEW) && set.draw(NEW), |set| set.draw(OLD)];

    race(one_of_two_taken, acts, |_, granted| assert_eq!(granted, [true; 2]));
}

#[test]
fn a_key_in_the_cell_of_another_is_not_refused_for_what_that_one_took() {
    let bring: Act<1> = |set| set.draw(NEW);

    race(two_of_two_taken, [bring, bring], |_, granted| assert_eq!(granted, [true; 2]));
}

#[test]
fn a_look_at_a_key_does_not_see_what_another_took() {
    let look: Act<1> = |set| set.set.due(NEW).is_none_or(|due| due == NOW + TOKEN);

    race(two_of_two_taken, [look, |set| set.draw(NEW)], |_, granted| assert_eq!(granted, [true; 2]));
}

#[test]
fn what_is_given_back_goes_to_nobody_else() {
    race(one_of_two_taken, [Shared::give_back_old, |set| set.draw(NEW)], |shared, granted| {
        assert_eq!(granted, [true; 2]);
        assert_eq!(shared.set.due(NEW), Some(NOW + TOKEN));
    });
}

#[test]
fn what_is_given_back_is_there_again_whoever_comes_meanwhile() {
    let set_up = || {
        let shared = Shared::<2>::new(1);
        assert!(shared.draw(OLD));
        shared
    };

    race(set_up, [Shared::give_back_old, |set| set.draw(NEW)], |shared, granted| {
        assert_eq!(granted, [true; 2]);
        assert!(shared.draw(OLD));
    });
}

/// A claim of the first cell that comes to nothing, as its key takes again.
#[test]
fn a_key_that_is_nearly_forgotten_neither_loses_what_it_gets_back_nor_gives_it_away() {
    let set_up = || {
        let shared = Shared::<2>::new(4);
        assert!(shared.draw(OLD) && shared.draw(OTHER));
        shared
    };
    let acts: [Act<2>; 3] = [|set| set.draw(NEW), |set| set.draw(OLD), Shared::give_back_old];

    race(set_up, acts, |shared, granted| {
        assert_eq!(granted, [true; 3]);
        let keys: Vec<_> = shared.set.keys().collect();
        assert!(keys.iter().all(|(_, due)| *due <= NOW + TOKEN), "{keys:?}");
        assert!(keys.len() == 2 && keys[0].0 != keys[1].0, "{keys:?}");
    });
}

fn one_of_two_taken() -> Arc<Shared<1>> {
    let shared = Shared::new(2);
    assert!(shared.draw(OLD));
    shared
}

fn two_of_two_taken() -> Arc<Shared<1>> {
    let shared = one_of_two_taken();
    assert!(shared.draw(OLD));
    shared
}

word!(Modelled);

const OLD: u64 = 1;
const NEW: u64 = 2;
const OTHER: u64 = 3;
const NOW: u64 = 1_000;
const TOKEN: u64 = 100;
