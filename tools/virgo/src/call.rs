// SPDX-License-Identifier: GPL-2.0
//! The system calls themselves. Everything else in this crate is safe Rust upon them.
#![expect(unsafe_code, reason = "system calls take addresses")]

use crate::abi::{DataArgs, FreeArgs, MallocArgs, nr};
use libc::{c_int, c_long};
use std::{ffi::CStr, io};

/// What a call returns: a number of bytes or 0, or an errno.
type Outcome = Result<usize, c_int>;

/// `virgo_malloc2`.
pub(crate) fn malloc2(args: &mut MallocArgs) -> Outcome {
    // SAFETY: The call reads and writes `args`, within its size, and no other memory.
    outcome(unsafe { libc::syscall(nr::MALLOC2, args, size_of::<MallocArgs>()) })
}

/// `virgo_set` of a string.
pub(crate) fn set(id: u64, text: &CStr) -> Outcome {
    // SAFETY: The call reads the string up to and with its NUL.
    outcome(unsafe { libc::syscall(nr::SET, id, text.as_ptr()) })
}

/// `virgo_set2` of `data`.
pub(crate) fn set2(id: u64, offset: u64, data: &[u8], timeout_ms: u32) -> Outcome {
    let args = DataArgs {
        id,
        offset,
        len: data.len() as u64,
        data: data.as_ptr().expose_provenance() as u64,
        flags: 0,
        timeout_ms,
    };
    // SAFETY: The call reads `args` and the `len` bytes of `data`, which is borrowed.
    outcome(unsafe { libc::syscall(nr::SET2, &raw const args, size_of::<DataArgs>()) })
}

/// `virgo_get2` into `data`.
pub(crate) fn get2(id: u64, offset: u64, data: &mut [u8], timeout_ms: u32) -> Outcome {
    let args = DataArgs {
        id,
        offset,
        len: data.len() as u64,
        data: data.as_mut_ptr().expose_provenance() as u64,
        flags: 0,
        timeout_ms,
    };
    // SAFETY: The call reads `args` and writes at most `len` bytes to `data`, which is borrowed
    // exclusively and may hold any bytes.
    outcome(unsafe { libc::syscall(nr::GET2, &raw const args, size_of::<DataArgs>()) })
}

/// `virgo_free2`.
pub(crate) fn free2(id: u64, timeout_ms: u32) -> Outcome {
    let args = FreeArgs {
        id,
        flags: 0,
        timeout_ms,
    };
    // SAFETY: The call reads `args`.
    outcome(unsafe { libc::syscall(nr::FREE2, &raw const args, size_of::<FreeArgs>()) })
}

fn outcome(returned: c_long) -> Outcome {
    // -1 is the only negative number that `syscall` returns.
    usize::try_from(returned).map_err(|_| io::Error::last_os_error().raw_os_error().unwrap_or(0))
}
