// SPDX-License-Identifier: GPL-2.0

use super::*;
use crate::cloudsync::token::MAX_VIEW;
use std::{vec, vec::Vec};

type M = Membership<3>;

const TIMING: Timing = Timing {
    beat_ms: 100,
    dead_ms: 500,
    lease_ms: 400,
    margin_ms: 50,
};

/// Nodes whose messages take 1 ms each way; `up` are those that work.
struct Cluster<const N: usize = 3> {
    nodes: Vec<Membership<N>>,
    up: [bool; N],
    /// Two nodes whose link does not work.
    broken: Option<(usize, usize)>,
    /// One that does not answer in time when it is to promise.
    slow: Option<usize>,
    now: u64,
}

impl Cluster {
    fn new() -> Self {
        Self::of()
    }
}

impl<const N: usize> Cluster<N> {
    fn of() -> Self {
        let nodes = (1..=N as u8).map(|me| {
            let mut node = Membership::new(me, u64::from(me) * 10, TIMING, Durable::default());
            node.configure((1 << N) - 1, 0);
            node
        });
        Cluster {
            nodes: nodes.collect(),
            up: [true; N],
            broken: None,
            slow: None,
            now: 1000,
        }
    }

    fn run(&mut self, ms: u64) {
        for _ in 0..ms {
            self.now += 1;
            for from in 0..N {
                if !self.up[from] {
                    continue;
                }
                self.nodes[from].tick(self.now);
                for to in 0..N {
                    let Some(ask) = self.nodes[from].poll(to as u8 + 1, self.now) else {
                        continue;
                    };
                    let is_broken = [Some((from, to)), Some((to, from))].contains(&self.broken);
                    let is_slow = self.slow == Some(to) && matches!(ask, Ask::Prepare { .. });
                    if !self.up[to] || is_broken || is_slow {
                        self.nodes[from].failed(to as u8 + 1, &ask, self.now);
                        continue;
                    }
                    let told = self.nodes[to].handle(from as u8 + 1, &ask, self.now);
                    self.nodes[from].told(to as u8 + 1, &ask, self.now, &told, self.now);
                }
            }
        }
    }

    fn members(&self, node: usize) -> Vec<u8> {
        self.nodes[node].view().nodes().collect()
    }
}

#[test]
fn an_idle_cluster_says_nothing() {
    let mut c = Cluster::new();
    c.run(2000);
    assert!(c.nodes.iter().all(|node| node.view().number == 0));
}

#[test]
fn a_node_that_dies_is_left_out_and_comes_back() {
    let mut c = Cluster::new();
    c.nodes[0].set_active(true, c.now);
    c.run(10);
    assert_eq!(c.members(0), [1, 2, 3]);
    assert!(c.nodes[0].has_lease(c.now) && !c.nodes[1].has_lease(c.now));
    c.up[2] = false;
    c.run(700);
    assert_eq!(c.members(0), [1, 2]);
    let view = *c.nodes[1].view();
    assert!(view.has_lost && view.continuing().eq([1, 2]));
    assert!(c.nodes[0].opens_at() > c.now && c.nodes[0].has_lease(c.now));
    c.run(700);
    c.up[2] = true;
    c.run(700);
    let view = *c.nodes[2].view();
    assert_eq!(c.members(2), [1, 2, 3]);
    // It knows that what it had is lost.
    assert!(!view.has_lost && view.continuing().eq([1, 2]));
}

#[test]
fn a_view_waits_also_for_who_was_left_out_by_the_one_before() {
    let mut c = Cluster::new();
    c.nodes[0].set_active(true, c.now);
    c.run(10);
    c.up[2] = false;
    while c.members(0).len() == 3 {
        c.run(1);
    }
    let opens_at = c.nodes[0].opens_at();
    c.up[2] = true;
    while c.members(0).len() == 2 {
        c.run(1);
    }
    assert!(c.now < opens_at && c.nodes[2].view().has_lost);
    assert!(c.nodes[2].opens_at() >= opens_at);
}

#[test]
fn a_minority_has_no_lease() {
    let mut c = Cluster::new();
    c.nodes[0].set_active(true, c.now);
    c.run(10);
    let until = c.nodes[0].lease_until(c.now);
    c.up[1] = false;
    c.up[2] = false;
    c.run(2000);
    assert!(c.nodes[0].lease_until(c.now) < until + 10);
    assert!(!c.nodes[0].has_lease(c.now));
    c.up[1] = true;
    c.run(1500);
    assert_eq!(c.members(0), [1, 2]);
    assert!(c.nodes[0].has_lease(c.now));
}

