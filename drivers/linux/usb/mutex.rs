// SPDX-License-Identifier: GPL-2.0

//! A mutex whose holder may wait for a program or a device: others wait for it until a signal comes.

use crate::helpers;
use core::{
    cell::UnsafeCell,
    marker::PhantomData,
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

/// A mutex that is locked interruptibly. Use [`new_interruptible_mutex!`](crate::new_interruptible_mutex).
#[pin_data]
pub struct InterruptibleMutex<T> {
    #[pin]
    mutex: Opaque<bindings::mutex>,
    data: UnsafeCell<T>,
}

// SAFETY: Who holds the mutex uses the data as its owner would.
unsafe impl<T: Send> Send for InterruptibleMutex<T> {}
// SAFETY: As above: one thread at a time.
unsafe impl<T: Send> Sync for InterruptibleMutex<T> {}

impl<T> InterruptibleMutex<T> {
    /// A mutex that nobody holds.
    pub fn new(
        data: T,
        name: &'static CStr,
        key: Pin<&'static LockClassKey>,
    ) -> impl PinInit<Self> {
        pin_init!(Self {
            // SAFETY: `slot` is valid for the closure; name and key live for ever.
            mutex <- Opaque::ffi_init(|slot| unsafe {
                bindings::__mutex_init(slot, name.as_char_ptr(), key.as_ptr())
            }),
            data: UnsafeCell::new(data),
        })
    }

    /// Locks it. May sleep.
    ///
    /// # Errors
    ///
    /// [`ERESTARTSYS`] when a signal comes first.
    pub fn lock(&self) -> Result<InterruptibleGuard<'_, T>> {
        // SAFETY: The mutex is initialised.
        to_result(unsafe { helpers::virgo_usb_mutex_lock(self.mutex.get()) })?;
        Ok(InterruptibleGuard {
            mutex: self,
            _thread: PhantomData,
        })
    }

    /// Locks it if nobody holds it.
    pub fn try_lock(&self) -> Option<InterruptibleGuard<'_, T>> {
        // SAFETY: The mutex is initialised.
        let locked = unsafe { helpers::virgo_usb_mutex_trylock(self.mutex.get()) };
        locked.then(|| InterruptibleGuard {
            mutex: self,
            _thread: PhantomData,
        })
    }
}

/// Whoever has it holds the mutex.
pub struct InterruptibleGuard<'a, T> {
    mutex: &'a InterruptibleMutex<T>,
    /// A mutex is unlocked by the task that has locked it.
    _thread: PhantomData<NotThreadSafe>,
}

impl<T> Deref for InterruptibleGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: The mutex is held.
        unsafe { &*self.mutex.data.get() }
    }
}

impl<T> DerefMut for InterruptibleGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: The mutex is held, and `self` borrowed exclusively.
        unsafe { &mut *self.mutex.data.get() }
    }
}

impl<T> Drop for InterruptibleGuard<'_, T> {
    fn drop(&mut self) {
        // SAFETY: This task holds it.
        unsafe { helpers::virgo_usb_mutex_unlock(self.mutex.mutex.get()) };
    }
}

/// Initialises an [`InterruptibleMutex`] with a lockdep class of its own.
#[macro_export]
macro_rules! new_interruptible_mutex {
    ($data:expr, $name:literal) => {
        $crate::mutex::InterruptibleMutex::new(
            $data,
            ::linux::lock_name!($name),
            ::kernel::static_lock_class!(),
        )
    };
}
