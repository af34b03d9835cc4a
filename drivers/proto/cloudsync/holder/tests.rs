// SPDX-License-Identifier: GPL-2.0

//! Holders with a resource, whose messages come at once or in any order.

use super::*;
use crate::{
    cloudsync::resource::{Entry, Resource},
    vuid::NodeId,
};
use proptest::prelude::*;
use std::{vec, vec::Vec};

/// Nodes 1 to N and the master of one name.
struct Cluster {
    holders: Vec<Holder<Vec<Local>>>,
    resource: Resource<Vec<Entry>>,
    seq: u64,
    messages: u64,
}

impl Cluster {
    fn new(nodes: usize) -> Self {
        Cluster {
            holders: vec![Holder::new(Vec::new()); nodes],
            resource: Resource::new(Vec::new(), 1, Token(0)),
            seq: 0,
            messages: 0,
        }
    }

    /// Delivers messages until there are none.
    fn settle(&mut self) {
        for _ in 0..1000 {
            let mut said = false;
            for (at, holder) in self.holders.iter_mut().enumerate() {
                holder.pump(true);
                let seq = self.seq + 1;
                if let Some(claim) = holder.claim(|| seq) {
                    self.seq = seq;
                    let answer = self.resource.claim(at as NodeId + 1, &claim, 1);
                    holder.answer(claim.seq, &answer);
                    self.messages += 1;
                    said = true;
                }
                holder.pump(true);
            }
            let told: Vec<NodeId> = self.resource.notices().collect();
            for node in told {
                let notice = self.resource.notice(node).unwrap();
                self.holders[usize::from(node) - 1].notice(&notice);
                self.resource.told(node, &notice);
                self.messages += 1;
                said = true;
            }
            if !said {
                return;
            }
        }
        panic!(
            "the messages do not end: {:?} {:?}",
            self.holders, self.resource
        );
    }

    fn held(&self) -> Vec<(usize, Local, Mode)> {
        let nodes = self.holders.iter().enumerate();
        nodes
            .flat_map(|(node, holder)| {
                let held = holder
                    .locals()
                    .iter()
                    .filter_map(|local| Some((*local, local.held?)));
                held.map(move |(local, mode)| (node, local, mode))
                    .collect::<Vec<_>>()
            })
            .collect()
    }
}

#[test]
fn the_last_owner_needs_no_message() {
    let mut c = Cluster::new(2);
    c.holders[0].request(1, Mode::Ex, false).unwrap();
    c.settle();
    let first = c.holders[0].unlock(1).unwrap();
    c.settle();
    let before = c.messages;
    c.holders[0].request(2, Mode::Ex, false).unwrap();
    c.settle();
    let second = c.holders[0].local(2).unwrap();
    assert_eq!((c.messages, second.held), (before, Some(Mode::Ex)));
    assert!(second.token > first.token);
    // Another node is let in when it is done, and behind all that the first has granted.
    c.holders[1].request(1, Mode::Pr, false).unwrap();
    c.settle();
    assert_eq!(c.holders[1].local(1).unwrap().held, None);
    c.holders[0].unlock(2);
    c.settle();
    assert!(c.holders[1].local(1).unwrap().token > second.token);
}

#[test]
fn a_node_that_is_waited_for_lets_nobody_else_in() {
    let mut c = Cluster::new(2);
    c.holders[0].request(1, Mode::Pr, false).unwrap();
    c.settle();
    c.holders[1].request(1, Mode::Ex, false).unwrap();
    c.settle();
    assert_eq!(c.holders[0].request(2, Mode::Pr, true), Err(Refusal::Busy));
    c.holders[0].request(2, Mode::Pr, false).unwrap();
    c.settle();
    assert_eq!(c.holders[0].local(2).unwrap().held, None);
    c.holders[0].unlock(1);
    c.settle();
    assert_eq!(c.holders[1].local(1).unwrap().held, Some(Mode::Ex));
    c.holders[1].unlock(1);
    c.settle();
    assert_eq!(c.holders[0].local(2).unwrap().held, Some(Mode::Pr));
}

