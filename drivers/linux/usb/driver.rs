// SPDX-License-Identifier: GPL-2.0

//! Drivers of USB interfaces, with a character device for each interface that is bound.
//!
//! Differs from [`kernel::usb`] in that programs can open the device, and that a bound interface is
//! suspended, resumed and reset without being unbound.
//!
//! C header: [`include/linux/usb.h`](srctree/include/linux/usb.h)

use crate::{
    device::Interface,
    helpers,
    open_file::{
        attach,
        operations,
        OpenFile, //
    }, //
};
use core::{
    marker::PhantomPinned,
    ptr::null_mut, //
};
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
        Arc,
        ArcBorrow, //
    },
    types::{
        ForeignOwnable,
        Opaque, //
    }, //
};

/// A driver's state of one interface.
pub trait BoundInterface: Send + Sync + Sized + 'static {
    /// State of the module.
    type Module: Send + Sync + 'static;

    /// What a program opens.
    type File: OpenFile;

    /// Binds an interface. May sleep.
    ///
    /// # Errors
    ///
    /// Why it cannot be.
    fn bind(module: &Self::Module, interface: &Interface<'_>) -> Result<Arc<Self>>;

    /// The interface has the device `minor` of the names.
    fn named(&self, module: &Self::Module, minor: u8);

    /// A program opens the device; never after [`Self::unbind`] has begun. May sleep.
    ///
    /// # Errors
    ///
    /// Those of open(2).
    fn open(self: ArcBorrow<'_, Self>) -> Result<Self::File>;

    /// The interface is gone, or is to be given up. On return there are no transfers, nor any later. May
    /// sleep, but not for programs.
    fn unbind(&self);

    /// On return there are no transfers, nor control transfers, until [`Self::resume`]. May sleep, but not
    /// for programs.
    fn suspend(&self);

    /// Transfers may go on. `was_reset`: the device has forgotten what it was told, and its endpoints are not
    /// stalled any more.
    fn resume(&self, was_reset: bool);
}

/// A device id: vendor and product.
pub type DeviceId = (u16, u16);

/// A driver, as long as it is there.
///
/// # Invariants
///
/// The private data of an interface that is bound to `driver` is an `Arc<B>`, from before its device
/// can be opened until after that.
#[pin_data(PinnedDrop)]
pub struct UsbDriver<B: BoundInterface> {
    #[pin]
    driver: Opaque<bindings::usb_driver>,
    #[pin]
    class: Opaque<bindings::usb_class_driver>,
    /// The device that is bound without being asked to, and the end of the list.
    #[pin]
    ids: Opaque<[bindings::usb_device_id; 2]>,
    #[pin]
    operations: Opaque<bindings::file_operations>,
    module: B::Module,
    registered: Atomic<bool>,
    #[pin]
    _pin: PhantomPinned,
}

// SAFETY: What the kernel changes of `driver` it locks; the rest does not change.
unsafe impl<B: BoundInterface> Send for UsbDriver<B> {}
// SAFETY: As above.
unsafe impl<B: BoundInterface> Sync for UsbDriver<B> {}

impl<B: BoundInterface> UsbDriver<B> {
    /// Registers the driver `name`, whose devices are called by `format`, which contains `%d` once.
    /// Interfaces may be bound before this returns. May sleep.
    ///
    /// # Errors
    ///
    /// [`ENOMEM`], [`EBUSY`] if there is a driver of that name, [`ENODEV`] without USB.
    pub fn register(
        owner: &'static ThisModule,
        name: &'static CStr,
        format: &'static CStr,
        id: DeviceId,
        module: B::Module,
    ) -> impl PinInit<Self, Error> {
        let driver = bindings::usb_driver {
            name: name.as_char_ptr(),
            probe: Some(probe::<B>),
            disconnect: Some(disconnect::<B>),
            suspend: Some(suspend::<B>),
            resume: Some(resume::<B>),
            reset_resume: Some(after_reset::<B>),
            pre_reset: Some(before_reset::<B>),
            post_reset: Some(after_reset::<B>),
            ..Default::default()
        };
        let class = bindings::usb_class_driver {
            // The kernel only reads it.
            name: format.as_char_ptr().cast_mut(),
            ..Default::default()
        };
        let ids = [
            bindings::usb_device_id {
                match_flags: bindings::USB_DEVICE_ID_MATCH_DEVICE as u16,
                idVendor: id.0,
                idProduct: id.1,
                ..Default::default()
            },
            bindings::usb_device_id::default(),
        ];
        try_pin_init!(Self {
            driver <- Opaque::new(driver),
            class <- Opaque::new(class),
            ids <- Opaque::new(ids),
            operations <- Opaque::new(operations::<B::File>(owner, open::<B>)),
            module,
            registered: Atomic::new(false),
            _pin: PhantomPinned,
        }? Error)
        .pin_chain(move |this| {
            // Shared from here on.
            let this = &*this;
            // SAFETY: `this` is pinned, and nobody else knows it yet. The names live for ever.
            to_result(unsafe {
                (*this.driver.get()).id_table = this.ids.get().cast();
                (*this.class.get()).fops = this.operations.get();
                bindings::usb_register_driver(this.driver.get(), owner.as_ptr(), name.as_char_ptr())
            })?;
            this.registered.store(true, Relaxed);
            Ok(())
        })
    }

    /// # Safety
    ///
    /// `interface` is bound to the driver of an `UsbDriver<B>`, or being so.
    unsafe fn of<'a>(interface: *mut bindings::usb_interface) -> &'a Self {
        // SAFETY: By the caller's promise the interface's driver is embedded in an `UsbDriver<B>`, which
        // waits for all callbacks before it goes.
        unsafe {
            let driver = (*interface).dev.driver;
            let driver = container_of!(driver, bindings::usb_driver, driver);
            &*container_of!(Opaque::cast_from(driver.cast_const()), Self, driver)
        }
    }
}

#[pinned_drop]
impl<B: BoundInterface> PinnedDrop for UsbDriver<B> {
    fn drop(self: Pin<&mut Self>) {
        // What could not be registered is dropped, too.
        if self.registered.load(Relaxed) {
            // SAFETY: `register` has registered it. Unbinds all interfaces.
            unsafe { bindings::usb_deregister(self.driver.get()) };
        }
    }
}

/// The state of `interface`.
///
/// # Safety
///
/// `interface` is bound to the driver of an `UsbDriver<B>`, and stays so for `'a`.
unsafe fn state<'a, B: BoundInterface>(
    interface: *mut bindings::usb_interface,
) -> Option<ArcBorrow<'a, B>> {
    // SAFETY: By the caller's promise the interface is valid.
    let data = unsafe { bindings::dev_get_drvdata(&raw const (*interface).dev) };
    if data.is_null() {
        return None;
    }
    // SAFETY: By the invariant of `UsbDriver` it is what `probe` has put there.
    Some(unsafe { Arc::<B>::borrow(data) })
}

