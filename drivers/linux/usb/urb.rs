// SPDX-License-Identifier: GPL-2.0

//! Transfers: URBs that own their buffers.
//!
//! C header: [`include/linux/usb.h`](srctree/include/linux/usb.h)

use crate::{
    device::{
        BufferStage,
        Endpoint,
        UsbDevice, //
    },
    helpers, //
};
use core::{
    cell::UnsafeCell,
    ptr::NonNull, //
};
use kernel::{
    bindings,
    error::to_result,
    prelude::*,
    sync::{
        atomic::{
            Acquire,
            Atomic,
            Release, //
        },
        Arc, //
    }, //
};

/// Who is told that transfers are over.
pub trait Complete: Send + Sync + 'static {
    /// The URB with this token has transferred `len` bytes, then `status` has happened. It can be
    /// submitted again. Any context: does not sleep.
    fn complete(&self, token: usize, len: usize, status: Result);
}

/// An URB and its buffer: the right to fill it, submit it, and see what has come.
///
/// Dropping it cancels the transfer and waits for its end, so it may sleep.
pub struct Urb<C: Complete>(Arc<Shared<C>>);

/// The right to cancel an URB that somebody else has. What the URB consists of stays while there is one.
pub struct UrbCanceller<C: Complete>(Arc<Shared<C>>);

/// # Invariants
///
/// `urb` is an URB of our own. It is filled with `device`, and with `buffer` and `self`, both of which
/// stay where they are. `in_flight` is true from before the kernel gets the URB until the kernel has
/// called [`completed`]; meanwhile nobody touches the buffer.
struct Shared<C: Complete> {
    urb: NonNull<bindings::urb>,
    buffer: UnsafeCell<KVec<u8>>,
    in_flight: Atomic<bool>,
    /// Bytes that the last transfer has put into the buffer.
    received: Atomic<usize>,
    token: usize,
    context: Arc<C>,
    endpoint: Endpoint,
    device: UsbDevice,
}

// SAFETY: URBs may be submitted, cancelled and freed by any thread; the buffer belongs to who has the
// `Urb`, or to the kernel.
unsafe impl<C: Complete> Send for Shared<C> {}
// SAFETY: As above.
unsafe impl<C: Complete> Sync for Shared<C> {}

impl<C: Complete> Urb<C> {
    /// An URB with a buffer of `len` bytes for an endpoint of `device`. May sleep.
    ///
    /// # Errors
    ///
    /// [`ENOMEM`].
    pub fn new(
        device: &UsbDevice,
        endpoint: &Endpoint,
        len: usize,
        context: Arc<C>,
        token: usize,
    ) -> Result<Self> {
        // SAFETY: Allocates.
        let urb = unsafe { bindings::usb_alloc_urb(0, bindings::GFP_KERNEL) };
        let urb = NonNull::new(urb).ok_or(ENOMEM)?;
        // If one of the following fails the URB has to go.
        let urb = kernel::types::ScopeGuard::new_with_data(urb, |urb| {
            // SAFETY: It is ours, and nobody uses it.
            unsafe { bindings::usb_free_urb(urb.as_ptr()) }
        });
        let size = u32::try_from(len).map_err(|_| EINVAL)?;
        let buffer = KVec::from_elem(0, len, GFP_KERNEL)?;
        let made = Shared {
            urb: *urb,
            buffer: UnsafeCell::new(buffer),
            in_flight: Atomic::new(false),
            received: Atomic::new(0),
            token,
            context,
            endpoint: *endpoint,
            device: device.clone(),
        };
        let made = Arc::new(made, GFP_KERNEL);
        // From here on dropping `Shared` frees the URB.
        urb.dismiss();
        let made = made?;
        // INVARIANT: `made` is on the heap, and its buffer never grows: both stay in place.
        // SAFETY: Nobody has the URB in use. Device and buffer are valid until it is freed.
        unsafe {
            helpers::virgo_usb_fill(
                made.urb.as_ptr(),
                device.as_ptr(),
                &endpoint.to_helper(),
                (*made.buffer.get()).as_mut_ptr().cast(),
                size,
                Some(completed::<C>),
                Arc::as_ptr(&made).cast_mut().cast(),
            )
        };
        Ok(Urb(made))
    }

    /// Means to cancel it.
    pub fn canceller(&self) -> UrbCanceller<C> {
        UrbCanceller(self.0.clone())
    }

    /// Whether the kernel has it.
    pub fn is_in_flight(&self) -> bool {
        self.0.in_flight.load(Acquire)
    }

    /// The whole buffer.
    ///
    /// # Errors
    ///
    /// [`EBUSY`] while the kernel has it.
    pub fn buffer(&mut self) -> Result<&mut [u8]> {
        if self.is_in_flight() {
            return Err(EBUSY);
        }
        // SAFETY: By the invariant nobody else touches it: the kernel does not have it, and only the
        // `Urb` gives it to the kernel, which `self`, borrowed exclusively, is the only one of.
        Ok(unsafe { (*self.0.buffer.get()).as_mut_slice() })
    }