#[test]
fn readers_of_two_nodes_with_writers_behind_them_are_no_deadlock() {
    let mut c = Cluster::new(2);
    for holder in &mut c.holders {
        holder.request(1, Mode::Pr, false).unwrap();
        holder.request(2, Mode::Ex, false).unwrap();
    }
    c.settle();
    assert_eq!(c.held().len(), 2);
    for node in 0..2 {
        c.holders[node].unlock(1);
    }
    c.settle();
    assert_eq!(c.held().len(), 1);
}

#[test]
fn two_conversions_that_wait_for_each_other_are_found() {
    let mut c = Cluster::new(2);
    for holder in &mut c.holders {
        holder.request(1, Mode::Pr, false).unwrap();
    }
    c.settle();
    for node in 0..2 {
        c.holders[node].convert(1, Mode::Ex, false).unwrap();
        c.settle();
    }
    assert_eq!(
        c.holders[1].local(1).unwrap().fate,
        Fate::Refused(Answer::Deadlock)
    );
    c.holders[1].unlock(1);
    c.settle();
    assert_eq!(c.holders[0].local(1).unwrap().held, Some(Mode::Ex));
}

#[test]
fn who_tries_is_told_at_once() {
    let mut c = Cluster::new(2);
    c.holders[0].request(1, Mode::Pw, false).unwrap();
    c.settle();
    assert_eq!(c.holders[0].request(2, Mode::Ex, true), Err(Refusal::Busy));
    c.holders[1].request(1, Mode::Ex, true).unwrap();
    c.settle();
    assert_eq!(
        c.holders[1].local(1).unwrap().fate,
        Fate::Refused(Answer::Busy)
    );
    c.holders[1].cancel(1);
    assert!(c.holders[1].is_unused());
}

#[test]
fn the_value_is_handed_on() {
    let mut c = Cluster::new(3);
    for node in [0, 1, 2, 0] {
        c.holders[node].request(9, Mode::Ex, false).unwrap();
        c.settle();
        let mut value = c.holders[node].value().bytes;
        value[0] += 1;
        c.holders[node].write(9, &value);
        c.holders[node].unlock(9);
        c.settle();
    }
    c.holders[1].request(9, Mode::Pr, false).unwrap();
    c.settle();
    assert_eq!(c.holders[1].value().bytes[0], 4);
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Request(usize, u64, usize, bool),
    Convert(usize, u64, usize, bool),
    Unlock(usize, u64),
    /// A node's next claim reaches the master, and its answer the node.
    Claim(usize),
    /// A claim reaches the master, its answer is lost.
    Unanswered(usize),
    Notice(usize),
}

fn step() -> impl Strategy<Value = Step> {
    let node = 0..3usize;
    prop_oneof![
        (node.clone(), 0..3u64, 0..6usize, any::<bool>())
            .prop_map(|(n, i, m, t)| Step::Request(n, i, m, t)),
        (node.clone(), 0..3u64, 0..6usize, any::<bool>())
            .prop_map(|(n, i, m, t)| Step::Convert(n, i, m, t)),
        (node.clone(), 0..3u64).prop_map(|(n, i)| Step::Unlock(n, i)),
        node.clone().prop_map(Step::Claim),
        node.clone().prop_map(Step::Claim),
        node.clone().prop_map(Step::Unanswered),
        node.prop_map(Step::Notice),
    ]
}