#[test]
fn who_restarts_is_another_member() {
    let mut c = Cluster::new();
    c.nodes[0].set_active(true, c.now);
    c.run(10);
    let durable = c.nodes[1].durable();
    c.nodes[1] = M::new(2, 21, TIMING, durable);
    c.nodes[1].configure(0b111, 0);
    c.run(300);
    let view = *c.nodes[0].view();
    assert!(view.has_lost && view.has(2, 21) && view.continuing().eq([1, 3]));
    // What it mastered it has forgotten, though its number is the same.
    assert!(view.keeps(3, 3) && !view.keeps(2, 2) && !view.keeps(1, 3));
}

#[test]
fn all_of_them_may_want_a_view_at_once() {
    let mut c = Cluster::new();
    let now = c.now;
    for node in &mut c.nodes {
        node.set_active(true, now);
    }
    c.run(2000);
    let numbers: Vec<u64> = c.nodes.iter().map(|node| node.view().number).collect();
    assert_eq!(numbers, vec![numbers[0]; 3]);
    assert!(c.nodes.iter().all(|node| node.has_lease(c.now)));
}

#[test]
fn a_number_is_promised_once() {
    let mut node = M::new(3, 30, TIMING, Durable::default());
    node.configure(0b111, 0);
    let ask = |number, boot| Ask::Prepare { number, boot };
    assert!(node.handle(1, &ask(4, 10), 0).yes);
    assert!(node.handle(1, &ask(4, 10), 0).yes);
    assert!(!node.handle(1, &ask(4, 11), 0).yes);
    assert!(!node.handle(2, &ask(4, 20), 0).yes);
    // Also when it has restarted.
    let mut node = M::new(3, 31, TIMING, node.durable());
    node.configure(0b111, 0);
    assert!(!node.handle(1, &ask(4, 10), 0).yes);
    assert!(node.handle(2, &ask(5, 20), 0).yes);
    assert!(!node.handle(2, &Ask::Beat { view: 0 }, 0).yes);
}

#[test]
fn who_has_promised_more_acknowledges_no_commit() {
    let mut node = M::new(3, 30, TIMING, Durable::default());
    node.configure(0b111, 0);
    let view = View {
        number: 1,
        ..View::NONE
    };
    assert!(node.handle(1, &Ask::Commit(view), 0).yes);
    assert!(node.handle(1, &Ask::Commit(view), 0).yes);
    assert!(
        node.handle(
            2,
            &Ask::Prepare {
                number: 2,
                boot: 20
            },
            0
        )
        .yes
    );
    assert!(!node.handle(1, &Ask::Commit(view), 0).yes);
}

#[test]
fn a_node_alone_needs_nobody() {
    let mut node = M::new(1, 10, TIMING, Durable::default());
    node.configure(0b111, 1);
    node.set_active(true, 0);
    // Others have the time to answer.
    node.tick(0);
    assert_eq!(node.view().number, 0);
    let now = u64::from(TIMING.dead_ms) + 1;
    node.tick(now);
    node.tick(now);
    for peer in [2, 3] {
        let ask = node.poll(peer, now).unwrap();
        node.failed(peer, &ask, now);
    }
    assert!(node.has_lease(now) && node.view().nodes().eq([1]));
}

#[test]
fn who_has_promised_more_does_not_count_itself() {
    let mut c = Cluster::new();
    c.nodes[0].set_active(true, c.now);
    c.run(10);
    let view = c.nodes[0].view().number;
    let until = c.nodes[0].lease_until(c.now);
    assert!(until > c.now);
    // Node 3 proposes a view, and what it makes of it does not come.
    let ask = Ask::Prepare {
        number: view + 1,
        boot: 30,
    };
    assert!(c.nodes[0].handle(3, &ask, c.now).yes);
    // Node 2 has heard nothing of that.
    c.now += 100;
    let (beat, now) = (c.nodes[0].beat(), c.now);
    let told = c.nodes[1].handle(1, &beat, now);
    assert!(told.yes);
    c.nodes[0].told(2, &beat, now, &told, now);
    assert!(c.nodes[0].lease_until(now) <= until);
}

