// SPDX-License-Identifier: GPL-2.0

//! The lock of the module, for modules in C: `include/linux/virgo_bakery.h`.

use crate::bakery::{
    BakeryLock,
    WaitLoops, //
};
use core::ptr;
use kernel::{
    prelude::*,
    sync::atomic::{
        Acquire,
        Atomic,
        Release, //
    }, //
};
use linux::deadline::Deadline;

/// # Invariants
///
/// Null, or the lock of the [`PublishedBakery`] that there is.
static LOCK: Atomic<*mut BakeryLock> = Atomic::new(ptr::null_mut());

/// The lock that modules in C share, for as long as this lives: as this module does.
///
/// # Invariants
///
/// The pointer is from a [`KBox`] that is this one's.
pub(crate) struct PublishedBakery(*mut BakeryLock);

// SAFETY: It owns the lock, which may be used and dropped by any thread.
unsafe impl Send for PublishedBakery {}
// SAFETY: It has no methods, and the lock may be used by any thread.
unsafe impl Sync for PublishedBakery {}

impl PublishedBakery {
    /// Called once, in the module's initialisation. Errors as of [`BakeryLock::new`].
    pub(crate) fn new(participants: u16) -> Result<Self> {
        let lock = KBox::new(BakeryLock::new(participants)?, GFP_KERNEL)?;
        // INVARIANT: From a `KBox`, which nobody else has.
        let published = PublishedBakery(KBox::into_raw(lock));
        // Release: whoever reads the pointer sees the lock as it was made.
        LOCK.store(published.0, Release);
        Ok(published)
    }
}

impl Drop for PublishedBakery {
    fn drop(&mut self) {
        LOCK.store(ptr::null_mut(), Release);
        // SAFETY: By the invariant it is from a `KBox`. Nobody uses it: see `lock`.
        drop(unsafe { KBox::from_raw(self.0) });
    }
}

/// The lock of the module.
///
/// # Safety
///
/// The caller uses a symbol of this module. A module that does is loaded when the initialisation of this one has succeeded, and keeps
/// this one loaded; so the lock outlives the call.
unsafe fn lock() -> Result<&'static BakeryLock> {
    let lock = LOCK.load(Acquire);
    // SAFETY: By the invariant it is null or valid, and by the caller's promise it stays that.
    unsafe { lock.as_ref() }.ok_or(ENODEV)
}

/// The participant that C calls so.
fn participant(thread_id: c_int) -> Result<u16> {
    u16::try_from(thread_id).map_err(|_| EINVAL)
}

fn loops(oneforloop: c_int) -> WaitLoops {
    match oneforloop {
        0 => WaitLoops::Two,
        _ => WaitLoops::One,
    }
}

fn errno(result: Result) -> c_int {
    result.map_or_else(Error::to_errno, |()| 0)
}

/// # Safety
///
/// As for [`lock`]; in a task, which may sleep.
#[no_mangle]
unsafe extern "C" fn bakery_lock(thread_id: c_int, oneforloop: c_int) -> c_int {
    // SAFETY: By the caller's promise.
    let acquired = unsafe { lock() }.and_then(|lock| {
        lock.acquire(
            participant(thread_id)?,
            loops(oneforloop),
            Deadline::never(),
        )
    });
    errno(acquired)
}

/// # Safety
///
/// As for [`bakery_lock`].
#[no_mangle]
unsafe extern "C" fn bakery_lock_timeout(
    thread_id: c_int,
    oneforloop: c_int,
    timeout_ms: c_uint,
) -> c_int {
    // SAFETY: By the caller's promise.
    let acquired = unsafe { lock() }.and_then(|lock| {
        let deadline = Deadline::after_ms(timeout_ms);
        lock.acquire(participant(thread_id)?, loops(oneforloop), deadline)
    });
    errno(acquired)
}

/// # Safety
///
/// As for [`lock`].
#[no_mangle]
unsafe extern "C" fn bakery_unlock(thread_id: c_int) -> c_int {
    // SAFETY: By the caller's promise.
    let released = unsafe { lock() }.and_then(|lock| lock.release(participant(thread_id)?));
    errno(released)
}
