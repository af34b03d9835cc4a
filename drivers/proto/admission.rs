// SPDX-License-Identifier: GPL-2.0

//! Which session makes room for a new one, of those that have not proven who they are.
//!
//! A session begins unproven, and is so for seconds at most. Where it comes from is all that is known
//! of it: from an address that the configuration names (a node, or this machine itself), or from
//! anywhere else. Each address has room for some unproven sessions, and all unknown addresses together
//! have. Where there is no room an old session makes some:
//!
//! - a session from a known address gives way only to another one from there;
//! - if the new session's own address has used its room up, one from there gives way;
//! - otherwise one of the unknown address that has most.
//!
//! Whoever is on this machine has all of 127.0.0.0/8: that counts as one address.
//!
//! Of several, those that were refused already give way first, then those that have said nothing
//! useful yet, then those that have been challenged; the oldest first.

use crate::sort::sort_by_key;
use core::net::Ipv4Addr;

/// How far an unproven session has come. The first give way first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum AdmissionStage {
    /// It was told that it is not served, and has not ended yet.
    Refused,
    /// It has said nothing, or nothing useful.
    New,
    /// It is a node that was challenged to prove itself.
    Challenged,
}

/// A session that has not proven who it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unproven {
    /// Where it comes from.
    pub from: Ipv4Addr,
    /// Whether the configuration names that address.
    pub known: bool,
    /// How far it has come.
    pub stage: AdmissionStage,
}

/// How many unproven sessions there may be.
#[derive(Clone, Copy, Debug)]
pub struct AdmissionLimits {
    /// From all unknown addresses together; at least 1.
    pub unknown: usize,
    /// From one of them; at least 1.
    pub per_unknown: usize,
    /// From one known address; at least 1.
    pub per_known: usize,
}

/// The session that makes room for a new one from address `from`, which is `known` or not; `None` if
/// there is room. `unproven` are the others, each with an age: the larger the younger. They are
/// sorted.
pub fn gives_way<T: Copy + Ord>(
    from: Ipv4Addr,
    known: bool,
    unproven: &mut [(Unproven, T)],
    limits: &AdmissionLimits,
) -> Option<T> {
    // The sessions of one address are a run, of which the first gives way first.
    sort_by_key(unproven, |(session, age)| {
        (source(session.from), session.stage, *age)
    });
    let own = source(from);
    let runs = || unproven.chunk_by(|(one, _), (other, _)| source(one.from) == source(other.from));
    let source_of = |run: &[(Unproven, T)]| run.first().map(|(session, _)| source(session.from));
    let room = if known {
        limits.per_known
    } else {
        limits.per_unknown
    };
    let from_there = runs().find(|run| source_of(run) == Some(own));
    if let Some(run) = from_there.filter(|run| run.len() >= room) {
        return run.first().map(|&(_, age)| age);
    }
    let unknown = || runs().filter(|run| run.iter().any(|(session, _)| !session.known));
    let count = unknown().map(<[_]>::len).fold(0, usize::saturating_add);
    if known || count < limits.unknown {
        return None;
    }
    let most = unknown().map(<[_]>::len).max()?;
    let firsts = unknown().filter(|run| run.len() == most);
    let least = firsts.filter_map(<[_]>::first);
    let least = least.min_by_key(|(session, age)| (session.stage, *age));
    least.map(|&(_, age)| age)
}

/// What counts as one address: whoever is on this machine has all of 127.0.0.0/8.
fn source(from: Ipv4Addr) -> Ipv4Addr {
    match from.is_loopback() {
        true => Ipv4Addr::LOCALHOST,
        false => from,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::vec::Vec;

    const LIMITS: AdmissionLimits = AdmissionLimits {
        unknown: 6,
        per_unknown: 3,
        per_known: 4,
    };

    fn session(host: u8, known: bool, stage: AdmissionStage) -> Unproven {
        Unproven {
            from: Ipv4Addr::new(10, 0, 0, host),
            known,
            stage,
        }
    }

    fn gives(new: Unproven, others: &[Unproven]) -> Option<usize> {
        let mut others: Vec<_> = others.iter().copied().zip(0..).collect();
        gives_way(new.from, new.known, &mut others, &LIMITS)
    }

    #[test]
    fn an_address_makes_room_for_itself() {
        let new = session(1, false, AdmissionStage::New);
        let others = [session(2, false, AdmissionStage::New), new, new, new];
        assert_eq!(gives(new, &others[..3]), None);
        assert_eq!(gives(new, &others), Some(1));
    }

    #[test]
    fn this_machine_is_one_address() {
        let local = |host| Unproven {
            from: Ipv4Addr::new(127, 0, host, 1),
            known: true,
            stage: AdmissionStage::New,
        };
        let others = [
            local(1),
            session(2, true, AdmissionStage::New),
            local(2),
            local(3),
        ];
        assert_eq!(gives(local(4), &others), None);
        let others = [
            session(2, true, AdmissionStage::New),
            local(1),
            local(2),
            local(3),
            local(4),
        ];
        assert_eq!(gives(local(5), &others), Some(1));
    }

    #[test]
    fn the_unknown_address_with_most_makes_room_for_others() {
        let hosts = [2, 3, 3, 4, 3, 2].map(|host| session(host, false, AdmissionStage::New));
        assert_eq!(
            gives(session(1, false, AdmissionStage::New), &hosts),
            Some(1)
        );
        assert_eq!(gives(session(1, true, AdmissionStage::New), &hosts), None);
    }

    #[test]
    fn who_was_refused_goes_first_and_who_is_challenged_last() {
        let [challenged, new, refused] = [
            AdmissionStage::Challenged,
            AdmissionStage::New,
            AdmissionStage::Refused,
        ]
        .map(|stage| session(1, true, stage));
        let others = [challenged, new, refused, refused];
        assert_eq!(gives(new, &others), Some(2));
        assert_eq!(gives(new, &[challenged, challenged, new, new]), Some(2));
        assert_eq!(gives(new, &[challenged; 4]), Some(0));
    }

    fn stage() -> impl Strategy<Value = AdmissionStage> {
        prop_oneof![
            Just(AdmissionStage::Refused),
            Just(AdmissionStage::New),
            Just(AdmissionStage::Challenged)
        ]
    }

    proptest! {
        /// Hosts below 3 are known.
        #[test]
        fn nobody_takes_the_room_of_others(
            arrivals in prop::collection::vec((0..12u8, stage()), 0..100),
        ) {
            let mut here: Vec<Unproven> = Vec::new();
            for (host, stage) in arrivals {
                let new = session(host, host < 3, stage);
                if let Some(index) = gives(new, &here) {
                    let gone = here.remove(index);
                    prop_assert!(!gone.known || gone.from == new.from);
                    let better = |other: &Unproven| other.from == gone.from && other.stage < gone.stage;
                    prop_assert!(!here.iter().any(better));
                }
                here.push(new);
                let count = |wanted: &dyn Fn(&&Unproven) -> bool| here.iter().filter(wanted).count();
                let own = count(&|other| other.from == new.from);
                let room = if new.known { LIMITS.per_known } else { LIMITS.per_unknown };
                prop_assert!(own <= room);
                prop_assert!(count(&|other| !other.known) <= LIMITS.unknown);
            }
        }
    }
}
