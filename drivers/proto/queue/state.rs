// SPDX-License-Identifier: GPL-2.0

//! One queue: which message goes out next, what happens to one that is not acknowledged, and what
//! is refused or dropped.
//!
//! A message is in one of these places:
//!
//! ```text
//!   push -> delayed -> ready -> leased -> (acknowledged) kept -> gone
//!              |         ^        |                        |
//!              +---------+        +-> dead letter          +-> ready, by replay
//!                        +--------+ given back, or its lease is over
//! ```
//!
//! Messages that are ready go out by priority: those that have come back first, in the order of
//! their numbers, then the others in the order in which they became ready. Times are milliseconds
//! of a clock that never goes back. Nothing here is done by itself: who uses a queue calls
//! [`Queue::tick`].
//!
//! A queue is used under a lock with interrupts off, so no call takes time that grows with the
//! number of messages, but for the logarithm that a heap costs. What concerns many messages is done
//! in steps of [`STEP`], between which the lock is let go: what is due by repeated [`Queue::tick`],
//! what a consumer leaves by [`Queue::give_back_some`], replay by [`Queue::replay_some`], and what goes
//! for a larger message by repeated [`Queue::make_room`]. Giving back and replay walk along a list;
//! one such walk is under way at a time.
//!
//! A user who does not own the queue has at most a share of it, see [`super::shares`].
//!
//! Each delivery has an identifier of its own, so that who has had a message before cannot
//! acknowledge it when it has come back. It says in which place the message is.

mod promises;
mod removal;
mod stages;
mod steps;

pub use super::{
    limits::{MessageCounts, OverflowPolicy, QueueLimits},
    promised_room::{Promise, WantedRoom},
};

use super::{
    promised_room::Promised,
    shares::{Shares, Sharing},
    slab::{MessageStage, PlaceList, Places, Slot, NONE, PLACE_BITS},
};

/// Priorities: from 0 to one less. Larger is sooner.
pub const PRIORITIES: usize = 10;

/// Messages for which something is done, or that are looked at, in one step.
pub const STEP: u32 = 32;

/// Deliveries have numbers below this, so that identifiers are exact in a double-precision number,
/// as programs have them that read JSON. A number comes again after so many deliveries.
const DELIVERIES: u32 = 1 << (53 - PLACE_BITS);

/// Bits of a consumer by which its takes are told apart. Whoever agrees in the others may acknowledge.
pub const TAKE_BITS: u64 = 0x7fff_ff00_0000_0000;

/// Whether there is room for a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Room {
    /// There is.
    Yes,
    /// Not now, but its sender may wait.
    Later,
    /// No.
    No,
    /// Its sender has the share of the queue that one user may have.
    Share,
    /// Not yet: messages were dropped for it, and more have to be.
    More,
}

/// A message that is handed out.
#[derive(Debug, PartialEq, Eq)]
pub struct Taken<T> {
    /// By what it is acknowledged; 0 if it was taken for good.
    pub id: u64,
    /// Its number.
    pub seq: u64,
    /// How often it was handed out, this time included.
    pub deliveries: u32,
    /// The message.
    pub item: T,
}

/// A message that was taken out, whatever it waited for.
#[derive(Debug, PartialEq, Eq)]
pub struct Removed<T> {
    /// Its number.
    pub seq: u64,
    /// It was acknowledged before.
    pub was_kept: bool,
    /// The message.
    pub item: T,
}

/// A message to be taken in.
#[derive(Clone, Copy, Debug)]
pub struct Push<T> {
    /// The message.
    pub item: T,
    /// Bytes that it counts for.
    pub bytes: u32,
    /// Less than [`PRIORITIES`]; more is as much.
    pub priority: u8,
    /// Milliseconds until it is ready.
    pub delay_ms: u64,
}

/// Messages of one priority that are ready.
#[derive(Clone, Copy)]
struct Ready {
    /// Top of the heap of those that were handed out before, by their numbers.
    again: u32,
    /// The others, in the order in which they became ready.
    new: PlaceList,
}

impl Ready {
    const NONE: Ready = Ready {
        again: NONE,
        new: PlaceList::new(),
    };

    fn first(&self) -> Option<u32> {
        let first = match self.again {
            NONE => self.new.head(),
            again => again,
        };
        (first != NONE).then_some(first)
    }
}

/// A walk along a list, of which another step may be due.
#[derive(Clone, Copy)]
struct Walk {
    /// The next place.
    at: u32,
    /// Places that were on the list when the walk began, as far as they are not passed.
    left: u32,
}

