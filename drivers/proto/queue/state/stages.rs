// SPDX-License-Identifier: GPL-2.0

//! How a message comes from one stage to another, and which lists and counters that concerns.

use super::{bit, Queue};
use crate::queue::{
    heap,
    slab::{MessageStage, Places, NONE, PLACE_BITS},
    state::TAKE_BITS,
};

impl<P: Places> Queue<P> {
    pub(super) fn next_ready(&self) -> Option<u32> {
        let highest = self.some.checked_ilog2()?;
        self.ready.get(highest as usize)?.first()
    }

    /// Takes the oldest of the least important messages that are ready.
    pub(super) fn drop_oldest(&mut self) -> Option<P::Item> {
        let lowest = self.some.trailing_zeros();
        let at = self.ready.get(lowest as usize)?.first()?;
        self.unready(at);
        self.counts.dropped = self.counts.dropped.saturating_add(1);
        self.release_place(at)
    }

    /// Place `at`, the first of its priority that is ready, is not any more.
    pub(super) fn unready(&mut self, at: u32) {
        let Some(slot) = self.places.get(at) else {
            return;
        };
        let priority = slot.priority;
        let Some(ready) = self.ready.get_mut(usize::from(priority)) else {
            return;
        };
        match ready.again {
            NONE => ready.new.remove(&mut self.places, at),
            again => ready.again = heap::pop(&mut self.places, again),
        }
        self.ready_len = self.ready_len.saturating_sub(1);
        if ready.first().is_none() {
            self.some &= !bit(priority);
        }
    }

    /// Place `at`, which is on no list, has a message that is ready, after others that are if they
    /// and it were not handed out before.
    pub(super) fn make_ready(&mut self, at: u32) {
        self.make_ready_before(at, NONE);
    }

    /// The same; one that was not handed out before goes before place `next`.
    pub(super) fn make_ready_before(&mut self, at: u32, next: u32) {
        let Some(slot) = self.places.get_mut(at) else {
            return;
        };
        slot.stage = MessageStage::Ready;
        // The heap is by this, then by number.
        slot.due = 0;
        let (deliveries, priority) = (slot.deliveries, slot.priority);
        let Some(ready) = self.ready.get_mut(usize::from(priority)) else {
            return;
        };
        match deliveries {
            0 => ready.new.insert_before(&mut self.places, next, at),
            _ => ready.again = heap::push(&mut self.places, ready.again, at),
        }
        self.ready_len = self.ready_len.saturating_add(1);
        self.some |= bit(priority);
    }

    /// Place `at`, which is on no list, has a message that is ready when it is due.
    pub(super) fn make_delayed(&mut self, at: u32) {
        if let Some(slot) = self.places.get_mut(at) {
            slot.stage = MessageStage::Delayed;
        }
        self.later = heap::push(&mut self.places, self.later, at);
        self.delayed_len = self.delayed_len.saturating_add(1);
    }

    /// Place `at`, which is on no list, has a message that can be replayed.
    pub(super) fn keep(&mut self, at: u32) {
        self.leave(at);
        if let Some(slot) = self.places.get_mut(at) {
            slot.stage = MessageStage::Kept;
            self.kept_bytes = self.kept_bytes.saturating_add(slot.bytes.into());
        }
        self.kept.push_back(&mut self.places, at);
    }

    /// Takes place `at` off the list of those that can be replayed.
    pub(super) fn unkeep(&mut self, at: u32) {
        self.pass_by(at);
        if let Some(slot) = self.places.get(at) {
            self.kept_bytes = self.kept_bytes.saturating_sub(slot.bytes.into());
        }
        self.kept.remove(&mut self.places, at);
    }

    /// Takes place `at` off the list of those that are leased.
    pub(super) fn end_lease(&mut self, at: u32) {
        self.pass_by(at);
        self.leased.remove(&mut self.places, at);
    }

    /// Place `at` leaves a list along which a walk may be under way.
    pub(super) fn pass_by(&mut self, at: u32) {
        if self.walk.at == at {
            self.walk.at = self.places.get(at).map_or(NONE, |slot| slot.next);
        }
    }

    /// Place `at` is leased and comes back.
    pub(super) fn unlease(&mut self, at: u32, now: u64, delay_ms: u64) {
        self.end_lease(at);
        let limit = self.limits.deliveries;
        let Some(slot) = self.places.get_mut(at) else {
            return;
        };
        if limit != 0 && slot.deliveries >= limit {
            slot.stage = MessageStage::Dead;
            self.counts.dead = self.counts.dead.saturating_add(1);
            self.dead.push_back(&mut self.places, at);
        } else if delay_ms == 0 {
            self.make_ready(at);
        } else {
            slot.due = now.saturating_add(delay_ms);
            self.make_delayed(at);
        }
    }

    /// Place `at` is leased, but was not handed out.
    pub(super) fn undo_take(&mut self, at: u32) {
        self.end_lease(at);
        let Some(slot) = self.places.get_mut(at) else {
            return;
        };
        let (deliveries, priority) = (slot.deliveries.saturating_sub(1), slot.priority);
        slot.deliveries = deliveries;
        self.counts.delivered = self.counts.delivered.saturating_sub(1);
        if deliveries > 0 {
            self.counts.redelivered = self.counts.redelivered.saturating_sub(1);
        }
        let ready = self.ready.get(usize::from(priority));
        let first = ready.map_or(NONE, |ready| ready.new.head());
        self.make_ready_before(at, first);
    }

    /// The place of delivery `id`, if `consumer` has it.
    pub(super) fn find(&self, consumer: u64, id: u64) -> Option<u32> {
        let places = (1u64 << PLACE_BITS).wrapping_sub(1);
        let (at, delivery) = ((id & places) as u32, id >> PLACE_BITS);
        let slot = self.places.get(at)?;
        let is_theirs = (slot.consumer ^ consumer) & !TAKE_BITS == 0;
        let is_it = slot.stage == MessageStage::Leased && u64::from(slot.delivery) == delivery;
        (is_it && is_theirs).then_some(at)
    }

    /// The message in place `at` counts as one of its publisher's.
    pub(super) fn enter(&mut self, at: u32) {
        if let Some((uid, bytes)) = self.use_of(at) {
            self.shares.add(uid, bytes);
        }
    }

    /// It does not any more.
    pub(super) fn leave(&mut self, at: u32) {
        if let Some((uid, bytes)) = self.use_of(at) {
            self.shares.remove(uid, bytes);
        }
    }

    /// Publisher and bytes of the message in place `at`.
    pub(super) fn use_of(&self, at: u32) -> Option<(u32, u32)> {
        let slot = self.places.get(at)?;
        Some((P::publisher(slot.item.as_ref()?), slot.bytes))
    }

    /// Frees place `at`, which is on no list.
    pub(super) fn release_place(&mut self, at: u32) -> Option<P::Item> {
        let slot = self.places.get(at)?;
        let bytes = slot.bytes;
        if let (Some(item), true) = (&slot.item, slot.stage != MessageStage::Kept) {
            self.shares.remove(P::publisher(item), bytes);
        }
        let item = self.places.remove(at);
        self.bytes = self.bytes.saturating_sub(u64::from(bytes));
        item
    }
}
