// SPDX-License-Identifier: GPL-2.0

//! Open files of character devices.

use kernel::{
    bindings,
    fs::file::flags,
    prelude::*,
    uaccess::{
        UserPtr,
        UserSlice,
        UserSliceReader,
        UserSliceWriter, //
    }, //
};
use linux::wait::WaitQueue;

/// Whether a signal has come for the current task: who is busy for a program for long looks at times.
pub fn is_interrupted() -> bool {
    kernel::current!().signal_pending()
}

/// What poll says of an open file.
#[derive(Clone, Copy, Default)]
pub struct Readiness {
    /// A read would not block.
    pub readable: bool,
    /// A write would not block.
    pub writable: bool,
    /// The device is gone.
    pub hung_up: bool,
}

/// What an open file does. All may sleep, for as long as the program wants, until a signal comes.
pub trait OpenFile: Send + Sync + Sized + 'static {
    /// Reads; returns how many bytes.
    ///
    /// # Errors
    ///
    /// Those of the device; [`EAGAIN`] if it is `nonblocking` and would block.
    fn read(&self, to: &mut UserSliceWriter, nonblocking: bool) -> Result<usize>;

    /// Writes; returns how many bytes.
    ///
    /// # Errors
    ///
    /// As for [`Self::read`].
    fn write(&self, from: &mut UserSliceReader, nonblocking: bool) -> Result<usize>;

    /// Waits until all that was written has arrived.
    ///
    /// # Errors
    ///
    /// Those of the device.
    fn sync(&self) -> Result {
        Err(EINVAL)
    }

    /// What could be done at once.
    fn readiness(&self) -> Readiness;

    /// Who waits for that to change.
    fn waiters(&self) -> &WaitQueue;
}

pub(crate) type OpenFn = unsafe extern "C" fn(*mut bindings::inode, *mut bindings::file) -> c_int;

/// Operations of `module`, which is pinned by each open file, for files whose private data is a `T` in a
/// `KBox`. `open` hands a `T` to the file by [`attach`], or fails.
pub(crate) fn operations<T: OpenFile>(
    module: &'static ThisModule,
    open: OpenFn,
) -> bindings::file_operations {
    bindings::file_operations {
        owner: module.as_ptr(),
        open: Some(open),
        read: Some(read::<T>),
        write: Some(write::<T>),
        poll: Some(poll::<T>),
        fsync: Some(sync::<T>),
        release: Some(release::<T>),
        llseek: Some(bindings::noop_llseek),
        ..Default::default()
    }
}

/// Makes `file` own `object`.
///
/// # Safety
///
/// `file` is being opened with the operations of [`operations`], and has nothing yet.
pub(crate) unsafe fn attach<T: OpenFile>(file: *mut bindings::file, object: T) -> Result {
    let object = KBox::new(object, GFP_KERNEL_ACCOUNT)?;
    // SAFETY: By the caller's promise.
    unsafe { (*file).private_data = KBox::into_raw(object).cast() };
    Ok(())
}

/// # Safety
///
/// `file` is an open file that has the operations of [`operations`], to which `attach` was done.
unsafe fn object<'a, T: OpenFile>(file: *mut bindings::file) -> (&'a T, bool) {
    // SAFETY: By the caller's promise the private data is a `T`, shared until `release`.
    unsafe {
        let nonblocking = (*file).f_flags & flags::O_NONBLOCK != 0;
        (&*(*file).private_data.cast::<T>(), nonblocking)
    }
}

/// The result of a system call.
fn count(result: Result<usize>) -> isize {
    match result {
        Ok(n) => isize::try_from(n).unwrap_or(isize::MAX),
        Err(e) => e.to_errno() as isize,
    }
}

/// # Safety
///
/// Called by the kernel for an open file that has the operations of [`operations`].
unsafe extern "C" fn read<T: OpenFile>(
    file: *mut bindings::file,
    to: *mut c_char,
    len: usize,
    _at: *mut bindings::loff_t,
) -> isize {
    // SAFETY: By the caller's promise.
    let (object, nonblocking) = unsafe { object::<T>(file) };
    let mut to = UserSlice::new(UserPtr::from_ptr(to.cast()), len).writer();
    count(object.read(&mut to, nonblocking))
}

/// # Safety
///
/// As for [`read`].
unsafe extern "C" fn write<T: OpenFile>(
    file: *mut bindings::file,
    from: *const c_char,
    len: usize,
    _at: *mut bindings::loff_t,
) -> isize {
    // SAFETY: By the caller's promise.
    let (object, nonblocking) = unsafe { object::<T>(file) };
    let mut from = UserSlice::new(UserPtr::from_ptr(from.cast_mut().cast()), len).reader();
    count(object.write(&mut from, nonblocking))
}

/// # Safety
///
/// As for [`read`].
unsafe extern "C" fn sync<T: OpenFile>(
    file: *mut bindings::file,
    _start: bindings::loff_t,
    _end: bindings::loff_t,
    _only_data: c_int,
) -> c_int {
    // SAFETY: By the caller's promise.
    let (object, _) = unsafe { object::<T>(file) };
    match object.sync() {
        Ok(()) => 0,
        Err(e) => e.to_errno(),
    }
}

/// # Safety
///
/// As for [`read`]; `table` is what the kernel's poll passes.
unsafe extern "C" fn poll<T: OpenFile>(
    file: *mut bindings::file,
    table: *mut bindings::poll_table_struct,
) -> bindings::__poll_t {
    // SAFETY: By the caller's promise.
    let (object, _) = unsafe { object::<T>(file) };
    // SAFETY: File and table are valid by the caller's promise; the queue lives as long as the file.
    unsafe { object.waiters().register_poll(file, table) };
    let ready = object.readiness();
    let mut mask = 0;
    if ready.readable {
        mask |= bindings::POLLIN | bindings::POLLRDNORM;
    }
    if ready.writable {
        mask |= bindings::POLLOUT | bindings::POLLWRNORM;
    }
    if ready.hung_up {
        mask |= bindings::POLLHUP | bindings::POLLERR;
    }
    mask as bindings::__poll_t
}

/// # Safety
///
/// Called by the kernel with the last reference on an open file that has the operations of [`operations`].
unsafe extern "C" fn release<T: OpenFile>(
    _inode: *mut bindings::inode,
    file: *mut bindings::file,
) -> c_int {
    // SAFETY: `attach` has put it there; nobody uses it any more.
    drop(unsafe { KBox::from_raw((*file).private_data.cast::<T>()) });
    0
}
