// SPDX-License-Identifier: GPL-2.0

use super::*;
use crate::cloudsync::{
    membership::{Ask, Links, Told},
    resource::{Answer, Claim, Grant, Notice, Report},
    view::{Member, View},
    Era, Mode, Modes, Token, Value,
};
use proptest::prelude::*;
use std::vec::Vec;

fn mode() -> impl Strategy<Value = Option<Mode>> {
    (0u8..7).prop_map(Mode::from_wire)
}

fn era() -> impl Strategy<Value = Era> {
    (any::<u64>(), any::<u8>()).prop_map(|(token, bits)| Era {
        token: Token(token),
        modes: Modes::from_wire(bits),
    })
}

fn value() -> impl Strategy<Value = Value> {
    (any::<u8>(), any::<u64>(), any::<bool>()).prop_map(|(byte, version, is_valid)| Value {
        bytes: [byte; VALUE],
        version: Token(version),
        is_valid,
    })
}

fn written(write: impl FnOnce(&mut Out<'_>)) -> Vec<u8> {
    let mut bytes = [0; 4096];
    let mut out = Out::new(&mut bytes);
    write(&mut out);
    let len = out.finish().unwrap();
    bytes[..len].to_vec()
}

proptest! {
    #[test]
    fn what_is_written_is_read(
        (seq, keep, want, tries) in (any::<u64>(), mode(), mode(), any::<bool>()),
        (era, value, has_value) in (era(), value(), any::<bool>()),
    ) {
        let claim = Claim { seq, keep, want, tries, era, value: has_value.then_some(value) };
        let bytes = written(|out| out.claim(&claim));
        prop_assert_eq!(In(&bytes).claim(), Some(claim));
        let grant = Grant { seq, mode: keep.unwrap_or(Mode::Ex), era, value, block: want };
        for answer in [Answer::Granted(grant), Answer::Queued, Answer::Stale, Answer::Quota] {
            let bytes = written(|out| out.answer(&answer));
            prop_assert!(bytes.len() <= MAX_ANSWER);
            prop_assert_eq!(In(&bytes).answer(), Some(answer));
        }
        for notice in [Notice::Grant(grant), Notice::Block { seq, mode: Mode::Pr }] {
            let bytes = written(|out| out.notice(&notice));
            prop_assert_eq!(In(&bytes).notice(), Some(notice));
        }
        let report = Report { seq, held: keep, era, value, is_newest: tries };
        let bytes = written(|out| out.report(&report));
        prop_assert_eq!(In(&bytes).report(), Some(report));
    }

    #[test]
    fn views_are_read_as_they_are_written(
        numbers in any::<[u64; 3]>(),
        members in any::<[(u64, u64); 5]>(),
        has_lost in any::<bool>(),
    ) {
        let members = members.map(|(boot, joined)| match boot % 3 {
            0 => Member::default(),
            _ => Member { boot: boot.max(1), joined },
        });
        let [number, base, promised] = numbers;
        let links = Links { hears: promised, misses: base };
        let view = View::<5> { number, base, lease_ms: 7, wait_ms: 9, has_lost, members };
        for ask in [Ask::Commit(view), Ask::Fetch, Ask::Beat { view: base }, Ask::Prepare { number, boot: 3 }] {
            let bytes = written(|out| out.ask(&ask));
            prop_assert!(bytes.len() <= max_member(5));
            prop_assert_eq!(In(&bytes).ask(), Some(ask));
        }
        let told = Told { boot: 9, promised, view: number, yes: has_lost, is_settled: !has_lost, links, latest: Some(view) };
        let bytes = written(|out| out.told(&told));
        prop_assert!(bytes.len() <= max_member(5));
        prop_assert_eq!(In(&bytes).told(), Some(told));
    }

    #[test]
    fn any_bytes_may_come(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = In(&bytes).claim();
        let _ = In(&bytes).answer();
        let _ = In(&bytes).notice();
        let _ = In(&bytes).report();
        let _ = In(&bytes).ask::<5>();
        let _ = In(&bytes).told::<5>();
    }
}

#[test]
fn the_longest_claim_fits() {
    let claim = Claim {
        seq: 1,
        keep: None,
        want: Some(Mode::Ex),
        tries: true,
        era: Era::new(1),
        value: Some(Value::ZERO),
    };
    let bytes = written(|out| {
        out.u64(1);
        out.u32(0);
        out.name(&[b'x'; MAX_NAME]);
        out.claim(&claim);
    });
    assert!(bytes.len() <= MAX_CLAIM);
    let mut small = [0; 10];
    let mut out = Out::new(&mut small);
    out.claim(&claim);
    assert_eq!(out.finish(), None);
    assert_eq!(In(&[0]).name(), None);
}
