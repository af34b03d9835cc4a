// SPDX-License-Identifier: GPL-2.0

//! A table of objects that are found by slot and generation in constant time.
//!
//! The table grows by pages and keeps them: its users bound the number of objects by a budget, and
//! count [`SLOT_BYTES`] with each.

use core::mem::size_of;
use kernel::{
    prelude::*,
    sync::Arc, //
};
use linux::rwlock::RwLock;
use virgo_proto::vuid::{
    next_generation,
    GENERATIONS,
    MAX_SLOTS, //
};

/// Slots added at a time.
const PAGE: usize = 128;

/// Bytes that are taken for a slot: the allocator rounds up those of a page.
pub const SLOT_BYTES: usize = (PAGE * size_of::<Slot<u8>>()).next_power_of_two() / PAGE;

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
    pages: KVVec<Page<T>>,
    /// First and last of the chain of free slots. A slot is reused when all that became free before
    /// it have been.
    free: Option<(u32, u32)>,
    live: usize,
    /// Generation that new slots begin with: random, so that ids of this node's former incarnation are
    /// not taken for new ones.
    first: u32,
}

type Page<T> = KVec<Slot<T>>;

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
        if slots.free.is_none() {
            // Without the lock: who has to reclaim memory, perhaps only that of his own cgroup, keeps
            // nobody else waiting.
            let first = slots.first;
            drop(slots);
            let page = new_page(first)?;
            slots = self.slots.write();
            // Another task may have added one meanwhile.
            if slots.free.is_none() {
                slots.add(page)?;
            }
        }
        let (number, last) = slots.free.ok_or(ENOMEM)?;
        let slot = slots.slot(number).ok_or(ENOMEM)?;
        let generation = slot.generation;
        let next = match core::mem::replace(&mut slot.holds, Holds::Object(object)) {
            Holds::Nothing(next) => next,
            Holds::Object(_) => None,
        };
        slots.free = next.map(|next| (next, last));
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

    /// Shows `see` the object at `place`, or that it is not there any more. `None` if the table is being
    /// changed. Any context but hard interrupts, and `see` runs in the same.
    pub fn try_with<R>(&self, place: Place, see: impl FnOnce(Option<&T>) -> R) -> Option<R> {
        let slots = self.slots.try_read()?;
        let (page, index) = split(place.slot);
        let slot = slots.pages.get(page).and_then(|page| page.get(index));
        Some(see(match slot.map(|slot| (slot.generation, &slot.holds)) {
            Some((generation, Holds::Object(object))) if generation == place.generation => {
                Some(&**object)
            }
            _ => None,
        }))
    }

    /// Takes the object at `place` out, if it is still there.
    pub fn remove(&self, place: Place) -> Option<Arc<T>> {
        let mut slots = self.slots.write();
        slots.remove(place)
    }

    /// The next object that is `wanted`, at or after slot `from`. Others use the table meanwhile. May
    /// sleep.
    pub fn next(&self, from: u32, wanted: impl Fn(&T) -> bool) -> Option<(Place, Arc<T>)> {
        let (mut page, mut index) = split(from);
        loop {
            let slots = self.slots.read();
            for (slot, number) in slots.pages.get(page)?.iter().zip(0..).skip(index) {
                if let Holds::Object(object) = &slot.holds {
                    if wanted(object) {
                        let place = Place {
                            // Both are below MAX_SLOTS.
                            slot: (page * PAGE) as u32 + number,
                            generation: slot.generation,
                        };
                        return Some((place, object.clone()));
                    }
                }
            }
            (page, index) = (page + 1, 0);
        }
    }

    /// Takes out objects that are `wanted`: the next one at or after slot `from`, with the slot
    /// to go on from. May sleep.
    pub fn remove_next(&self, from: u32, wanted: impl Fn(&T) -> bool) -> Option<(Arc<T>, u32)> {
        let mut from = from;
        loop {
            let (place, _) = self.next(from, &wanted)?;
            from = place.slot + 1;
            // Unless somebody else was faster.
            if let Some(object) = self.remove(place) {
                return Some((object, from));
            }
        }
    }

    /// How many objects there are.
    pub fn count(&self) -> usize {
        self.slots.read().live
    }
}

fn split(number: u32) -> (usize, usize) {
    (number as usize / PAGE, number as usize % PAGE)
}

/// Slots that hold nothing and are not chained yet.
fn new_page<T>(generation: u32) -> Result<Page<T>> {
    let mut page = KVec::with_capacity(PAGE, GFP_KERNEL_ACCOUNT)?;
    for _ in 0..PAGE {
        let slot = Slot {
            generation,
            holds: Holds::Nothing(None),
        };
        page.push(slot, GFP_KERNEL_ACCOUNT)?;
    }
    Ok(page)
}

impl<T> Slots<T> {
    fn slot(&mut self, number: u32) -> Option<&mut Slot<T>> {
        let (page, index) = split(number);
        self.pages.get_mut(page)?.get_mut(index)
    }

    /// Adds a page of free slots. Seldom allocates: a pointer's worth for each page, of ordinary
    /// memory, so that no cgroup's limit is waited for under the lock.
    fn add(&mut self, page: Page<T>) -> Result {
        // At most MAX_SLOTS.
        let first = (self.pages.len() * PAGE) as u32;
        if first >= MAX_SLOTS {
            return Err(ENOMEM);
        }
        self.pages.push(page, GFP_KERNEL)?;
        for number in first..first + PAGE as u32 {
            self.put_free(number);
        }
        Ok(())
    }

    /// Puts slot `number`, which holds nothing, to the end of the chain.
    fn put_free(&mut self, number: u32) {
        match self.free {
            None => self.free = Some((number, number)),
            Some((first, last)) => {
                if let Some(slot) = self.slot(last) {
                    slot.holds = Holds::Nothing(Some(number));
                }
                self.free = Some((first, number));
            }
        }
    }

    fn remove(&mut self, place: Place) -> Option<Arc<T>> {
        let first = self.first;
        let slot = self.slot(place.slot)?;
        if slot.generation != place.generation || matches!(slot.holds, Holds::Nothing(_)) {
            return None;
        }
        let old = core::mem::replace(&mut slot.holds, Holds::Nothing(None));
        // A slot that has had all generations stays empty, so that no id comes twice.
        if let Some(next) = next_generation(slot.generation, first) {
            slot.generation = next;
            self.put_free(place.slot);
        }
        self.live -= 1;
        match old {
            Holds::Object(object) => Some(object),
            Holds::Nothing(_) => None,
        }
    }
}
