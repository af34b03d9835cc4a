// SPDX-License-Identifier: GPL-2.0

//! The reply cache, under any order of requests.

use std::collections::HashMap;
use virgo_proto::{
    frame::RequestId,
    slots::{Arrival, Replies, SLOTS, ServerSlot},
};

/// Four bytes are an arrival: slot, number, what the client has taken, what becomes of the reply
/// (kept, deferred, and whether one that was deferred comes before).
pub(crate) fn check(data: &[u8]) {
    let slots = (0..SLOTS).map(|_| ServerSlot::new());
    let mut replies = Replies::new(slots.collect::<Vec<_>>());
    let mut slots: HashMap<u8, Slot> = HashMap::new();
    for arrival in data.chunks_exact(4) {
        let &[slot, seq, taken, fate] = arrival else {
            unreachable!()
        };
        let id = RequestId {
            slot,
            seq: seq.into(),
        };
        let known = slots.entry(slot).or_default();
        let valid = usize::from(slot) < SLOTS && seq != 0;
        if fate & 4 != 0 {
            let wanted = known.deferred && seq == known.last;
            let sent = replies.finish_deferred(id, (slot, seq)).copied();
            assert_eq!(sent, wanted.then_some((slot, seq)), "{id:?} was deferred");
            if wanted {
                known.deferred = false;
                known.kept = Some(seq);
            }
        }
        match replies.arrive(id, taken.into()) {
            Arrival::Stale => assert!(!valid || seq < known.last, "{id:?}"),
            Arrival::Again(reply) => {
                assert_eq!(*reply, (slot, seq));
                assert_eq!(known.kept, Some(seq), "{id:?} was kept");
            }
            Arrival::Deferred => assert!(known.deferred && seq == known.last, "{id:?}"),
            Arrival::New { abandoned } => {
                assert!(
                    valid && seq >= known.last && known.kept != Some(seq),
                    "{id:?}"
                );
                let kept = known.kept.take();
                let expected = kept.filter(|&kept| kept > taken).map(|kept| (slot, kept));
                assert_eq!(abandoned, expected, "{id:?} taken {taken}");
                known.last = seq;
                known.deferred = fate & 3 == 2;
                match fate & 3 {
                    1 => {
                        replies.finish(id, (slot, seq));
                        known.kept = Some(seq);
                    }
                    2 => replies.defer(id),
                    _ => (),
                }
            }
        }
    }
}

/// What is known of a slot.
#[derive(Default)]
struct Slot {
    /// The last number that was new.
    last: u8,
    /// The number whose reply is kept.
    kept: Option<u8>,
    /// The reply of the last one is deferred.
    deferred: bool,
}
