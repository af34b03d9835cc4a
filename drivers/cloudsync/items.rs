// SPDX-License-Identifier: GPL-2.0

//! Lists for the state machines.

use kernel::prelude::*;
use virgo_proto::cloudsync::list::{
    Full,
    List, //
};

/// A list in the kernel's memory. It grows by allocations that may sleep.
pub(crate) struct Items<T>(KVec<T>);

impl<T> Items<T> {
    pub(crate) const fn new() -> Self {
        Items(KVec::new())
    }
}

impl<T> List<T> for Items<T> {
    fn items(&self) -> &[T] {
        &self.0
    }

    fn items_mut(&mut self) -> &mut [T] {
        &mut self.0
    }

    fn push(&mut self, item: T) -> Result<(), Full> {
        self.0.push(item, GFP_KERNEL).map_err(|_| Full)
    }

    fn remove(&mut self, index: usize) -> Option<T> {
        self.0.remove(index).ok()
    }
}
