// SPDX-License-Identifier: GPL-2.0

//! Descriptors that programs can poll.
//!
//! C header: [`include/linux/anon_inodes.h`](srctree/include/linux/anon_inodes.h)

use crate::{
    helpers,
    wait::WaitQueue, //
};
use core::{
    marker::PhantomData,
    ptr::NonNull, //
};
use kernel::{
    bindings,
    prelude::*,
    sync::Arc,
    types::{
        ForeignOwnable,
        Opaque, //
    }, //
};

/// What stands behind a descriptor.
pub trait Pollable: Send + Sync + 'static {
    /// Whether the descriptor is readable. Does not sleep.
    fn is_readable(&self) -> bool;

    /// Who waits for that.
    fn waiters(&self) -> &WaitQueue;
}

/// A kind of descriptors. While one is open the module is pinned.
///
/// # Invariants
///
/// `operations` does not change. The private data of each file with these operations is an
/// `Arc<T>`, which the file owns.
pub struct Descriptors<T: Pollable> {
    operations: Opaque<bindings::file_operations>,
    _of: PhantomData<T>,
}

// SAFETY: The operations do not change.
unsafe impl<T: Pollable> Send for Descriptors<T> {}
// SAFETY: As above.
unsafe impl<T: Pollable> Sync for Descriptors<T> {}

impl<T: Pollable> Descriptors<T> {
    /// Descriptors of `module`, which must hold this in its state: then it outlives the files.
    ///
    /// # Errors
    ///
    /// [`ENOMEM`].
    pub fn new(module: &'static ThisModule) -> Result<Pin<KBox<Self>>> {
        let operations = bindings::file_operations {
            owner: module.as_ptr(),
            poll: Some(Self::poll),
            release: Some(Self::release),
            ..Default::default()
        };
        // INVARIANT: Set here and nowhere else.
        Ok(KBox::pin(
            Descriptors {
                operations: Opaque::new(operations),
                _of: PhantomData,
            },
            GFP_KERNEL,
        )?)
    }

    /// A new descriptor of the current task for `data`. It is closed on exec. `name` is for
    /// `/proc`.
    ///
    /// # Errors
    ///
    /// [`EMFILE`], [`ENFILE`], [`ENOMEM`].
    pub fn open(self: Pin<&Self>, name: &'static CStr, data: Arc<T>) -> Result<usize> {
        let data = data.into_foreign();
        // SAFETY: The operations are pinned, and live as long as the module, which each file pins.
        // INVARIANT: The file owns the `Arc` from here on.
        let fd = unsafe { helpers::virgo_anon_fd(name.as_char_ptr(), self.operations.get(), data) };
        usize::try_from(fd).map_err(|_| {
            // SAFETY: There is no file, so the reference is ours still.
            drop(unsafe { <Arc<T> as ForeignOwnable>::from_foreign(data) });
            Error::from_errno(fd)
        })
    }

    /// What stands behind descriptor `fd` of the current task.
    ///
    /// # Errors
    ///
    /// [`EBADF`] if it is no descriptor of this kind.
    pub fn get(self: Pin<&Self>, fd: c_int) -> Result<Arc<T>> {
        // SAFETY: Looks the number up; the operations are only compared.
        let file = unsafe { helpers::virgo_file_get(fd, self.operations.get()) };
        let file = NonNull::new(file).ok_or(EBADF)?;
        // SAFETY: By the invariant the data is an `Arc<T>`, which the file, held here, owns.
        let data = unsafe {
            let data = helpers::virgo_file_data(file.as_ptr());
            Arc::from(<Arc<T> as ForeignOwnable>::borrow(data))
        };
        // SAFETY: `virgo_file_get` has taken the reference.
        unsafe { bindings::fput(file.as_ptr()) };
        Ok(data)
    }

    /// # Safety
    ///
    /// `file` is an open file with these operations; `table` is what the kernel's poll passes.
    unsafe extern "C" fn poll(
        file: *mut bindings::file,
        table: *mut bindings::poll_table_struct,
    ) -> bindings::__poll_t {
        // SAFETY: By the invariant the data is an `Arc<T>`, which lives as long as the file.
        let data = unsafe { <Arc<T> as ForeignOwnable>::borrow(helpers::virgo_file_data(file)) };
        // SAFETY: File and table are valid by the caller's promise. The queue lives as long as the
        // file, which the poll holds.
        unsafe { helpers::virgo_poll_wait(file, data.waiters().as_ptr(), table) };
        match data.is_readable() {
            true => (bindings::POLLIN | bindings::POLLRDNORM) as bindings::__poll_t,
            false => 0,
        }
    }

    /// # Safety
    ///
    /// `file` is a file with these operations that nobody else uses any more.
    unsafe extern "C" fn release(_inode: *mut bindings::inode, file: *mut bindings::file) -> c_int {
        // SAFETY: By the invariant the file owns the reference, and this is its end.
        drop(unsafe { <Arc<T> as ForeignOwnable>::from_foreign(helpers::virgo_file_data(file)) });
        0
    }
}