#[test]
fn who_is_left_out_is_waited_for_by_his_own_lease() {
    let mut c = Cluster::new();
    c.nodes[0].set_active(true, c.now);
    c.run(10);
    c.nodes[0].set_active(false, c.now);
    // Node 2 is loaded anew with another lease, and node 3 is cut off then.
    let timing = Timing {
        lease_ms: 60,
        ..TIMING
    };
    c.up[2] = false;
    c.nodes[1] = M::new(2, 21, timing, c.nodes[1].durable());
    c.nodes[1].configure(0b111, 0);
    c.nodes[1].set_active(true, c.now);
    while !c.nodes[0].view().has(2, 21) {
        c.run(1);
    }
    let wait = u64::from(TIMING.lease_ms) * 9 / 8;
    for node in &c.nodes[..2] {
        assert!(node.view().has_lost && node.opens_at() >= c.now + wait);
        assert_eq!(node.view().lease_ms, 60);
    }
    // That it has to be waited for is not forgotten when nobody is lost, or all restart.
    let durable = c.nodes[1].durable();
    c.nodes[0] = M::new(1, 11, timing, c.nodes[0].durable());
    c.nodes[0].configure(0b111, 0);
    c.nodes[1] = M::new(2, 22, timing, durable);
    c.nodes[1].configure(0b111, 0);
    c.nodes[0].set_active(true, c.now);
    while !c.nodes[0].view().has(2, 22) {
        c.run(1);
    }
    assert!(c.nodes[0].opens_at() >= c.now + wait);
    // When that time is over it is.
    c.run(600);
    c.up[2] = true;
    while !c.nodes[0].view().nodes().eq([1, 2, 3]) {
        c.run(1);
    }
    assert_eq!(c.nodes[0].view().wait_ms, 60);
}

#[test]
fn a_node_has_nothing_to_say_to_itself_or_to_who_is_no_node() {
    let mut node = M::new(1, 10, TIMING, Durable::default());
    node.configure(0b011, 0);
    node.set_active(true, 1000);
    assert_eq!(node.next_poll(2), Some(1000));
    for other in [1, 3] {
        assert!(node.poll(other, 1000).is_none() && node.next_poll(other).is_none());
    }
}

#[test]
fn numbers_are_not_used_up_by_who_is_alone() {
    let mut c = Cluster::new();
    c.up = [true, false, false];
    c.nodes[0].set_active(true, c.now);
    c.run(5000);
    assert_eq!(c.nodes[0].durable().promised, 0);
    c.up[1] = true;
    c.run(1000);
    assert!(c.nodes[0].has_lease(c.now));
}

#[test]
fn numbers_from_nowhere_are_refused() {
    let mut node = M::new(3, 30, TIMING, Durable::default());
    node.configure(0b111, 0);
    for number in [u64::MAX, MAX_VIEW + 1, MAX_VIEW] {
        let before = node.durable();
        assert!(!node.handle(1, &Ask::Prepare { number, boot: 10 }, 0).yes);
        let view = View {
            number: number.max(MAX_VIEW + 1),
            ..View::NONE
        };
        assert!(!node.handle(1, &Ask::Commit(view), 0).yes);
        assert_eq!(node.durable(), before);
    }
}

#[test]
fn a_view_overtakes_what_was_promised_and_came_to_nothing() {
    let mut c = Cluster::new();
    c.nodes[0].set_active(true, c.now);
    c.run(10);
    c.nodes[0].set_active(false, c.now);
    c.up[2] = false;
    let ask = Ask::Prepare {
        number: c.nodes[1].view().number + 9,
        boot: 30,
    };
    assert!(c.nodes[1].handle(3, &ask, c.now).yes);
    c.nodes[0].set_active(true, c.now);
    c.run(2000);
    assert!(c.nodes[0].has_lease(c.now));
}

#[test]
fn who_is_not_configured_any_more_is_left_out() {
    let mut c = Cluster::new();
    c.nodes[0].set_active(true, c.now);
    c.run(10);
    for node in &mut c.nodes[..2] {
        node.configure(0b011, 0);
    }
    c.run(10_000);
    assert_eq!(c.members(0), [1, 2]);
    let view = c.nodes[0].view().number;
    c.run(10_000);
    assert_eq!(c.nodes[0].view().number, view);
}

/// A cluster whose numbers have grown, with a node that has lost what it promised.
fn forgetful() -> Cluster {
    let mut c = Cluster::new();
    let number = 10 * MAX_STEP;
    for (me, node) in (1..).zip(&mut c.nodes).take(2) {
        let durable = Durable {
            promised: number,
            view: number,
            wait_ms: TIMING.lease_ms,
        };
        *node = M::new(me, u64::from(me) * 10, TIMING, durable);
        node.configure(0b111, 0);
    }
    c
}

#[test]
fn who_refuses_a_number_ends_no_proposal_that_a_majority_has_promised() {
    let mut c = forgetful();
    let now = c.now;
    let ask = Ask::Prepare {
        number: c.nodes[0].view().number + 1,
        boot: 10,
    };
    assert!(!c.nodes[2].handle(1, &ask, now).yes);
    c.nodes[0].set_active(true, now);
    c.run(3000);
    assert!(c.nodes[0].has_lease(c.now));
    // It has heard of the view, and is a member of the next one.
    assert_eq!(c.members(0), [1, 2, 3]);
}

