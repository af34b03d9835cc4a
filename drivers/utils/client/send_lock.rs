// SPDX-License-Identifier: GPL-2.0

//! The send lock of a link: one task at a time sends, and connects before if it has to.
//!
//! The lock is handed over: to the users in turn, and to the tasks of a user in the order in which they
//! have come. A task that gets it has been woken for that, but may not run for long: the processor may
//! be busy with tasks that have precedence. So the lock is only *offered* to it. Any task that has waited
//! for some time and finds the offer still open takes it instead; the other one waits again.

use virgo_proto::slots::RoundRobin;

/// Who sends. Guarded by the lock of the link.
pub(crate) struct SendLock {
    holder: Holder,
    /// Turns so far: names the present one.
    turns: u64,
    /// Tasks that wait, by user.
    queues: RoundRobin,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Holder {
    Nobody,
    /// A task was woken for it.
    Offered,
    Task(SendTurn),
}

/// The right to send, until it is given back or revoked.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct SendTurn(u64);

impl SendLock {
    pub(crate) const fn new() -> Self {
        SendLock {
            holder: Holder::Nobody,
            turns: 0,
            queues: RoundRobin::new(),
        }
    }

    pub(crate) fn is_free(&self) -> bool {
        self.holder == Holder::Nobody
    }

    /// Whether the task that was woken has not come yet.
    pub(crate) fn is_offered(&self) -> bool {
        self.holder == Holder::Offered
    }

    /// Whether a task is sending.
    pub(crate) fn is_held(&self) -> bool {
        matches!(self.holder, Holder::Task(_))
    }

    /// Whether this turn has not ended.
    pub(crate) fn holds(&self, turn: SendTurn) -> bool {
        self.holder == Holder::Task(turn)
    }

    /// Names the last turn.
    pub(crate) fn turns(&self) -> u64 {
        self.turns
    }

    /// Takes the lock if nobody has it.
    pub(crate) fn take(&mut self) -> Option<SendTurn> {
        self.is_free().then(|| self.hold())
    }

    /// Takes the lock if it is offered, to whomever.
    pub(crate) fn take_offer(&mut self) -> Option<SendTurn> {
        self.is_offered().then(|| self.hold())
    }

    fn hold(&mut self) -> SendTurn {
        self.turns += 1;
        let turn = SendTurn(self.turns);
        self.holder = Holder::Task(turn);
        turn
    }

    /// Gives the lock back. False if it was revoked: then nothing changes.
    pub(crate) fn release(&mut self, turn: SendTurn) -> bool {
        let is_holder = self.holds(turn);
        if is_holder {
            self.holder = Holder::Nobody;
        }
        is_holder
    }

    /// Takes the lock from whoever has it since turn number `turns`. False if nobody has.
    pub(crate) fn revoke(&mut self, turns: u64) -> bool {
        self.release(SendTurn(turns))
    }

    /// The free lock is offered to the task that was woken.
    pub(crate) fn offer(&mut self) {
        self.holder = Holder::Offered;
    }

    /// A task of this user waits from now on.
    pub(crate) fn enter(&mut self, user: usize) {
        self.queues.enter(user);
    }

    /// A task of this user waits no more, without having been served.
    pub(crate) fn leave(&mut self, user: usize) {
        self.queues.leave(user);
    }

    /// The user whose first task is to be woken next.
    pub(crate) fn next(&mut self) -> Option<usize> {
        self.queues.serve()
    }
}
