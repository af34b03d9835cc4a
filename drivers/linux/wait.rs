// SPDX-License-Identifier: GPL-2.0

//! Wait queues with killable, timed waits.
//!
//! C header: [`include/linux/wait.h`](srctree/include/linux/wait.h)

use crate::{
    deadline::Deadline,
    helpers, //
};
use kernel::{
    bindings,
    prelude::*,
    sync::LockClassKey,
    types::Opaque, //
};

/// A queue of tasks that wait for a condition.
///
/// Differs from [`kernel::sync::CondVar`] in that only a signal that kills the task ends a wait
/// early, and that the condition is a closure.
#[pin_data]
pub struct WaitQueue {
    #[pin]
    head: Opaque<bindings::wait_queue_head>,
}

// SAFETY: A `wait_queue_head` may be used from any thread.
unsafe impl Send for WaitQueue {}
// SAFETY: A `wait_queue_head` does its own locking.
unsafe impl Sync for WaitQueue {}

impl WaitQueue {
    /// An empty queue. Use [`crate::new_wait_queue!`].
    pub fn new(name: &'static CStr, key: Pin<&'static LockClassKey>) -> impl PinInit<Self> {
        pin_init!(Self {
            // SAFETY: `slot` is valid for the closure; name and key live for ever.
            head <- Opaque::ffi_init(|slot| unsafe {
                bindings::__init_waitqueue_head(slot, name.as_char_ptr(), key.as_ptr())
            }),
        })
    }

    /// Sleeps until `condition` gives a value, and returns it; `None` at the deadline.
    ///
    /// The condition is looked at at once and after each [`wake_all`](Self::wake_all). It runs
    /// with the task marked as about to sleep: it may take spinlocks, but must not sleep.
    ///
    /// # Errors
    ///
    /// [`EINTR`] when the task is being killed.
    pub fn wait<T>(
        &self,
        deadline: Deadline,
        condition: impl FnMut() -> Option<T>,
    ) -> Result<Option<T>> {
        let left = || deadline.left_jiffies();
        match self.wait_in(bindings::TASK_KILLABLE, 0, left, condition) {
            Err(_) => Err(EINTR),
            result => result,
        }
    }

    /// As [`Self::wait`], but of those that wait so [`wake_one`](Self::wake_one) lets one look at its
    /// condition. If that ends its wait without a value, for which it was too late, the next one looks.
    /// What was woken takes what there is, and wakes the next one if there is more.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn wait_exclusive<T>(
        &self,
        deadline: Deadline,
        mut condition: impl FnMut() -> Option<T>,
    ) -> Result<Option<T>> {
        let left = || deadline.left_jiffies();
        let flags = bindings::WQ_FLAG_EXCLUSIVE;
        let result = self.wait_in(bindings::TASK_KILLABLE, flags, left, &mut condition);
        if !matches!(result, Ok(Some(_))) && condition().is_some() {
            // The wake-up may have been this task's.
            self.wake_one();
        }
        result.map_err(|_| EINTR)
    }

    /// As [`Self::wait`], without a deadline, and for as long as no signal comes: for who waits for a
    /// device that may never have anything to say, as a program that reads from a terminal does.
    ///
    /// # Errors
    ///
    /// [`ERESTARTSYS`] when a signal comes.
    pub fn wait_interruptible<T>(&self, condition: impl FnMut() -> Option<T>) -> Result<T> {
        let for_ever = || c_long::MAX;
        self.wait_in(bindings::TASK_INTERRUPTIBLE, 0, for_ever, condition)?
            .ok_or(ERESTARTSYS)
    }

    /// Waits in the task state `state`, with an entry of these flags, while `left` says that there are jiffies left.
    fn wait_in<T>(
        &self,
        state: u32,
        flags: u32,
        left: impl Fn() -> c_long,
        mut condition: impl FnMut() -> Option<T>,
    ) -> Result<Option<T>> {
        if let Some(value) = condition() {
            return Ok(Some(value));
        }
        let entry = Opaque::<bindings::wait_queue_entry>::uninit();
        // SAFETY: `entry` is valid for writes; it stays in place until `finish_wait` below.
        unsafe { bindings::init_wait_entry(entry.get(), flags as c_int) };
        let result = loop {
            // SAFETY: Head and entry are initialised and live until `finish_wait`.
            let killed = unsafe {
                bindings::prepare_to_wait_event(self.head.get(), entry.get(), state as c_int)
            };
            if let Some(value) = condition() {
                break Ok(Some(value));
            }
            if killed != 0 {
                break Err(ERESTARTSYS);
            }
            let left = left();
            if left == 0 {
                break Ok(None);
            }
            // SAFETY: The task's state was set by `prepare_to_wait_event`.
            unsafe { bindings::schedule_timeout(left) };
        };
        // SAFETY: As above; after this the entry is on no list.
        unsafe { bindings::finish_wait(self.head.get(), entry.get()) };
        result
    }

    /// Has the task that polls `file` woken by [`wake_all`](Self::wake_all).
    ///
    /// # Safety
    ///
    /// File and table are those that the kernel passes to a file's poll; the queue lives as long as the
    /// file.
    pub unsafe fn register_poll(
        &self,
        file: *mut bindings::file,
        table: *mut bindings::poll_table_struct,
    ) {
        // SAFETY: By the caller's promise.
        unsafe { helpers::virgo_poll_wait(file, self.head.get(), table) };
    }

    pub(crate) fn as_ptr(&self) -> *mut bindings::wait_queue_head {
        self.head.get()
    }

    /// Lets all waiters look at their condition again. May be called in any context.
    pub fn wake_all(&self) {
        // SAFETY: `head` is initialised.
        unsafe { helpers::virgo_wake_all(self.head.get()) };
    }

    /// Lets one of those that [wait exclusively](Self::wait_exclusive) look at its condition again, the
    /// one that has waited for longest, and all others. Any context.
    pub fn wake_one(&self) {
        // SAFETY: `head` is initialised.
        unsafe { helpers::virgo_wake_one(self.head.get()) };
    }

    /// As [`Self::wake_all`], with interrupts off for a bounded time at once, however many wait. May sleep.
    pub fn wake_in_steps(&self) {
        // SAFETY: `head` is initialised.
        unsafe { helpers::virgo_wake_in_steps(self.head.get()) };
    }

    /// As [`Self::wake_all`], unless more than `most` wait; returns whether it was done. The time with
    /// interrupts off is bounded so. Any context.
    pub fn wake_few(&self, most: u16) -> bool {
        // SAFETY: `head` is initialised.
        unsafe { helpers::virgo_wake_few(self.head.get(), most.into()) }
    }
}

/// Initialises a [`WaitQueue`] with a lockdep class of its own.
#[macro_export]
macro_rules! new_wait_queue {
    ($name:literal) => {
        $crate::wait::WaitQueue::new($crate::lock_name!($name), ::kernel::static_lock_class!())
    };
}