#[test]
fn who_is_at_odds_with_a_member_stays_out_until_its_links_work() {
    let mut c = Cluster::new();
    let now = c.now;
    for node in &mut c.nodes {
        node.set_active(true, now);
    }
    c.run(1000);
    c.broken = Some((0, 1));
    c.run(1000);
    assert_eq!((c.members(0), c.members(2)), (vec![1, 3], vec![1, 3]));
    let number = c.nodes[2].view().number;
    c.run(20_000);
    assert_eq!(c.nodes[2].view().number, number);
    assert!(c.nodes[0].has_lease(c.now) && c.nodes[2].has_lease(c.now));
    // Also when the other end uses no locks for a while.
    for _ in 0..5 {
        let now = c.now;
        c.nodes[1].set_active(false, now);
        c.run(2000);
        let now = c.now;
        c.nodes[1].set_active(true, now);
        c.run(2000);
    }
    assert_eq!(c.nodes[2].view().number, number);
    c.broken = None;
    c.run(1000);
    assert_eq!(c.members(1), [1, 2, 3]);
    assert!(c.nodes.iter().all(|node| node.has_lease(c.now)));
}

#[test]
fn a_view_is_taken_before_the_next_is_installed() {
    let mut node = M::new(3, 30, TIMING, Durable::default());
    node.configure(0b111, 0);
    let view = |number| {
        Ask::Commit(View {
            number,
            ..View::NONE
        })
    };
    assert!(node.handle(1, &view(1), 0).yes);
    node.set_busy(true);
    // It acknowledges what it has, and promises what follows.
    assert!(node.handle(1, &Ask::Beat { view: 1 }, 0).yes);
    assert!(!node.handle(1, &view(2), 0).yes && node.view().number == 1);
    node.set_busy(false);
    assert!(node.handle(1, &view(2), 0).yes && node.view().number == 2);
}

#[test]
fn what_an_idle_node_missed_long_ago_keeps_no_majority_apart() {
    let mut c = Cluster::<4>::of();
    c.up[1] = false;
    c.nodes[2].set_active(true, c.now);
    c.run(2000);
    assert_eq!(c.members(2), [1, 3, 4]);
    // Node 2 comes back, and no program uses locks: nodes 2 and 3 say nothing to each other.
    c.nodes[2].set_active(false, c.now);
    c.nodes[1] = Membership::new(2, 21, TIMING, c.nodes[1].durable());
    c.nodes[1].configure(0b1111, 0);
    c.up[1] = true;
    c.up[3] = false;
    c.nodes[0].set_active(true, c.now);
    c.run(8000);
    assert_eq!(c.members(0), [1, 2, 3]);
    assert!(c.nodes[0].has_lease(c.now));
}

#[test]
fn who_is_left_alone_is_asked_if_the_quorum_needs_it() {
    let mut c = Cluster::new();
    c.slow = Some(2);
    c.nodes[0].set_active(true, c.now);
    c.run(20_000);
    assert_eq!(c.members(0), [1, 2]);
    // Just now it was found to be slow again.
    let number = c.nodes[0].view().number;
    while c.nodes[0].view().number == number {
        c.run(1);
    }
    c.slow = None;
    c.up[1] = false;
    c.run(2000);
    assert_eq!(c.members(0), [1, 3]);
    assert!(c.nodes[0].has_lease(c.now));
}

#[test]
fn proposers_that_hinder_each_other_come_back_one_after_the_other() {
    let again = |me| {
        let mut node = M::new(me, 10, TIMING, Durable::default());
        node.configure(0b111, 0);
        node.proposal = Some(Proposal::new(1, View::NONE, 0));
        node.finish(1000);
        assert!(node.proposal.is_none());
        node.propose_at
    };
    assert!(again(1) < again(2) && again(2) < again(3));
}

#[test]
fn the_clock_brings_one_view_at_a_time() {
    let mut node = M::new(1, 10, TIMING, Durable::default());
    node.configure(0b111, 1);
    node.set_active(true, 0);
    for peer in &mut node.peers {
        peer.is_alive = true;
    }
    // Somebody has promised more than what is proposed here, so another view is wanted at once.
    node.seen = 5;
    let mut proposal = Proposal::new(1, View::NONE, 0);
    proposal.note(1, (10, 0), true);
    node.proposal = Some(proposal);
    node.tick(1000);
    assert_eq!(node.view().number, 1);
    node.tick(1000);
    assert_eq!(node.view().number, 6);
    // Nothing is to be done until the view has been taken.
    node.set_busy(true);
    node.proposal = Some(proposal);
    assert_eq!(node.tick(1000), None);
}
