// SPDX-License-Identifier: GPL-2.0

//! Bringing an open file to the disk for the node that has it open.
//!
//! The kernel reports a failed write-back once to each open file, and forgets it then. Here that is
//! not enough: the reply that reports it may come too late for the program that has asked, or be
//! lost. So failures are counted for as long as the file is open, each reply has the count, and the
//! node that has the file open compares it with what its programs were told (see [`SyncReply`]).
//!
//! One job at a time is submitted for an open file; it serves all requests that came before a turn of it
//! began, and those that came meanwhile in the next one. So no request overtakes the failure of an earlier one, and a file
//! has one worker at most.

use crate::{
    fenced_file::FencedFile,
    workers::JobTurn, //
};
use kernel::{
    prelude::*,
    sync::Mutex, //
};
use linux::deadline::Deadline;
use virgo_proto::cloudfs::SyncReply;
use virgo_utils::{
    take_given_up,
    to_wire,
    Deferred, //
};

/// What one open file is asked for, and what it has met with. The lock is not held while the disk is
/// waited for.
#[pin_data]
pub(crate) struct Syncing {
    #[pin]
    state: Mutex<State>,
}

/// A reply that is owed.
struct Waiting {
    reply: Deferred,
    /// When nobody waits for it any more.
    until: Deadline,
}

impl Waiting {
    /// Whether nobody waits for it any more.
    fn is_given_up(&self) -> bool {
        self.until.passed() || !self.reply.is_wanted()
    }
}

#[derive(Default)]
struct State {
    /// Who waits for the disk next.
    waiting: KVVec<Waiting>,
    /// Whether one of them wants the times on the disk, too.
    times: bool,
    /// A job is submitted that will call [`Syncing::sync_once`].
    submitted: bool,
    met: SyncReply,
}

impl Syncing {
    /// Of a file that was just opened.
    pub(crate) fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            state <- kernel::new_mutex!(State::default(), "virgo_syncing"),
        })
    }

    /// Has `reply` wait for [`Self::sync_once`] until `until`; `submit` is called if that is needed. Those
    /// that were given up are dropped. May sleep, not for the disk.
    ///
    /// # Errors
    ///
    /// [`ENOMEM`], and what `submit` fails with; others who wait are not concerned.
    pub(crate) fn add(
        &self,
        reply: Deferred,
        until: Deadline,
        data_only: bool,
        submit: impl FnOnce() -> Result,
    ) -> Result {
        let mut state = self.state.lock();
        let given_up = take_given_up(&mut state.waiting, Waiting::is_given_up);
        let prepare = || -> Result {
            state.waiting.reserve(1, GFP_KERNEL)?;
            if !state.submitted {
                submit()?;
                state.submitted = true;
            }
            Ok(())
        };
        let prepared = prepare();
        if prepared.is_ok() {
            // There is room.
            let full = state.waiting.push_within_capacity(Waiting { reply, until });
            state.times |= !data_only;
            drop(state);
            drop(full);
        } else {
            drop(state);
        }
        drop(given_up);
        prepared
    }

    /// Drops what was given up. May sleep, not for the disk.
    pub(crate) fn drop_given_up(&self) {
        let given_up = take_given_up(&mut self.state.lock().waiting, Waiting::is_given_up);
        drop(given_up);
    }

    /// Brings `file` to the disk, for all who wait for that now. Sleeps for the disk.
    pub(crate) fn sync_once(&self, file: &FencedFile) -> JobTurn {
        let mut state = self.state.lock();
        let mut waiting = core::mem::take(&mut state.waiting);
        let data_only = !core::mem::take(&mut state.times);
        drop(state);
        waiting.retain(|one| !one.is_given_up());
        let synced = match waiting.is_empty() {
            true => Ok(()),
            false => file.sync(data_only),
        };
        let mut state = self.state.lock();
        if let Err(e) = synced {
            state.met.add(to_wire(e));
        }
        let met = state.met;
        let turn = match state.waiting.is_empty() {
            true => JobTurn::Last,
            false => JobTurn::More,
        };
        state.submitted = matches!(turn, JobTurn::More);
        drop(state);
        for one in waiting {
            // Without memory for it, the reply is an error.
            let _ = one.reply.answer(met.as_bytes());
        }
        turn
    }

    /// Counts a failure that a write to the disk has met with outside [`Self::sync_once`].
    pub(crate) fn add_failure(&self, e: Error) {
        self.state.lock().met.add(to_wire(e));
    }
}
