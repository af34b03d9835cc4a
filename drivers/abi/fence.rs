// SPDX-License-Identifier: GPL-2.0

//! The lock that a program says it has when it uses an object that the lock guards.

use crate::args::FenceArgs;
use core::mem::size_of;
use kernel::{
    prelude::*,
    uaccess::{
        UserPtr,
        UserSlice, //
    }, //
};
use virgo_proto::{
    cloudsync::MAX_NAME,
    fence::FenceClaim, //
};

/// What the `struct virgo_fence` at address `at` of the current program says; at 0 there is none. May sleep.
///
/// Not part of its caller's stack frame, which most calls need without it.
///
/// # Errors
///
/// [`EINVAL`] for no name, the token 0, or flags; [`ENAMETOOLONG`]; [`EFAULT`].
#[inline(never)]
pub fn read(at: u64) -> Result<Option<FenceClaim>> {
    if at == 0 {
        return Ok(None);
    }
    let at = UserPtr::from_addr(at as usize);
    let fence: FenceArgs = UserSlice::new(at, size_of::<FenceArgs>()).reader().read()?;
    let len = fence.name_len as usize;
    if fence.flags != 0 || len == 0 {
        return Err(EINVAL);
    }
    let mut name = [0; MAX_NAME];
    let name = name.get_mut(..len).ok_or(ENAMETOOLONG)?;
    let from = UserPtr::from_addr(fence.name as usize);
    UserSlice::new(from, len).reader().read_slice(name)?;
    FenceClaim::new(name, fence.token).map(Some).ok_or(EINVAL)
}
