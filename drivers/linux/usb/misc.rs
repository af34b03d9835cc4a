// SPDX-License-Identifier: GPL-2.0

//! Character devices that belong to no hardware.
//!
//! Differs from [`kernel::miscdevice`] in that a program can poll, and that the device has the state of its module.
//!
//! C header: [`include/linux/miscdevice.h`](srctree/include/linux/miscdevice.h)

use crate::{
    helpers,
    open_file::{
        attach,
        operations,
        OpenFile, //
    }, //
};
use core::marker::PhantomPinned;
use kernel::{
    bindings,
    container_of,
    error::to_result,
    prelude::*,
    sync::{
        atomic::{
            Atomic,
            Relaxed, //
        },
        Arc, //
    },
    types::Opaque, //
};

/// What stands behind a device.
pub trait MiscState: Send + Sync + Sized + 'static {
    /// What a program opens.
    type File: OpenFile;

    /// A program opens it. May sleep.
    ///
    /// # Errors
    ///
    /// Those of open(2).
    fn open(state: &Arc<Self>) -> Result<Self::File>;
}

/// A device for root, as long as it is there.
#[pin_data(PinnedDrop)]
pub struct Misc<S: MiscState> {
    #[pin]
    device: Opaque<bindings::miscdevice>,
    #[pin]
    operations: Opaque<bindings::file_operations>,
    state: Arc<S>,
    registered: Atomic<bool>,
    #[pin]
    _pin: PhantomPinned,
}

// SAFETY: What the kernel changes of `device` it locks; the rest does not change.
unsafe impl<S: MiscState> Send for Misc<S> {}
// SAFETY: As above.
unsafe impl<S: MiscState> Sync for Misc<S> {}

impl<S: MiscState> Misc<S> {
    /// Registers the device `/dev/NAME`. May sleep.
    ///
    /// # Errors
    ///
    /// [`EBUSY`] if there are no device numbers left, [`ENOMEM`].
    pub fn register(
        owner: &'static ThisModule,
        name: &'static CStr,
        state: Arc<S>,
    ) -> impl PinInit<Self, Error> {
        let device = bindings::miscdevice {
            minor: bindings::MISC_DYNAMIC_MINOR as c_int,
            name: name.as_char_ptr(),
            mode: 0o600,
            ..Default::default()
        };
        try_pin_init!(Self {
            device <- Opaque::new(device),
            operations <- Opaque::new(operations::<S::File>(owner, open::<S>)),
            state,
            registered: Atomic::new(false),
            _pin: PhantomPinned,
        }? Error)
        .pin_chain(|this| {
            // Shared from here on.
            let this = &*this;
            // SAFETY: `this` is pinned, and takes the device back before it goes. Name and operations
            // live as long.
            to_result(unsafe {
                (*this.device.get()).fops = this.operations.get();
                bindings::misc_register(this.device.get())
            })?;
            this.registered.store(true, Relaxed);
            Ok(())
        })
    }
}

#[pinned_drop]
impl<S: MiscState> PinnedDrop for Misc<S> {
    fn drop(self: Pin<&mut Self>) {
        // What could not be registered is dropped, too.
        if self.registered.load(Relaxed) {
            // SAFETY: `register` has registered it; on return no `open` is under way.
            unsafe { bindings::misc_deregister(self.device.get()) };
        }
    }
}

/// # Safety
///
/// Called by the kernel, which holds off `misc_deregister`, for a new file of a `Misc<S>`.
unsafe extern "C" fn open<S: MiscState>(
    _inode: *mut bindings::inode,
    file: *mut bindings::file,
) -> c_int {
    // The initialisation of a module that is not live may fail, and then nothing keeps it.
    // SAFETY: The file is valid, and its operations have an owner.
    if !unsafe { helpers::virgo_usb_owner_is_live(file) } {
        return ENODEV.to_errno();
    }
    // SAFETY: By the caller's promise the operations are embedded in a `Misc<S>`, which the file keeps
    // by its module.
    let this = unsafe { &*container_of!(Opaque::cast_from((*file).f_op), Misc<S>, operations) };
    // SAFETY: The file is new.
    let opened = S::open(&this.state).and_then(|object| unsafe { attach(file, object) });
    match opened {
        Ok(()) => 0,
        Err(e) => e.to_errno(),
    }
}
