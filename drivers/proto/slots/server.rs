// SPDX-License-Identifier: GPL-2.0

//! The server's half: a reply cache for each client. See [`super`].

use crate::frame::RequestId;
use core::{mem, ops::DerefMut};

/// What to do with a request that has arrived.
#[derive(Debug, PartialEq, Eq)]
pub enum Arrival<'a, R> {
    /// Do it, then call [`Replies::finish`] or [`Replies::defer`]. The client has given up what is
    /// in `abandoned`.
    New {
        /// The stored reply that the client never took.
        abandoned: Option<R>,
    },
    /// It has been done; send this reply again.
    Again(&'a R),
    /// It is being done; its reply will come.
    Deferred,
    /// Refuse it: given up by the client, or no valid slot.
    Stale,
}

/// The last request of a slot, and its reply.
pub struct ServerSlot<R> {
    seq: u64,
    reply: Reply<R>,
}

impl<R> ServerSlot<R> {
    /// No request seen yet.
    pub const fn new() -> Self {
        ServerSlot {
            seq: 0,
            reply: Reply::None,
        }
    }
}

impl<R> Default for ServerSlot<R> {
    fn default() -> Self {
        Self::new()
    }
}

/// The reply of the last request in a slot.
enum Reply<R> {
    /// Not there, or not stored.
    None,
    /// It comes later.
    Deferred,
    Stored(R),
}

/// The last request and reply of each slot of one client: as many as there are in `S`.
///
/// `R` is what the server stores of a reply. Requests that can be done twice with the same result
/// need no stored reply: a repetition is then [`Arrival::New`] once more.
pub struct Replies<S> {
    slots: S,
}

