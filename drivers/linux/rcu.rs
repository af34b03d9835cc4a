// SPDX-License-Identifier: GPL-2.0

//! Values that are read under RCU while others replace them.
//!
//! C header: [`include/linux/rcupdate.h`](srctree/include/linux/rcupdate.h)

use core::marker::PhantomData;
use kernel::{
    bindings,
    prelude::*,
    sync::{
        atomic::{
            Acquire,
            Atomic,
            Full, //
        },
        rcu::Guard, //
    },
    types::Opaque, //
};

/// A value and what the kernel needs to free it after a grace period.
#[repr(C)]
struct Node<T> {
    head: Opaque<bindings::callback_head>,
    value: T,
}

/// A value that can be put into an [`RcuCell`] without fail.
pub struct RcuBox<T>(KBox<Node<T>>);

// SAFETY: The head is not used before the box is in a cell; `T` is `Send`.
unsafe impl<T: Send> Send for RcuBox<T> {}

impl<T> RcuBox<T> {
    /// Allocates. May sleep.
    ///
    /// # Errors
    ///
    /// [`ENOMEM`].
    pub fn new(value: T) -> Result<Self> {
        let node = Node {
            head: Opaque::uninit(),
            value,
        };
        Ok(RcuBox(KBox::new(node, GFP_KERNEL)?))
    }
}

/// A place for a value, or none. Readers never wait; a value that was replaced is freed, in softirq
/// context, when all have left it that may read it.
///
/// A module that has cells of types whose drop code is its own calls
/// [`kernel::sync::rcu::rcu_barrier`] before it goes.
///
/// # Invariants
///
/// The pointer is null or comes from a `KBox` that this cell owns, and that is freed no earlier than a
/// grace period after it was replaced.
pub struct RcuCell<T: Send + Sync + 'static> {
    node: Atomic<*mut Node<T>>,
    _owns: PhantomData<KBox<T>>,
}

impl<T: Send + Sync + 'static> RcuCell<T> {
    /// Without a value.
    pub const fn empty() -> Self {
        // INVARIANT: Null.
        RcuCell {
            node: Atomic::new(core::ptr::null_mut()),
            _owns: PhantomData,
        }
    }

    /// With a value.
    pub fn new(value: RcuBox<T>) -> Self {
        // INVARIANT: From a `KBox`, which is ours from here on.
        RcuCell {
            node: Atomic::new(KBox::into_raw(value.0)),
            _owns: PhantomData,
        }
    }

    /// The value, for as long as the guard is held. Any context.
    pub fn get<'a>(&'a self, _guard: &'a Guard) -> Option<&'a T> {
        let node = self.node.load(Acquire);
        // SAFETY: By the invariant it is null or valid: it was in the cell while the guard was held,
        // and is not freed before that is dropped. Only its head changes, which is opaque.
        let node = unsafe { node.as_ref() };
        node.map(|node| &node.value)
    }

    /// Puts `new` into the cell. What was there is freed later. Any context.
    pub fn replace(&self, new: Option<RcuBox<T>>) {
        let new = new.map_or(core::ptr::null_mut(), |new| KBox::into_raw(new.0));
        // INVARIANT: Null, or from a `KBox` that is ours from here on.
        let old = self.node.xchg(new, Full);
        if !old.is_null() {
            // SAFETY: By the invariant it is valid, and ours alone to free since the exchange;
            // `free` does so after a grace period. The head is not otherwise used.
            unsafe {
                bindings::call_rcu(Opaque::cast_into(&raw const (*old).head), Some(free::<T>))
            };
        }
    }
}

/// # Safety
///
/// `head` is that of a `Node<T>` from a `KBox` which nobody else refers to.
unsafe extern "C" fn free<T>(head: *mut bindings::callback_head) {
    // SAFETY: The head is the node's first field, and by the caller's promise the box is ours.
    drop(unsafe { KBox::from_raw(head.cast::<Node<T>>()) });
}

impl<T: Send + Sync + 'static> Drop for RcuCell<T> {
    fn drop(&mut self) {
        let node = self.node.load(Acquire);
        if !node.is_null() {
            // SAFETY: By the invariant it is ours. Readers borrow the cell, so there are none.
            drop(unsafe { KBox::from_raw(node) });
        }
    }
}
