// SPDX-License-Identifier: GPL-2.0

//! Objects of a module that programs hold by file descriptors, and may poll: they are counted by
//! `RLIMIT_NOFILE`, shared by fork, and gone with the last process that has one.
//!
//! C header: [`include/linux/anon_inodes.h`](srctree/include/linux/anon_inodes.h)

use crate::{
    helpers,
    wait::WaitQueue, //
};
use core::{
    marker::PhantomData,
    ops::Deref,
    ptr::NonNull, //
};
use kernel::{
    bindings,
    error::{
        from_err_ptr,
        to_result, //
    },
    fs::file::flags,
    prelude::*,
    types::Opaque,
    uaccess::{
        UserPtr,
        UserSlice,
        UserSliceWriter, //
    }, //
};

/// An object whose descriptors programs can poll.
pub trait Pollable: Send + Sync + 'static {
    /// Whether they are readable. Does not sleep.
    fn is_readable(&self) -> bool;

    /// Who waits for that.
    fn waiters(&self) -> &WaitQueue;
}

/// An object whose descriptors programs can read.
pub trait Readable: Pollable {
    /// Writes to a program what fits, at most `len` bytes, and returns how many they were. `waits` if it is
    /// to wait when there is nothing. May sleep.
    ///
    /// # Errors
    ///
    /// [`EAGAIN`] if there is nothing and it is not to wait; those that read(2) may have.
    fn read(&self, to: &mut UserSliceWriter, len: usize, waits: bool) -> Result<usize>;
}

type Read =
    unsafe extern "C" fn(*mut bindings::file, *mut c_char, usize, *mut bindings::loff_t) -> isize;

type Poll = unsafe extern "C" fn(
    *mut bindings::file,
    *mut bindings::poll_table_struct,
) -> bindings::__poll_t;

/// One kind of such objects.
///
/// # Invariants
///
/// The private data of a file whose operations are `operations` is a `T` in a `KBox`, owned by
/// the file.
#[pin_data]
pub struct FdType<T> {
    #[pin]
    operations: Opaque<bindings::file_operations>,
    name: &'static CStr,
    _objects: PhantomData<T>,
}

// SAFETY: `operations` does not change; objects are `Send` and `Sync` where they are used.
unsafe impl<T: Send + Sync> Send for FdType<T> {}
// SAFETY: As above.
unsafe impl<T: Send + Sync> Sync for FdType<T> {}

impl<T: Send + Sync + 'static> FdType<T> {
    /// Objects of `module`, which must hold this in its state: it cannot be unloaded while there
    /// are any. Programs see `name` in `/proc`.
    pub fn new(module: &'static ThisModule, name: &'static CStr) -> impl PinInit<Self> {
        Self::with(module, name, None, None)
    }

    fn with(
        module: &'static ThisModule,
        name: &'static CStr,
        poll: Option<Poll>,
        read: Option<Read>,
    ) -> impl PinInit<Self> {
        let operations = bindings::file_operations {
            owner: module.as_ptr(),
            poll,
            read,
            release: Some(release::<T>),
            ..Default::default()
        };
        pin_init!(Self {
            operations: Opaque::new(operations),
            name,
            _objects: PhantomData,
        })
    }

    /// Gives the calling program a descriptor of `object`, which is dropped with its last
    /// reference. May sleep.
    ///
    /// # Errors
    ///
    /// [`EMFILE`] and [`ENFILE`] if there are too many, [`ENOMEM`].
    pub fn install(&self, object: T, close_on_exec: bool) -> Result<c_int> {
        let on_exec = if close_on_exec { flags::O_CLOEXEC } else { 0 };
        let object = KBox::new(object, GFP_KERNEL_ACCOUNT)?;
        // SAFETY: The current task has a table of descriptors.
        let fd = unsafe { bindings::get_unused_fd_flags(on_exec) };
        if fd < 0 {
            return Err(Error::from_errno(fd));
        }
        let data = KBox::into_raw(object);
        // SAFETY: The name ends with NUL. The operations live as long as their owner is pinned,
        // which the file does.
        let file = from_err_ptr(unsafe {
            helpers::virgo_anon_file(
                self.name.as_char_ptr(),
                self.operations.get(),
                data.cast(),
                (flags::O_RDWR | on_exec) as c_int,
            )
        });
        match file {
            Ok(file) => {
                // INVARIANT: The file owns `data` now.
                // SAFETY: The descriptor is reserved for it.
                unsafe { bindings::fd_install(fd as c_uint, file) };
                Ok(fd)
            }
            Err(e) => {
                // SAFETY: No file was made, so `data` is still ours, and the descriptor unused.
                unsafe {
                    bindings::put_unused_fd(fd as c_uint);
                    drop(KBox::from_raw(data));
                }
                Err(e)
            }
        }
    }

    /// The object that the calling program's descriptor `fd` stands for.
    ///
    /// # Errors
    ///
    /// [`EBADF`] if it is closed or something else's.
    pub fn get(&self, fd: c_int) -> Result<FdRef<'_, T>> {
        let fd = c_uint::try_from(fd).map_err(|_| EBADF)?;
        // SAFETY: The current task has a table of descriptors.
        let file = NonNull::new(unsafe { bindings::fget(fd) }).ok_or(EBADF)?;
        let held = FdRef {
            file,
            _object: PhantomData,
        };
        // SAFETY: `held` holds a reference; the operations of an open file do not change.
        let operations = unsafe { (*file.as_ptr()).f_op };
        match core::ptr::eq(operations, self.operations.get()) {
            true => Ok(held),
            false => Err(EBADF),
        }
    }

    /// Closes the calling program's descriptor `fd`. May sleep.
    ///
    /// # Errors
    ///
    /// As for [`Self::get`].
    pub fn close(&self, fd: c_int) -> Result {
        drop(self.get(fd)?);
        // Another thread may close it first, or open something else in its place, as with close(2).
        // SAFETY: The current task has a table of descriptors.
        to_result(unsafe { bindings::close_fd(fd as c_uint) })
    }
}

