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
    /// The task has looked, and need not wait any more. See [`Waiters::wait_looking`].
    Looked,
}

/// The longest time between two looks, in milliseconds.
const MAX_LOOK_MS: u32 = 1000;

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
        self.wait_looking(guard, deadline, u32::MAX, leave, |_| false)
    }

    /// As [`Self::wait`], but has `look` say under the lock whether to wait on: after `look_ms`
    /// milliseconds, and again each time twice as long after that, up to a second. The task keeps its
    /// place meanwhile. If it says true the task waits no more, and `leave` is told so.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn wait_looking<T>(
        &self,
        guard: Guard<'_, T, SpinLockBackend>,
        deadline: Deadline,
        mut look_ms: u32,
        leave: impl FnOnce(&mut T),
        mut look: impl FnMut(&mut T) -> bool,
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
        let (slept, has_looked, mut guard) = loop {
            let until = Deadline::after_ms(look_ms).min(deadline);
            // SAFETY: `waiter` is the current task's, and was initialised above.
            let slept = unsafe { helpers::virgo_waiter_sleep(waiter.get(), until.left_jiffies()) };
            let mut guard = lock.lock();
            if slept != 0 || deadline.passed() {
                break (slept, false, guard);
            }
            if look(&mut guard) {
                break (slept, true, guard);
            }
            look_ms = look_ms.saturating_mul(2).min(MAX_LOOK_MS);
        };
        // SAFETY: The waiter was put on this list above. After this nobody knows it.
        let woken = unsafe { helpers::virgo_waiter_leave(self.inner.get(), waiter.get()) };
        match woken {
            helpers::virgo_woken_VIRGO_SELECTED => Ok(Woken::Selected),
            helpers::virgo_woken_VIRGO_EXPELLED => Ok(Woken::Expelled),
            _ => {
                leave(&mut guard);
                wait_result(slept)?;
                Ok(match has_looked {
                    true => Woken::Looked,
                    false => Woken::TooLate,
                })
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
