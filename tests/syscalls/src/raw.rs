// SPDX-License-Identifier: GPL-2.0
//! System calls with any arguments at all.
//!
//! The addresses among them come from [`crate::region`], where nothing of Rust's can be hurt.
#![expect(unsafe_code, reason = "system calls are unsafe")]

use crate::region::Address;
use libc::c_long;
use rustix::io::Errno;
use std::{io, panic::resume_unwind, path::Path, thread};
use virgo::abi::{DataArgs, FreeArgs, MallocArgs, nr};

/// What a system call returns.
pub(crate) type Outcome = Result<usize, Errno>;

/// Whether a kernel module is loaded.
pub(crate) fn is_loaded(module: &str) -> bool {
    Path::new("/sys/module").join(module).exists()
}

/// A system call without arguments that mean anything.
pub(crate) fn bare(number: c_long) -> Outcome {
    invoke(number, 0, 0)
}

pub(crate) fn malloc(size: i64, id: Address) -> Outcome {
    invoke(nr::MALLOC, size.cast_unsigned(), id.number())
}

pub(crate) fn set(id: u64, data: Address) -> Outcome {
    invoke(nr::SET, id, data.number())
}

pub(crate) fn get(id: u64, data: Address) -> Outcome {
    invoke(nr::GET, id, data.number())
}

pub(crate) fn free(id: u64) -> Outcome {
    invoke(nr::FREE, id, 0)
}

/// The calls that take a structure and its size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Call {
    Malloc,
    Set,
    Get,
    Free,
}

impl Call {
    pub(crate) const ALL: [Self; 4] = [Self::Malloc, Self::Set, Self::Get, Self::Free];

    /// Makes the call.
    pub(crate) fn call(self, args: Address, size: usize) -> Outcome {
        let number = match self {
            Self::Malloc => nr::MALLOC2,
            Self::Set => nr::SET2,
            Self::Get => nr::GET2,
            Self::Free => nr::FREE2,
        };
        invoke(number, args.number(), size as u64)
    }

    /// Size of the structure.
    pub(crate) fn size(self) -> usize {
        match self {
            Self::Malloc => size_of::<MallocArgs>(),
            Self::Set | Self::Get => size_of::<DataArgs>(),
            Self::Free => size_of::<FreeArgs>(),
        }
    }
}

/// Makes a system call. The addresses in it are [`Address`]es.
fn invoke(number: c_long, first: u64, second: u64) -> Outcome {
    // SAFETY: What the kernel writes goes to an `Address`, where no memory of Rust's is.
    match unsafe { libc::syscall(number, first, second, 0, 0, 0, 0) } {
        -1 => {
            let error = io::Error::last_os_error().raw_os_error().unwrap_or(0);
            Err(Errno::from_raw_os_error(error))
        }
        result => Ok(usize::try_from(result).expect("only -1 is negative")),
    }
}

/// Runs `f` as another user: in a thread of its own, because a uid belongs to a thread.
pub(crate) fn as_uid<T: Send>(uid: u32, f: impl FnOnce() -> T + Send) -> T {
    thread::scope(|scope| {
        let thread = scope.spawn(|| {
            let uid = rustix::process::Uid::from_raw(uid);
            rustix::thread::set_thread_res_uid(None, Some(uid), None).expect("setresuid");
            f()
        });
        thread.join().unwrap_or_else(|panic| resume_unwind(panic))
    })
}
