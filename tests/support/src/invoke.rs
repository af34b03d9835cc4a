// SPDX-License-Identifier: GPL-2.0
//! Calls with any numbers for arguments, by any user and the door that the library has chosen.
#![expect(unsafe_code, reason = "system calls are unsafe")]

use libc::c_long;
use rustix::io::Errno;
use std::{panic::resume_unwind, thread};

/// What a system call returns.
pub type Outcome = Result<usize, Errno>;

/// Makes a system call. The addresses in it are those of memory that is not Rust's.
pub fn invoke(number: c_long, first: u64, second: u64) -> Outcome {
    invoke4(number, first, second, 0, 0)
}

/// Like [`invoke`], with four arguments.
pub fn invoke4(number: c_long, a: u64, b: u64, c: u64, d: u64) -> Outcome {
    // SAFETY: What the kernel writes goes where no memory of Rust's is, as callers see to.
    let returned = unsafe { virgo::door::enter(number, [a, b, c, d]) };
    returned.map_err(Errno::from_raw_os_error)
}

/// Runs `f` as another user: in a thread of its own, because a uid belongs to a thread.
pub fn as_uid<T: Send>(uid: u32, f: impl FnOnce() -> T + Send) -> T {
    thread::scope(|scope| {
        let thread = scope.spawn(|| {
            let uid = rustix::process::Uid::from_raw(uid);
            rustix::thread::set_thread_res_uid(None, Some(uid), None).expect("setresuid");
            f()
        });
        thread.join().unwrap_or_else(|panic| resume_unwind(panic))
    })
}
