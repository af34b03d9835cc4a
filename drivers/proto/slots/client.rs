// SPDX-License-Identifier: GPL-2.0

//! The client's half: who may have a slot, which number a request gets, and whether it may be sent
//! again. See [`super`].
//!
//! # Sharing the slots
//!
//! The slots are shared by [`Class`] of request and by user. Who finds none waits in a line, one
//! for each user and class that waits; first come, first served. A slot that becomes free goes to
//! the line whose requests have the fewest slots. So a user gets a slot as soon as one is free,
//! however many tasks of others wait, and a user other than root never has more than a share of
//! the slots of a class.
//!
//! # Requests that were given up
//!
//! A server carries out the requests of a connection in their order. So those whose tasks have given
//! up still hold up the requests of others that come after them. Such a request keeps its slot until
//! its reply has come or the connection is lost, and a user with [`GIVEN_UP_MAX`] of them sends no
//! other before one of them is answered ([`SlotTable::must_wait`]); nor does anybody if half of the
//! slots are kept like that. Beyond these bounds slots are free at once, since a task needs one to take
//! the answers. So are those of requests that may be deferred, which hold up nobody. The next request
//! in such a slot tells the server.

use super::{
    class::Class,
    list::{Linked, ListLinks, SlotList},
    users::{Users, USERS},
};
use crate::frame::RequestId;
use core::ops::DerefMut;

/// Requests that one client may have under way at one service: as many slots as a request's id can
/// name.
pub const SLOTS: usize = 256;

/// Requests of a user that were given up and may lie unanswered on a connection.
pub const GIVEN_UP_MAX: u16 = 4;

/// Lines in which tasks wait for slots.
pub const LINES: usize = USERS * 2;

/// Where tasks wait for a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SlotQueue {
    user: u8,
    class: Class,
}

impl SlotQueue {
    /// Its number, below [`LINES`].
    pub fn index(self) -> usize {
        let second = matches!(self.class, Class::Deferred);
        usize::from(self.user)
            .saturating_mul(2)
            .saturating_add(usize::from(second))
    }

    pub(super) fn from_index(index: usize) -> Self {
        SlotQueue {
            user: u8::try_from(index / 2).unwrap_or(u8::MAX),
            class: match index % 2 {
                0 => Class::Any,
                _ => Class::Deferred,
            },
        }
    }
}

/// What a task gets that wants a slot.
#[derive(Debug, PartialEq, Eq)]
pub enum AcquireOutcome {
    /// The number of its request.
    Slot(RequestId),
    /// A place in this line, until [`SlotTable::release`] or another method returns the line: the
    /// task that has waited in it for longest then calls [`SlotTable::claim`] or
    /// [`SlotTable::revoke`]. A task that leaves before calls [`SlotTable::leave_line`].
    Wait(SlotQueue),
}

/// The server has restarted since the request was sent: nobody knows whether it was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Restarted;

/// What has become of a reply that has come.
#[derive(Debug, PartialEq, Eq)]
pub enum ReplyDisposition<R> {
    /// Its task sleeps, and is to be woken.
    Wakes,
    /// Its task finds it.
    Kept,
    /// Nobody waits for it. A slot is given to the line, if there is one.
    Unwanted(R, Option<SlotQueue>),
}

/// A place for one request at a time.
pub struct ClientSlot<R> {
    /// On the free slots' list, or among those whose task sleeps.
    links: ListLinks,
    busy: bool,
    /// The request was sent, or waits to be, on the present connection, and no reply has come.
    under_way: bool,
    /// Its task has given up, but it keeps the slot.
    is_given_up: bool,
    /// Its task sleeps until the reply is there.
    asleep: bool,
    /// Number of the last request.
    seq: u64,
    /// Number of the last request whose reply was taken.
    taken: u64,
    /// The incarnation of the server that the request was sent to last.
    sent_to: Option<u64>,
    /// A reply that has come and was not taken.
    reply: Option<R>,
    user: u8,
    class: Class,
}

