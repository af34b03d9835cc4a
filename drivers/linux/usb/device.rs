// SPDX-License-Identifier: GPL-2.0

//! USB devices and their endpoints, as a driver sees them.
//!
//! C header: [`include/linux/usb.h`](srctree/include/linux/usb.h)

use crate::helpers;
use core::{
    marker::PhantomData,
    ptr::NonNull, //
};
use kernel::{
    bindings,
    error::to_result,
    prelude::*, //
};

/// A counted reference on a USB device: its memory stays, also when it is unplugged.
///
/// # Invariants
///
/// The pointer is a device on which this holds a reference.
pub struct UsbDevice(NonNull<bindings::usb_device>);

// SAFETY: References on devices may be used and given back by any thread.
unsafe impl Send for UsbDevice {}
// SAFETY: With a shared reference only functions are called that do their own locking.
unsafe impl Sync for UsbDevice {}

/// Where a buffer is on its way between a program and a device; each stage is a tracepoint.
#[derive(Clone, Copy)]
pub enum BufferStage {
    /// The driver is bound.
    Probe,
    /// Copied from or to a program.
    Copy,
    /// Made part of an URB.
    Fill,
    /// Handed to the host controller.
    Submit,
    /// Back from there.
    Complete,
}

impl UsbDevice {
    /// # Safety
    ///
    /// `device` is a valid device.
    pub(crate) unsafe fn get(device: *mut bindings::usb_device) -> Result<Self> {
        // SAFETY: By the caller's promise.
        let device = unsafe { bindings::usb_get_dev(device) };
        // INVARIANT: The reference was just taken.
        Ok(UsbDevice(NonNull::new(device).ok_or(ENODEV)?))
    }

    pub(crate) fn as_ptr(&self) -> *mut bindings::usb_device {
        self.0.as_ptr()
    }

    /// The numbers of its bus and on the bus, by which captures and `lsusb` call it.
    pub fn numbers(&self) -> (u16, u8) {
        let mut bus = 0;
        // SAFETY: By the invariant the device is valid; its bus is, as long as there are devices.
        let number = unsafe { helpers::virgo_usb_number(self.as_ptr(), &mut bus) };
        (bus, u8::try_from(number).unwrap_or(0))
    }

    /// Ends a stall of an endpoint. Only while the driver is bound. May sleep, for as long as a control transfer
    /// may take (5 s).
    ///
    /// # Errors
    ///
    /// Those of the device.
    pub fn clear_halt(&self, endpoint: &Endpoint) -> Result {
        // SAFETY: By the invariant the device is valid.
        to_result(unsafe { helpers::virgo_usb_clear_halt(self.as_ptr(), &endpoint.to_helper()) })
    }

    /// Tells the tracepoint of `stage`. Any context.
    pub fn trace(
        &self,
        stage: BufferStage,
        endpoint: &Endpoint,
        data: &[u8],
        error: Option<Error>,
    ) {
        let stage = match stage {
            BufferStage::Probe => helpers::virgo_usb_stage_VIRGO_USB_PROBE,
            BufferStage::Copy => helpers::virgo_usb_stage_VIRGO_USB_COPY,
            BufferStage::Fill => helpers::virgo_usb_stage_VIRGO_USB_FILL,
            BufferStage::Submit => helpers::virgo_usb_stage_VIRGO_USB_SUBMIT,
            BufferStage::Complete => helpers::virgo_usb_stage_VIRGO_USB_COMPLETE,
        };
        // SAFETY: By the invariant the device is valid; `data` is for the length of the call.
        unsafe {
            helpers::virgo_usb_trace(
                stage,
                self.as_ptr(),
                endpoint.address(),
                data.as_ptr().cast(),
                u32::try_from(data.len()).unwrap_or(u32::MAX),
                error.map_or(0, |e| e.to_errno()),
            )
        };
    }
}

impl Clone for UsbDevice {
    fn clone(&self) -> Self {
        // INVARIANT: A reference of its own.
        // SAFETY: By the invariant the device is valid.
        unsafe { bindings::usb_get_dev(self.as_ptr()) };
        UsbDevice(self.0)
    }
}

impl Drop for UsbDevice {
    fn drop(&mut self) {
        // SAFETY: The reference is ours.
        unsafe { bindings::usb_put_dev(self.as_ptr()) };
    }
}

/// A bulk or interrupt endpoint.
#[derive(Clone, Copy)]
pub struct Endpoint {
    address: u8,
    interval: u8,
    interrupt: bool,
    max_packet: u16,
}

impl Endpoint {
    /// Its number, with 0x80 for one that sends to the host.
    pub fn address(&self) -> u8 {
        self.address
    }

    /// Whether it sends to the host.
    pub fn is_input(&self) -> bool {
        self.address & 0x80 != 0
    }

    /// Bytes that it transfers at once; not 0.
    pub fn max_packet(&self) -> usize {
        usize::from(self.max_packet).max(1)
    }

    pub(crate) fn to_helper(self) -> helpers::virgo_usb_endpoint {
        helpers::virgo_usb_endpoint {
            address: self.address,
            interval: self.interval,
            interrupt: self.interrupt,
            max_packet: self.max_packet,
        }
    }
}

/// An interface whose driver is being bound.
///
/// # Invariants
///
/// The pointer is an interface that the core does not free before `'a` is over.
pub struct Interface<'a> {
    interface: NonNull<bindings::usb_interface>,
    _callback: PhantomData<&'a ()>,
}

impl Interface<'_> {
    /// # Safety
    ///
    /// `interface` is valid and stays for as long as the caller lets this live.
    pub(crate) unsafe fn new(interface: *mut bindings::usb_interface) -> Result<Self> {
        // INVARIANT: By the caller's promise.
        Ok(Interface {
            interface: NonNull::new(interface).ok_or(ENODEV)?,
            _callback: PhantomData,
        })
    }

    /// The device that it is part of.
    ///
    /// # Errors
    ///
    /// None that happens.
    pub fn device(&self) -> Result<UsbDevice> {
        // SAFETY: By the invariant the interface is valid, and so is its device.
        unsafe { UsbDevice::get(bindings::interface_to_usbdev(self.interface.as_ptr())) }
    }

    /// The number that its descriptor says.
    pub fn number(&self) -> u8 {
        // SAFETY: By the invariant it is valid. An interface has at least one setting.
        unsafe { helpers::virgo_usb_interface_number(self.interface.as_ptr()) }
    }

    /// The first bulk endpoint that sends to the host, or else the first interrupt endpoint.
    pub fn input(&self) -> Option<Endpoint> {
        self.find(true)
    }

    /// As [`Self::input`], of those that the host sends to.
    pub fn output(&self) -> Option<Endpoint> {
        self.find(false)
    }

    fn find(&self, input: bool) -> Option<Endpoint> {
        let mut found = helpers::virgo_usb_endpoint::default();
        // SAFETY: By the invariant it is valid; its setting does not change while a driver is bound.
        let is_there =
            unsafe { helpers::virgo_usb_find_endpoint(self.interface.as_ptr(), input, &mut found) };
        is_there.then_some(Endpoint {
            address: found.address,
            interval: found.interval,
            interrupt: found.interrupt,
            max_packet: found.max_packet,
        })
    }
}