/// In [`Queue::some`].
fn bit(priority: u8) -> u16 {
    1u16.wrapping_shl(priority.into())
}

/// A queue of messages in memory of `P`.
pub struct Queue<P: Places> {
    places: P,
    ready: [Ready; PRIORITIES],
    /// A bit for each priority of which some are ready.
    some: u16,
    ready_len: u32,
    /// Top of the heap of those that are delayed.
    later: u32,
    delayed_len: u32,
    leased: PlaceList,
    kept: PlaceList,
    dead: PlaceList,
    walk: Walk,
    /// Number of the last delivery.
    delivery: u32,
    /// Bytes of all of them.
    bytes: u64,
    /// Bytes of those that are kept.
    kept_bytes: u64,
    limits: QueueLimits,
    next_seq: u64,
    counts: MessageCounts,
    shares: Shares,
    /// There is room that is kept for a message: see [`Self::reserve`].
    reserved: bool,
    promised: Promised,
}

impl<P: Places> Queue<P> {
    /// An empty queue, whose first message has the number 1. Numbers of deliveries begin behind
    /// `delivery`: another one each time, so that no identifier of an earlier queue is valid.
    pub fn new(places: P, limits: QueueLimits, delivery: u32, sharing: Sharing) -> Self {
        Queue {
            places,
            ready: [Ready::NONE; PRIORITIES],
            some: 0,
            ready_len: 0,
            later: NONE,
            delayed_len: 0,
            leased: PlaceList::new(),
            kept: PlaceList::new(),
            dead: PlaceList::new(),
            walk: Walk { at: NONE, left: 0 },
            delivery: delivery % DELIVERIES,
            bytes: 0,
            kept_bytes: 0,
            limits,
            next_seq: 1,
            counts: MessageCounts::default(),
            shares: Shares::new(sharing),
            reserved: false,
            promised: Promised::default(),
        }
    }

    /// Its bounds.
    pub fn limits(&self) -> &QueueLimits {
        &self.limits
    }

    /// The memory of its places.
    pub fn places_mut(&mut self) -> &mut P {
        &mut self.places
    }

    /// What has happened so far.
    pub fn counts(&self) -> MessageCounts {
        self.counts
    }

    /// Messages that can be taken now.
    pub fn ready(&self) -> u32 {
        self.ready_len
    }

    /// Messages that become ready later.
    pub fn delayed(&self) -> u32 {
        self.delayed_len
    }

    /// Messages that are handed out.
    pub fn leased(&self) -> u32 {
        self.leased.len()
    }

    /// Acknowledged messages that can be replayed.
    pub fn kept(&self) -> u32 {
        self.kept.len()
    }

