// SPDX-License-Identifier: GPL-2.0

//! Places for messages, and the lists that they are on.
//!
//! A place is named by its number, so that a list needs no memory of its own. The memory comes from
//! whoever uses this, through [`Places`].

/// No place.
pub const NONE: u32 = u32::MAX;

/// Memory for places, which only grows. Places have the numbers from 0 on.
pub trait Places {
    /// A message.
    type Item: Clone;

    /// The place with this number.
    fn get(&self, at: u32) -> Option<&Slot<Self::Item>>;
    /// The same, to change it.
    fn get_mut(&mut self, at: u32) -> Option<&mut Slot<Self::Item>>;
    /// Adds `slot` as the next place and returns its number; `None` without memory.
    fn add(&mut self, slot: Slot<Self::Item>) -> Option<u32>;
}

/// A place, with a message or free.
#[derive(Clone, Debug)]
pub struct Slot<T> {
    /// The message; `None` in a free place.
    pub item: Option<T>,
    /// Number of the message in its queue.
    pub seq: u64,
    /// Who has it.
    pub holder: u64,
    /// When something has to happen to it, in milliseconds of some clock.
    pub due: u64,
    /// Bytes that it counts for.
    pub bytes: u32,
    /// How often it was handed out.
    pub deliveries: u32,
    /// The list behind it; in a heap its right child.
    pub next: u32,
    /// The list before it; in a heap its left child.
    pub prev: u32,
    /// Larger is sooner.
    pub priority: u8,
    /// In a heap: places to the next missing child, counting itself; otherwise 0.
    pub rank: u8,
}

impl<T> Slot<T> {
    /// A free place.
    pub const fn free() -> Self {
        Slot {
            item: None,
            seq: 0,
            holder: 0,
            due: 0,
            bytes: 0,
            deliveries: 0,
            next: NONE,
            prev: NONE,
            priority: 0,
            rank: 0,
        }
    }
}

/// A list of places. Each place is on one list at most.
#[derive(Clone, Copy, Debug)]
pub struct List {
    head: u32,
    tail: u32,
    len: u32,
}

impl List {
    /// An empty list.
    pub const fn new() -> Self {
        List {
            head: NONE,
            tail: NONE,
            len: 0,
        }
    }

    /// The first place, or [`NONE`].
    pub fn head(&self) -> u32 {
        self.head
    }

    /// The last place, or [`NONE`].
    pub fn tail(&self) -> u32 {
        self.tail
    }

    /// How many places are on it.
    pub fn len(&self) -> u32 {
        self.len
    }

    /// Whether it is empty.
    pub fn is_empty(&self) -> bool {
        self.head == NONE
    }

    /// Puts place `at`, which is on no list, at the end.
    pub fn push_back(&mut self, places: &mut impl Places, at: u32) {
        self.insert_before(places, NONE, at);
    }

    /// Puts place `at`, which is on no list, before `next` of this list; at the end for [`NONE`].
    pub fn insert_before(&mut self, places: &mut impl Places, next: u32, at: u32) {
        let prev = match places.get(next) {
            Some(slot) => slot.prev,
            None => self.tail,
        };
        let Some(slot) = places.get_mut(at) else {
            return;
        };
        (slot.prev, slot.next) = (prev, next);
        match places.get_mut(prev) {
            Some(slot) => slot.next = at,
            None => self.head = at,
        }
        match places.get_mut(next) {
            Some(slot) => slot.prev = at,
            None => self.tail = at,
        }
        self.len = self.len.saturating_add(1);
    }

    /// Takes place `at` off this list, which it is on.
    pub fn remove(&mut self, places: &mut impl Places, at: u32) {
        let Some(slot) = places.get_mut(at) else {
            return;
        };
        let (prev, next) = (slot.prev, slot.next);
        (slot.prev, slot.next) = (NONE, NONE);
        match places.get_mut(prev) {
            Some(slot) => slot.next = next,
            None => self.head = next,
        }
        match places.get_mut(next) {
            Some(slot) => slot.prev = prev,
            None => self.tail = prev,
        }
        self.len = self.len.saturating_sub(1);
    }

    /// Takes the first place off; `None` if there is none.
    pub fn pop_front(&mut self, places: &mut impl Places) -> Option<u32> {
        let at = self.head;
        (at != NONE).then(|| self.remove(places, at))?;
        Some(at)
    }
}

impl Default for List {
    fn default() -> Self {
        List::new()
    }
}

#[cfg(test)]
impl<T: Clone> Places for std::vec::Vec<Slot<T>> {
    type Item = T;

    fn get(&self, at: u32) -> Option<&Slot<T>> {
        self.as_slice().get(at as usize)
    }

    fn get_mut(&mut self, at: u32) -> Option<&mut Slot<T>> {
        self.as_mut_slice().get_mut(at as usize)
    }

    fn add(&mut self, slot: Slot<T>) -> Option<u32> {
        self.push(slot);
        Some(self.len() as u32 - 1)
    }
}
