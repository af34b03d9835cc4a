// SPDX-License-Identifier: GPL-2.0

//! Running programs of user space.
//!
//! C header: [`include/linux/umh.h`](srctree/include/linux/umh.h)

use crate::{
    bytes::Fill,
    file,
    helpers, //
};
use kernel::{
    error::from_err_ptr,
    prelude::*,
    str::CString,
    sync::atomic::{
        Atomic,
        Relaxed, //
    },
    types::Opaque, //
};

/// A program that runs as root, once, and writes to a file that the kernel keeps for it.
///
/// # Invariants
///
/// `inner` holds an open file, and no process or the one that `run` has started.
pub struct Program {
    inner: Opaque<helpers::virgo_program>,
    started: Atomic<bool>,
}

// SAFETY: File and process may be used from any thread.
unsafe impl Send for Program {}
// SAFETY: `started` lets one thread run the program; the C side orders `end` with it.
unsafe impl Sync for Program {}

impl Program {
    /// A program that does not run yet. May sleep.
    ///
    /// # Errors
    ///
    /// [`ENOMEM`].
    pub fn new() -> Result<Self> {
        // SAFETY: Has no preconditions.
        let file = from_err_ptr(unsafe { helpers::virgo_result_file() })?;
        // INVARIANT: A new file, and no process.
        Ok(Program {
            inner: Opaque::new(helpers::virgo_program {
                file,
                pid: core::ptr::null_mut(),
                ended: false,
            }),
            started: Atomic::new(false),
        })
    }

    /// Runs the program at `path` with `args`, its own name among them, as root, and sleeps until
    /// it ends. Its standard input, output and error are the file.
    ///
    /// # Errors
    ///
    /// [`ENOENT`], [`EACCES`] and the like if it cannot be run, [`EBUSY`] if it has been already.
    pub fn run(&self, path: &CStr, args: &[CString]) -> Result<()> {
        if self.started.xchg(true, Relaxed) {
            return Err(EBUSY);
        }
        let mut argv = KVec::with_capacity(args.len() + 1, GFP_KERNEL)?;
        for arg in args {
            argv.push(arg.as_char_ptr().cast_mut(), GFP_KERNEL)?;
        }
        argv.push(core::ptr::null_mut(), GFP_KERNEL)?;
        // SAFETY: The strings end with NUL and the array with a null pointer; all live until the
        // call returns, which it does when the program has ended: the wait for it ends by a fatal signal only,
        // and a work queue's worker has none outside of `Killable::run`, where programs are not run.
        // `started` says that this is the only call.
        let status = unsafe {
            helpers::virgo_program_run(path.as_char_ptr(), argv.as_mut_ptr(), self.inner.get())
        };
        match status {
            0.. => Ok(()),
            e => Err(Error::from_errno(e)),
        }
    }

    /// Asks it to end, by SIGTERM. If it has not begun it never will. Any context.
    pub fn end(&self) {
        // SAFETY: By the invariant `inner` is valid.
        unsafe { helpers::virgo_program_end(self.inner.get()) };
    }

    /// What it has written, at most `max` bytes. May sleep.
    ///
    /// # Errors
    ///
    /// [`ENOMEM`], [`EIO`].
    pub fn output(&self, max: usize) -> Result<KVVec<u8>> {
        let mut bytes = KVVec::new();
        bytes.put_zeros(max, GFP_KERNEL)?;
        // SAFETY: By the invariant `inner` holds an open file, which does not change.
        let filled = unsafe { file::read_start((*self.inner.get()).file, &mut bytes) }?;
        bytes.truncate(filled);
        Ok(bytes)
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // SAFETY: By the invariant `inner` holds a file and perhaps a process, nobody else's.
        unsafe { helpers::virgo_program_put(self.inner.get()) };
    }
}