/// # Safety
///
/// Called by the core for an interface that is being bound to the driver of an `UsbDriver<B>`.
unsafe extern "C" fn probe<B: BoundInterface>(
    interface: *mut bindings::usb_interface,
    _id: *const bindings::usb_device_id,
) -> c_int {
    let bind = || {
        // SAFETY: By the caller's promise; the interface stays for this call.
        let (this, seen) = unsafe { (UsbDriver::<B>::of(interface), Interface::new(interface)?) };
        let state = B::bind(&this.module, &seen)?;
        let data = state.clone().into_foreign();
        // SAFETY: The interface is valid. INVARIANT: Before its device can be opened.
        unsafe { bindings::dev_set_drvdata(&raw mut (*interface).dev, data) };
        // SAFETY: As above; `class` lives as long as the driver is registered.
        let named = to_result(unsafe { bindings::usb_register_dev(interface, this.class.get()) });
        if let Err(e) = named {
            state.unbind();
            // SAFETY: Its device could not be opened, so nobody has seen `data`.
            unsafe {
                bindings::dev_set_drvdata(&raw mut (*interface).dev, null_mut());
                drop(Arc::<B>::from_foreign(data));
            }
            return Err(e);
        }
        // SAFETY: The interface is valid.
        let minor = unsafe { (*interface).minor };
        state.named(&this.module, u8::try_from(minor).unwrap_or(u8::MAX));
        Ok(())
    };
    match bind() {
        Ok(()) => 0,
        Err(e) => e.to_errno(),
    }
}

