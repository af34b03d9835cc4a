// SPDX-License-Identifier: GPL-2.0

use super::*;
use std::vec::Vec;

type R = Resource<Vec<Entry>>;

fn new() -> R {
    Resource::new(Vec::new(), 1, Token(0))
}

fn claim(seq: u64, keep: Option<Mode>, want: Option<Mode>) -> Claim {
    Claim {
        seq,
        keep,
        want,
        tries: false,
        era: Era::new(0),
        value: None,
    }
}

fn ask(r: &mut R, node: NodeId, seq: u64, want: Mode) -> Answer {
    r.claim(node, &claim(seq, None, Some(want)), 1)
}

fn granted(r: &R, node: NodeId) -> Option<Mode> {
    match r.notice(node) {
        Some(Notice::Grant(grant)) => Some(grant.mode),
        _ => None,
    }
}

#[test]
fn first_come_first_served() {
    let mut r = new();
    assert!(matches!(ask(&mut r, 1, 1, Mode::Pr), Answer::Granted(_)));
    assert_eq!(ask(&mut r, 2, 1, Mode::Ex), Answer::Queued);
    // A reader that comes later waits, though it could have it.
    assert_eq!(ask(&mut r, 3, 1, Mode::Pr), Answer::Queued);
    assert_eq!(
        r.notice(1),
        Some(Notice::Block {
            seq: 1,
            mode: Mode::Ex
        })
    );
    assert_eq!(r.claim(1, &claim(2, None, None), 1), Answer::Done);
    assert_eq!((granted(&r, 2), granted(&r, 3)), (Some(Mode::Ex), None));
    assert_eq!(r.claim(2, &claim(2, None, None), 1), Answer::Done);
    assert_eq!(granted(&r, 3), Some(Mode::Pr));
}

#[test]
fn conversions_come_first() {
    let mut r = new();
    ask(&mut r, 1, 1, Mode::Pr);
    ask(&mut r, 2, 1, Mode::Pr);
    assert_eq!(ask(&mut r, 3, 1, Mode::Ex), Answer::Queued);
    assert_eq!(
        r.claim(1, &claim(2, Some(Mode::Pr), Some(Mode::Ex)), 1),
        Answer::Queued
    );
    assert_eq!(
        r.claim(2, &claim(2, Some(Mode::Pr), Some(Mode::Ex)), 1),
        Answer::Deadlock
    );
    r.claim(2, &claim(3, None, None), 1);
    assert_eq!((granted(&r, 1), granted(&r, 3)), (Some(Mode::Ex), None));
}

#[test]
fn a_claim_that_comes_again_changes_nothing() {
    let mut r = new();
    let first = ask(&mut r, 1, 5, Mode::Ex);
    assert!(matches!(first, Answer::Granted(_)));
    assert_eq!(ask(&mut r, 1, 5, Mode::Ex), first);
    assert_eq!(ask(&mut r, 1, 4, Mode::Pr), Answer::Stale);
    assert_eq!(
        r.claim(2, &claim(1, Some(Mode::Pr), None), 1),
        Answer::Stale
    );
    assert_eq!(r.entries().len(), 1);
}

#[test]
fn who_tries_does_not_wait() {
    let mut r = new();
    ask(&mut r, 1, 1, Mode::Ex);
    let tries = Claim {
        tries: true,
        ..claim(1, None, Some(Mode::Pr))
    };
    assert_eq!(r.claim(2, &tries, 1), Answer::Busy);
    assert_eq!((r.entries().len(), r.notice(1)), (1, None));
}