    /// Bytes of all messages.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Messages that are not acknowledged, dead letters among them.
    pub fn len(&self) -> u32 {
        self.ready_len
            .saturating_add(self.delayed_len)
            .saturating_add(self.leased.len())
            .saturating_add(self.dead.len())
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Number of the next message.
    pub fn next_seq(&self) -> u64 {
        self.next_seq
    }

    /// The next message has the number `seq`, if that is larger than it would have been.
    pub fn skip_to(&mut self, seq: u64) {
        self.next_seq = self.next_seq.max(seq);
    }

    /// Whether [`Self::take`] would hand one out.
    pub fn has_next(&self) -> bool {
        self.ready_len > 0 && self.leased.len() < self.limits.leased
    }

    /// Makes room for a message of so many bytes that user `uid` publishes, if that can be; gives
    /// `gone` those that go for it, at most [`STEP`]. After [`Room::Yes`] there is room until
    /// something else is pushed or replayed; after [`Room::More`] this is to be called again.
    /// Nothing goes for a message that is refused, unless the queue drops the oldest.
    pub fn make_room(&mut self, bytes: u32, uid: u32, mut gone: impl FnMut(P::Item)) -> Room {
        let QueueLimits {
            messages,
            bytes: max_bytes,
            policy,
            ..
        } = self.limits;
        // Who drops the oldest always has room, and so have others.
        let has_share = policy == OverflowPolicy::DropOldest
            || self.shares.has_room(uid, bytes, messages, max_bytes);
        let bytes = u64::from(bytes);
        let is_full =
            self.taken_bytes().saturating_add(bytes) > max_bytes || self.taken_places() >= messages;
        match policy {
            _ if bytes > max_bytes => return self.refuse(Room::No),
            OverflowPolicy::Block if !has_share || is_full => return Room::Later,
            OverflowPolicy::Reject if !has_share => return self.refuse(Room::Share),
            OverflowPolicy::Reject if is_full => return self.refuse(Room::No),
            _ => (),
        }
        for _ in 0..STEP {
            let fits = self.bytes.saturating_add(bytes) <= max_bytes;
            if fits && self.taken_places() < messages {
                return Room::Yes;
            }
            let old = match fits || self.kept.is_empty() {
                true => self.drop_oldest(),
                false => self.forget_oldest(),
            };
            let Some(old) = old else {
                return self.refuse(Room::No);
            };
            gone(old);
        }
        Room::More
    }

    /// Counts a message that is refused for this reason.
    fn refuse(&mut self, why: Room) -> Room {
        self.count_refused();
        why
    }

    /// Messages that count as those that wait: one for which room is kept is as good as there.
    fn taken_places(&self) -> u32 {
        let kept = self.promised.messages.saturating_add(self.reserved.into());
        self.len().saturating_add(kept)
    }

    /// Their bytes, without those of acknowledged ones, which go for others.
    fn taken_bytes(&self) -> u64 {
        let rest = self.bytes.saturating_sub(self.kept_bytes);
        rest.saturating_add(self.promised.bytes)
    }

    /// Counts a message that was refused.
    pub fn count_refused(&mut self) {
        self.counts.refused = self.counts.refused.saturating_add(1);
    }

    /// Takes a message in, whether there is room or not, and returns its number; without memory the
    /// message.
    ///
    /// # Errors
    ///
    /// The message, if there is no memory for it.
    pub fn push(&mut self, now: u64, push: Push<P::Item>) -> Result<u64, P::Item> {
        let seq = self.next_seq;
        self.reserved = false;
        self.restore(now, seq, push)?;
        self.counts.pushed = self.counts.pushed.saturating_add(1);
        Ok(seq)
    }

    /// Takes a message in that has its number already. Numbers of later ones are larger.
    ///
    /// # Errors
    ///
    /// The message, if there is no memory for it.
    pub fn restore(&mut self, now: u64, seq: u64, push: Push<P::Item>) -> Result<(), P::Item> {
        let highest = PRIORITIES.saturating_sub(1) as u8;
        let publisher = P::publisher(&push.item);
        let slot = Slot {
            item: Some(push.item),
            seq,
            due: now.saturating_add(push.delay_ms),
            bytes: push.bytes,
            priority: push.priority.min(highest),
            ..Slot::free()
        };
        let at = match self.places.add(slot) {
            Ok(at) => at,
            // A slot with a message comes back with it.
            Err(item) => return item.map_or(Ok(()), Err),
        };
        self.bytes = self.bytes.saturating_add(u64::from(push.bytes));
        self.shares.add(publisher, push.bytes);
        self.skip_to(seq.saturating_add(1));
        if push.delay_ms == 0 {
            self.make_ready(at);
        } else {
            self.make_delayed(at);
        }
        Ok(())
    }

    /// Counts a message that nobody is to get from here, as if it had been handed out for good at
    /// once. Returns its number.
    pub fn pass(&mut self) -> u64 {
        let seq = self.next_seq;
        self.skip_to(seq.saturating_add(1));
        for count in [
            &mut self.counts.pushed,
            &mut self.counts.delivered,
            &mut self.counts.acked,
        ] {
            *count = count.saturating_add(1);
        }
        seq
    }

    /// Makes sure that the next [`Self::push`] finds a place, and keeps the room that
    /// [`Self::make_room`] has made from replay until then. False without memory.
    pub fn reserve(&mut self) -> bool {
        self.reserved = self.places.reserve();
        self.reserved
    }

    /// The message for which there is a place does not come. If its number has been said to
    /// somebody, it is not given to another.
    pub fn give_up_reserved(&mut self, is_told: bool) {
        self.reserved = false;
        if is_told {
            self.skip_to(self.next_seq.saturating_add(1));
        }
    }

    /// The message that is handed out next.
    pub fn peek(&self) -> Option<&P::Item> {
        self.places.get(self.next_ready()?)?.item.as_ref()
    }

    /// Hands the next message out to `consumer`, to be acknowledged; `None` if there is none, or too
    /// many are out.
    pub fn take(&mut self, now: u64, consumer: u64) -> Option<Taken<P::Item>> {
        if !self.has_next() {
            return None;
        }
        let at = self.next_ready()?;
        self.unready(at);
        let due = match self.limits.ack_ms {
            0 => u64::MAX,
            ms => now.saturating_add(u64::from(ms)),
        };
        // 0 is no delivery.
        self.delivery = self.delivery.wrapping_add(1) % DELIVERIES;
        self.delivery = self.delivery.max(1);
        let slot = self.places.get_mut(at)?;
        slot.consumer = consumer;
        slot.due = due;
        slot.deliveries = slot.deliveries.saturating_add(1);
        slot.delivery = self.delivery;
        slot.stage = MessageStage::Leased;
        let taken = Taken {
            id: (u64::from(self.delivery) << PLACE_BITS) | u64::from(at),
            seq: slot.seq,
            deliveries: slot.deliveries,
            item: slot.item.clone()?,
        };
        // Those that were handed out last are due last, so the list is in order.
        self.leased.push_back(&mut self.places, at);
        self.count_delivery(&taken);
        Some(taken)
    }

    /// Hands the next message out for good.
    pub fn take_acked(&mut self) -> Option<Taken<P::Item>> {
        let at = self.next_ready()?;
        self.unready(at);
        let slot = self.places.get_mut(at)?;
        slot.deliveries = slot.deliveries.saturating_add(1);
        let (seq, deliveries) = (slot.seq, slot.deliveries);
        let item = match self.limits.keep {
            0 => self.release_place(at)?,
            _ => {
                let item = slot.item.clone()?;
                self.keep(at);
                item
            }
        };
        let taken = Taken {
            id: 0,
            seq,
            deliveries,
            item,
        };
        self.count_delivery(&taken);
        self.counts.acked = self.counts.acked.saturating_add(1);
        Some(taken)
    }

    fn count_delivery(&mut self, taken: &Taken<P::Item>) {
        self.counts.delivered = self.counts.delivered.saturating_add(1);
        if taken.deliveries > 1 {
            self.counts.redelivered = self.counts.redelivered.saturating_add(1);
        }
    }

    /// Delivery `id` is done. Returns the number of the message and, if it is not kept, itself.
    ///
    /// # Errors
    ///
    /// Nothing is changed if `consumer` does not have it (any more).
    pub fn ack(&mut self, consumer: u64, id: u64) -> Result<(u64, Option<P::Item>), NotHeld> {
        let at = self.find(consumer, id).ok_or(NotHeld)?;
        let seq = self.places.get(at).ok_or(NotHeld)?.seq;
        self.end_lease(at);
        self.counts.acked = self.counts.acked.saturating_add(1);
        if self.limits.keep == 0 {
            return Ok((seq, self.release_place(at)));
        }
        self.keep(at);
        Ok((seq, None))
    }

    /// The message of delivery `id`, if `consumer` has it.
    pub fn held(&self, consumer: u64, id: u64) -> Option<&P::Item> {
        self.places.get(self.find(consumer, id)?)?.item.as_ref()
    }

    /// A message that was kept although there are enough of them; call until there is none.
    pub fn forget(&mut self) -> Option<P::Item> {
        if self.kept.len() <= self.limits.keep {
            return None;
        }
        self.forget_oldest()
    }

    fn forget_oldest(&mut self) -> Option<P::Item> {
        let at = self.kept.head();
        self.unkeep(at);
        self.release_place(at)
    }

    /// Delivery `id` is not done: the message is ready again in `delay_ms`, or a dead letter.
    ///
    /// # Errors
    ///
    /// Nothing is changed if `consumer` does not have it (any more).
    pub fn give_back(
        &mut self,
        now: u64,
        consumer: u64,
        id: u64,
        delay_ms: u64,
    ) -> Result<(), NotHeld> {
        let at = self.find(consumer, id).ok_or(NotHeld)?;
        self.unlease(at, now, delay_ms);
        Ok(())
    }

    /// Delivery `id` did not come about: the message is where it was, and the delivery is not
    /// counted.
    ///
    /// # Errors
    ///
    /// Nothing is changed if `consumer` does not have it (any more).
    pub fn untake(&mut self, consumer: u64, id: u64) -> Result<(), NotHeld> {
        let at = self.find(consumer, id).ok_or(NotHeld)?;
        self.undo_take(at);
        Ok(())
    }
}

/// The message is not handed out to who says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotHeld;

#[cfg(test)]
mod tests;
