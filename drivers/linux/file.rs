// SPDX-License-Identifier: GPL-2.0

//! Small files of the initial name space, read whole.

use crate::{
    bytes::Fill,
    deadline::{
        self,
        Deadline, //
    },
    helpers, //
};
use core::ptr::NonNull;
use kernel::{
    bindings,
    error::from_err_ptr,
    prelude::*, //
};

/// An open file. Closed on drop.
struct File(NonNull<bindings::file>);

impl File {
    fn open(path: &CStr) -> Result<Self> {
        let flags = (bindings::O_RDONLY | bindings::O_LARGEFILE | bindings::O_NONBLOCK) as c_int;
        // SAFETY: The path ends with NUL.
        let file = from_err_ptr(unsafe { helpers::virgo_file_open(path.as_char_ptr(), flags, 0) })?;
        Ok(File(NonNull::new(file).ok_or(ENOENT)?))
    }
}

/// Reads from the start of `file`, as many bytes as `buffer` takes or there are. Returns how many.
///
/// # Safety
///
/// The file is open for reading until the call returns.
pub(crate) unsafe fn read_start(file: *mut bindings::file, buffer: &mut [u8]) -> Result<usize> {
    let (mut filled, mut at) = (0, 0);
    while let Some(rest @ [_, ..]) = buffer.get_mut(filled..) {
        // SAFETY: The file is open by the caller's promise, `rest` is valid for its length.
        let n =
            unsafe { bindings::kernel_read(file, rest.as_mut_ptr().cast(), rest.len(), &mut at) };
        match usize::try_from(n) {
            Ok(0) => break,
            Ok(n) => filled += n.min(rest.len()),
            Err(_) => return Err(Error::from_errno(n as c_int)),
        }
    }
    Ok(filled)
}

impl Drop for File {
    fn drop(&mut self) {
        // SAFETY: The file is open and this is its only owner. There is nothing to flush.
        unsafe { bindings::fput(self.0.as_ptr()) };
    }
}

/// The contents of a file, and who may see them.
pub struct Contents {
    /// The bytes.
    pub bytes: KVVec<u8>,
    /// Owner, in the initial user name space.
    pub uid: u32,
    /// Permission bits.
    pub mode: u16,
}

/// What is known of a regular file without reading it.
#[derive(Clone, Copy, PartialEq, Eq)]
struct FileState {
    uid: u32,
    mode: u16,
    size: i64,
    /// Of the last change of the contents, in nanoseconds since 1970.
    mtime_ns: i64,
    /// Of the last change of anything.
    ctime_ns: i64,
}

impl FileState {
    /// # Errors
    ///
    /// [`EINVAL`] for anything but a regular file.
    fn of(file: &File) -> Result<Self> {
        let (mut uid, mut mode, mut size) = (0, 0, 0);
        // SAFETY: The file is open; the others are valid for writes.
        kernel::error::to_result(unsafe {
            helpers::virgo_file_owner(file.0.as_ptr(), &mut uid, &mut mode, &mut size)
        })?;
        let (mut mtime_ns, mut ctime_ns) = (0, 0);
        // SAFETY: As above.
        unsafe { helpers::virgo_file_times(file.0.as_ptr(), &mut mtime_ns, &mut ctime_ns) };
        Ok(FileState {
            uid,
            mode,
            size,
            mtime_ns,
            ctime_ns,
        })
    }

    /// How long its contents will have to stay as they are until it has not been written to for
    /// [`SETTLED_MS`], in milliseconds.
    fn unsettled_ms(&self) -> u32 {
        let (seconds, nanos) = deadline::wall();
        let now = i64::try_from(seconds)
            .unwrap_or(i64::MAX)
            .saturating_mul(1_000_000_000)
            .saturating_add(nanos.into());
        let age_ms = now.saturating_sub(self.mtime_ns) / 1_000_000;
        match u32::try_from(age_ms) {
            Ok(age_ms) => SETTLED_MS.saturating_sub(age_ms),
            // The clock was set back: nobody knows.
            Err(_) => 0,
        }
    }
}

/// Who has not written to a file for so long has finished, in milliseconds.
const SETTLED_MS: u32 = 300;

/// The longest that it is waited for those who write to a file, in milliseconds.
const PATIENCE_MS: u32 = 2000;

/// Reads the regular file at `path`, which may have up to `max` bytes. May sleep.
///
/// # Errors
///
/// [`ENOENT`] and other errors of opening and reading; [`EINVAL`] for anything but a regular
/// file, [`EFBIG`] for a longer one.
pub fn read(path: &CStr, max: usize) -> Result<Contents> {
    let file = File::open(path)?;
    let state = FileState::of(&file)?;
    read_open(&file, &state, max)
}

/// As [`read`], for a file that others may write to meanwhile: as it was at one time, and not while
/// somebody writes to it, as far as the times of its last changes tell. Waits up to 2 s for those who
/// do. Whoever puts a file in place by renaming it need not be waited for longer than 300 ms.
///
/// # Errors
///
/// As for [`read`]; [`EAGAIN`] if it is still being written; [`EINTR`] when the task is being killed.
pub fn read_settled(path: &CStr, max: usize) -> Result<Contents> {
    let patience = Deadline::after_ms(PATIENCE_MS);
    loop {
        // Each time: another file may have its name now.
        let file = File::open(path)?;
        let state = FileState::of(&file)?;
        let wait_ms = state.unsettled_ms();
        if wait_ms == 0 {
            let contents = read_open(&file, &state, max)?;
            if contents.bytes.len() as i64 == state.size && FileState::of(&file)? == state {
                return Ok(contents);
            }
        }
        if patience.passed() {
            return Err(EAGAIN);
        }
        Deadline::after_ms(wait_ms.max(1)).min(patience).sleep()?;
    }
}

fn read_open(file: &File, state: &FileState, max: usize) -> Result<Contents> {
    let size = usize::try_from(state.size).map_err(|_| EFBIG)?;
    if size > max {
        return Err(EFBIG);
    }
    let mut bytes = KVVec::new();
    bytes.put_zeros(size, GFP_KERNEL)?;
    // SAFETY: `file` is open.
    let filled = unsafe { read_start(file.0.as_ptr(), &mut bytes) }?;
    // Shorter if somebody has truncated it meanwhile.
    bytes.truncate(filled);
    Ok(Contents {
        bytes,
        uid: state.uid,
        mode: state.mode,
    })
}
