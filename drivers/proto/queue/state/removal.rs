// SPDX-License-Identifier: GPL-2.0

//! Messages that are taken out of a queue other than by consumers: dead letters, and all that is left
//! in one that is deleted.

use super::{Queue, Removed, STEP};
use crate::queue::{
    heap,
    slab::{MessageStage, Places, NONE},
};

impl<P: Places> Queue<P> {
    /// Dead letters that are not safe elsewhere.
    pub fn dead(&self) -> u32 {
        self.dead.len()
    }

    /// Whether there are dead letters.
    pub fn has_dead(&self) -> bool {
        !self.dead.is_empty()
    }

    /// The dead letter behind the first `n`, less than [`STEP`]: it takes as long as there are of these.
    pub fn dead_behind(&self, n: u32) -> Option<&P::Item> {
        let mut at = self.dead.head();
        for _ in 0..n.min(STEP) {
            at = self.places.get(at)?.next;
        }
        self.places.get(at)?.item.as_ref()
    }

    /// The next dead letter; it is gone from this queue.
    pub fn take_dead(&mut self) -> Option<(u64, P::Item)> {
        let at = self.dead.pop_front(&mut self.places)?;
        let seq = self.places.get(at)?.seq;
        Some((seq, self.release_place(at)?))
    }

    /// Takes any message out, whatever it waits for. Those that are kept come last.
    pub fn remove_any(&mut self) -> Option<Removed<P::Item>> {
        let at = self.unlist_any()?;
        let slot = self.places.get(at)?;
        let (seq, was_kept) = (slot.seq, slot.stage == MessageStage::Kept);
        let item = self.release_place(at)?;
        Some(Removed {
            seq,
            was_kept,
            item,
        })
    }

    /// Takes any place off its list.
    fn unlist_any(&mut self) -> Option<u32> {
        if let Some(at) = self.next_ready() {
            self.unready(at);
            return Some(at);
        }
        if self.later != NONE {
            let at = self.later;
            self.later = heap::pop(&mut self.places, at);
            self.delayed_len = self.delayed_len.saturating_sub(1);
            return Some(at);
        }
        let leased = self.leased.head();
        if leased != NONE {
            self.end_lease(leased);
            return Some(leased);
        }
        if let Some(dead) = self.dead.pop_front(&mut self.places) {
            return Some(dead);
        }
        let kept = self.kept.head();
        if kept == NONE {
            return None;
        }
        self.unkeep(kept);
        Some(kept)
    }
}
