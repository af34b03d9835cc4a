// SPDX-License-Identifier: GPL-2.0

//! A kernel socket of TCP, which [`crate::net`] makes connections and listeners of.

use crate::{
    deadline::{
        wait_result,
        Deadline, //
    },
    helpers, //
};
use core::ptr::NonNull;
use kernel::{
    bindings,
    error::to_result,
    prelude::*,
    sync::atomic::Atomic, //
};

/// A kernel socket.
///
/// # Invariants
///
/// The pointer is a TCP socket with a live `sk`, which only this object releases. `number` is the one by
/// which it is listed, so that its queues can be looked at. `callbacks` are
/// those that the kernel gave the socket, or the listener that it was accepted from.
pub struct Socket {
    ptr: NonNull<bindings::socket>,
    number: u32,
    callbacks: helpers::virgo_callbacks,
}

// SAFETY: Kernel sockets may be used from any thread.
unsafe impl Send for Socket {}
// SAFETY: Kernel sockets do their own locking.
unsafe impl Sync for Socket {}

impl Socket {
    pub(crate) fn create() -> Result<Self> {
        let mut socket = core::ptr::null_mut();
        // SAFETY: `socket` is valid for writes.
        to_result(unsafe { helpers::virgo_sock_create(&mut socket) })?;
        let ptr = NonNull::new(socket).ok_or(ENOMEM)?;
        let mut callbacks = helpers::virgo_callbacks::default();
        // SAFETY: The socket is live; `callbacks` is valid for writes.
        unsafe { helpers::virgo_sock_callbacks(socket, &mut callbacks) };
        // SAFETY: Just created, and nobody else knows it.
        unsafe { Self::listed(ptr, callbacks) }
    }

    /// Lists a new socket; if that fails it is released. May sleep.
    ///
    /// # Safety
    ///
    /// The pointer is a TCP socket with a live `sk`, which is the callee's from here on; `callbacks` are
    /// those that the kernel gave it, or the listener that it was accepted from.
    unsafe fn listed(
        ptr: NonNull<bindings::socket>,
        callbacks: helpers::virgo_callbacks,
    ) -> Result<Self> {
        let mut number = 0;
        // SAFETY: The socket is live, and `drop` unlists it before it releases it; `number` is valid for
        // writes.
        let result = to_result(unsafe { helpers::virgo_own_sock_add(ptr.as_ptr(), &mut number) });
        if let Err(e) = result {
            // SAFETY: By the caller's promise it is ours.
            unsafe { bindings::sock_release(ptr.as_ptr()) };
            return Err(e);
        }
        // INVARIANT: By the caller's promise, and just listed.
        Ok(Socket {
            ptr,
            number,
            callbacks,
        })
    }

    /// A connection that this one, which listens, has accepted. May sleep.
    ///
    /// # Errors
    ///
    /// [`ENOMEM`]; then the connection is closed.
    ///
    /// # Safety
    ///
    /// `new` is that connection, which nobody else knows.
    pub(crate) unsafe fn accepted(&self, new: NonNull<bindings::socket>) -> Result<Self> {
        // SAFETY: The socket is live, and by the invariant the callbacks are the kernel's own. Before
        // anything can fail, since what it has inherited must not outlive this module.
        unsafe { helpers::virgo_sock_unhook(new.as_ptr(), &self.callbacks) };
        // SAFETY: By the caller's promise; the callbacks are those of the listener.
        unsafe { Self::listed(new, self.callbacks) }
    }

    pub(crate) fn as_ptr(&self) -> *mut bindings::socket {
        self.ptr.as_ptr()
    }

    /// # Safety
    ///
    /// `hook` and what it points at live until [`Self::unhook`].
    pub(crate) unsafe fn hook(&self, hook: *mut helpers::virgo_hook) {
        // SAFETY: The socket is live, the hook by the caller's promise.
        unsafe { helpers::virgo_sock_hook(self.as_ptr(), hook) };
    }

    pub(crate) fn unhook(&self) {
        // SAFETY: The socket is live; by the invariant the callbacks are the kernel's own.
        unsafe { helpers::virgo_sock_unhook(self.as_ptr(), &self.callbacks) };
    }

    pub(crate) fn shutdown(&self, how: bindings::sock_shutdown_cmd) {
        // SAFETY: The socket is live. An error means that it is not connected, which is as good.
        unsafe { bindings::kernel_sock_shutdown(self.as_ptr(), how) };
    }

    pub(crate) fn happened(&self, event: helpers::virgo_sock_event) -> bool {
        // SAFETY: The socket is live.
        unsafe { helpers::virgo_sock_happened(self.as_ptr(), event) }
    }

    pub(crate) fn wait(
        &self,
        event: helpers::virgo_sock_event,
        deadline: Deadline,
    ) -> Result<bool> {
        let left = deadline.left_jiffies();
        // SAFETY: The socket is live.
        wait_result(unsafe {
            helpers::virgo_sock_wait(self.as_ptr(), event, core::ptr::null(), 0, left)
        })
    }

    /// As [`Self::wait`], but also until `counter` is not `before`, if [`Stream::poke`] comes after that.
    pub(crate) fn wait_or(
        &self,
        event: helpers::virgo_sock_event,
        counter: &Atomic<u32>,
        before: u32,
        deadline: Deadline,
    ) -> Result<bool> {
        let (counter, left) = (counter.as_ptr(), deadline.left_jiffies());
        // SAFETY: The socket is live; `counter` is valid for atomic reads.
        wait_result(unsafe {
            helpers::virgo_sock_wait(self.as_ptr(), event, counter, before, left)
        })
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        // SAFETY: By the invariant the number is this socket's, and the socket live and ours.
        unsafe {
            helpers::virgo_own_sock_remove(self.number);
            bindings::sock_release(self.as_ptr());
        }
    }
}
