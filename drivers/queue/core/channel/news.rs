// SPDX-License-Identifier: GPL-2.0

//! What follows when messages have come to a channel, come back, or left it: who waits is told, and room is
//! offered. The channel's task does it for what is due, and goes on with it where it is too much for one go.

use super::{
    room::Offering,
    Channel,
    Clock,
    Guard,
    WAKE_AT_ONCE, //
};
use linux::{
    deadline::now_ms,
    work::{
        Run,
        Task, //
    }, //
};

/// Who publishes wakes so many who poll; if there are more the channel's task does it.
const POLLERS_AT_ONCE: u16 = 64;

/// See the module. The lock of the state is let go before who waits is woken.
pub(super) trait News {
    /// Messages have come, the first of those that are delayed for `due`.
    fn pushed(&self, state: Guard<'_>, due: Option<u64>);
    /// Messages may have come back.
    fn came_back(&self, state: Guard<'_>, now: u64);
    /// A message has left: others may have room, and too many may be kept.
    fn left(&self);
    /// What is due happens. Returns whether a message is ready then.
    fn settle(&self, state: &mut Guard<'_>, now: u64) -> bool;
    /// Tells those who are not programs that there may be a message. Any context: if they are many the
    /// channel's task does it.
    fn tell_waiters(&self, state: Guard<'_>);
    /// Wakes a program that waits for a message, and all that poll.
    fn wake_takers(&self);
}

impl News for Task<Channel> {
    fn pushed(&self, mut state: Guard<'_>, due: Option<u64>) {
        // Who takes for good may also if too many are out.
        let is_ready = state.queue.ready() > 0;
        self.keep_time(&mut state, due);
        match is_ready {
            true => self.tell_waiters(state),
            false => drop(state),
        }
        self.wake_takers();
    }

    fn came_back(&self, mut state: Guard<'_>, now: u64) {
        match self.settle(&mut state, now) {
            true => self.tell_waiters(state),
            false => drop(state),
        }
        self.wake_takers();
    }

    fn left(&self) {
        self.offer_room();
        while let Some(message) = {
            let mut state = self.state.lock();
            state.queue.forget()
        } {
            drop(message);
        }
    }

    fn settle(&self, state: &mut Guard<'_>, now: u64) -> bool {
        // What is left is due at once, and then the task runs.
        let due = state.queue.tick(now);
        if state.has_died() {
            self.dead_letters.wake();
        }
        self.keep_time(state, due);
        state.queue.ready() > 0
    }

    fn tell_waiters(&self, mut state: Guard<'_>) {
        match state.waiters.len() > WAKE_AT_ONCE {
            true => self.run_now(&mut state),
            false => self.wake_few_waiters(state),
        }
    }

    fn wake_takers(&self) {
        self.ready.wake_one();
        if !self.polled.wake_few(POLLERS_AT_ONCE) {
            self.run_now(&mut self.state.lock());
        }
    }
}

impl Run for Channel {
    /// Something is due, or there are many who poll, or who wait for room.
    fn run(task: &Task<Self>) {
        let mut state = task.state.lock();
        state.clock = u64::MAX;
        match task.settle(&mut state, now_ms()) {
            true => task.wake_waiters(state),
            false => drop(state),
        }
        task.ready.wake_one();
        task.polled.wake_in_steps();
        task.go_on_offering();
    }
}
