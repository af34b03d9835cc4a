// SPDX-License-Identifier: GPL-2.0

//! The reply cache, under any order of requests.

use std::collections::HashMap;
use virgo_proto::{
    frame::RequestId,
    slots::{Arrival, Replies, SLOTS},
};

/// Four bytes are an arrival: slot, number, what the client has taken, whether the reply is kept.
pub(crate) fn check(data: &[u8]) {
    let mut replies = Replies::new();
    let mut slots: HashMap<u8, Slot> = HashMap::new();
    for arrival in data.as_chunks().0 {
        let [slot, seq, taken, keep] = *arrival;
        let id = RequestId {
            slot,
            seq: seq.into(),
        };
        let known = slots.entry(slot).or_default();
        let valid = usize::from(slot) < SLOTS && seq != 0;
        match replies.arrive(id, taken.into()) {
            Arrival::Stale => assert!(!valid || seq < known.last, "{id:?}"),
            Arrival::Again(reply) => {
                assert_eq!(*reply, (slot, seq));
                assert_eq!(known.kept, Some(seq), "{id:?} was kept");
            }
            Arrival::New { abandoned } => {
                assert!(
                    valid && seq >= known.last && known.kept != Some(seq),
                    "{id:?}"
                );
                let kept = known.kept.take();
                let expected = kept.filter(|&kept| kept > taken).map(|kept| (slot, kept));
                assert_eq!(abandoned, expected, "{id:?} taken {taken}");
                known.last = seq;
                if keep & 1 != 0 {
                    replies.finish(id, (slot, seq));
                    known.kept = Some(seq);
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
}
