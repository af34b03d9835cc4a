// SPDX-License-Identifier: GPL-2.0

//! A sleeping lock that many may hold for reading, or one for writing.
//!
//! C header: [`include/linux/rwsem.h`](srctree/include/linux/rwsem.h)

use core::{
    cell::UnsafeCell,
    ops::{
        Deref,
        DerefMut, //
    }, //
};
use kernel::{
    bindings,
    error::to_result,
    prelude::*,
    sync::LockClassKey,
    types::{
        NotThreadSafe,
        Opaque, //
    }, //
};

/// Data under a `struct rw_semaphore`. Locking may sleep.
#[pin_data]
pub struct RwLock<T> {
    #[pin]
    sem: Opaque<bindings::rw_semaphore>,
    data: UnsafeCell<T>,
}

// SAFETY: The semaphore may be used from any thread; the data moves with the lock.
unsafe impl<T: Send> Send for RwLock<T> {}
// SAFETY: Readers share `&T` across threads (`T: Sync`), a writer gets `&mut T` (`T: Send`).
unsafe impl<T: Send + Sync> Sync for RwLock<T> {}

impl<T> RwLock<T> {
    /// An unlocked lock. Use [`crate::new_rwlock!`].
    pub fn new(
        data: T,
        name: &'static CStr,
        key: Pin<&'static LockClassKey>,
    ) -> impl PinInit<Self> {
        pin_init!(Self {
            data: UnsafeCell::new(data),
            // SAFETY: `slot` is valid for the closure; name and key live for ever.
            sem <- Opaque::ffi_init(|slot| unsafe {
                bindings::__init_rwsem(slot, name.as_char_ptr(), key.as_ptr())
            }),
        })
    }

    /// Shares the data with other readers until the guard is dropped.
    pub fn read(&self) -> ReadGuard<'_, T> {
        // SAFETY: `sem` is initialised.
        unsafe { bindings::down_read(self.sem.get()) };
        ReadGuard(self, NotThreadSafe)
    }

    /// As [`Self::read`], unless the task is being killed while it waits.
    ///
    /// # Errors
    ///
    /// [`EINTR`].
    pub fn read_killable(&self) -> Result<ReadGuard<'_, T>> {
        // SAFETY: `sem` is initialised.
        to_result(unsafe { bindings::down_read_killable(self.sem.get()) })?;
        Ok(ReadGuard(self, NotThreadSafe))
    }

    /// As [`Self::write`], unless the task is being killed while it waits.
    ///
    /// # Errors
    ///
    /// [`EINTR`].
    pub fn write_killable(&self) -> Result<WriteGuard<'_, T>> {
        // SAFETY: `sem` is initialised.
        to_result(unsafe { bindings::down_write_killable(self.sem.get()) })?;
        Ok(WriteGuard(self, NotThreadSafe))
    }

    /// As [`Self::read`], if no writer holds it or waits for it. Any context but hard interrupts.
    pub fn try_read(&self) -> Option<ReadGuard<'_, T>> {
        // SAFETY: `sem` is initialised.
        let is_ours = unsafe { bindings::down_read_trylock(self.sem.get()) } != 0;
        is_ours.then(|| ReadGuard(self, NotThreadSafe))
    }

    /// As [`Self::write`], if nobody has it. Any context but hard interrupts.
    pub fn try_write(&self) -> Option<WriteGuard<'_, T>> {
        // SAFETY: `sem` is initialised.
        let is_ours = unsafe { bindings::down_write_trylock(self.sem.get()) } != 0;
        is_ours.then(|| WriteGuard(self, NotThreadSafe))
    }

    /// Takes the data for oneself until the guard is dropped.
    pub fn write(&self) -> WriteGuard<'_, T> {
        // SAFETY: `sem` is initialised.
        unsafe { bindings::down_write(self.sem.get()) };
        WriteGuard(self, NotThreadSafe)
    }
}

/// Shared access. The lock is released when this is dropped.
#[must_use = "the lock is released at once when the guard is unused"]
pub struct ReadGuard<'a, T>(&'a RwLock<T>, NotThreadSafe);

impl<T> Deref for ReadGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: The semaphore is held for reading, so nobody writes.
        unsafe { &*self.0.data.get() }
    }
}

impl<T> Drop for ReadGuard<'_, T> {
    fn drop(&mut self) {
        // SAFETY: This guard holds the semaphore for reading.
        unsafe { bindings::up_read(self.0.sem.get()) };
    }
}

/// Exclusive access. The lock is released when this is dropped.
#[must_use = "the lock is released at once when the guard is unused"]
pub struct WriteGuard<'a, T>(&'a RwLock<T>, NotThreadSafe);

impl<T> Deref for WriteGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: The semaphore is held for writing, so nobody else has access.
        unsafe { &*self.0.data.get() }
    }
}

impl<T> DerefMut for WriteGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: The semaphore is held for writing, so nobody else has access.
        unsafe { &mut *self.0.data.get() }
    }
}

impl<T> Drop for WriteGuard<'_, T> {
    fn drop(&mut self) {
        // SAFETY: This guard holds the semaphore for writing.
        unsafe { bindings::up_write(self.0.sem.get()) };
    }
}

/// Initialises an [`RwLock`] with a lockdep class of its own.
#[macro_export]
macro_rules! new_rwlock {
    ($data:expr, $name:literal) => {
        $crate::rwlock::RwLock::new(
            $data,
            $crate::lock_name!($name),
            ::kernel::static_lock_class!(),
        )
    };
}
