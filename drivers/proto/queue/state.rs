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

use super::{
    heap,
    slab::{List, Places, Slot, NONE},
};

/// Priorities: from 0 to one less. Larger is sooner.
pub const PRIORITIES: usize = 10;

/// Places looked at to find where a message that comes back belongs: only so many that come back out
/// of order are sorted.
const LOOK: usize = 1024;

/// What happens to a message for which there is no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Policy {
    /// Its sender waits, if it can.
    Block = 0,
    /// It is refused.
    Reject = 1,
    /// The oldest one that nobody has makes room.
    DropOldest = 2,
}

impl Policy {
    /// Names of the policies.
    pub const NAMES: [(&'static str, Policy); 3] = [
        ("block", Policy::Block),
        ("reject", Policy::Reject),
        ("drop-oldest", Policy::DropOldest),
    ];

    /// The policy of this name.
    pub fn parse(name: &[u8]) -> Option<Policy> {
        let mut names = Self::NAMES.iter();
        let found = names.find(|(known, _)| known.as_bytes() == name)?;
        Some(found.1)
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        let mut names = Self::NAMES.iter();
        names
            .find(|(_, policy)| *policy == self)
            .map_or("", |(name, _)| name)
    }
}

/// Bounds of a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Messages that wait, are delayed or are handed out.
    pub messages: u32,
    /// Their bytes, and those of the kept ones.
    pub bytes: u64,
    /// Messages that are handed out at a time.
    pub leased: u32,
    /// What happens at the bounds.
    pub policy: Policy,
    /// How long a message may be handed out without being acknowledged, in milliseconds; 0 for
    /// ever.
    pub ack_ms: u32,
    /// How often a message is handed out before it is a dead letter; 0 for ever.
    pub deliveries: u32,
    /// Acknowledged messages that are kept for replay.
    pub keep: u32,
}

impl Limits {
    /// What holds unless somebody wants it otherwise.
    pub const DEFAULT: Limits = Limits {
        messages: 10_000,
        bytes: 16 << 20,
        leased: 1024,
        policy: Policy::Reject,
        ack_ms: 30_000,
        deliveries: 0,
        keep: 0,
    };
}

/// What has happened to the messages of a queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Taken in.
    pub pushed: u64,
    /// Handed out, each time.
    pub delivered: u64,
    /// Handed out before.
    pub redelivered: u64,
    /// Acknowledged.
    pub acked: u64,
    /// Made room for others.
    pub dropped: u64,
    /// Not taken in.
    pub refused: u64,
    /// Became dead letters.
    pub dead: u64,
}

/// Whether there is room for a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Room {
    /// There is.
    Yes,
    /// Not now, but its sender may wait.
    Later,
    /// No.
    No,
}

/// A message that is handed out.
#[derive(Debug, PartialEq, Eq)]
pub struct Taken<T> {
    /// Its number.
    pub seq: u64,
    /// How often it was handed out, this time included.
    pub deliveries: u32,
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
    /// Those that were handed out before, by their numbers.
    again: List,
    /// The others, in the order in which they became ready.
    new: List,
}

impl Ready {
    const NONE: Ready = Ready {
        again: List::new(),
        new: List::new(),
    };

    /// The list of a message that was handed out so often.
    fn list(&mut self, deliveries: u32) -> &mut List {
        match deliveries {
            0 => &mut self.new,
            _ => &mut self.again,
        }
    }

    fn first(&self) -> Option<u32> {
        let list = match self.again.is_empty() {
            true => self.new,
            false => self.again,
        };
        (!list.is_empty()).then(|| list.head())
    }
}

/// In [`Queue::some`].
fn bit(priority: u8) -> u16 {
    1u16.wrapping_shl(priority.into())
}

/// A queue of messages in memory of `P`.
pub struct Queue<P> {
    places: P,
    /// The first free place; each names the next.
    free: u32,
    ready: [Ready; PRIORITIES],
    /// A bit for each priority of which some are ready.
    some: u16,
    ready_len: u32,
    /// Top of the heap of those that are delayed.
    later: u32,
    delayed_len: u32,
    leased: List,
    kept: List,
    dead: List,
    /// Bytes of all of them.
    bytes: u64,
    limits: Limits,
    next_seq: u64,
    counts: Counts,
}