    /// What the last transfer from the device has brought.
    ///
    /// # Errors
    ///
    /// [`EBUSY`] while the kernel has it.
    pub fn received(&mut self) -> Result<&[u8]> {
        let received = self.0.received.load(Acquire);
        self.buffer()?.get(..received).ok_or(EINVAL)
    }

    /// Starts the transfer of the first `len` bytes of the buffer, or of at most so many into it. May
    /// sleep.
    ///
    /// # Errors
    ///
    /// [`EBUSY`] if it was started already, [`EINVAL`] if the buffer is shorter, [`EPERM`] when it was
    /// closed by its canceller; others of the kernel, [`ENODEV`] when the device is gone.
    pub fn submit(&mut self, len: usize) -> Result {
        let shared = &*self.0;
        if shared.in_flight.load(Acquire) {
            return Err(EBUSY);
        }
        // SAFETY: As in `buffer`.
        let buffer = unsafe { &*shared.buffer.get() };
        let data = buffer.get(..len).ok_or(EINVAL)?;
        let traced = match shared.endpoint.is_input() {
            true => &[],
            false => data,
        };
        shared
            .device
            .trace(BufferStage::Fill, &shared.endpoint, traced, None);
        shared
            .device
            .trace(BufferStage::Submit, &shared.endpoint, traced, None);
        // INVARIANT: Before the kernel has it.
        shared.in_flight.store(true, Release);
        // SAFETY: The URB is filled, and not in use. `len` is at most the length of the buffer, which
        // fits an u32.
        let submitted = to_result(unsafe {
            (*shared.urb.as_ptr()).transfer_buffer_length = len as u32;
            bindings::usb_submit_urb(shared.urb.as_ptr(), bindings::GFP_KERNEL)
        });
        if submitted.is_err() {
            // INVARIANT: The kernel has refused it, and will not call `completed`.
            shared.in_flight.store(false, Release);
        }
        match submitted {
            // The core has taken the endpoint away: the device is going.
            Err(ENOENT) => Err(ENODEV),
            submitted => submitted,
        }
    }
}

impl<C: Complete> Drop for Urb<C> {
    fn drop(&mut self) {
        // SAFETY: By the invariant the URB is valid. On return it is not in flight and `completed`
        // has returned, which uses what `self` keeps; it cannot be submitted again.
        unsafe { bindings::usb_poison_urb(self.0.urb.as_ptr()) };
    }
}

impl<C: Complete> UrbCanceller<C> {
    /// Cancels the transfer and waits for its end; then the URB cannot be submitted. May sleep.
    pub fn close(&self) {
        // SAFETY: By the invariant the URB is valid.
        unsafe { bindings::usb_poison_urb(self.0.urb.as_ptr()) };
    }

    /// Takes one [`close`](Self::close) back. Any context.
    pub fn reopen(&self) {
        // SAFETY: By the invariant the URB is valid.
        unsafe { bindings::usb_unpoison_urb(self.0.urb.as_ptr()) };
    }

    /// Cancels the transfer, if there is one, and waits for its end. May sleep.
    pub fn cancel(&self) {
        // SAFETY: By the invariant the URB is valid.
        unsafe { bindings::usb_kill_urb(self.0.urb.as_ptr()) };
    }
}

impl<C: Complete> Drop for Shared<C> {
    fn drop(&mut self) {
        // SAFETY: It is ours. The `Urb` is gone, so it is not in flight.
        unsafe { bindings::usb_free_urb(self.urb.as_ptr()) };
    }
}

/// # Safety
///
/// Called by the kernel for an URB that [`Urb::submit`] has submitted, whose `Urb` is alive or being
/// dropped.
unsafe extern "C" fn completed<C: Complete>(urb: *mut bindings::urb) {
    // SAFETY: The URB is valid while its completion is told. By the invariant of `Shared` its context
    // is one, which stays until `Urb::drop` has waited for this function.
    let (shared, len, status) = unsafe {
        (
            &*(*urb).context.cast::<Shared<C>>(),
            (*urb).actual_length as usize,
            to_result((*urb).status),
        )
    };
    // SAFETY: The buffer is still this function's: `in_flight` is true.
    let buffer = unsafe { &*shared.buffer.get() };
    let len = len.min(buffer.len());
    let traced = match shared.endpoint.is_input() {
        true => buffer.get(..len).unwrap_or(&[]),
        false => &[],
    };
    shared.device.trace(
        BufferStage::Complete,
        &shared.endpoint,
        traced,
        status.err(),
    );
    shared.received.store(len, Release);
    // INVARIANT: Nothing after this touches the buffer.
    shared.in_flight.store(false, Release);
    shared.context.complete(shared.token, len, status);
}
