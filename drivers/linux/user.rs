// SPDX-License-Identifier: GPL-2.0

//! Memory and identity of the calling program.

use crate::helpers;
use core::{
    mem::{
        size_of,
        size_of_val, //
    },
    slice, //
};
use kernel::{
    bindings,
    prelude::*,
    transmute::FromBytes,
    uaccess::{
        UserPtr,
        UserSlice, //
    }, //
};

/// The effective uid of the current task, in the initial user name space.
pub fn current_uid() -> u32 {
    // SAFETY: Reads the current task's own credentials.
    unsafe { helpers::virgo_current_uid() }
}

/// A number that names the current task among those that exist; `None` in interrupts. It is good for
/// finding what belongs to the task, and is to be shown to nobody. Any context.
pub fn task_number() -> Option<core::num::NonZeroUsize> {
    // SAFETY: Reads only what belongs to the processor and the current task.
    let number = unsafe { helpers::virgo_task_number() };
    core::num::NonZeroUsize::new(number)
}

/// Makes `len` bytes of the current program's memory present, so that they can be written to without
/// a page fault for a while; not if the program does not have them. May sleep, for the program.
pub fn fault_in(at: UserPtr, len: usize) {
    // SAFETY: Checks the address itself.
    unsafe { helpers::virgo_fault_in(at.as_const_ptr().cast_mut(), len) };
}

/// Writes `bytes` to the current program's memory at `to`, without a page fault. False if that could
/// not be done.
pub fn copy_if_present(to: UserPtr, bytes: &[u8]) -> bool {
    // SAFETY: Checks the address itself; `bytes` is valid for reads of its length.
    unsafe {
        helpers::virgo_copy_if_present(
            to.as_const_ptr().cast_mut(),
            bytes.as_ptr().cast(),
            bytes.len(),
        )
    }
}

/// The arguments of a system call: a structure that grows with new versions.
pub trait Extensible: FromBytes {
    /// Size of its first version.
    const FIRST_SIZE: usize;
}

/// Reads `size` bytes of arguments as the caller's version has them. May sleep.
///
/// # Errors
///
/// [`EINVAL`] if the structure is smaller than its first version, [`E2BIG`] if it is larger than
/// ours and the rest is not zero, [`EFAULT`].
pub fn read_args<T: Extensible>(args: UserPtr, size: usize) -> Result<T> {
    if size < T::FIRST_SIZE {
        return Err(EINVAL);
    }
    if size > kernel::page::PAGE_SIZE {
        return Err(E2BIG);
    }
    if let Some(rest @ 1..) = size.checked_sub(size_of::<T>()) {
        let tail = args.wrapping_byte_add(size_of::<T>());
        // SAFETY: Checks the address itself.
        match unsafe { bindings::check_zeroed_user(tail.as_const_ptr(), rest) } {
            1 => (),
            0 => return Err(E2BIG),
            e => return Err(Error::from_errno(e)),
        }
    }
    if size >= size_of::<T>() {
        return UserSlice::new(args, size_of::<T>()).reader().read::<T>();
    }
    // Of an earlier version: what it does not have is zero.
    let mut bytes = KVec::zeroed(size_of::<T>(), GFP_KERNEL_ACCOUNT)?;
    let known = bytes.get_mut(..size).ok_or(EINVAL)?;
    UserSlice::new(args, size).reader().read_slice(known)?;
    T::from_bytes_copy(&bytes).ok_or(EINVAL)
}

/// Reads `count` values that lie one behind the other. May sleep.
///
/// # Errors
///
/// [`EFAULT`], [`ENOMEM`].
pub fn read_array<T: FromBytes>(at: UserPtr, count: usize) -> Result<KVVec<T>> {
    let mut values = KVVec::<T>::with_capacity(count, GFP_KERNEL_ACCOUNT)?;
    let room = values.spare_capacity_mut().get_mut(..count).ok_or(ENOMEM)?;
    let len = size_of_val(room);
    // SAFETY: This is the memory of `room`, borrowed as long; bytes that may be uninitialised need
    // no alignment.
    let bytes = unsafe { slice::from_raw_parts_mut(room.as_mut_ptr().cast(), len) };
    UserSlice::new(at, len).reader().read_raw(bytes)?;
    // SAFETY: There is room for `count` values; all their bytes were just written, and any bytes are
    // a value, by `T: FromBytes`.
    unsafe { values.inc_len(count) };
    Ok(values)
}
