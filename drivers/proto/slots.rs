// SPDX-License-Identifier: GPL-2.0

//! At most once: the reply cache of a server, one per client.
//!
//! After the session slots of NFSv4.1 (RFC 8881, section 2.10.6). A client has [`SLOTS`] slots
//! and at most one request in each; the numbers within a slot only grow. So the server needs to
//! remember one request and one reply a slot, whatever the network repeats or delays:
//!
//! - a larger number is new;
//! - the same number is a repetition after a lost connection: it gets the same reply;
//! - a smaller number is a ghost that the client gave up long ago: it is refused.
//!
//! A client that gives up waiting says so with its next request in that slot (`taken` stays
//! behind); the server then gets the reply back to undo what nobody will ever use.

use crate::frame::RequestId;

/// Requests that one client may have under way at one service.
pub const SLOTS: usize = 32;

/// What to do with a request that has arrived.
#[derive(Debug, PartialEq, Eq)]
pub enum Arrival<'a, R> {
    /// Do it, then call [`Replies::finish`]. The client has given up what is in `abandoned`.
    New {
        /// The stored reply that the client never took.
        abandoned: Option<R>,
    },
    /// It has been done; send this reply again.
    Again(&'a R),
    /// Refuse it: given up by the client, or no valid slot.
    Stale,
}

struct Slot<R> {
    seq: u64,
    reply: Option<R>,
}

/// The last request and reply of each slot of one client.
///
/// `R` is what the server stores of a reply. Requests that can be done twice with the same result
/// need no stored reply: a repetition is then [`Arrival::New`] once more.
pub struct Replies<R> {
    slots: [Slot<R>; SLOTS],
}

impl<R> Replies<R> {
    /// No request seen yet.
    pub const fn new() -> Self {
        Replies {
            slots: [const {
                Slot {
                    seq: 0,
                    reply: None,
                }
            }; SLOTS],
        }
    }

    /// Judges request `id`, whose header says that the client has taken all replies of this slot
    /// up to number `taken`.
    pub fn arrive(&mut self, id: RequestId, taken: u64) -> Arrival<'_, R> {
        let Some(slot) = self.slots.get_mut(usize::from(id.slot)) else {
            return Arrival::Stale;
        };
        if id.seq < slot.seq || id.seq == 0 {
            return Arrival::Stale;
        }
        if id.seq > slot.seq {
            let old = slot.reply.take();
            let abandoned = if slot.seq > taken { old } else { None };
            slot.seq = id.seq;
            return Arrival::New { abandoned };
        }
        match &slot.reply {
            Some(reply) => Arrival::Again(reply),
            None => Arrival::New { abandoned: None },
        }
    }

    /// Stores the reply of the request that arrived last in `id`'s slot.
    ///
    /// A reply to a request that is no longer the slot's last is dropped.
    pub fn finish(&mut self, id: RequestId, reply: R) {
        if let Some(slot) = self.slots.get_mut(usize::from(id.slot)) {
            if slot.seq == id.seq {
                slot.reply = Some(reply);
            }
        }
    }
}

impl<R> Default for Replies<R> {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::{collections::HashMap, vec::Vec};

    fn id(slot: u8, seq: u64) -> RequestId {
        RequestId { slot, seq }
    }

    #[test]
    fn repetition_gets_the_same_reply_and_ghosts_are_refused() {
        let mut r = Replies::new();
        assert_eq!(r.arrive(id(3, 1), 0), Arrival::New { abandoned: None });
        r.finish(id(3, 1), "one");
        assert_eq!(r.arrive(id(3, 1), 0), Arrival::Again(&"one"));
        assert_eq!(r.arrive(id(3, 2), 1), Arrival::New { abandoned: None });
        assert_eq!(r.arrive(id(3, 1), 0), Arrival::Stale);
        assert_eq!(r.arrive(id(4, 1), 0), Arrival::New { abandoned: None });
    }

    #[test]
    fn invalid_ids_are_refused() {
        let mut r = Replies::<()>::new();
        assert_eq!(r.arrive(id(SLOTS as u8, 1), 0), Arrival::Stale);
        assert_eq!(r.arrive(id(255, 1), 0), Arrival::Stale);
        assert_eq!(r.arrive(id(0, 0), 0), Arrival::Stale);
        r.finish(id(255, 1), ());
    }

    #[test]
    fn abandoned_reply_comes_back_once() {
        let mut r = Replies::new();
        let _ = r.arrive(id(0, 1), 0);
        r.finish(id(0, 1), "lost");
        assert_eq!(
            r.arrive(id(0, 2), 0),
            Arrival::New {
                abandoned: Some("lost")
            }
        );
        // Number 2 never arrived at the client either, but it stored nothing.
        assert_eq!(r.arrive(id(0, 3), 0), Arrival::New { abandoned: None });
    }

    #[derive(Clone, Debug)]
    enum Step {
        /// The client starts a request, having taken (or not) the reply before.
        Send { slot: u8, took: bool },
        /// The network delivers packet number `n` of those sent so far, perhaps again.
        Deliver { n: usize },
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        prop::collection::vec(
            prop_oneof![
                (0..3u8, any::<bool>()).prop_map(|(slot, took)| Step::Send { slot, took }),
                (0..100usize).prop_map(|n| Step::Deliver { n }),
            ],
            1..200,
        )
    }

    proptest! {
        /// Whatever the network loses, repeats and reorders: no request is done twice, and of
        /// those done whose reply the client gave up, each is undone at most once.
        #[test]
        fn at_most_once(steps in steps()) {
            let mut server = Replies::new();
            let mut sent: Vec<(RequestId, u64)> = Vec::new();
            let mut clients: HashMap<u8, (u64, u64)> = HashMap::new();
            let mut done: HashMap<(u8, u64), u32> = HashMap::new();
            let mut undone: HashMap<(u8, u64), u32> = HashMap::new();
            for step in steps {
                match step {
                    Step::Send { slot, took } => {
                        let (seq, taken) = clients.entry(slot).or_default();
                        // A reply can only be taken if the request was done.
                        if took && done.contains_key(&(slot, *seq)) {
                            *taken = *seq;
                        }
                        *seq += 1;
                        sent.push((id(slot, *seq), *taken));
                    }
                    Step::Deliver { n } if !sent.is_empty() => {
                        let (rid, taken) = sent[n % sent.len()];
                        if let Arrival::New { abandoned } = server.arrive(rid, taken) {
                            if let Some((slot, seq)) = abandoned {
                                let times = undone.entry((slot, seq)).or_default();
                                *times += 1;
                                prop_assert_eq!(*times, 1);
                                prop_assert!(seq > taken);
                            }
                            let times = done.entry((rid.slot, rid.seq)).or_default();
                            *times += 1;
                            prop_assert_eq!(*times, 1);
                            server.finish(rid, (rid.slot, rid.seq));
                        }
                    }
                    Step::Deliver { .. } => (),
                }
            }
        }
    }
}
