// SPDX-License-Identifier: GPL-2.0

//! Taking messages from a channel, and what becomes of them.

use super::{
    news::News,
    Channel,
    Clock,
    State,
    TakenMessage, //
};
use crate::message::Message;
use kernel::{
    prelude::*,
    sync::Arc, //
};
use linux::{
    deadline::{
        now_ms,
        Deadline, //
    },
    work::{
        yield_now,
        Task,
        WorkHandle, //
    }, //
};
use virgo_proto::queue::state::NotHeld;

impl Channel {
    /// Hands the next message out to `consumer`; for good if `acked`. Any context.
    ///
    /// # Errors
    ///
    /// [`ENOENT`] if the channel is deleted.
    pub(crate) fn take(
        task: &Task<Self>,
        consumer: u64,
        acked: bool,
    ) -> Result<Option<TakenMessage>> {
        Self::take_or(task, consumer, acked, |_| true, |_| Ok(()))
    }

    /// The same, to be acknowledged, if the message is one that `fits`. Leaves it where it is
    /// otherwise; that is no delivery.
    ///
    /// # Errors
    ///
    /// [`ENOENT`] if the channel is deleted, [`EMSGSIZE`] if the next message does not fit.
    pub(crate) fn take_if(
        task: &Task<Self>,
        consumer: u64,
        fits: impl FnOnce(&Message) -> bool,
    ) -> Result<Option<TakenMessage>> {
        Self::take_or(task, consumer, false, fits, |_| Ok(()))
    }

    /// Has `waker` woken once when something happens to the messages or the channel; not for what there is.
    ///
    /// # Errors
    ///
    /// [`ENOENT`] if the channel is deleted, [`ENOMEM`].
    pub(crate) fn watch(&self, waker: &WorkHandle) -> Result {
        let mut state = self.state.lock();
        match state.over {
            true => Err(ENOENT),
            false => state.add_waiter(waker),
        }
    }

    /// Has `waker` woken once when there may be a message; at once if there is one.
    ///
    /// # Errors
    ///
    /// [`ENOENT`] if the channel is deleted, [`ENOMEM`].
    pub(crate) fn wake_when_ready(&self, waker: &WorkHandle) -> Result {
        let mut state = self.state.lock();
        if state.over {
            return Err(ENOENT);
        }
        if !state.queue.has_next() {
            return state.add_waiter(waker);
        }
        drop(state);
        waker.wake();
        Ok(())
    }

    /// The same; `waker` is woken once when there may be a message, if there is none now.
    ///
    /// # Errors
    ///
    /// [`ENOENT`] if the channel is deleted, [`ENOMEM`].
    pub(crate) fn take_or_wake(
        task: &Task<Self>,
        consumer: u64,
        acked: bool,
        waker: &WorkHandle,
    ) -> Result<Option<TakenMessage>> {
        Self::take_or(
            task,
            consumer,
            acked,
            |_| true,
            |state| state.add_waiter(waker),
        )
    }

    fn take_or(
        task: &Task<Self>,
        consumer: u64,
        acked: bool,
        fits: impl FnOnce(&Message) -> bool,
        otherwise: impl FnOnce(&mut State) -> Result,
    ) -> Result<Option<TakenMessage>> {
        let now = now_ms();
        let mut state = task.state.lock();
        if state.over {
            return Err(ENOENT);
        }
        let mut due = state.queue.tick(now);
        let result = match state.queue.peek() {
            Some(next) if !fits(next) => Err(EMSGSIZE),
            _ if acked => Ok(state.queue.take_acked()),
            _ => Ok(state.queue.take(now, consumer)),
        };
        match &result {
            Ok(None) => otherwise(&mut state)?,
            Ok(Some(_)) if !acked => due = state.queue.next_due(),
            _ => (),
        }
        let has_died = state.has_died();
        // Who was woken for this one may not be the only one who can be served.
        let is_more = !matches!(result, Ok(None)) && state.queue.has_next();
        task.keep_time(&mut state, due);
        drop(state);
        if is_more {
            task.ready.wake_one();
        }
        if has_died {
            task.dead_letters.wake();
        }
        if let Ok(Some(taken)) = &result {
            taken.item.was_taken();
            if acked {
                task.done(taken.seq);
                task.left();
            }
        }
        result
    }

