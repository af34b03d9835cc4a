// SPDX-License-Identifier: GPL-2.0

//! What concerns many messages, in steps between which the lock of a queue is let go.

use super::{Queue, Walk, STEP};
use crate::queue::{
    heap,
    slab::{MessageStage, Places, Slot},
};

impl<P: Places> Queue<P> {
    /// Begins to give back what consumers leave: [`Self::give_back_some`] does it.
    pub fn begin_to_give_back(&mut self) {
        self.walk = Walk {
            at: self.leased.head(),
            left: self.leased.len(),
        };
    }

    /// One step: messages of those consumers that are `gone` are ready again, or dead letters; if
    /// they were not handed out, they are where they were. Returns whether there may be more.
    pub fn give_back_some(
        &mut self,
        now: u64,
        handed_out: bool,
        gone: impl Fn(u64) -> bool,
    ) -> bool {
        for _ in 0..STEP {
            let Some((at, slot)) = self.next_of_walk() else {
                return false;
            };
            match (gone(slot.consumer), handed_out) {
                (true, true) => self.unlease(at, now, 0),
                (true, false) => self.undo_take(at),
                (false, _) => (),
            }
        }
        true
    }

    /// One step: what is due at `now` happens, first to messages that are delayed. Returns when the
    /// next thing is due: not after `now` if there is more to be done at once.
    pub fn tick(&mut self, now: u64) -> Option<u64> {
        for _ in 0..STEP {
            let later = self.places.get(self.later).filter(|slot| slot.due <= now);
            let leased = self.places.get(self.leased.head());
            let leased = leased.filter(|slot| slot.due <= now);
            match (later, leased) {
                (Some(_), _) => {
                    let at = self.later;
                    self.later = heap::pop(&mut self.places, at);
                    self.delayed_len = self.delayed_len.saturating_sub(1);
                    self.make_ready(at);
                }
                (None, Some(_)) => self.unlease(self.leased.head(), now, 0),
                (None, None) => break,
            }
        }
        self.next_due()
    }

    /// When the next thing is due.
    pub fn next_due(&self) -> Option<u64> {
        let delayed = self.places.get(self.later).map(|slot| slot.due);
        let leased = self.places.get(self.leased.head()).map(|slot| slot.due);
        let due = [delayed, leased].into_iter().flatten().min();
        due.filter(|&due| due != u64::MAX)
    }

    /// Begins to walk along the messages that are kept, for [`Self::replay_some`] or
    /// [`Self::show_some_kept`] with the same `from`: with the first of those from that number on, if
    /// only few are, and otherwise with the first of all.
    pub fn begin_with_kept(&mut self, from: u64) {
        let (mut at, mut left) = (self.kept.tail(), 0u32);
        while left < STEP {
            match self.places.get(at) {
                Some(slot) if slot.seq >= from => at = slot.prev,
                Some(slot) => {
                    let at = slot.next;
                    self.walk = Walk { at, left };
                    return;
                }
                None => break,
            }
            left = left.saturating_add(1);
        }
        self.walk = Walk {
            at: self.kept.head(),
            left: self.kept.len(),
        };
    }

    /// One step: messages that are kept, from number `from` on, are ready once more. Returns how
    /// many, and whether there may be more.
    pub fn replay_some(&mut self, from: u64) -> (u32, bool) {
        let mut count = 0u32;
        for _ in 0..STEP {
            if self.taken_places() >= self.limits.messages {
                return (count, false);
            }
            let Some((at, slot)) = self.next_of_walk() else {
                return (count, false);
            };
            if slot.seq >= from {
                self.unkeep(at);
                self.enter(at);
                self.make_ready(at);
                count = count.saturating_add(1);
            }
        }
        (count, true)
    }

    /// One step: shows the messages that are kept, from number `from` on, in order. Returns whether
    /// there may be more.
    pub fn show_some_kept(&mut self, from: u64, mut see: impl FnMut(u64, &P::Item)) -> bool {
        for _ in 0..STEP {
            let Some((_, slot)) = self.next_of_walk() else {
                return false;
            };
            if let Some(item) = slot.item.as_ref().filter(|_| slot.seq >= from) {
                see(slot.seq, item);
            }
        }
        true
    }

    /// The next place of the walk, which goes on behind it.
    fn next_of_walk(&mut self) -> Option<(u32, &Slot<P::Item>)> {
        let Walk { at, left } = self.walk;
        let left = left.checked_sub(1)?;
        let slot = self.places.get(at)?;
        let next = slot.next;
        self.walk = Walk { at: next, left };
        Some((at, slot))
    }

    /// One step: shows messages that are not acknowledged, in no order: number, priority,
    /// milliseconds until it is ready. Begins with place `from`, 0 at first. Returns the place with
    /// which the next step begins, if there is one.
    ///
    /// Between the steps messages may come, go and be handed out. One that is there all the time is
    /// shown.
    pub fn show_some(
        &self,
        from: u32,
        now: u64,
        mut see: impl FnMut(u64, u8, u64, &P::Item),
    ) -> Option<u32> {
        let end = self.places.end();
        let next = from.saturating_add(STEP).min(end);
        for slot in (from..next).filter_map(|at| self.places.get(at)) {
            let delay = match slot.stage {
                MessageStage::Delayed => slot.due.saturating_sub(now),
                MessageStage::Ready | MessageStage::Leased | MessageStage::Dead => 0,
                MessageStage::Free | MessageStage::Kept => continue,
            };
            if let Some(item) = &slot.item {
                see(slot.seq, slot.priority, delay, item);
            }
        }
        (next < end).then_some(next)
    }
}
