// SPDX-License-Identifier: GPL-2.0

//! Ending what a kernel thread waits for, as a signal ends what a program waits for.

use crate::helpers;
use core::ptr::NonNull;
use kernel::{
    bindings,
    prelude::*,
    sync::SpinLock, //
};

enum State {
    Idle,
    /// # Invariants
    ///
    /// The task is in [`Killable::run`], and leaves it under the lock only.
    Running(NonNull<bindings::task_struct>),
    Killed,
}

// SAFETY: By the invariant the task is alive whenever the state is looked at, by any thread.
unsafe impl Send for State {}

/// What one kernel thread at a time does, and others may end: its killable waits end then with the error
/// of a task that is being killed, and so do those that it begins afterwards.
#[pin_data]
pub struct Killable {
    #[pin]
    state: SpinLock<State>,
}

impl Killable {
    /// Nothing is done yet.
    pub fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            state <- crate::new_spinlock!(State::Idle, "virgo_killable"),
        })
    }

    /// Does something; `None` if it was ended before. In a kernel thread, and not within itself.
    pub fn run<T>(&self, f: impl FnOnce() -> T) -> Option<T> {
        // SAFETY: Looks at the present task, and lets it have a signal if it is a kernel thread, which has
        // handlers of its own.
        let task = NonNull::new(unsafe { helpers::virgo_killable_begin() });
        let mut state = self.state.lock();
        let is_killed = matches!(*state, State::Killed);
        if let (Some(task), false) = (task, is_killed) {
            // INVARIANT: It is the present task, which leaves below.
            *state = State::Running(task);
        }
        drop(state);
        let done = (!is_killed).then(f);
        let mut state = self.state.lock();
        if let State::Running(_) = *state {
            *state = State::Idle;
        }
        drop(state);
        if task.is_some() {
            // SAFETY: Undoes what `virgo_killable_begin` has done. Nobody sends the signal any more.
            unsafe { helpers::virgo_killable_end() };
        }
        done
    }

    /// Ends what is done, and whatever would be done later. Any context but interrupts.
    pub fn kill(&self) {
        let mut state = self.state.lock();
        if let State::Running(task) = *state {
            // SAFETY: By the invariant it is alive, since the lock is held.
            unsafe { helpers::virgo_kill(task.as_ptr()) };
        }
        *state = State::Killed;
    }
}
