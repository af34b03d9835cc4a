// SPDX-License-Identifier: GPL-2.0

//! Checks the model of the bakery lock, and that it finds what is left out. Each says how many states it has seen.

use stateright::{Checker, HasDiscoveries, Model};
use virgo_models::bakery::{Bakery, Fault};
use virgo_proto::bakery::WaitLoops;

const LOOPS: [WaitLoops; 2] = [WaitLoops::One, WaitLoops::Two];

/// No model here has as many states.
const ALL: usize = 20_000_000;

/// Checks all states that there are.
fn check(name: &str, model: Bakery) {
    let checker = model
        .checker()
        .threads(2)
        .target_state_count(ALL)
        .spawn_bfs()
        .join();
    println!(
        "{name}, {:?}: {} states, {} of them different, depth {}",
        model.loops,
        checker.state_count(),
        checker.unique_state_count(),
        checker.max_depth(),
    );
    assert!(checker.state_count() < ALL, "not all states were seen");
    checker.assert_properties();
}

/// Whether the model finds that this is left out: the property does not hold.
fn finds(model: Bakery, fault: Fault, property: &'static str) {
    let model = Bakery { fault, ..model };
    let checker = model
        .checker()
        .target_state_count(ALL)
        .finish_when(HasDiscoveries::AnyOf([property].into()))
        .spawn_bfs()
        .join();
    println!(
        "{fault:?} left out, {:?}: {} states",
        model.loops,
        checker.state_count()
    );
    assert!(
        checker.discovery(property).is_some(),
        "without {fault:?} it holds: {property}"
    );
}

#[test]
fn two_participants_that_enter_twice() {
    for loops in LOOPS {
        check("two participants, two visits", Bakery::new(2, 2, loops));
    }
}

#[test]
fn two_participants_that_wait_in_different_ways() {
    let model = Bakery {
        mixed: true,
        ..Bakery::new(2, 2, WaitLoops::One)
    };
    check("two participants, different loops", model);
}

#[test]
fn two_participants_that_give_up() {
    for loops in LOOPS {
        let model = Bakery {
            giving_up: 2,
            ..Bakery::new(2, 2, loops)
        };
        check("two participants, two give up", model);
    }
}

#[test]
fn three_participants() {
    for loops in LOOPS {
        check("three participants", Bakery::new(3, 1, loops));
    }
}

#[test]
fn three_participants_one_of_which_gives_up() {
    let model = Bakery {
        giving_up: 1,
        ..Bakery::new(3, 1, WaitLoops::One)
    };
    check("three participants, one gives up", model);
}

#[test]
fn without_barriers_releases_or_flags_two_enter() {
    for loops in LOOPS {
        let model = Bakery::new(2, 1, loops);
        for fault in [Fault::Barriers, Fault::Releases, Fault::Flags] {
            finds(model, fault, "one at a time is inside");
        }
    }
}

#[test]
fn who_is_not_woken_sleeps_for_ever() {
    for loops in LOOPS {
        let model = Bakery::new(2, 1, loops);
        for fault in [Fault::WakeAtDoorway, Fault::WakeAtExit, Fault::LastLook] {
            finds(model, fault, "what has stopped is over");
        }
    }
}

#[test]
fn who_is_still_in_the_doorway_may_be_overtaken() {
    for loops in LOOPS {
        let model = Bakery::new(2, 1, loops);
        finds(model, Fault::EndOfDoorway, "first come, first served");
    }
}