#[test]
fn the_value_goes_from_the_writer_to_the_next() {
    let mut r = new();
    let Answer::Granted(grant) = ask(&mut r, 1, 1, Mode::Ex) else {
        panic!()
    };
    let value = Value {
        bytes: [7; 64],
        version: grant.era.token,
        is_valid: true,
    };
    r.claim(
        1,
        &Claim {
            value: Some(value),
            ..claim(2, None, None)
        },
        1,
    );
    let Answer::Granted(grant) = ask(&mut r, 2, 1, Mode::Pr) else {
        panic!()
    };
    assert_eq!(grant.value, value);
    // A writer that dies may have written another one.
    r.claim(2, &claim(2, None, None), 1);
    ask(&mut r, 3, 1, Mode::Pw);
    r.remove(3, 2);
    let Answer::Granted(last) = r.claim(2, &claim(3, None, Some(Mode::Pr)), 2) else {
        panic!()
    };
    assert!(!last.value.is_valid && last.era.token.view() == 2);
}

#[test]
fn who_is_gone_excludes_others_until_its_lease_ends() {
    let mut r = new();
    ask(&mut r, 3, 7, Mode::Ex);
    r.bury(3, 2);
    // Its next incarnation counts from 1 on.
    assert_eq!(
        r.claim(3, &claim(1, None, Some(Mode::Pr)), 2),
        Answer::Queued
    );
    assert_eq!(r.notices().count(), 0);
    r.remove(buried(3), 2);
    assert_eq!(granted(&r, 3), Some(Mode::Pr));
}

#[test]
fn who_is_gone_and_waited_holds_up_nobody() {
    let mut r = new();
    assert!(matches!(ask(&mut r, 1, 1, Mode::Pr), Answer::Granted(_)));
    assert_eq!(ask(&mut r, 3, 1, Mode::Ex), Answer::Queued);
    assert_eq!(ask(&mut r, 2, 1, Mode::Pr), Answer::Queued);
    r.bury(3, 2);
    assert_eq!(granted(&r, 2), Some(Mode::Pr));
}

#[test]
fn a_new_master_learns_from_the_holders() {
    let mut old = new();
    ask(&mut old, 1, 1, Mode::Cw);
    let Answer::Granted(grant) = ask(&mut old, 2, 1, Mode::Cw) else {
        panic!()
    };
    let mut r: R = Resource::recovering(Vec::new(), 2, false);
    assert_eq!(
        r.claim(3, &claim(1, None, Some(Mode::Cw)), 2),
        Answer::Queued
    );
    let report = Report {
        seq: 1,
        held: Some(Mode::Cw),
        era: grant.era,
        value: grant.value,
        is_newest: true,
    };
    r.recover(2, &report).unwrap();
    r.open(2);
    // The writer that was there is not fenced by the new one.
    let Some(Notice::Grant(new)) = r.notice(3) else {
        panic!()
    };
    assert_eq!(new.era.token, grant.era.token);
    assert!(new.value.is_valid);
}

#[test]
fn who_comes_back_twice_leaves_nothing_behind() {
    let mut r = new();
    for seq in [1, 2] {
        assert!(matches!(ask(&mut r, 3, seq, Mode::Pr), Answer::Granted(_)));
        r.bury(3, 2);
    }
    assert_eq!(ask(&mut r, 1, 1, Mode::Ex), Answer::Queued);
    r.remove(buried(3), 2);
    assert_eq!(granted(&r, 1), Some(Mode::Ex));
}

#[test]
fn a_value_is_in_doubt_if_who_may_have_written_it_goes_before_it_has_reported() {
    let mut old = new();
    let Answer::Granted(grant) = ask(&mut old, 1, 1, Mode::Cr) else {
        panic!()
    };
    let report = Report {
        seq: 1,
        held: Some(Mode::Cr),
        era: grant.era,
        value: grant.value,
        is_newest: false,
    };
    for goes in [false, true] {
        let mut r: R = Resource::recovering(Vec::new(), 2, true);
        if goes {
            r.doubt_value();
        }
        r.recover(1, &report).unwrap();
        r.open(3);
        let Answer::Granted(grant) = ask(&mut r, 2, 1, Mode::Pr) else {
            panic!()
        };
        assert_eq!(grant.value.is_valid, !goes);
        // Afterwards only who had it matters.
        r.doubt_value();
        assert_eq!(r.report().value.is_valid, !goes);
    }
}
