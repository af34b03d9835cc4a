// SPDX-License-Identifier: GPL-2.0

//! Lists of tasks that wait, each of which is woken by itself: first come, first served, and no task
//! is woken in vain.
//!
//! C side: `waiters.c`.

use crate::{
    deadline::{
        wait_result,
        Deadline, //
    },
    helpers, //
};
use kernel::{
    prelude::*,
    sync::lock::{
        spinlock::SpinLockBackend,
        Guard, //
    },
    types::Opaque, //
};

/// Tasks that wait until each is selected.
///
/// Whoever selects does so under the spinlock that the tasks release when they begin to wait: what
/// the lock guards says whether there is something to wait for.
#[pin_data]
pub struct Waiters {
    #[pin]
    inner: Opaque<helpers::virgo_waiters>,
}

// SAFETY: The list has a lock of its own.
unsafe impl Send for Waiters {}
// SAFETY: As above.
unsafe impl Sync for Waiters {}

/// How a wait has ended.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Woken {
    /// The task was selected.
    Selected,
    /// There is nothing to wait for any more.
    Expelled,
    /// The deadline has passed.
    TooLate,
}

impl Waiters {
    /// Nobody waits.
    pub fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            // SAFETY: `slot` is valid for writes.
            inner <- Opaque::ffi_init(|slot| unsafe { helpers::virgo_waiters_init(slot) }),
        })
    }

    /// Waits behind those that do so already, until this task is selected. Releases `guard`
    /// meanwhile and in the end. If the task was not woken before the deadline, or is being killed, it
    /// waits no more, and `leave` is told so under the lock.
    ///
    /// # Errors
    ///
    /// [`EINTR`] when the task is being killed and was not woken.
    pub fn wait<T>(
        &self,
        guard: Guard<'_, T, SpinLockBackend>,
        deadline: Deadline,
        leave: impl FnOnce(&mut T),
    ) -> Result<Woken>
    where
        T: Unpin,
    {
        let lock = guard.lock_ref();
        let waiter = Opaque::<helpers::virgo_waiter>::uninit();
        // SAFETY: The list is initialised and `waiter` valid for writes; it stays in place until
        // `virgo_waiter_leave` below.
        unsafe { helpers::virgo_waiter_join(self.inner.get(), waiter.get()) };
        drop(guard);
        // SAFETY: `waiter` is the current task's, and was initialised above.
        let slept = unsafe { helpers::virgo_waiter_sleep(waiter.get(), deadline.left_jiffies()) };
        let mut guard = lock.lock();
        // SAFETY: The waiter was put on this list above. After this nobody knows it.
        let woken = unsafe { helpers::virgo_waiter_leave(self.inner.get(), waiter.get()) };
        match woken {
            helpers::virgo_woken_VIRGO_SELECTED => Ok(Woken::Selected),
            helpers::virgo_woken_VIRGO_EXPELLED => Ok(Woken::Expelled),
            _ => {
                leave(&mut guard);
                wait_result(slept)?;
                Ok(Woken::TooLate)
            }
        }
    }

    /// Selects the task that has waited for longest. False if none waits. Any context but interrupts.
    pub fn select(&self) -> bool {
        self.wake(helpers::virgo_woken_VIRGO_SELECTED)
    }

    /// Tells the task that has waited for longest that there is nothing to wait for any more. False if
    /// none waits. Any context but interrupts.
    pub fn expel(&self) -> bool {
        self.wake(helpers::virgo_woken_VIRGO_EXPELLED)
    }

    fn wake(&self, how: helpers::virgo_woken) -> bool {
        // SAFETY: The list is initialised.
        unsafe { helpers::virgo_waiters_wake(self.inner.get(), how) }
    }
}