impl<T: Pollable> FdType<T> {
    /// As [`Self::new`], for objects whose descriptors can be polled.
    pub fn pollable(module: &'static ThisModule, name: &'static CStr) -> impl PinInit<Self> {
        Self::with(module, name, Some(poll::<T>), None)
    }
}

impl<T: Readable> FdType<T> {
    /// As [`Self::pollable`], for objects whose descriptors can be read, too.
    pub fn readable(module: &'static ThisModule, name: &'static CStr) -> impl PinInit<Self> {
        Self::with(module, name, Some(poll::<T>), Some(read::<T>))
    }
}

/// An object while it is used; it stays, also if its descriptor is closed.
pub struct FdRef<'a, T> {
    file: NonNull<bindings::file>,
    _object: PhantomData<&'a T>,
}

impl<T> Deref for FdRef<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: The file is open, and `get` has seen that it is of our kind: by the invariant of
        // `FdType` its private data is a `T`, shared until the last reference is gone.
        unsafe { &*(*self.file.as_ptr()).private_data.cast::<T>() }
    }
}

impl<T> Drop for FdRef<'_, T> {
    fn drop(&mut self) {
        // SAFETY: The reference is ours.
        unsafe { bindings::fput(self.file.as_ptr()) };
    }
}

/// # Safety
///
/// Called by the kernel with the last reference on a file of `FdType<T>`.
unsafe extern "C" fn release<T>(_inode: *mut bindings::inode, file: *mut bindings::file) -> c_int {
    // SAFETY: By the invariant of `FdType` the file owns a `T`; nobody uses it any more.
    drop(unsafe { KBox::from_raw((*file).private_data.cast::<T>()) });
    0
}

/// # Safety
///
/// `file` is an open file of `FdType<T>`; the kernel's read(2) calls this.
unsafe extern "C" fn read<T: Readable>(
    file: *mut bindings::file,
    to: *mut c_char,
    len: usize,
    _at: *mut bindings::loff_t,
) -> isize {
    // SAFETY: By the invariant of `FdType` the file owns a `T`, shared as long as it is open.
    let object = unsafe { &*(*file).private_data.cast::<T>() };
    // SAFETY: The file is open; its flags change by one store.
    let waits = unsafe { (&raw const (*file).f_flags).read_volatile() } & flags::O_NONBLOCK == 0;
    let mut writer = UserSlice::new(UserPtr::from_ptr(to.cast()), len).writer();
    match object.read(&mut writer, len, waits) {
        Ok(n) => isize::try_from(n).unwrap_or(isize::MAX),
        Err(e) => e.to_errno() as isize,
    }
}

/// # Safety
///
/// `file` is an open file of `FdType<T>`; `table` is what the kernel's poll passes.
unsafe extern "C" fn poll<T: Pollable>(
    file: *mut bindings::file,
    table: *mut bindings::poll_table_struct,
) -> bindings::__poll_t {
    // SAFETY: By the invariant of `FdType` the file owns a `T`, shared as long as it is open.
    let object = unsafe { &*(*file).private_data.cast::<T>() };
    // SAFETY: File and table are valid by the caller's promise. The queue lives as long as the
    // file, which the poll holds.
    unsafe { helpers::virgo_poll_wait(file, object.waiters().as_ptr(), table) };
    match object.is_readable() {
        true => (bindings::POLLIN | bindings::POLLRDNORM) as bindings::__poll_t,
        false => 0,
    }
}
