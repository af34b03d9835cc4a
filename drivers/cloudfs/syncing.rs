// SPDX-License-Identifier: GPL-2.0

//! Bringing an open file to the disk for the node that has it open.
//!
//! The kernel reports a failed write-back once to each open file, and forgets it then. Here that is
//! not enough: the reply that reports it may come too late for the program that has asked, or be
//! lost. So failures are counted for as long as the file is open, each reply has the count, and the
//! node that has the file open compares it with what its programs were told (see [`SyncReply`]).
//!
//! One worker at a time is busy with an open file; it serves all requests that came before it began.
//! So no request overtakes the failure of an earlier one.

use kernel::{
    prelude::*,
    sync::Mutex, //
};
use linux::vfs::File;
use virgo_proto::cloudfs::SyncReply;
use virgo_utils::{
    to_wire,
    Deferred, //
};

/// What one open file is asked for, and what it has met with.
///
/// `turn` is held while the disk is waited for; `state`, which is taken inside it, is not.
#[pin_data]
pub(crate) struct Syncing {
    #[pin]
    turn: Mutex<()>,
    #[pin]
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Who waits for the next turn.
    waiting: KVec<Deferred>,
    /// Whether one of them wants the times on the disk, too.
    times: bool,
    met: SyncReply,
}

impl Syncing {
    /// Of a file that was just opened.
    pub(crate) fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            turn <- kernel::new_mutex!((), "virgo_syncing_turn"),
            state <- kernel::new_mutex!(State::default(), "virgo_syncing"),
        })
    }

    /// Has `reply` wait for the next [`Self::work`]; without memory for that it is told so. May
    /// sleep, not for the disk.
    pub(crate) fn add(&self, reply: Deferred, data_only: bool) {
        let mut state = self.state.lock();
        if state.waiting.reserve(1, GFP_KERNEL).is_err() {
            drop(state);
            return reply.fail(ENOMEM);
        }
        // There is room.
        let _ = state.waiting.push_within_capacity(reply);
        state.times |= !data_only;
    }

    /// Brings `file` to the disk, for all who wait for that. Sleeps for the disk.
    pub(crate) fn work(&self, file: &File) {
        let turn = self.turn.lock();
        let mut state = self.state.lock();
        let waiting = core::mem::take(&mut state.waiting);
        let data_only = !core::mem::take(&mut state.times);
        drop(state);
        if waiting.is_empty() {
            // An earlier one has served its request as well.
            return;
        }
        let synced = file.sync(data_only);
        let mut state = self.state.lock();
        if let Err(e) = synced {
            state.met.add(to_wire(e));
        }
        let met = state.met;
        drop(state);
        drop(turn);
        for reply in waiting {
            // Without memory for it, the reply is an error.
            let _ = reply.answer(met.as_bytes());
        }
    }

    /// Tells everybody who waits that nothing comes of it.
    pub(crate) fn give_up(&self, e: Error) {
        let waiting = core::mem::take(&mut self.state.lock().waiting);
        for reply in waiting {
            reply.fail(e);
        }
    }

    /// Counts a failure that a write to the disk has met with outside [`Self::work`].
    pub(crate) fn add_failure(&self, e: Error) {
        self.state.lock().met.add(to_wire(e));
    }
}