impl<R, S> Replies<S>
where
    S: DerefMut<Target = [ServerSlot<R>]>,
{
    /// With `slots` that have seen no request yet.
    pub const fn new(slots: S) -> Self {
        Replies { slots }
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
            let old = mem::replace(&mut slot.reply, Reply::None);
            let abandoned = match old {
                Reply::Stored(reply) if slot.seq > taken => Some(reply),
                _ => None,
            };
            slot.seq = id.seq;
            return Arrival::New { abandoned };
        }
        match &slot.reply {
            Reply::Stored(reply) => Arrival::Again(reply),
            Reply::Deferred => Arrival::Deferred,
            Reply::None => Arrival::New { abandoned: None },
        }
    }

    /// Whether [`Self::arrive`] would return a reply that the client never took. Changes nothing.
    pub fn would_abandon(&self, id: RequestId, taken: u64) -> bool {
        let slot = self.slots.get(usize::from(id.slot));
        slot.is_some_and(|slot| {
            let is_stored = matches!(slot.reply, Reply::Stored(_));
            is_stored && id.seq > slot.seq && slot.seq > taken
        })
    }

    /// The reply of the request that arrived last in `id`'s slot comes later, by
    /// [`Self::finish_deferred`].
    pub fn defer(&mut self, id: RequestId) {
        if let Some(slot) = self.last(id) {
            slot.reply = Reply::Deferred;
        }
    }

    /// Whether the reply of request `id` is to come later, and still wanted.
    pub fn awaits(&mut self, id: RequestId) -> bool {
        self.last(id)
            .is_some_and(|slot| matches!(slot.reply, Reply::Deferred))
    }

    /// The deferred reply of request `id` is sent, and not stored: a repetition is done again.
    pub fn forget_deferred(&mut self, id: RequestId) {
        if let Some(slot) = self.last(id) {
            if let Reply::Deferred = slot.reply {
                slot.reply = Reply::None;
            }
        }
    }

    /// Stores a deferred reply, and returns it to be sent. `None` if nobody wants it any more.
    pub fn finish_deferred(&mut self, id: RequestId, reply: R) -> Option<&R> {
        let slot = self.last(id)?;
        let Reply::Deferred = slot.reply else {
            return None;
        };
        slot.reply = Reply::Stored(reply);
        match &slot.reply {
            Reply::Stored(reply) => Some(reply),
            _ => None,
        }
    }

    /// The slot in which `id` is the request that arrived last.
    fn last(&mut self, id: RequestId) -> Option<&mut ServerSlot<R>> {
        let slot = self.slots.get_mut(usize::from(id.slot))?;
        (slot.seq == id.seq).then_some(slot)
    }

    /// Stores the reply of the request that arrived last in `id`'s slot.
    ///
    /// A reply to a request that is no longer the slot's last is dropped.
    pub fn finish(&mut self, id: RequestId, reply: R) {
        if let Some(slot) = self.last(id) {
            slot.reply = Reply::Stored(reply);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::slots::SLOTS;
    use proptest::prelude::*;
    use std::{collections::HashMap, vec::Vec};

    fn id(slot: u8, seq: u64) -> RequestId {
        RequestId { slot, seq }
    }

    fn replies<R>() -> Replies<Vec<ServerSlot<R>>> {
        Replies::new((0..SLOTS).map(|_| ServerSlot::new()).collect())
    }

    #[test]
    fn repetition_gets_the_same_reply_and_ghosts_are_refused() {
        let mut r = replies();
        assert_eq!(r.arrive(id(3, 1), 0), Arrival::New { abandoned: None });
        r.finish(id(3, 1), "one");
        assert_eq!(r.arrive(id(3, 1), 0), Arrival::Again(&"one"));
        assert_eq!(r.arrive(id(3, 2), 1), Arrival::New { abandoned: None });
        assert_eq!(r.arrive(id(3, 1), 0), Arrival::Stale);
        assert_eq!(r.arrive(id(4, 1), 0), Arrival::New { abandoned: None });
    }

    #[test]
    fn invalid_ids_are_refused() {
        let mut r = Replies::new((0..32).map(|_| ServerSlot::new()).collect::<Vec<_>>());
        assert_eq!(r.arrive(id(32, 1), 0), Arrival::Stale);
        assert_eq!(r.arrive(id(255, 1), 0), Arrival::Stale);
        assert_eq!(r.arrive(id(0, 0), 0), Arrival::Stale);
        r.finish(id(255, 1), ());
    }

    #[test]
    fn abandoned_reply_comes_back_once() {
        let mut r = replies();
        let _ = r.arrive(id(0, 1), 0);
        r.finish(id(0, 1), "lost");
        assert!(r.would_abandon(id(0, 2), 0) && !r.would_abandon(id(0, 2), 1));
        assert!(!r.would_abandon(id(0, 1), 0) && !r.would_abandon(id(1, 1), 0));
        assert_eq!(
            r.arrive(id(0, 2), 0),
            Arrival::New {
                abandoned: Some("lost")
            }
        );
        assert!(!r.would_abandon(id(0, 3), 0));
        // Number 2 never arrived at the client either, but it stored nothing.
        assert_eq!(r.arrive(id(0, 3), 0), Arrival::New { abandoned: None });
    }

    #[test]
    fn deferred_reply_comes_once_and_is_kept() {
        let mut r = replies();
        let _ = r.arrive(id(0, 1), 0);
        r.defer(id(0, 1));
        assert_eq!(r.arrive(id(0, 1), 0), Arrival::Deferred);
        assert_eq!(r.finish_deferred(id(0, 1), "late"), Some(&"late"));
        assert_eq!(r.finish_deferred(id(0, 1), "later"), None);
        assert_eq!(r.arrive(id(0, 1), 0), Arrival::Again(&"late"));
    }

    #[test]
    fn deferred_reply_that_is_not_kept_is_made_again() {
        let mut r = replies::<()>();
        let _ = r.arrive(id(0, 1), 0);
        r.defer(id(0, 1));
        assert!(r.awaits(id(0, 1)));
        assert_eq!(r.arrive(id(0, 1), 0), Arrival::Deferred);
        r.forget_deferred(id(0, 1));
        assert!(!r.awaits(id(0, 1)));
        assert_eq!(r.arrive(id(0, 1), 0), Arrival::New { abandoned: None });
        r.defer(id(0, 1));
        assert_eq!(r.arrive(id(0, 2), 0), Arrival::New { abandoned: None });
        assert!(!r.awaits(id(0, 1)) && !r.awaits(id(0, 2)));
    }

    #[test]
    fn deferred_reply_that_nobody_wants_is_dropped() {
        let mut r = replies();
        let _ = r.arrive(id(0, 1), 0);
        r.defer(id(0, 1));
        assert_eq!(r.arrive(id(0, 2), 0), Arrival::New { abandoned: None });
        r.defer(id(0, 1));
        assert_eq!(r.finish_deferred(id(0, 1), "late"), None);
        assert_eq!(r.finish_deferred(id(0, 2), "not deferred"), None);
        assert_eq!(r.arrive(id(0, 2), 0), Arrival::New { abandoned: None });
    }

    #[derive(Clone, Debug)]
    enum Step {
        /// The client starts a request, having taken (or not) the reply before.
        Send { slot: u8, took: bool },
        /// The network delivers packet number `n` of those sent so far, perhaps again. What is new
        /// is done at once, or `later`.
        Deliver { n: usize, later: bool },
        /// Deferred request number `n` of those so far is done.
        Done { n: usize },
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        prop::collection::vec(
            prop_oneof![
                (0..3u8, any::<bool>()).prop_map(|(slot, took)| Step::Send { slot, took }),
                (0..100usize, any::<bool>()).prop_map(|(n, later)| Step::Deliver { n, later }),
                (0..100usize).prop_map(|n| Step::Done { n }),
            ],
            1..200,
        )
    }

    proptest! {
        /// Whatever the network loses, repeats and reorders: no request is done twice, and of
        /// those done whose reply the client gave up, each is undone at most once.
        #[test]
        fn at_most_once(steps in steps()) {
            let mut server = replies();
            let mut sent: Vec<(RequestId, u64)> = Vec::new();
            let mut clients: HashMap<u8, (u64, u64)> = HashMap::new();
            let mut done: HashMap<(u8, u64), u32> = HashMap::new();
            let mut undone: HashMap<(u8, u64), u32> = HashMap::new();
            let mut deferred = Vec::new();
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
                    Step::Done { n } if !deferred.is_empty() => {
                        let rid: RequestId = deferred.swap_remove(n % deferred.len());
                        if let Some(&reply) = server.finish_deferred(rid, (rid.slot, rid.seq)) {
                            prop_assert_eq!(server.arrive(rid, 0), Arrival::Again(&reply));
                        }
                    }
                    Step::Done { .. } => (),
                    Step::Deliver { n, later } if !sent.is_empty() => {
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
                            if later {
                                server.defer(rid);
                                deferred.push(rid);
                                prop_assert_eq!(server.arrive(rid, taken), Arrival::Deferred);
                            } else {
                                server.finish(rid, (rid.slot, rid.seq));
                            }
                        }
                    }
                    Step::Deliver { .. } => (),
                }
            }
        }
    }
}