    /// Whether [`Self::take`] would hand one out now, or fail. Any context.
    pub(crate) fn has_next(&self) -> bool {
        let state = self.state.lock();
        state.over || state.queue.has_next()
    }

    /// `consumer` has done with delivery `id`. May sleep if this is durable.
    ///
    /// # Errors
    ///
    /// [`ESTALE`] if it does not have it (any more).
    pub(crate) fn ack(task: &Task<Self>, consumer: u64, id: u64) -> Result {
        let mut state = task.state.lock();
        let could_take = state.queue.has_next();
        let done = state.queue.ack(consumer, id);
        // Who waits does so for this only if as many were out as may be.
        match !could_take && state.queue.has_next() {
            true => {
                task.tell_waiters(state);
                task.wake_takers();
            }
            false => drop(state),
        }
        let (seq, message) = done.map_err(|NotHeld| ESTALE)?;
        drop(message);
        task.done(seq);
        task.left();
        Ok(())
    }

    /// What `consumer` has by delivery `id`. Any context.
    ///
    /// # Errors
    ///
    /// [`ESTALE`] if it does not have it (any more).
    pub(crate) fn held(&self, consumer: u64, id: u64) -> Result<Arc<Message>> {
        let state = self.state.lock();
        state.queue.held(consumer, id).cloned().ok_or(ESTALE)
    }

    /// Waits until there is a message to be taken. False at the deadline. Sleeps, killably.
    ///
    /// # Errors
    ///
    /// [`EINTR`].
    pub(crate) fn wait(&self, deadline: Deadline) -> Result<bool> {
        let ready = || self.has_next().then_some(());
        Ok(self.ready.wait_exclusive(deadline, ready)?.is_some())
    }

    /// `consumer` does not want delivery `id`: others may have the message in `delay_ms`.
    ///
    /// # Errors
    ///
    /// [`ESTALE`] if it does not have it (any more).
    pub(crate) fn give_back(task: &Task<Self>, consumer: u64, id: u64, delay_ms: u32) -> Result {
        let now = now_ms();
        let mut state = task.state.lock();
        let delay = u64::from(delay_ms);
        let result = state.queue.give_back(now, consumer, id, delay);
        task.came_back(state, now);
        result.map_err(|NotHeld| ESTALE)
    }

    /// Delivery `id` did not reach `consumer`: the message is where it was, and that was no delivery.
    ///
    /// # Errors
    ///
    /// [`ESTALE`] if it does not have it (any more).
    pub(crate) fn untake(task: &Task<Self>, consumer: u64, id: u64) -> Result {
        let mut state = task.state.lock();
        let result = state.queue.untake(consumer, id);
        task.came_back(state, now_ms());
        result.map_err(|NotHeld| ESTALE)
    }

    /// Those consumers are `gone`: others may have what they had. If it was not handed out, that was
    /// no delivery. Sleeps.
    pub(crate) fn give_all_back(task: &Task<Self>, handed_out: bool, gone: impl Fn(u64) -> bool) {
        let _walking = task.walking.lock();
        task.state.lock().queue.begin_to_give_back();
        loop {
            let now = now_ms();
            let mut state = task.state.lock();
            let more = state.queue.give_back_some(now, handed_out, &gone);
            task.came_back(state, now);
            if !more {
                return;
            }
            yield_now();
        }
    }

    /// `waker` is not to be woken any more.
    pub(crate) fn forget_waker(&self, waker: &WorkHandle) {
        let mut state = self.state.lock();
        state.waiters.retain(|known| !known.is(waker));
    }
}
