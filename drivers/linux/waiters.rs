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
        Backend,
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
    pub fn wait<T, B>(
        &self,
        guard: Guard<'_, T, B>,
        deadline: Deadline,
        leave: impl FnOnce(&mut T),
    ) -> Result<Woken>
    where
        T: Unpin,
        B: Backend,
    {
        self.wait_looking(guard, deadline, u32::MAX, leave, |_| false)
    }

    /// As [`Self::wait`], for what is meant by `wants`, by which who walks along the list decides
    /// ([`Self::next`]). Waits before all others if `first`, as one does that was selected in vain.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn wait_for<T, B>(
        &self,
        guard: Guard<'_, T, B>,
        deadline: Deadline,
        wants: u64,
        first: bool,
    ) -> Result<Woken>
    where
        T: Unpin,
        B: Backend,
    {
        self.wait_in(guard, deadline, (wants, first), u32::MAX, |_| (), |_| false)
    }

    /// As [`Self::wait`], but has `look` say under the lock whether to wait on: after `look_ms`
    /// milliseconds, and again each time twice as long after that, up to a second. The task keeps its
    /// place meanwhile. If it says true the task waits no more, and `leave` is told so.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn wait_looking<T, B>(
        &self,
        guard: Guard<'_, T, B>,
        deadline: Deadline,
        look_ms: u32,
        leave: impl FnOnce(&mut T),
        look: impl FnMut(&mut T) -> bool,
    ) -> Result<Woken>
    where
        T: Unpin,
        B: Backend,
    {
        self.wait_in(guard, deadline, (0, false), look_ms, leave, look)
    }

    /// Waits in a place of the list: for what, and whether before all others.
    fn wait_in<T, B>(
        &self,
        guard: Guard<'_, T, B>,
        deadline: Deadline,
        (wants, first): (u64, bool),
        mut look_ms: u32,
        leave: impl FnOnce(&mut T),
        mut look: impl FnMut(&mut T) -> bool,
    ) -> Result<Woken>
    where
        T: Unpin,
        B: Backend,
    {
        let lock = guard.lock_ref();
        let waiter = Opaque::<helpers::virgo_waiter>::uninit();
        // SAFETY: The list is initialised and `waiter` valid for writes; it stays in place until
        // `virgo_waiter_leave` below.
        unsafe { helpers::virgo_waiter_join(self.inner.get(), waiter.get(), wants, first) };
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

    /// Selects the task that has waited for longest. False if none waits. Any context.
    pub fn select(&self) -> bool {
        self.wake(helpers::virgo_woken_VIRGO_SELECTED)
    }

    /// Tells the task that has waited for longest that there is nothing to wait for any more. False if
    /// none waits. Any context.
    pub fn expel(&self) -> bool {
        self.wake(helpers::virgo_woken_VIRGO_EXPELLED)
    }

    fn wake(&self, how: helpers::virgo_woken) -> bool {
        // SAFETY: The list is initialised.
        unsafe { helpers::virgo_waiters_wake(self.inner.get(), how) }
    }

    /// Begins a walk along the list with the task that has waited for longest. There is one walk at a
    /// time. Any context.
    pub fn begin(&self) {
        // SAFETY: The list is initialised.
        unsafe { helpers::virgo_waiters_begin(self.inner.get()) };
    }

    /// What the task [wants](Self::wait_for) that the walk has come to; `None` at the end. Any context.
    pub fn next(&self) -> Option<u64> {
        let mut wants = 0;
        // SAFETY: The list is initialised, and `wants` valid for writes.
        unsafe { helpers::virgo_waiters_next(self.inner.get(), &raw mut wants) }.then_some(wants)
    }

    /// The walk goes on behind that task. Any context.
    pub fn pass(&self) {
        // SAFETY: The list is initialised.
        unsafe { helpers::virgo_waiters_pass(self.inner.get()) };
    }

    /// Selects that task, and the walk goes on behind it. Any context.
    pub fn select_next(&self) {
        // SAFETY: The list is initialised.
        unsafe { helpers::virgo_waiters_select_next(self.inner.get()) };
    }
}
