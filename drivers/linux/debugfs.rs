// SPDX-License-Identifier: GPL-2.0

//! Folders and files in debugfs.
//!
//! Differs from [`kernel::debugfs`] in that a file has an owner: an open descriptor of it keeps the
//! module loaded. The kernel looks at the file's operations once more when the last descriptor is
//! closed, and those are part of the module.
//!
//! As is usual with debugfs, a file that cannot be made is missing, and nobody is told.
//!
//! C header: [`include/linux/debugfs.h`](srctree/include/linux/debugfs.h)

use crate::helpers;
use core::marker::PhantomPinned;
use kernel::{
    bindings,
    fmt,
    prelude::*,
    seq_file::SeqFile,
    seq_print,
    sync::{
        Arc,
        SetOnce, //
    },
    types::Opaque,
    uaccess::{
        UserPtr,
        UserSlice,
        UserSliceReader, //
    }, //
};

/// Something in debugfs; it is removed when dropped.
///
/// # Invariants
///
/// The pointer is null, an error, or a dentry that only this object removes.
struct Entry(*mut bindings::dentry);

// SAFETY: The functions of debugfs may be called from any thread.
unsafe impl Send for Entry {}
// SAFETY: They do their own locking.
unsafe impl Sync for Entry {}

impl Drop for Entry {
    fn drop(&mut self) {
        // SAFETY: By the invariant it is ours; null and errors are passed over. Waits for the
        // operations on it that are under way.
        unsafe { bindings::debugfs_remove(self.0) };
    }
}

/// A folder. It is removed with the last of its handles and of what is in it.
#[derive(Clone)]
pub struct Dir(Arc<Folder>);

/// Fields are dropped in order: the parent goes last.
struct Folder {
    entry: Entry,
    _parent: Option<Dir>,
}

impl Dir {
    /// A folder in the root of debugfs. May sleep.
    ///
    /// # Errors
    ///
    /// [`ENOMEM`].
    pub fn new(name: &CStr) -> Result<Self> {
        Self::with_parent(name, None)
    }

    /// A folder in this one. May sleep.
    ///
    /// # Errors
    ///
    /// [`ENOMEM`].
    pub fn subdir(&self, name: &CStr) -> Result<Self> {
        Self::with_parent(name, Some(self.clone()))
    }

    fn with_parent(name: &CStr, parent: Option<Dir>) -> Result<Self> {
        let above = parent.as_ref().map_or(core::ptr::null_mut(), Dir::as_ptr);
        // SAFETY: The name ends with NUL; the parent is there, null, or an error that is passed on.
        // INVARIANT: Just created.
        let entry = Entry(unsafe { bindings::debugfs_create_dir(name.as_char_ptr(), above) });
        let folder = Folder {
            entry,
            _parent: parent,
        };
        Ok(Dir(Arc::new(folder, GFP_KERNEL)?))
    }

    fn as_ptr(&self) -> *mut bindings::dentry {
        self.0.entry.0
    }
}

/// What is in a file.
pub trait Content: Send + Sync + 'static {
    /// Whether the file can be written to.
    const WRITABLE: bool = false;

    /// Shows it. May sleep.
    fn show(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result;

    /// Takes what is written. May sleep.
    ///
    /// # Errors
    ///
    /// Those of who writes.
    fn write(&self, _text: &mut UserSliceReader) -> Result {
        Err(EINVAL)
    }
}

/// A file for root. It is removed when dropped; then nobody uses its content any more.
///
/// Fields are dropped in order: the file goes before what it refers to.
///
/// # Invariants
///
/// The private data of the file's inode is the `DebugFile<C>` itself.
#[pin_data]
pub struct DebugFile<C: Content> {
    entry: SetOnce<Entry>,
    #[pin]
    operations: Opaque<bindings::file_operations>,
    module: &'static ThisModule,
    content: C,
    dir: Dir,
    #[pin]
    _pin: PhantomPinned,
}

// SAFETY: The operations do not change; the rest is `Send`.
unsafe impl<C: Content> Send for DebugFile<C> {}
// SAFETY: As above, and the rest is `Sync`.
unsafe impl<C: Content> Sync for DebugFile<C> {}

