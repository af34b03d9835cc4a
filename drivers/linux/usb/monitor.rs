// SPDX-License-Identifier: GPL-2.0

//! What all URBs of this machine transfer, seen beside the drivers.
//!
//! C side: `monitor.c`, which says how the kernel's monitor slot is shared and given back.

use crate::helpers;
pub use crate::helpers::virgo_usb_packet as PacketHeader;
use core::{
    marker::PhantomPinned,
    mem::offset_of, //
};
use kernel::{
    bindings,
    error::to_result,
    prelude::*,
    types::Opaque, //
};
use virgo_proto::usb::{
    ISO_DESCRIPTOR,
    MAX_DESCRIPTORS, //
};

const _: () = assert!(helpers::VIRGO_USB_ISO_MAX * ISO_DESCRIPTOR == MAX_DESCRIPTORS);

/// Taps that there may be at once.
pub const TAPS: u64 = helpers::VIRGO_USB_TAPS as u64;

/// An event: an URB was submitted, is complete, or was refused.
pub struct UrbEvent<'a> {
    header: &'a PacketHeader,
    urb: *const bindings::urb,
}

impl UrbEvent<'_> {
    /// What captures say of it; `data_len` is what [`Self::copy`] can copy.
    pub fn header(&self) -> &PacketHeader {
        self.header
    }

    /// The header of a packet with only `len` bytes behind it.
    pub fn header_bytes(&self, len: u32) -> [u8; size_of::<PacketHeader>()] {
        let mut bytes = [0; size_of::<PacketHeader>()];
        // SAFETY: Both have the same size, and the structure has no padding: monitor.c asserts that its
        // size is the sum of its fields'.
        unsafe {
            core::ptr::from_ref(self.header)
                .cast::<u8>()
                .copy_to_nonoverlapping(bytes.as_mut_ptr(), bytes.len())
        };
        let field = offset_of!(PacketHeader, data_len);
        if let Some(field) = bytes.get_mut(field..field + size_of::<u32>()) {
            field.copy_from_slice(&len.to_ne_bytes());
        }
        bytes
    }

    /// Fills `to` with what is behind the header, from `from` on: descriptors of isochronous packets, then
    /// data. Returns how many bytes there were. Does not sleep.
    pub fn copy(&self, from: u32, to: &mut [u8]) -> u32 {
        let left = self.header.data_len.saturating_sub(from);
        let len = u32::try_from(to.len()).unwrap_or(u32::MAX).min(left);
        if len == 0 {
            return 0;
        }
        // SAFETY: The URB is valid during the event; `to` takes `len` bytes.
        unsafe { helpers::virgo_usb_copy(self.urb, self.header, from, to.as_mut_ptr().cast(), len) }
    }
}

/// Who is told of all events.
pub trait UrbObserver: Send + Sync + 'static {
    /// Called in any context, also on several processors at once: does not sleep.
    fn event(&self, event: &UrbEvent<'_>);
}

/// Has an observer told until this is dropped. Dropping may sleep, for as long as the kernel's
/// grace periods take.
#[pin_data(PinnedDrop)]
pub struct Tap<O: UrbObserver> {
    #[pin]
    tap: Opaque<helpers::virgo_usb_tap>,
    observer: O,
    #[pin]
    _pin: PhantomPinned,
}

// SAFETY: The tap does not change; the observer is `Send`.
unsafe impl<O: UrbObserver> Send for Tap<O> {}
// SAFETY: As above, and `Sync`.
unsafe impl<O: UrbObserver> Sync for Tap<O> {}

impl<O: UrbObserver> Tap<O> {
    /// Begins to tell `observer`. May sleep.
    ///
    /// # Errors
    ///
    /// [`EBUSY`] if another module, such as usbmon, has the kernel's monitor slot; [`EUSERS`] if there
    /// are too many; [`EOPNOTSUPP`] if the kernel cannot; [`EINTR`] when the task is killed.
    pub fn new(observer: O) -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            tap <- Opaque::new(helpers::virgo_usb_tap::default()),
            observer,
            _pin: PhantomPinned,
        }? Error)
        .pin_chain(|this| {
            // Shared from here on.
            let this = &*this;
            // SAFETY: `this` is pinned, and is removed before it goes.
            to_result(unsafe {
                *this.tap.get() = helpers::virgo_usb_tap {
                    event: Some(event::<O>),
                    data: core::ptr::from_ref(&this.observer).cast_mut().cast(),
                    added: false,
                };
                helpers::virgo_usb_tap_add(this.tap.get())
            })
        })
    }

    /// The observer.
    pub fn observer(&self) -> &O {
        &self.observer
    }
}

#[pinned_drop]
impl<O: UrbObserver> PinnedDrop for Tap<O> {
    fn drop(self: Pin<&mut Self>) {
        // SAFETY: It was added, or that has failed. After this it is not used.
        unsafe { helpers::virgo_usb_tap_remove(self.tap.get()) };
    }
}

/// # Safety
///
/// Called by monitor.c for the tap of a `Tap<O>`, which is alive; the packet and the URB are valid.
unsafe extern "C" fn event<O: UrbObserver>(
    observer: *mut c_void,
    packet: *const PacketHeader,
    urb: *const bindings::urb,
) {
    // SAFETY: By the caller's promise; `Tap::new` has set the first argument.
    let (observer, header) = unsafe { (&*observer.cast::<O>(), &*packet) };
    observer.event(&UrbEvent { header, urb });
}