proptest! {
    /// At each moment what programs hold is what the reference allows: any two are compatible, and of two
    /// that exclude each other the later has the larger token. In the end all are let in.
    #[test]
    fn exclusion_order_of_tokens_and_no_one_is_forgotten(
        steps in prop::collection::vec(step(), 1..120)
    ) {
        let mut c = Cluster::new(3);
        let mut made: Vec<(Mode, Token)> = Vec::new();
        let mut before: Vec<(usize, Local, Mode)> = Vec::new();
        for step in steps {
            match step {
                Step::Request(n, id, m, tries) => drop(c.holders[n].request(id, Mode::ALL[m], tries)),
                Step::Convert(n, id, m, tries) => drop(c.holders[n].convert(id, Mode::ALL[m], tries)),
                Step::Unlock(n, id) => drop(c.holders[n].unlock(id)),
                Step::Claim(n) | Step::Unanswered(n) => {
                    let seq = c.seq + 1;
                    if let Some(claim) = c.holders[n].claim(|| seq) {
                        c.seq = seq;
                        let answer = c.resource.claim(n as NodeId + 1, &claim, 1);
                        if let Step::Claim(_) = step {
                            c.holders[n].answer(claim.seq, &answer);
                        }
                    }
                }
                Step::Notice(n) => {
                    if let Some(notice) = c.resource.notice(n as NodeId + 1) {
                        c.holders[n].notice(&notice);
                        c.resource.told(n as NodeId + 1, &notice);
                    }
                }
            }
            for holder in &mut c.holders {
                holder.pump(true);
            }
            let held = c.held();
            for (node, local, mode) in &held {
                for (other, peer, theirs) in &held {
                    let same = (node, local.id) == (other, peer.id);
                    prop_assert!(same || mode.is_compatible(*theirs), "{:?}", held);
                }
                let known = before.iter().any(|(at, old, _)| (at, old.id, old.token) == (node, local.id, local.token));
                if !known {
                    for (old, token) in &made {
                        prop_assert!(old.is_compatible(*mode) || *token < local.token);
                    }
                    made.push((*mode, local.token));
                }
            }
            before = held;
        }
        // Everybody who has it is done, one after the other: nobody is left waiting.
        for _ in 0..30 {
            c.settle();
            for node in 0..3 {
                let done: Vec<u64> = c.holders[node].locals().iter()
                    .filter(|local| local.want.is_none()).map(|local| local.id).collect();
                for id in done {
                    c.holders[node].unlock(id);
                }
            }
        }
        for holder in &c.holders {
            prop_assert!(holder.locals().is_empty(), "{:?} {:?}", holder, c.resource);
        }
    }
}

#[test]
fn a_value_whose_claim_was_not_answered_may_be_outdated() {
    let mut c = Cluster::new(2);
    c.holders[0].request(1, Mode::Ex, false).unwrap();
    c.settle();
    c.holders[0].write(1, &[5; VALUE]);
    c.holders[0].unlock(1).unwrap();
    assert!(c.holders[0].report().unwrap().is_newest);
    c.holders[1].request(2, Mode::Ex, false).unwrap();
    c.seq += 1;
    let claim = c.holders[1].claim(|| 2).unwrap();
    assert_eq!(c.resource.claim(2, &claim, 1), Answer::Queued);
    c.holders[0].notice(&c.resource.notice(1).unwrap());
    // Node 1 gives it up. The master takes that, and the answer is lost; node 2 writes, and is gone with the
    // master.
    let claim = c.holders[0].claim(|| 3).unwrap();
    assert!(claim.value.is_some());
    c.resource.claim(1, &claim, 1);
    c.holders[1].notice(&c.resource.notice(2).unwrap());
    assert!(c.holders[1].pump(true));
    c.holders[1].write(2, &[9; VALUE]);
    c.holders[0].remaster();
    let report = c.holders[0].report().unwrap();
    let mut next = Resource::recovering(Vec::<Entry>::new(), 2, false);
    next.recover(1, &report).unwrap();
    next.open(2);
    let claim = Claim {
        seq: 4,
        keep: None,
        want: Some(Mode::Pr),
        tries: false,
        era: Era::new(0),
        value: None,
    };
    let Answer::Granted(grant) = next.claim(1, &claim, 2) else {
        panic!("it is free");
    };
    assert_eq!(grant.value.bytes, [5; VALUE]);
    assert!(!grant.value.is_valid);
}

/// Readers are kept out for who waits, and for nobody else.
#[test]
fn readers_wait_for_nobody_who_has_given_up() {
    let mut c = Cluster::new(2);
    c.holders[0].request(1, Mode::Pr, false).unwrap();
    c.settle();
    c.holders[1].request(2, Mode::Ex, false).unwrap();
    c.settle();
    c.holders[0].request(3, Mode::Pr, false).unwrap();
    c.settle();
    assert_eq!(c.held().len(), 1);
    c.holders[1].cancel(2);
    c.settle();
    assert_eq!(c.held().len(), 2);
    // Nor when room is short: this name is used.
    assert!(c.resource.recall());
    c.settle();
    c.holders[0].request(4, Mode::Pr, true).unwrap();
    c.settle();
    assert_eq!(c.held().len(), 3);
}

