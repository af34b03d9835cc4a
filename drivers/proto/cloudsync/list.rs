// SPDX-License-Identifier: GPL-2.0

//! Storage that is handed in.

/// There is no memory for one more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

/// A list whose memory is somebody else's affair.
pub trait List<T> {
    /// All items.
    fn items(&self) -> &[T];

    /// All items.
    fn items_mut(&mut self) -> &mut [T];

    /// Puts an item at the end. When one was removed before, there is room.
    ///
    /// # Errors
    ///
    /// [`Full`].
    fn push(&mut self, item: T) -> Result<(), Full>;

    /// Takes the item at `index` out; those behind it move up.
    fn remove(&mut self, index: usize) -> Option<T>;
}

#[cfg(test)]
impl<T> List<T> for std::vec::Vec<T> {
    fn items(&self) -> &[T] {
        self
    }

    fn items_mut(&mut self) -> &mut [T] {
        self
    }

    fn push(&mut self, item: T) -> Result<(), Full> {
        std::vec::Vec::push(self, item);
        Ok(())
    }

    fn remove(&mut self, index: usize) -> Option<T> {
        (index < self.len()).then(|| std::vec::Vec::remove(self, index))
    }
}
