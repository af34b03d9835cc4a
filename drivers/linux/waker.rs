// SPDX-License-Identifier: GPL-2.0

//! Running the work of a task that may be gone by then.

use crate::work::{
    Run,
    Task, //
};
use core::ptr::NonNull;
use kernel::{
    bindings,
    new_spinlock_irq,
    prelude::*,
    sync::{
        Arc,
        SpinLockIrq, //
    }, //
};

/// Runs a task's work as soon as a worker is free, from any context; does nothing once the task is
/// dropped.
#[derive(Clone)]
pub struct WorkHandle(Arc<Target>);

/// What a waker wakes.
#[pin_data]
pub(crate) struct Target {
    #[pin]
    work: SpinLockIrq<Option<Work>>,
}

/// # Invariants
///
/// While it is in a [`Target`] the work is initialised and its task alive: [`Target::clear`] comes
/// before the task's end. The queue is the one that the task holds.
struct Work {
    queue: NonNull<bindings::workqueue_struct>,
    work: NonNull<bindings::delayed_work>,
}

// SAFETY: Work may be queued from any thread.
unsafe impl Send for Work {}

impl Target {
    pub(crate) fn new<T: Run>(task: &Task<T>) -> Result<Arc<Self>> {
        // INVARIANT: The task is alive, and clears this when it is dropped.
        let work = Work {
            queue: NonNull::new(task.queue().as_ptr()).ok_or(EINVAL)?,
            work: NonNull::new(task.delayed_work_ptr()).ok_or(EINVAL)?,
        };
        Self::with(work)
    }

    /// Not in the generic code above, of which each module has a copy: lockdep wants one name for the
    /// lock.
    #[inline(never)]
    fn with(work: Work) -> Result<Arc<Self>> {
        Arc::pin_init(
            pin_init!(Self { work <- new_spinlock_irq!(Some(work), "virgo_waker") }),
            GFP_KERNEL,
        )
    }

    /// The task is about to go. On return no waker touches it.
    pub(crate) fn clear(&self) {
        *self.work.lock() = None;
    }
}

impl WorkHandle {
    pub(crate) fn new(target: Arc<Target>) -> Self {
        WorkHandle(target)
    }

    /// Runs the work; one that is to run later runs later. Any context.
    pub fn wake(&self) {
        let work = self.0.work.lock();
        if let Some(work) = &*work {
            // SAFETY: By the invariant both are valid while the lock is held.
            unsafe {
                bindings::queue_work_on(
                    bindings::wq_misc_consts_WORK_CPU_UNBOUND as c_int,
                    work.queue.as_ptr(),
                    &raw mut (*work.work.as_ptr()).work,
                )
            };
        }
    }

    /// Runs the work, also if it was to run later. Any context.
    pub fn wake_now(&self) {
        let work = self.0.work.lock();
        if let Some(work) = &*work {
            // SAFETY: As in `wake`.
            unsafe {
                bindings::mod_delayed_work_on(
                    bindings::wq_misc_consts_WORK_CPU_UNBOUND as c_int,
                    work.queue.as_ptr(),
                    work.work.as_ptr(),
                    0,
                )
            };
        }
    }

    /// Runs the work in `ms` milliseconds, unless it is to run at another time already. Any context.
    pub fn wake_after_ms(&self, ms: u32) {
        let work = self.0.work.lock();
        if let Some(work) = &*work {
            // SAFETY: As in `wake`.
            unsafe {
                bindings::queue_delayed_work_on(
                    bindings::wq_misc_consts_WORK_CPU_UNBOUND as c_int,
                    work.queue.as_ptr(),
                    work.work.as_ptr(),
                    bindings::__msecs_to_jiffies(ms),
                )
            };
        }
    }

    /// Whether it wakes the same task as `other`.
    pub fn is(&self, other: &WorkHandle) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}