impl<C: Content> DebugFile<C> {
    /// The file `name` in `dir`, of `module`, which must hold this in its state: it cannot be
    /// unloaded while the file is open.
    pub fn new(
        module: &'static ThisModule,
        dir: &Dir,
        name: &'static CStr,
        content: C,
    ) -> impl PinInit<Self, Error> {
        let dir = dir.clone();
        let operations = bindings::file_operations {
            owner: module.as_ptr(),
            open: Some(open::<C>),
            read: Some(bindings::seq_read),
            write: if C::WRITABLE { Some(write::<C>) } else { None },
            llseek: Some(bindings::seq_lseek),
            release: Some(bindings::single_release),
            ..Default::default()
        };
        try_pin_init!(Self {
            entry: SetOnce::new(),
            operations: Opaque::new(operations),
            module,
            content,
            dir,
            _pin: PhantomPinned,
        }? Error)
        .pin_chain(move |this| {
            // Shared from here on.
            let this = &*this;
            // SAFETY: The name ends with NUL. `this` is pinned, and removes the file before it goes;
            // the module cannot go while the file is open.
            // INVARIANT: Just created, with `this` as its private data.
            let entry = Entry(unsafe {
                bindings::debugfs_create_file_full(
                    name.as_char_ptr(),
                    if C::WRITABLE { 0o600 } else { 0o400 },
                    this.dir.as_ptr(),
                    core::ptr::from_ref(this).cast_mut().cast(),
                    core::ptr::null(),
                    this.operations.get(),
                )
            });
            this.entry.populate(entry);
            Ok(())
        })
    }
}

/// # Safety
///
/// Called by debugfs for the inode and a new descriptor of the file of a `DebugFile<C>`, which stays
/// meanwhile.
unsafe extern "C" fn open<C: Content>(
    inode: *mut bindings::inode,
    file: *mut bindings::file,
) -> c_int {
    // SAFETY: The inode is valid; by the invariant of `DebugFile` that is its private data.
    let this = unsafe { &*(*inode).i_private.cast::<DebugFile<C>>() };
    // The initialisation of a module that is not live may fail, and then nothing keeps it.
    // SAFETY: The pointer is that of a module, by the type's promise.
    if !unsafe { helpers::virgo_module_is_live(this.module.as_ptr()) } {
        return ENODEV.to_errno();
    }
    // SAFETY: The descriptor is new. `show` is called with the private data while debugfs keeps the
    // file from being removed.
    unsafe { bindings::single_open(file, Some(show::<C>), (*inode).i_private) }
}

struct Shown<'a, C>(&'a C);

impl<C: Content> fmt::Display for Shown<'_, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.show(f)
    }
}

/// # Safety
///
/// `seq` is that of an open descriptor of the file of a `DebugFile<C>`, which stays meanwhile.
unsafe extern "C" fn show<C: Content>(seq: *mut bindings::seq_file, _: *mut c_void) -> c_int {
    // SAFETY: `open` has put it there.
    let this = unsafe { &*(*seq).private.cast::<DebugFile<C>>() };
    // SAFETY: The caller has locked it.
    let seq = unsafe { SeqFile::from_raw(seq) };
    seq_print!(seq, "{}", Shown(&this.content));
    0
}

/// # Safety
///
/// `file` is an open descriptor of the file of a `DebugFile<C>`, which stays meanwhile.
unsafe extern "C" fn write<C: Content>(
    file: *mut bindings::file,
    text: *const c_char,
    len: usize,
    _at: *mut bindings::loff_t,
) -> isize {
    // SAFETY: `single_open` has put a `seq_file` there, and `open` the `DebugFile<C>` into that.
    let this = unsafe {
        let seq = (*file).private_data.cast::<bindings::seq_file>();
        &*(*seq).private.cast::<DebugFile<C>>()
    };
    let text = UserPtr::from_ptr(text.cast_mut().cast());
    match this.content.write(&mut UserSlice::new(text, len).reader()) {
        Ok(()) => len as isize,
        Err(e) => e.to_errno() as isize,
    }
}