impl<R> ClientSlot<R> {
    /// One that had no request yet.
    pub const fn new() -> Self {
        ClientSlot {
            links: ListLinks::new(),
            busy: false,
            under_way: false,
            is_given_up: false,
            asleep: false,
            seq: 0,
            taken: 0,
            sent_to: None,
            reply: None,
            user: 0,
            class: Class::Any,
        }
    }
}

impl<R> Default for ClientSlot<R> {
    fn default() -> Self {
        Self::new()
    }
}

impl<R> Linked for ClientSlot<R> {
    fn links(&mut self) -> &mut ListLinks {
        &mut self.links
    }
}

/// The slots of a client at one server.
///
/// `R` is a reply that has come for a task which sleeps.
pub struct SlotTable<S> {
    slots: S,
    /// Free slots whose last reply the client gave up. They are used first: that tells the server.
    given_up: SlotList,
    /// The other free slots.
    free: SlotList,
    /// Slots on both.
    free_count: usize,
    /// Free slots that were given to a line and not yet claimed.
    promised: usize,
    /// Slots of each class that are busy or promised.
    held: [usize; Class::COUNT],
    /// Busy slots whose requests were given up.
    kept: usize,
    /// Slots whose tasks sleep until the reply is there.
    asleep: SlotList,
    users: Users,
    /// How many wait in each line.
    waiting: [u32; LINES],
    /// The lines in which somebody waits: bit by index.
    lines: u64,
    /// The line that got a slot last.
    last_line: u8,
    /// The most of the slots of a class that one user other than root may have, in percent.
    user_share: usize,
}