/// Who has written with the mode that it had before is not kept out by those that it shares the new one with.
#[test]
fn a_weaker_mode_shares_its_token() {
    let mut c = Cluster::new(1);
    c.holders[0].request(1, Mode::Ex, false).unwrap();
    c.settle();
    let first = c.holders[0].local(1).unwrap().token;
    c.holders[0].convert(1, Mode::Cw, false).unwrap();
    c.holders[0].request(2, Mode::Cw, false).unwrap();
    c.settle();
    let [one, two] = [1, 2].map(|id| c.holders[0].local(id).unwrap());
    assert_eq!((one.held, two.held), (Some(Mode::Cw), Some(Mode::Cw)));
    assert!(one.token == two.token && one.token > first);
}

/// A refusal is for who has asked, not for who is next by the time that it comes.
#[test]
fn a_refusal_is_for_who_has_asked() {
    let mut c = Cluster::new(2);
    c.holders[1].request(1, Mode::Ex, false).unwrap();
    c.settle();
    c.holders[0].request(2, Mode::Ex, true).unwrap();
    c.holders[0].request(3, Mode::Ex, false).unwrap();
    let claim = c.holders[0].claim(|| 100).unwrap();
    c.holders[0].cancel(2);
    let answer = c.resource.claim(1, &claim, 1);
    assert_eq!(answer, Answer::Busy);
    c.holders[0].answer(100, &answer);
    c.seq = 100;
    c.settle();
    let local = c.holders[0].local(3).unwrap();
    assert_eq!((local.want, local.fate), (Some(Mode::Ex), Fate::Fine));
    c.holders[1].unlock(1);
    c.settle();
    assert_eq!(c.holders[0].local(3).unwrap().held, Some(Mode::Ex));
}

#[test]
fn what_nobody_uses_is_given_back_when_room_is_short() {
    let mut c = Cluster::new(2);
    for recalls in [false, true] {
        c.holders[0].request(1, Mode::Ex, false).unwrap();
        c.settle();
        if recalls {
            assert!(c.resource.recall());
            c.settle();
        } else {
            assert!(!c.holders[0].give_back());
        }
        // Who uses it goes on.
        assert_eq!(c.held().len(), 1);
        c.holders[0].unlock(1).unwrap();
        match recalls {
            true => assert!(c.resource.recall()),
            false => assert!(c.holders[0].give_back() && !c.holders[0].is_waited_for()),
        }
        c.settle();
        assert!(c.holders[0].is_unused() && c.resource.is_unused());
    }
    // Who comes next keeps it.
    c.holders[1].request(2, Mode::Ex, false).unwrap();
    c.settle();
    c.holders[1].unlock(2).unwrap();
    c.settle();
    assert_eq!(c.holders[1].mode(), Some(Mode::Ex));
}

#[test]
fn a_name_has_room_for_so_many() {
    let mut c = Cluster::new(1);
    for id in 0..MAX_LOCALS as u64 {
        c.holders[0].request(id, Mode::Nl, false).unwrap();
    }
    assert_eq!(
        c.holders[0].request(u64::MAX, Mode::Nl, false),
        Err(Refusal::NoMemory)
    );
    c.settle();
    assert_eq!(c.held().len(), MAX_LOCALS);
}

#[test]
fn who_waits_is_told_of_again_after_a_lost_answer() {
    let mut c = Cluster::new(3);
    c.holders[0].request(1, Mode::Cr, false).unwrap();
    c.settle();
    c.holders[2].request(3, Mode::Ex, false).unwrap();
    c.settle();
    c.holders[0].convert(1, Mode::Cw, false).unwrap();
    let seq = c.seq + 1;
    let claim = c.holders[0].claim(|| seq).unwrap();
    c.seq = seq;
    // The answer says that node 3 waits, and is lost; node 3 gives up.
    assert!(matches!(c.resource.claim(1, &claim, 1), Answer::Granted(_)));
    c.holders[2].unlock(3).unwrap();
    let seq = c.seq + 1;
    let gone = c.holders[2].claim(|| seq).unwrap();
    c.seq = seq;
    c.resource.claim(3, &gone, 1);
    let answer = c.resource.claim(1, &claim, 1);
    c.holders[0].answer(claim.seq, &answer);
    c.holders[0].pump(true);
    // Who waits next is not forgotten.
    c.holders[1].request(2, Mode::Ex, false).unwrap();
    c.settle();
    c.holders[0].unlock(1).unwrap();
    c.settle();
    assert_eq!(c.holders[1].local(2).unwrap().held, Some(Mode::Ex));
}
