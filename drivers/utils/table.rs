// SPDX-License-Identifier: GPL-2.0

//! A table of objects that are found by slot and generation in constant time.

use kernel::{
    prelude::*,
    sync::Arc, //
};
use linux::rwlock::RwLock;
use virgo_proto::vuid::{
    GENERATIONS,
    MAX_SLOTS, //
};

/// Slots added at a time.
const PAGE: usize = 128;

/// Where an object is, and which of the objects that were there.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Number of the slot, below [`MAX_SLOTS`].
    pub slot: u32,
    /// How often it was reused, below [`GENERATIONS`].
    pub generation: u32,
}

/// The table. Readers do not wait for each other.
#[pin_data]
pub struct Table<T> {
    #[pin]
    slots: RwLock<Slots<T>>,
}

struct Slots<T> {
    /// All have [`PAGE`] slots. Never moved, so that growing takes little time.
    pages: KVVec<KVec<Slot<T>>>,
    /// First of the chain of free slots.
    free: Option<u32>,
    live: usize,
    /// Generation that new slots begin with: random, so that ids of this node's former life are
    /// not taken for new ones.
    first: u32,
}

struct Slot<T> {
    generation: u32,
    holds: Holds<T>,
}

enum Holds<T> {
    Object(Arc<T>),
    /// Nothing, and the next free slot.
    Nothing(Option<u32>),
}

impl<T> Table<T> {
    /// An empty table. `first` is a random number: see [`Slots::first`].
    pub fn new(first: u32) -> impl PinInit<Self> {
        let slots = Slots {
            pages: KVVec::new(),
            free: None,
            live: 0,
            first: first % GENERATIONS,
        };
        pin_init!(Self {
            slots <- linux::new_rwlock!(slots, "virgo_table"),
        })
    }

    /// Puts `object` into a free slot. May sleep.
    ///
    /// # Errors
    ///
    /// [`ENOMEM`], also if there are [`MAX_SLOTS`] objects.
    pub fn insert(&self, object: Arc<T>) -> Result<Place> {
        let mut slots = self.slots.write();
        let number = match slots.free {
            Some(number) => number,
            None => slots.grow()?,
        };
        let slot = slots.slot(number).ok_or(ENOMEM)?;
        let generation = slot.generation;
        let next = match core::mem::replace(&mut slot.holds, Holds::Object(object)) {
            Holds::Nothing(next) => next,
            Holds::Object(_) => None,
        };
        slots.free = next;
        slots.live += 1;
        Ok(Place {
            slot: number,
            generation,
        })
    }

    /// The object at `place`, if it is still there.
    pub fn get(&self, place: Place) -> Option<Arc<T>> {
        let slots = self.slots.read();
        let (page, index) = split(place.slot);
        let slot = slots.pages.get(page)?.get(index)?;
        match &slot.holds {
            Holds::Object(object) if slot.generation == place.generation => Some(object.clone()),
            _ => None,
        }
    }

    /// Takes the object at `place` out, if it is still there.
    pub fn remove(&self, place: Place) -> Option<Arc<T>> {
        let mut slots = self.slots.write();
        slots.remove(place)
    }

    /// Takes out objects that are `wanted`: the next one at or after slot `from`, with the slot
    /// to go on from.
    pub fn remove_next(&self, from: u32, wanted: impl Fn(&T) -> bool) -> Option<(Arc<T>, u32)> {
        let mut slots = self.slots.write();
        for number in from..slots.size() {
            let slot = slots.slot(number)?;
            let generation = slot.generation;
            if matches!(&slot.holds, Holds::Object(object) if wanted(object)) {
                let place = Place {
                    slot: number,
                    generation,
                };
                return Some((slots.remove(place)?, number + 1));
            }
        }
        None
    }

    /// How many objects there are.
    pub fn count(&self) -> usize {
        self.slots.read().live
    }
}

fn split(number: u32) -> (usize, usize) {
    (number as usize / PAGE, number as usize % PAGE)
}

impl<T> Slots<T> {
    fn size(&self) -> u32 {
        // At most MAX_SLOTS.
        (self.pages.len() * PAGE) as u32
    }

    fn slot(&mut self, number: u32) -> Option<&mut Slot<T>> {
        let (page, index) = split(number);
        self.pages.get_mut(page)?.get_mut(index)
    }

    /// Adds a page of free slots and returns the first of them.
    fn grow(&mut self) -> Result<u32> {
        let first = self.size();
        if first >= MAX_SLOTS {
            return Err(ENOMEM);
        }
        let mut page = KVec::with_capacity(PAGE, GFP_KERNEL)?;
        for next in first + 1..=first + PAGE as u32 {
            let last = next == first + PAGE as u32;
            let slot = Slot {
                generation: self.first,
                holds: Holds::Nothing((!last).then_some(next)),
            };
            page.push(slot, GFP_KERNEL)?;
        }
        self.pages.push(page, GFP_KERNEL)?;
        self.free = Some(first);
        Ok(first)
    }

    fn remove(&mut self, place: Place) -> Option<Arc<T>> {
        let free = self.free;
        let slot = self.slot(place.slot)?;
        if slot.generation != place.generation || matches!(slot.holds, Holds::Nothing(_)) {
            return None;
        }
        slot.generation = (slot.generation + 1) % GENERATIONS;
        let old = core::mem::replace(&mut slot.holds, Holds::Nothing(free));
        self.free = Some(place.slot);
        self.live -= 1;
        match old {
            Holds::Object(object) => Some(object),
            Holds::Nothing(_) => None,
        }
    }
}