impl<P: Places> Queue<P> {
    /// An empty queue, whose first message has the number 1.
    pub fn new(places: P, limits: Limits) -> Self {
        Queue {
            places,
            free: NONE,
            ready: [Ready::NONE; PRIORITIES],
            some: 0,
            ready_len: 0,
            later: NONE,
            delayed_len: 0,
            leased: List::new(),
            kept: List::new(),
            dead: List::new(),
            bytes: 0,
            limits,
            next_seq: 1,
            counts: Counts::default(),
        }
    }

    /// Its bounds.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// What has happened so far.
    pub fn counts(&self) -> Counts {
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

    /// Messages that are not acknowledged.
    pub fn len(&self) -> u32 {
        self.ready_len
            .saturating_add(self.delayed_len)
            .saturating_add(self.leased.len())
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

    /// Makes room for a message of so many bytes, if that can be; gives `gone` those that go for it.
    /// After [`Room::Yes`] there is room until something else is pushed.
    pub fn make_room(&mut self, bytes: u32, mut gone: impl FnMut(P::Item)) -> Room {
        let bytes = u64::from(bytes);
        loop {
            let fits = self.bytes.saturating_add(bytes) <= self.limits.bytes;
            if fits && self.len() < self.limits.messages {
                return Room::Yes;
            }
            let old = match self.limits.policy {
                _ if !fits && !self.kept.is_empty() => self.forget_oldest(),
                _ if bytes > self.limits.bytes => None,
                Policy::Block => return Room::Later,
                Policy::Reject => None,
                Policy::DropOldest => self.drop_oldest(),
            };
            let Some(old) = old else {
                self.count_refused();
                return Room::No;
            };
            gone(old);
        }
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
        let slot = Slot {
            item: Some(push.item),
            seq,
            due: now.saturating_add(push.delay_ms),
            bytes: push.bytes,
            priority: push.priority.min(highest),
            ..Slot::free()
        };
        let at = match self.places.get_mut(self.free) {
            Some(place) => {
                let at = self.free;
                self.free = place.next;
                *place = slot;
                at
            }
            None => {
                let item = slot.item.clone();
                match self.places.add(slot) {
                    Some(at) => at,
                    None => return item.map_or(Ok(()), Err),
                }
            }
        };
        self.bytes = self.bytes.saturating_add(u64::from(push.bytes));
        self.skip_to(seq.saturating_add(1));
        if push.delay_ms == 0 {
            self.make_ready(at);
        } else {
            self.later = heap::push(&mut self.places, self.later, at);
            self.delayed_len = self.delayed_len.saturating_add(1);
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

    /// Makes sure that the next [`Self::push`] finds a place. False without memory.
    pub fn reserve(&mut self) -> bool {
        if self.free == NONE {
            self.free = self.places.add(Slot::free()).unwrap_or(NONE);
        }
        self.free != NONE
    }

    /// Hands the next message out to `holder`, to be acknowledged; `None` if there is none, or too
    /// many are out.
    pub fn take(&mut self, now: u64, holder: u64) -> Option<Taken<P::Item>> {
        if !self.has_next() {
            return None;
        }
        let at = self.next_ready()?;
        self.unready(at);
        let due = match self.limits.ack_ms {
            0 => u64::MAX,
            ms => now.saturating_add(u64::from(ms)),
        };
        let slot = self.places.get_mut(at)?;
        slot.holder = holder;
        slot.due = due;
        slot.deliveries = slot.deliveries.saturating_add(1);
        let taken = Taken {
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
                self.kept.push_back(&mut self.places, at);
                item
            }
        };
        let taken = Taken {
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

    /// Message `seq` is done. Returns it if it is not kept.
    ///
    /// # Errors
    ///
    /// Nothing is changed if `holder` does not have it (any more).
    pub fn ack(&mut self, holder: u64, seq: u64) -> Result<Option<P::Item>, NotHeld> {
        let at = self.find(holder, seq).ok_or(NotHeld)?;
        self.leased.remove(&mut self.places, at);
        self.counts.acked = self.counts.acked.saturating_add(1);
        if self.limits.keep == 0 {
            return Ok(self.release_place(at));
        }
        self.kept.push_back(&mut self.places, at);
        Ok(None)
    }

    /// The message with number `seq`, if `holder` has it.
    pub fn held(&self, holder: u64, seq: u64) -> Option<&P::Item> {
        self.places.get(self.find(holder, seq)?)?.item.as_ref()
    }

    /// A message that was kept although there are enough of them; call until there is none.
    pub fn forget(&mut self) -> Option<P::Item> {
        if self.kept.len() <= self.limits.keep {
            return None;
        }
        self.forget_oldest()
    }

    fn forget_oldest(&mut self) -> Option<P::Item> {
        let at = self.kept.pop_front(&mut self.places)?;
        self.release_place(at)
    }

    /// Message `seq` is not done: it is ready again in `delay_ms`, or a dead letter.
    ///
    /// # Errors
    ///
    /// Nothing is changed if `holder` does not have it (any more).
    pub fn give_back(
        &mut self,
        now: u64,
        holder: u64,
        seq: u64,
        delay_ms: u64,
    ) -> Result<(), NotHeld> {
        let at = self.find(holder, seq).ok_or(NotHeld)?;
        self.unlease(at, now, delay_ms);
        Ok(())
    }

    /// `holder` is gone: all that it has is ready again, or a dead letter. Returns how many.
    pub fn give_all_back(&mut self, now: u64, holder: u64) -> u32 {
        let mut count = 0u32;
        let mut at = self.leased.head();
        while let Some(slot) = self.places.get(at) {
            let next = slot.next;
            if slot.holder == holder {
                self.unlease(at, now, 0);
                count = count.saturating_add(1);
            }
            at = next;
        }
        count
    }

    /// What is due at `now` happens. Returns when the next thing is due.
    pub fn tick(&mut self, now: u64) -> Option<u64> {
        while let Some(slot) = self.places.get(self.later) {
            if slot.due > now {
                break;
            }
            let at = self.later;
            self.later = heap::pop(&mut self.places, at);
            self.delayed_len = self.delayed_len.saturating_sub(1);
            self.make_ready(at);
        }
        while let Some(slot) = self.places.get(self.leased.head()) {
            if slot.due > now {
                break;
            }
            self.unlease(self.leased.head(), now, 0);
        }
        let delayed = self.places.get(self.later).map(|slot| slot.due);
        let leased = self.places.get(self.leased.head()).map(|slot| slot.due);
        let due = [delayed, leased].into_iter().flatten().min();
        due.filter(|&due| due != u64::MAX)
    }

    /// Dead letters that nobody has taken.
    pub fn dead(&self) -> u32 {
        self.dead.len()
    }

    /// Whether there are dead letters.
    pub fn has_dead(&self) -> bool {
        !self.dead.is_empty()
    }

    /// The next dead letter.
    pub fn first_dead(&self) -> Option<&P::Item> {
        self.places.get(self.dead.head())?.item.as_ref()
    }

    /// The next dead letter; it is gone from this queue.
    pub fn take_dead(&mut self) -> Option<(u64, P::Item)> {
        let at = self.dead.pop_front(&mut self.places)?;
        let seq = self.places.get(at)?.seq;
        Some((seq, self.release_place(at)?))
    }

    /// Messages that are kept, from number `from` on, are ready once more. Returns how many.
    pub fn replay(&mut self, from: u64) -> u32 {
        let mut count = 0u32;
        let mut at = self.kept.head();
        while let Some(slot) = self.places.get(at) {
            let next = slot.next;
            if slot.seq >= from && self.len() < self.limits.messages {
                self.kept.remove(&mut self.places, at);
                self.make_ready(at);
                count = count.saturating_add(1);
            }
            at = next;
        }
        count
    }

    /// Shows the messages that are kept, from number `from` on, in order, while `see` wants more.
    pub fn for_each_kept(&self, from: u64, mut see: impl FnMut(u64, &P::Item) -> bool) {
        let mut at = self.kept.head();
        while let Some(slot) = self.places.get(at) {
            if slot.seq >= from && !slot.item.as_ref().is_some_and(|item| see(slot.seq, item)) {
                return;
            }
            at = slot.next;
        }
    }

    /// Shows all messages that are not acknowledged: number, priority, milliseconds until it is
    /// ready. In no order.
    pub fn for_each(&self, now: u64, mut see: impl FnMut(u64, u8, u64, &P::Item)) {
        let mut show = |slot: &Slot<P::Item>, delay| {
            if let Some(item) = &slot.item {
                see(slot.seq, slot.priority, delay, item);
            }
        };
        let ready = self
            .ready
            .iter()
            .flat_map(|ready| [&ready.again, &ready.new]);
        for list in ready.chain([&self.leased, &self.dead]) {
            let mut at = list.head();
            while let Some(slot) = self.places.get(at) {
                show(slot, 0);
                at = slot.next;
            }
        }
        // By way of all places: a heap has no order to go by.
        let mut at = 0u32;
        while let (Some(slot), true) = (self.places.get(at), self.delayed_len > 0) {
            if slot.rank > 0 {
                show(slot, slot.due.saturating_sub(now));
            }
            at = at.saturating_add(1);
        }
    }

    /// Takes any message out; for the end of the queue.
    pub fn remove_any(&mut self) -> Option<P::Item> {
        if let Some(at) = self.next_ready() {
            self.unready(at);
            return self.release_place(at);
        }
        if self.later != NONE {
            let at = self.later;
            self.later = heap::pop(&mut self.places, at);
            self.delayed_len = self.delayed_len.saturating_sub(1);
            return self.release_place(at);
        }
        let places = &mut self.places;
        let at = self
            .leased
            .pop_front(places)
            .or_else(|| self.kept.pop_front(places))
            .or_else(|| self.dead.pop_front(places))?;
        self.release_place(at)
    }

    fn next_ready(&self) -> Option<u32> {
        let highest = self.some.checked_ilog2()?;
        self.ready.get(highest as usize)?.first()
    }

    /// Takes the oldest of the least important messages that are ready.
    fn drop_oldest(&mut self) -> Option<P::Item> {
        let lowest = self.some.trailing_zeros();
        let at = self.ready.get(lowest as usize)?.first()?;
        self.unready(at);
        self.counts.dropped = self.counts.dropped.saturating_add(1);
        self.release_place(at)
    }

    fn unready(&mut self, at: u32) {
        let Some(slot) = self.places.get(at) else {
            return;
        };
        let (deliveries, priority) = (slot.deliveries, slot.priority);
        if let Some(ready) = self.ready.get_mut(usize::from(priority)) {
            ready.list(deliveries).remove(&mut self.places, at);
            self.ready_len = self.ready_len.saturating_sub(1);
            if ready.first().is_none() {
                self.some &= !bit(priority);
            }
        }
    }

    /// Place `at`, which is on no list, has a message that is ready.
    fn make_ready(&mut self, at: u32) {
        let Some(slot) = self.places.get(at) else {
            return;
        };
        let (seq, deliveries, priority) = (slot.seq, slot.deliveries, slot.priority);
        let Some(ready) = self.ready.get_mut(usize::from(priority)) else {
            return;
        };
        let list = ready.list(deliveries);
        let mut next = NONE;
        if deliveries > 0 {
            // Usually they come back in the order in which they went out, or the other way round.
            let is_younger = |at| {
                self.places
                    .get(at)
                    .is_some_and(|slot: &Slot<_>| slot.seq > seq)
            };
            if is_younger(list.head()) {
                next = list.head();
            } else {
                let mut prev = list.tail();
                for _ in 0..LOOK {
                    if !is_younger(prev) {
                        break;
                    }
                    next = prev;
                    prev = self.places.get(prev).map_or(NONE, |slot| slot.prev);
                }
            }
        }
        list.insert_before(&mut self.places, next, at);
        self.ready_len = self.ready_len.saturating_add(1);
        self.some |= bit(priority);
    }

    /// Place `at` is leased and comes back.
    fn unlease(&mut self, at: u32, now: u64, delay_ms: u64) {
        self.leased.remove(&mut self.places, at);
        let limit = self.limits.deliveries;
        let Some(slot) = self.places.get_mut(at) else {
            return;
        };
        if limit != 0 && slot.deliveries >= limit {
            self.counts.dead = self.counts.dead.saturating_add(1);
            self.dead.push_back(&mut self.places, at);
        } else if delay_ms == 0 {
            self.make_ready(at);
        } else {
            slot.due = now.saturating_add(delay_ms);
            self.later = heap::push(&mut self.places, self.later, at);
            self.delayed_len = self.delayed_len.saturating_add(1);
        }
    }

    /// Usually the first: most are acknowledged in the order in which they went out.
    fn find(&self, holder: u64, seq: u64) -> Option<u32> {
        let mut at = self.leased.head();
        loop {
            let slot = self.places.get(at)?;
            if slot.seq == seq {
                return (slot.holder == holder).then_some(at);
            }
            at = slot.next;
        }
    }

    /// Frees place `at`, which is on no list.
    fn release_place(&mut self, at: u32) -> Option<P::Item> {
        let slot = self.places.get_mut(at)?;
        let item = slot.item.take();
        slot.next = self.free;
        self.free = at;
        self.bytes = self.bytes.saturating_sub(u64::from(slot.bytes));
        item
    }
}

/// The message is not handed out to who says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotHeld;

#[cfg(test)]
mod tests;
