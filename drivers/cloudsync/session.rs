// SPDX-License-Identifier: GPL-2.0

//! Who has locks: a descriptor of a program, or a text session. They end with it.

use crate::events::{
    Event,
    EventName,
    Events,
    Kind, //
};
use kernel::{
    prelude::*,
    sync::{
        atomic::{
            Atomic,
            Relaxed, //
        },
        Arc,
        Mutex,
        SpinLock, //
    }, //
};
use linux::{
    deadline::Deadline,
    wait::WaitQueue, //
};
use virgo_proto::cloudsync::{
    Mode,
    Token, //
};

/// See the module.
#[pin_data]
pub(crate) struct Session {
    /// Its number: never used again.
    pub(crate) id: u64,
    pub(crate) uid: u32,
    /// Changes with each event, and when a wait of this session may be over.
    changes: Atomic<u64>,
    #[pin]
    events: SpinLock<Events>,
    #[pin]
    waiters: WaitQueue,
    /// Places of names of which it has something, or had. Locked after the names.
    #[pin]
    pub(crate) places: Mutex<KVec<u32>>,
}

impl Session {
    /// May sleep.
    pub(crate) fn new(id: u64, uid: u32) -> Result<Arc<Self>> {
        let events = Events::new()?;
        Arc::pin_init(
            pin_init!(Self {
                id,
                uid,
                changes: Atomic::new(0),
                events <- kernel::new_spinlock!(events, "virgo_lock_events"),
                waiters <- linux::new_wait_queue!("virgo_lock_session"),
                places <- kernel::new_mutex!(KVec::new(), "virgo_lock_places"),
            }),
            GFP_KERNEL_ACCOUNT,
        )
    }

    /// To be compared with what it is later.
    pub(crate) fn changes(&self) -> u64 {
        self.changes.load(Relaxed)
    }

    /// Sleeps until there is a change after `changes`. False at the deadline.
    ///
    /// # Errors
    ///
    /// [`EINTR`] when the task is being killed.
    pub(crate) fn wait(&self, changes: u64, deadline: Deadline) -> Result<bool> {
        let changed = || (self.changes() != changes).then_some(());
        Ok(self.waiters.wait(deadline, changed)?.is_some())
    }

    /// Sleeps until there is an event, or a signal.
    ///
    /// # Errors
    ///
    /// [`ERESTARTSYS`] when a signal comes.
    pub(crate) fn wait_event(&self) -> Result {
        self.waiters
            .wait_interruptible(|| self.has_event().then_some(()))
    }

    /// The next event. Writes the name of its lock to `name`.
    pub(crate) fn take_event(&self, name: &mut EventName) -> Option<Event> {
        self.events.lock().pop(name)
    }

    pub(crate) fn has_event(&self) -> bool {
        !self.events.lock().is_empty()
    }

    pub(crate) fn waiters(&self) -> &WaitQueue {
        &self.waiters
    }

    /// Something has changed. Any number of tasks may wait for that. May sleep.
    pub(crate) fn wake(&self) {
        self.changes.fetch_add(1, Relaxed);
        self.waiters.wake_in_steps();
    }

    /// Tells the session of an event of the lock `name`.
    pub(crate) fn tell(&self, kind: Kind, mode: Option<Mode>, token: Token, name: &[u8]) {
        self.events.lock().push(kind, mode, token, name);
        self.wake();
    }
}
