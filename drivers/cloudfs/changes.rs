// SPDX-License-Identifier: GPL-2.0

//! Changes of an open file that another node has asked for, in the order in which it has.
//!
//! They may wait for a disk for longer than the program that wants them: it may then ask for the next
//! one, which must not be overtaken by the one that it has given up. So one job at a time is submitted
//! for an open file, and does what has been asked for meanwhile, too, one change in a turn. A file has one
//! worker at most for its changes, and leaves it to others between them.

use crate::workers::JobTurn;
use kernel::{
    prelude::*,
    sync::Mutex, //
};
use linux::deadline::Deadline;
use virgo_utils::{
    take_given_up,
    Deferred,
    RequestBody, //
};

/// A change, and the reply that is owed for it, for which there is memory.
pub(crate) struct FileChange {
    pub(crate) reply: Deferred,
    /// When nobody waits for it any more.
    pub(crate) until: Deadline,
    pub(crate) what: What,
}

impl FileChange {
    /// Whether nobody waits for it any more.
    fn is_given_up(&self) -> bool {
        self.until.passed() || !self.reply.is_wanted()
    }
}

/// What is to be done.
pub(crate) enum What {
    /// What a Write asks for.
    Write(RequestBody),
    /// The file gets this size.
    Truncate(u64),
}

/// The changes of one open file that have yet to be made. The lock is not held meanwhile.
#[pin_data]
pub(crate) struct Changes {
    #[pin]
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    waiting: KVVec<FileChange>,
    /// A job is submitted that will call [`Changes::make_next`].
    submitted: bool,
}

impl Changes {
    /// Of a file that was just opened.
    pub(crate) fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            state <- kernel::new_mutex!(State::default(), "virgo_changes"),
        })
    }

    /// Has `change` wait for [`Self::make_next`], for which `submit` is called if that is needed; those that
    /// were given up are dropped. May sleep, not for the disk.
    ///
    /// # Errors
    ///
    /// [`ENOMEM`], and what `submit` fails with, told to whoever waits for the change, too.
    pub(crate) fn add(&self, change: FileChange, submit: impl FnOnce() -> Result) -> Result {
        let mut state = self.state.lock();
        let given_up = take_given_up(&mut state.waiting, FileChange::is_given_up);
        let prepare = || -> Result {
            state.waiting.reserve(1, GFP_KERNEL)?;
            if !state.submitted {
                submit()?;
                state.submitted = true;
            }
            Ok(())
        };
        match prepare() {
            Ok(()) => {
                // There is room.
                let full = state.waiting.push_within_capacity(change);
                drop(state);
                drop((full, given_up));
                Ok(())
            }
            Err(e) => {
                drop(state);
                drop(given_up);
                change.reply.fail(e);
                Err(e)
            }
        }
    }

    /// Drops what was given up. May sleep, not for the disk.
    pub(crate) fn drop_given_up(&self) {
        let given_up = take_given_up(&mut self.state.lock().waiting, FileChange::is_given_up);
        drop(given_up);
    }

    /// Has `make` make the next change that somebody still waits for. Sleeps for the disk.
    pub(crate) fn make_next(&self, make: impl FnOnce(Deferred, What)) -> JobTurn {
        loop {
            let mut state = self.state.lock();
            let Ok(change) = state.waiting.remove(0) else {
                state.submitted = false;
                return JobTurn::Last;
            };
            drop(state);
            if change.is_given_up() {
                continue;
            }
            make(change.reply, change.what);
            let mut state = self.state.lock();
            if state.waiting.is_empty() {
                state.submitted = false;
                return JobTurn::Last;
            }
            return JobTurn::More;
        }
    }
}
