// SPDX-License-Identifier: GPL-2.0

//! Checks the models. Each says how many states it has seen.

use stateright::{Checker, Model};
use std::{collections::BTreeSet, time::Duration};
use virgo_models::{links::Links, locks::Locks, rollouts::Rollouts, views::Views};
use virgo_proto::cloudsync::Mode;

/// Checks breadth first up to so many states, and then random long runs for a while.
fn check<M>(name: &str, model: M, states: usize, sometimes: bool)
where
    M: Model + Clone + Send + Sync + 'static,
    M::State: std::hash::Hash + Send + Sync + std::fmt::Debug + PartialEq + 'static,
    M::Action: std::fmt::Debug + PartialEq + Clone,
{
    let checker = model
        .clone()
        .checker()
        .threads(2)
        .target_state_count(states)
        .spawn_bfs()
        .join();
    println!(
        "{name}: {} states, {} of them different, depth {}, {}",
        checker.state_count(),
        checker.unique_state_count(),
        checker.max_depth(),
        if checker.is_done() && checker.state_count() < states {
            "all there are"
        } else {
            "bounded"
        },
    );
    for property in model.properties() {
        if property.expectation == stateright::Expectation::Always {
            checker.assert_no_discovery(property.name);
        }
    }
    let random = model
        .clone()
        .checker()
        .target_max_depth(90)
        .timeout(Duration::from_secs(10))
        .spawn_simulation(17, stateright::UniformChooser)
        .join();
    println!(
        "{name}: {} states in random runs, depth {}",
        random.state_count(),
        random.max_depth()
    );
    for property in model.properties() {
        match property.expectation {
            stateright::Expectation::Always => random.assert_no_discovery(property.name),
            _ if sometimes => {
                let found = checker
                    .discovery(property.name)
                    .or(random.discovery(property.name));
                assert!(found.is_some(), "never seen: {}", property.name);
            }
            _ => (),
        }
    }
}

#[test]
fn views_of_one_who_uses_locks() {
    check(
        "views, one active",
        Views {
            end: 9,
            restarts: 1,
            active: 0b001,
            leases: [2; 3],
        },
        150_000,
        true,
    );
}

#[test]
fn views_of_two_who_use_locks() {
    check(
        "views, two active",
        Views {
            end: 12,
            restarts: 2,
            active: 0b011,
            leases: [2; 3],
        },
        150_000,
        true,
    );
}

#[test]
fn views_with_leases_of_different_length() {
    check(
        "views, different leases",
        Views {
            end: 14,
            restarts: 1,
            active: 0b111,
            leases: [2, 4, 1],
        },
        150_000,
        true,
    );
}

#[test]
fn locks_whose_master_is_left_out() {
    let modes = vec![Mode::Pr, Mode::Ex];
    let model = Locks {
        masters: [3, 1],
        is_left_out: true,
        restarts: false,
        requests: 1,
        modes,
    };
    check("locks, the master is left out", model, 150_000, true);
}

#[test]
fn locks_whose_holder_is_left_out() {
    let modes = vec![Mode::Pr, Mode::Ex];
    let model = Locks {
        masters: [1, 1],
        is_left_out: true,
        restarts: false,
        requests: 1,
        modes,
    };
    check("locks, a holder is left out", model, 150_000, true);
}

#[test]
fn locks_that_move_to_a_node_that_came() {
    let modes = vec![Mode::Cw, Mode::Ex];
    let model = Locks {
        masters: [2, 3],
        is_left_out: false,
        restarts: false,
        requests: 2,
        modes,
    };
    check("locks, another master", model, 150_000, true);
}

#[test]
fn locks_whose_master_comes_back() {
    let modes = vec![Mode::Pr, Mode::Ex];
    let model = Locks {
        masters: [3, 3],
        is_left_out: false,
        restarts: true,
        requests: 2,
        modes,
    };
    check("locks, the master restarts", model, 150_000, true);
}

#[test]
fn locks_whose_holder_comes_back() {
    let modes = vec![Mode::Pr, Mode::Ex];
    let model = Locks {
        masters: [1, 1],
        is_left_out: false,
        restarts: true,
        requests: 2,
        modes,
    };
    check("locks, a holder restarts", model, 150_000, true);
}

#[test]
fn views_end_whichever_links_of_three_nodes_are_broken() {
    for any_order in [false, true] {
        let model = Links::<3>::all(60, any_order, |_| true);
        check("links of three nodes", model, 150_000, true);
    }
}

#[test]
fn views_end_whichever_link_of_five_nodes_is_broken() {
    let is_one = |broken: &BTreeSet<(u8, u8)>| {
        broken.len() == 2 && broken.iter().all(|link| broken.contains(&(link.1, link.0)))
    };
    for any_order in [false, true] {
        let model = Links::<5>::all(60, any_order, is_one);
        check("a link of five nodes", model, 100_000, true);
    }
}

#[test]
fn views_end_whichever_two_links_of_five_nodes_are_broken() {
    let are_two = |broken: &BTreeSet<(u8, u8)>| {
        broken.len() == 4 && broken.iter().all(|link| broken.contains(&(link.1, link.0)))
    };
    let mut model = Links::<5>::all(60, false, are_two);
    model.active.retain(|active| active.len() >= 4);
    check("two links of five nodes", model, 100_000, true);
}

#[test]
fn rollouts_from_the_beginning() {
    check(
        "roll-outs",
        Rollouts {
            end: 14,
            canary: None,
            is_ready: false,
            restarts: 1,
            losses: 2,
            gives_back: true,
            removes: false,
        },
        50_000,
        false,
    );
}

#[test]
fn rollouts_with_a_canary() {
    check(
        "roll-outs, canary on trial",
        Rollouts {
            end: 16,
            canary: Some(2),
            is_ready: true,
            restarts: 1,
            losses: 2,
            gives_back: true,
            removes: false,
        },
        100_000,
        true,
    );
}

#[test]
fn rollouts_whose_coordinator_is_taken_out() {
    check(
        "roll-outs, coordinator taken out",
        Rollouts {
            end: 24,
            canary: Some(3),
            is_ready: true,
            restarts: 2,
            losses: 3,
            gives_back: false,
            removes: true,
        },
        50_000,
        false,
    );
}
