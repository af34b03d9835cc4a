// SPDX-License-Identifier: GPL-2.0

//! Messages that are done with: kept for replay, dead, or to be dropped.

use super::{
    news::News,
    putting::{
        put_all,
        put_each, //
    },
    room::Turn,
    Channel,
    FenceCheck,
    Publication, //
};
use crate::message::Message;
use kernel::{
    alloc::Flags,
    prelude::*,
    sync::Arc, //
};
use linux::{
    deadline::now_ms,
    gfp::nowait_account,
    work::{
        is_killed,
        yield_now,
        Task, //
    }, //
};
use virgo_proto::{
    fence::FenceClaim,
    queue::state::STEP, //
};

impl Channel {
    /// Keeps messages that were published to this channel's name for replay, without handing them
    /// out, up to the first for which that fails: what a topic does. Returns how many.
    ///
    /// # Errors
    ///
    /// [`ENOBUFS`] if some are kept and it is larger than all of these may be; [`ENOENT`],
    /// [`ENOMEM`]; those of the fence, if that is asked.
    pub(crate) fn record(
        task: &Task<Self>,
        messages: &[Publication],
        check: FenceCheck,
        turn: &mut Option<Turn>,
    ) -> (usize, Result) {
        let recorded = put_all(messages, |messages| {
            let now = now_ms();
            let mut state = task.state.lock();
            Turn::redeem(turn, &mut state);
            put_each(messages, |message, _| state.record(now, message, check))
        });
        task.left();
        recorded
    }

    /// Has messages that were kept, from number `from` on, handed out once more. Returns how many.
    /// Sleeps.
    pub(crate) fn replay(task: &Task<Self>, from: u64) -> u32 {
        let _walking = task.walking.lock();
        task.state.lock().queue.begin_with_kept(from);
        let mut all = 0u32;
        loop {
            let mut state = task.state.lock();
            let (count, more) = state.queue.replay_some(from);
            task.tell_waiters(state);
            task.wake_takers();
            all = all.saturating_add(count);
            if !more {
                return all;
            }
            yield_now();
        }
    }

    /// The messages that were kept, from number `from` on. Takes memory by `flags`, and for as many as there
    /// are when it begins: before others wait for the walk. Sleeps.
    ///
    /// # Errors
    ///
    /// [`ENOMEM`]; also if many have come meanwhile.
    pub(crate) fn kept(&self, from: u64, flags: Flags) -> Result<KVVec<Arc<Message>>> {
        let state = self.state.lock();
        let newer = state.queue.next_seq().saturating_sub(from);
        let count = newer.min(state.queue.kept().into()) as usize;
        drop(state);
        let mut kept = KVVec::with_capacity(count + STEP as usize, flags)?;
        let _walking = self.walking.lock();
        self.state.lock().queue.begin_with_kept(from);
        loop {
            kept.reserve(STEP as usize, nowait_account())?;
            let mut state = self.state.lock();
            let more = state.queue.show_some_kept(from, |_, message| {
                // There is room for a step.
                let _ = kept.push_within_capacity(message.clone());
            });
            drop(state);
            if !more {
                return Ok(kept);
            }
        }
    }

    /// The dead letter behind the first `n`, less than [`STEP`].
    pub(crate) fn dead_behind(&self, n: u32) -> Option<Arc<Message>> {
        self.state.lock().queue.dead_behind(n).cloned()
    }

    pub(crate) fn has_dead(&self) -> bool {
        self.state.lock().queue.has_dead()
    }

    /// The next dead letter, if it is `letter`, is where it belongs, or nowhere. May sleep.
    pub(crate) fn drop_dead(task: &Task<Self>, letter: &Arc<Message>) {
        let mut state = task.state.lock();
        // The queue may have been emptied meanwhile.
        let first = state.queue.dead_behind(0);
        let dead = match first.is_some_and(|first| Arc::ptr_eq(first, letter)) {
            true => state.queue.take_dead(),
            false => None,
        };
        drop(state);
        if let Some((seq, dead)) = dead {
            drop(dead);
            task.done(seq);
            task.left();
        }
    }

    /// Nobody can use it any more; who waits is told by [`Self::clear`], which follows. Any context.
    ///
    /// # Errors
    ///
    /// Those of the fence, if that is asked: it goes on then.
    pub(crate) fn close(&self, check: FenceCheck) -> Result {
        let mut state = self.state.lock();
        state.admit(check)?;
        state.over = true;
        Ok(())
    }

    /// Tells who waits at a channel that is [closed](Self::close), and drops its messages. There may be any
    /// number of them: no lock is to be held that others wait for. May sleep.
    pub(crate) fn clear(&self) {
        self.wake_waiters(self.state.lock());
        self.ready.wake_in_steps();
        self.polled.wake_in_steps();
        self.dismiss_publishers();
        // Each is dropped without the lock.
        while let Some(removed) = {
            let mut state = self.state.lock();
            state.queue.remove_any()
        } {
            drop(removed);
            yield_now();
        }
    }

    /// Takes out all messages that there are when it begins, also those that are handed out or kept, for who
    /// has the lock `claim`, by which the fence [was raised](Self::raise_fence). Returns how many. Sleeps.
    ///
    /// # Errors
    ///
    /// [`EINTR`] if the task is being killed, those of the fence if somebody has come with a later token
    /// meanwhile: some are left then.
    pub(crate) fn purge(task: &Task<Self>, claim: Option<FenceClaim>) -> Result<u64> {
        let state = task.state.lock();
        let left = state.queue.len().saturating_add(state.queue.kept());
        drop(state);
        let mut purged = 0;
        let mut ended = Ok(());
        for _ in 0..left {
            let mut state = task.state.lock();
            ended = state.admit(FenceCheck::Claim(claim)).map(drop);
            if ended.is_err() {
                break;
            }
            let removed = state.queue.remove_any();
            drop(state);
            let Some(removed) = removed else {
                break;
            };
            // Of one that is kept the log knows.
            if !removed.was_kept {
                task.done(removed.seq);
            }
            drop(removed);
            purged += 1;
            yield_now();
            if is_killed() {
                ended = Err(EINTR);
                break;
            }
        }
        task.left();
        ended.map(|()| purged)
    }
}