/// # Safety
///
/// Called by the core for an interface that is bound to the driver of an `UsbDriver<B>`.
unsafe extern "C" fn disconnect<B: BoundInterface>(interface: *mut bindings::usb_interface) {
    // SAFETY: By the caller's promise. On return from `usb_deregister_dev` no `open` is under way nor
    // will be.
    let data = unsafe {
        let this = UsbDriver::<B>::of(interface);
        bindings::usb_deregister_dev(interface, this.class.get());
        let data = bindings::dev_get_drvdata(&raw const (*interface).dev);
        bindings::dev_set_drvdata(&raw mut (*interface).dev, null_mut());
        data
    };
    if !data.is_null() {
        // SAFETY: By the invariant of `UsbDriver` it is what `probe` has put there.
        let state = unsafe { Arc::<B>::from_foreign(data) };
        state.unbind();
    }
}

/// # Safety
///
/// As for [`disconnect`].
unsafe extern "C" fn suspend<B: BoundInterface>(
    interface: *mut bindings::usb_interface,
    _message: bindings::pm_message_t,
) -> c_int {
    // SAFETY: As for this function.
    unsafe { before_reset::<B>(interface) }
}

/// # Safety
///
/// As for [`disconnect`].
unsafe extern "C" fn before_reset<B: BoundInterface>(
    interface: *mut bindings::usb_interface,
) -> c_int {
    // SAFETY: By the caller's promise; the device's lock is held, so it is not unbound meanwhile.
    if let Some(state) = unsafe { state::<B>(interface) } {
        state.suspend();
    }
    0
}

/// # Safety
///
/// As for [`disconnect`].
unsafe extern "C" fn resume<B: BoundInterface>(interface: *mut bindings::usb_interface) -> c_int {
    // SAFETY: As in `before_reset`.
    if let Some(state) = unsafe { state::<B>(interface) } {
        state.resume(false);
    }
    0
}

/// # Safety
///
/// As for [`disconnect`].
unsafe extern "C" fn after_reset<B: BoundInterface>(
    interface: *mut bindings::usb_interface,
) -> c_int {
    // SAFETY: As in `before_reset`.
    if let Some(state) = unsafe { state::<B>(interface) } {
        state.resume(true);
    }
    0
}

/// # Safety
///
/// Called by the core, which holds off `usb_deregister_dev`, for a new file of a device of an
/// `UsbDriver<B>`.
unsafe extern "C" fn open<B: BoundInterface>(
    inode: *mut bindings::inode,
    file: *mut bindings::file,
) -> c_int {
    let opened = || {
        // The initialisation of a module that is not live may fail, and then nothing keeps it.
        // SAFETY: The file is valid, and its operations have an owner.
        if !unsafe { helpers::virgo_usb_owner_is_live(file) } {
            return Err(ENODEV);
        }
        // SAFETY: By the caller's promise the operations are embedded in an `UsbDriver<B>`, which the
        // file keeps by its module. While the core holds off `usb_deregister_dev` the interface of a
        // minor number stays bound.
        unsafe {
            let this = &*container_of!(Opaque::cast_from((*file).f_op), UsbDriver<B>, operations);
            let interface = helpers::virgo_usb_opened(this.driver.get(), inode);
            if interface.is_null() {
                return Err(ENODEV);
            }
            let state = state::<B>(interface).ok_or(ENODEV)?;
            attach(file, B::open(state)?)
        }
    };
    match opened() {
        Ok(()) => 0,
        Err(e) => e.to_errno(),
    }
}
