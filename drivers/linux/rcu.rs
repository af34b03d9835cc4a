// SPDX-License-Identifier: GPL-2.0

//! Values that are read under RCU while others replace them.
//!
//! C header: [`include/linux/rcupdate.h`](srctree/include/linux/rcupdate.h)

use core::{
    marker::PhantomData,
    mem::ManuallyDrop,
    ops::Deref,
    ptr::NonNull, //
};
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

impl<T: Send + Sync + 'static> From<RcuBox<T>> for RcuShared<T> {
    fn from(value: RcuBox<T>) -> Self {
        // INVARIANT: From a `KBox`, which is ours from here on.
        RcuShared {
            node: NonNull::from(KBox::leak(value.0)),
            _owns: PhantomData,
        }
    }
}

/// A value that may have been in an [`RcuCell`], and can be put into one without fail. Those who found it
/// there may still read it; so it is freed, in softirq context, a grace period after it was dropped.
///
/// # Invariants
///
/// The pointer comes from a `KBox` that this owns, and whose value is only read. Its head is not in use.
pub struct RcuShared<T: Send + Sync + 'static> {
    node: NonNull<Node<T>>,
    _owns: PhantomData<KBox<T>>,
}

// SAFETY: It is a box of a value that may be used from any thread.
unsafe impl<T: Send + Sync + 'static> Send for RcuShared<T> {}
// SAFETY: As above.
unsafe impl<T: Send + Sync + 'static> Sync for RcuShared<T> {}

impl<T: Send + Sync + 'static> Deref for RcuShared<T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: By the invariant it is valid, and changes only in its head, which is opaque.
        &unsafe { self.node.as_ref() }.value
    }
}

impl<T: Send + Sync + 'static> Drop for RcuShared<T> {
    fn drop(&mut self) {
        // SAFETY: By the invariant the node is ours, and in no cell: nobody finds it any more, and `free` comes
        // when all have left it that did.
        unsafe { free_later(self.node.as_ptr()) };
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
            // SAFETY: By the invariant it is valid, and ours alone to free since the exchange.
            unsafe { free_later(old) };
        }
    }

    /// Puts `new` into the cell, and returns what was there. Any context.
    pub fn swap(&self, new: Option<RcuShared<T>>) -> Option<RcuShared<T>> {
        let new = new.map_or(core::ptr::null_mut(), |new| {
            ManuallyDrop::new(new).node.as_ptr()
        });
        // INVARIANT: Null, or from a `KBox` that is ours from here on; only what drops it frees it, a grace
        // period after that.
        let old = NonNull::new(self.node.xchg(new, Full))?;
        // INVARIANT: By that of the cell. It is not being freed: its head is not in use.
        Some(RcuShared {
            node: old,
            _owns: PhantomData,
        })
    }
}

/// Has `node` freed a grace period later. Any context.
///
/// # Safety
///
/// It comes from a `KBox` that nobody else frees, and is in no cell any more.
unsafe fn free_later<T>(node: *mut Node<T>) {
    // SAFETY: It is valid, by the caller's promise, and stays until `free`. The head is not otherwise used.
    unsafe { bindings::call_rcu(Opaque::cast_into(&raw const (*node).head), Some(free::<T>)) };
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
