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

use core::net::Ipv4Addr;

/// How far an unproven session has come. The first give way first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
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
    pub stage: Stage,
}

/// How many unproven sessions there may be.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// From all unknown addresses together; at least 1.
    pub unknown: usize,
    /// From one of them; at least 1.
    pub per_unknown: usize,
    /// From one known address; at least 1.
    pub per_known: usize,
}

/// The index of the session that makes room for a new one from address `from`, which is `known` or not;
/// `None` if there is room. `unproven` are the others, the oldest first.
pub fn gives_way(
    from: Ipv4Addr,
    known: bool,
    unproven: impl Iterator<Item = Unproven> + Clone,
    limits: &Limits,
) -> Option<usize> {
    let least = |wanted: &dyn Fn(&Unproven) -> bool| {
        let all = unproven.clone().enumerate();
        let candidates = all.filter(|(_, session)| wanted(session));
        let least = candidates.min_by_key(|&(index, session)| (session.stage, index));
        least.map(|(index, _)| index)
    };
    let is_from = |session: &Unproven, from: Ipv4Addr| {
        session.from == from || session.from.is_loopback() && from.is_loopback()
    };
    let count_from = |from| {
        let all = unproven.clone();
        all.filter(|session| is_from(session, from)).count()
    };
    let room = if known {
        limits.per_known
    } else {
        limits.per_unknown
    };
    if count_from(from) >= room {
        return least(&|session| is_from(session, from));
    }
    let unknown = unproven.clone().filter(|session| !session.known);
    if known || unknown.clone().count() < limits.unknown {
        return None;
    }
    let most = unknown.map(|session| count_from(session.from)).max()?;
    least(&|session| !session.known && count_from(session.from) == most)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::vec::Vec;

    const LIMITS: Limits = Limits {
        unknown: 6,
        per_unknown: 3,
        per_known: 4,
    };

    fn session(host: u8, known: bool, stage: Stage) -> Unproven {
        Unproven {
            from: Ipv4Addr::new(10, 0, 0, host),
            known,
            stage,
        }
    }

    fn gives(new: Unproven, others: &[Unproven]) -> Option<usize> {
        gives_way(new.from, new.known, others.iter().copied(), &LIMITS)
    }

    #[test]
    fn an_address_makes_room_for_itself() {
        let new = session(1, false, Stage::New);
        let others = [session(2, false, Stage::New), new, new, new];
        assert_eq!(gives(new, &others[..3]), None);
        assert_eq!(gives(new, &others), Some(1));
    }

    #[test]
    fn this_machine_is_one_address() {
        let local = |host| Unproven {
            from: Ipv4Addr::new(127, 0, host, 1),
            known: true,
            stage: Stage::New,
        };
        let others = [local(1), session(2, true, Stage::New), local(2), local(3)];
        assert_eq!(gives(local(4), &others), None);
        let others = [
            session(2, true, Stage::New),
            local(1),
            local(2),
            local(3),
            local(4),
        ];
        assert_eq!(gives(local(5), &others), Some(1));
    }

    #[test]
    fn the_unknown_address_with_most_makes_room_for_others() {
        let hosts = [2, 3, 3, 4, 3, 2].map(|host| session(host, false, Stage::New));
        assert_eq!(gives(session(1, false, Stage::New), &hosts), Some(1));
        assert_eq!(gives(session(1, true, Stage::New), &hosts), None);
    }

    #[test]
    fn who_was_refused_goes_first_and_who_is_challenged_last() {
        let [challenged, new, refused] =
            [Stage::Challenged, Stage::New, Stage::Refused].map(|stage| session(1, true, stage));
        let others = [challenged, new, refused, refused];
        assert_eq!(gives(new, &others), Some(2));
        assert_eq!(gives(new, &[challenged, challenged, new, new]), Some(2));
        assert_eq!(gives(new, &[challenged; 4]), Some(0));
    }

    fn stage() -> impl Strategy<Value = Stage> {
        prop_oneof![
            Just(Stage::Refused),
            Just(Stage::New),
            Just(Stage::Challenged)
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