impl<R, S> SlotTable<S>
where
    S: DerefMut<Target = [ClientSlot<R>]>,
{
    /// With new `slots`, at most [`SLOTS`]. A user other than root may have `user_share`
    /// percent of those of a class.
    pub fn new(slots: S, user_share: u32) -> Self {
        let mut table = SlotTable {
            slots,
            given_up: SlotList::new(),
            free: SlotList::new(),
            free_count: 0,
            promised: 0,
            held: [0; Class::COUNT],
            kept: 0,
            asleep: SlotList::new(),
            users: Users::new(),
            waiting: [0; LINES],
            lines: 0,
            last_line: 0,
            user_share: usize::try_from(user_share).unwrap_or(usize::MAX),
        };
        let count = table.slots.len().min(SLOTS);
        table.free_count = count;
        // The first slot is used first.
        for at in (0..count).rev() {
            table.free.push(&mut table.slots, at as u16);
        }
        table
    }

    /// Slots that are busy.
    pub fn busy(&self) -> usize {
        self.slots.len().min(SLOTS).saturating_sub(self.free_count)
    }

    /// Occupies a slot for a request of user `uid`, or gives a place in a line.
    pub fn enter(&mut self, uid: u32, class: Class) -> AcquireOutcome {
        let user = self.user(uid);
        if self.admits(user, class) {
            self.hold(user, class);
            if let Some(id) = self.occupy(user, class) {
                return AcquireOutcome::Slot(id);
            }
        }
        let line = SlotQueue { user, class };
        if let Some(waiting) = self.waiting.get_mut(line.index()) {
            *waiting = waiting.saturating_add(1);
            self.lines |= bit(line);
        }
        AcquireOutcome::Wait(line)
    }

    /// As [`Self::enter`], but `None` instead of a place in a line.
    pub fn enter_now(&mut self, uid: u32, class: Class) -> Option<RequestId> {
        let user = self.user(uid);
        if !self.admits(user, class) || self.has_given_up_most(user) {
            return None;
        }
        self.hold(user, class);
        self.occupy(user, class)
    }

    /// Occupies the slot that was given to `line`.
    pub fn claim(&mut self, line: SlotQueue) -> Option<RequestId> {
        self.promised = self.promised.saturating_sub(1);
        self.occupy(line.user, line.class)
    }

    /// Takes back what was given to `line`. Returns the line that it is given to instead.
    pub fn revoke(&mut self, line: SlotQueue) -> Option<SlotQueue> {
        self.promised = self.promised.saturating_sub(1);
        self.unhold(line.user, line.class);
        self.give()
    }

    /// A task that waited in `line`, which was not returned for it, waits no more.
    pub fn leave_line(&mut self, line: SlotQueue) {
        if let Some(waiting) = self.waiting.get_mut(line.index()) {
            *waiting = waiting.saturating_sub(1);
            if *waiting == 0 {
                self.lines &= !bit(line);
            }
        }
    }

    /// A line in which somebody waits.
    pub fn waiting_line(&self) -> Option<SlotQueue> {
        let index = self.lines.trailing_zeros() as usize;
        (index < LINES).then(|| SlotQueue::from_index(index))
    }

    /// Number of the last request in the slot of `id` whose reply was taken: a request says so.
    pub fn taken(&self, id: RequestId) -> u64 {
        let slot = self.slots.get(usize::from(id.slot));
        slot.map_or(0, |slot| slot.taken)
    }

    /// Whether request `id` may be sent to the server of this incarnation.
    ///
    /// # Errors
    ///
    /// If it was sent to another incarnation, and is not `repeatable`.
    pub fn may_send(&self, id: RequestId, server: u64, repeatable: bool) -> Result<(), Restarted> {
        match self.sent_to(id) {
            Some(incarnation) if incarnation != server && !repeatable => Err(Restarted),
            _ => Ok(()),
        }
    }

    /// Request `id`, or a part of it, was sent to the server of this incarnation.
    pub fn sent(&mut self, id: RequestId, server: u64) {
        if let Some(slot) = self.busy_slot(id) {
            slot.sent_to = Some(server);
        }
    }

    /// Whether request `id` is not to be sent before something that its user has given up is answered.
    pub fn must_wait(&self, id: RequestId) -> bool {
        let slot = self.slots.get(usize::from(id.slot));
        slot.is_some_and(|slot| self.has_given_up_most(slot.user) && slot.class != Class::Deferred)
    }

    /// Whether `user` has given up as many requests as keep their slots.
    fn has_given_up_most(&self, user: u8) -> bool {
        let is_half = self.kept > 0 && self.kept >= self.slots.len() / 2;
        is_half || self.users.given_up(user) >= GIVEN_UP_MAX
    }

    /// The server will get request `id` by the present connection.
    pub fn under_way(&mut self, id: RequestId) {
        if let Some(slot) = self.busy_slot(id) {
            slot.under_way = true;
        }
    }

    /// Whether the server will get request `id` by the present connection, or has got it.
    pub fn is_under_way(&self, id: RequestId) -> bool {
        let slot = self.slots.get(usize::from(id.slot));
        slot.is_some_and(|slot| slot.under_way && slot.seq == id.seq)
    }

    /// Gives the slot of request `id` the next number, for a request that does nothing: once the server has
    /// got that, it refuses the one before, which may come later by another way. Returns the number.
    pub fn supersede(&mut self, id: RequestId) -> Option<RequestId> {
        let slot = self.busy_slot(id)?;
        slot.seq = slot.seq.saturating_add(1);
        slot.under_way = false;
        Some(RequestId {
            seq: slot.seq,
            ..id
        })
    }

    /// Whether the server will get request `id` by the present connection, and no reply has come.
    pub fn is_owed(&self, id: RequestId) -> bool {
        let slot = self.slots.get(usize::from(id.slot));
        slot.is_some_and(|slot| slot.under_way && slot.seq != slot.taken && slot.reply.is_none())
    }

    /// The connection is lost: no request is under way any more. [`Self::give`] is to be called until it
    /// returns nothing.
    pub fn connection_lost(&mut self) {
        for at in 0..self.slots.len() {
            if let Some(slot) = self.slots.get_mut(at) {
                slot.under_way = false;
            }
            self.end_given_up(at);
        }
    }

    /// The incarnation of the server that request `id` was sent to last.
    pub fn sent_to(&self, id: RequestId) -> Option<u64> {
        self.slots.get(usize::from(id.slot))?.sent_to
    }

    /// The user whose request `id` is, as told apart here: below [`super::QUEUES`].
    pub fn user_of(&self, id: RequestId) -> u8 {
        let slot = self.slots.get(usize::from(id.slot));
        slot.map_or(0, |slot| slot.user)
    }

    /// Leaves the reply of request `id` for its task.
    pub fn deliver(&mut self, id: RequestId, reply: R) -> ReplyDisposition<R> {
        match self.busy_slot(id) {
            Some(slot) if slot.is_given_up => {
                self.end_given_up(usize::from(id.slot));
                return ReplyDisposition::Unwanted(reply, self.give());
            }
            Some(slot) if slot.reply.is_none() && slot.taken != id.seq => slot.reply = Some(reply),
            _ => return ReplyDisposition::Unwanted(reply, None),
        }
        match self.wake(id.slot) {
            true => ReplyDisposition::Wakes,
            false => ReplyDisposition::Kept,
        }
    }

    /// Whether the reply of request `id` has come.
    pub fn has_reply(&self, id: RequestId) -> bool {
        let slot = self.slots.get(usize::from(id.slot));
        slot.is_some_and(|slot| slot.reply.is_some())
    }

    /// Takes the reply of request `id`, if it has come.
    pub fn take(&mut self, id: RequestId) -> Option<R> {
        match self.has_reply(id) {
            true => self.acknowledge(id),
            false => None,
        }
    }

    /// The task of request `id` has the reply. Returns another copy of it, which has come, too.
    pub fn acknowledge(&mut self, id: RequestId) -> Option<R> {
        let slot = self.busy_slot(id)?;
        slot.taken = id.seq;
        slot.reply.take()
    }

    /// The task of request `id` goes to sleep until [`Self::deliver`] or [`Self::wake_latest`]
    /// returns its slot, or until it calls [`Self::wake`].
    pub fn sleep(&mut self, id: RequestId) {
        let Some(slot) = self.busy_slot(id) else {
            return;
        };
        if !slot.asleep {
            slot.asleep = true;
            self.asleep.push(&mut self.slots, u16::from(id.slot));
        }
    }

    /// The task of this slot does not sleep any more. Returns whether it did.
    pub fn wake(&mut self, slot: u8) -> bool {
        match self.slots.get_mut(usize::from(slot)) {
            Some(slot) if slot.asleep => slot.asleep = false,
            _ => return false,
        }
        self.asleep.remove(&mut self.slots, u16::from(slot));
        true
    }

    /// The slot of the task that went to sleep last: it is to be woken.
    pub fn wake_latest(&mut self) -> Option<u8> {
        let slot = u8::try_from(self.asleep.first()?).ok()?;
        self.wake(slot).then_some(slot)
    }

    /// The task of request `id` wants nothing more: frees its slot, unless the server is to answer it
    /// first. Returns a reply that nobody took, and the line that a slot is given to.
    pub fn release(&mut self, id: RequestId) -> (Option<R>, Option<SlotQueue>) {
        self.wake(id.slot);
        let Some(slot) = self.busy_slot(id) else {
            return (None, None);
        };
        let late = slot.reply.take();
        let is_answered = slot.seq == slot.taken || late.is_some();
        let is_owed = slot.under_way && !is_answered && slot.class != Class::Deferred;
        let user = slot.user;
        if is_owed && self.slots.len() > 1 && !self.has_given_up_most(user) {
            self.keep(id.slot, user);
            return (None, None);
        }
        self.free(usize::from(id.slot));
        (late, self.give())
    }

    /// The slot of a request that `user` has given up stays busy.
    fn keep(&mut self, slot: u8, user: u8) {
        if let Some(slot) = self.slots.get_mut(usize::from(slot)) {
            slot.is_given_up = true;
        }
        self.users.keep(user);
        self.kept = self.kept.saturating_add(1);
    }

    /// Frees slot `at` if its request was given up.
    fn end_given_up(&mut self, at: usize) {
        let user = match self.slots.get_mut(at) {
            Some(slot) if slot.is_given_up => {
                slot.is_given_up = false;
                slot.user
            }
            _ => return,
        };
        self.users.unkeep(user);
        self.kept = self.kept.saturating_sub(1);
        self.free(at);
    }

    /// Frees slot `at`, which is busy.
    fn free(&mut self, at: usize) {
        let Some(slot) = self.slots.get_mut(at) else {
            return;
        };
        slot.busy = false;
        slot.under_way = false;
        let (user, class) = (slot.user, slot.class);
        let list = match slot.seq == slot.taken {
            true => &mut self.free,
            false => &mut self.given_up,
        };
        list.push(&mut self.slots, at as u16);
        self.free_count = self.free_count.saturating_add(1);
        self.unhold(user, class);
    }

    /// The slot that request `id` occupies.
    fn busy_slot(&mut self, id: RequestId) -> Option<&mut ClientSlot<R>> {
        let slot = self.slots.get_mut(usize::from(id.slot))?;
        (slot.busy && slot.seq == id.seq).then_some(slot)
    }

    /// The number of user `uid`.
    fn user(&mut self, uid: u32) -> u8 {
        let lines = self.lines;
        let waiting = |user: usize| (lines >> user.saturating_mul(2).min(63)) & 0b11 != 0;
        self.users.find(uid, waiting)
    }

    /// Whether a request of this class and user can have a slot now.
    ///
    /// When it can, nobody waits in its line: a slot is given to a line at once when it can have one.
    fn admits(&self, user: u8, class: Class) -> bool {
        let held = self.held.get(class.index()).copied().unwrap_or(usize::MAX);
        let limit = class.limit(self.slots.len());
        if self.free_count <= self.promised || held >= limit {
            return false;
        }
        let share = (limit.saturating_mul(self.user_share) / 100).max(1);
        usize::from(self.users.counted(user, class)) < share
    }

    /// Counts a slot for a user.
    fn hold(&mut self, user: u8, class: Class) {
        if let Some(held) = self.held.get_mut(class.index()) {
            *held = held.saturating_add(1);
        }
        self.users.hold(user, class);
    }

    fn unhold(&mut self, user: u8, class: Class) {
        if let Some(held) = self.held.get_mut(class.index()) {
            *held = held.saturating_sub(1);
        }
        self.users.unhold(user, class);
    }

    /// Occupies a free slot that is counted for its user already.
    fn occupy(&mut self, user: u8, class: Class) -> Option<RequestId> {
        let list = match self.given_up.is_empty() {
            true => &mut self.free,
            false => &mut self.given_up,
        };
        let at = list.pop(&mut self.slots)?;
        self.free_count = self.free_count.saturating_sub(1);
        let slot = self.slots.get_mut(usize::from(at))?;
        slot.busy = true;
        slot.under_way = false;
        slot.seq = slot.seq.saturating_add(1);
        slot.sent_to = None;
        slot.reply = None;
        slot.user = user;
        slot.class = class;
        Some(RequestId {
            slot: u8::try_from(at).ok()?,
            seq: slot.seq,
        })
    }

    /// Gives a slot to the line that has the fewest, if one is free and somebody waits for it. Lines
    /// that have as many take turns.
    pub fn give(&mut self) -> Option<SlotQueue> {
        let mut best: Option<(u16, SlotQueue)> = None;
        let after = u32::from(self.last_line).wrapping_add(1);
        let mut left = self.lines.rotate_right(after);
        while left != 0 {
            let index = left.trailing_zeros().wrapping_add(after) as usize % LINES;
            left &= left.wrapping_sub(1);
            let line = SlotQueue::from_index(index);
            if !self.admits(line.user, line.class) {
                continue;
            }
            let held = self.users.held(line.user, line.class);
            if best.is_none_or(|(fewest, _)| held < fewest) {
                best = Some((held, line));
            }
        }
        let (_, line) = best?;
        self.last_line = line.index() as u8;
        self.leave_line(line);
        self.promised = self.promised.saturating_add(1);
        self.hold(line.user, line.class);
        Some(line)
    }
}

#[cfg(test)]
impl<R, S> SlotTable<S>
where
    S: DerefMut<Target = [ClientSlot<R>]>,
{
    /// Whether nobody waits in a line that could have a slot.
    pub(super) fn has_given_all_it_can(&self) -> bool {
        (0..LINES)
            .filter(|&at| self.waiting[at] > 0)
            .map(SlotQueue::from_index)
            .all(|line| !self.admits(line.user, line.class))
    }
}

fn bit(line: SlotQueue) -> u64 {
    1_u64.checked_shl(line.index() as u32).unwrap_or(0)
}
