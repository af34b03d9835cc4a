// SPDX-License-Identifier: GPL-2.0

//! Places for messages, and the lists that they are on.
//!
//! A place is named by its number, so that a list needs no memory of its own. Places lie in pieces
//! of [`PIECE`]. The memory of a piece comes from whoever uses this, through [`Pieces`], and goes
//! back when all its places are free. One free piece is kept, so that a queue that fills and drains
//! does not allocate each time.

/// No place.
pub const NONE: u32 = u32::MAX;

/// Places in a piece.
pub const PIECE: usize = 32;

/// Bits of the number of a place: an identifier of a delivery has room for so many.
pub const PLACE_BITS: u32 = 24;

/// Most pieces.
pub const MAX_PIECES: u32 = (1 << PLACE_BITS) / PIECE as u32;

/// Memory for places.
pub trait Places {
    /// A message.
    type Item: Clone;

    /// The place with this number.
    fn get(&self, at: u32) -> Option<&Slot<Self::Item>>;
    /// The same, to change it.
    fn get_mut(&mut self, at: u32) -> Option<&mut Slot<Self::Item>>;
    /// Puts `slot` into a free place and returns its number.
    ///
    /// # Errors
    ///
    /// The message of the slot, if there is no memory.
    fn add(&mut self, slot: Slot<Self::Item>) -> Result<u32, Option<Self::Item>>;
    /// Makes sure that the next [`Self::add`] needs no memory, whatever is removed before. False
    /// without memory.
    fn reserve(&mut self) -> bool;
    /// Frees the place with this number. Returns the message that it had.
    fn remove(&mut self, at: u32) -> Option<Self::Item>;
    /// All places have smaller numbers.
    fn end(&self) -> u32;
    /// The uid that has published a message.
    fn publisher(item: &Self::Item) -> u32;
}

/// What a message waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum MessageStage {
    /// There is no message.
    Free,
    /// Its time.
    Delayed,
    /// Somebody who takes it.
    Ready,
    /// Its acknowledgement.
    Leased,
    /// Nothing; it can be replayed.
    Kept,
    /// The queue of dead letters.
    Dead,
}

/// A place, with a message or free.
#[derive(Clone, Debug)]
pub struct Slot<T> {
    /// The message; `None` in a free place.
    pub item: Option<T>,
    /// Number of the message in its queue.
    pub seq: u64,
    /// Who has it.
    pub consumer: u64,
    /// When something has to happen to it, in milliseconds of some clock.
    pub due: u64,
    /// Bytes that it counts for.
    pub bytes: u32,
    /// How often it was handed out.
    pub deliveries: u32,
    /// Number of its present delivery, while it is leased.
    pub delivery: u32,
    /// The list behind it; in a heap its right child.
    pub next: u32,
    /// The list before it; in a heap its left child.
    pub prev: u32,
    /// Larger is sooner.
    pub priority: u8,
    /// In a heap: places to the next missing child, counting itself; otherwise 0.
    pub rank: u8,
    /// What it waits for.
    pub stage: MessageStage,
}

impl<T> Slot<T> {
    /// A free place.
    pub const fn free() -> Self {
        Slot {
            item: None,
            seq: 0,
            consumer: 0,
            due: 0,
            bytes: 0,
            deliveries: 0,
            delivery: 0,
            next: NONE,
            prev: NONE,
            priority: 0,
            rank: 0,
            stage: MessageStage::Free,
        }
    }
}

/// Some places.
pub struct SlabPiece<T> {
    /// The places.
    pub slots: [Slot<T>; PIECE],
    /// A bit for each place that is not free.
    pub used: u32,
    /// The next piece that has a free place.
    pub next: u32,
    /// The one before.
    pub prev: u32,
}

/// Memory for pieces.
pub trait Pieces {
    /// A message.
    type Item: Clone;

    /// The piece with this number.
    fn get(&self, number: u32) -> Option<&SlabPiece<Self::Item>>;
    /// The same, to change it.
    fn get_mut(&mut self, number: u32) -> Option<&mut SlabPiece<Self::Item>>;
    /// Makes a piece without used places, on no list, whose number is less than [`MAX_PIECES`].
    /// `None` without memory.
    fn make(&mut self) -> Option<u32>;
    /// Gives the memory of a piece back.
    fn give_back(&mut self, number: u32);
    /// All pieces have smaller numbers.
    fn end(&self) -> u32;
    /// The uid that has published a message.
    fn publisher(item: &Self::Item) -> u32;
}

/// Places in pieces.
pub struct Slab<D> {
    pieces: D,
    /// The pieces that have free places: those that were full come first, a free one last.
    first: u32,
    last: u32,
    /// The piece of which all places are free. There is one at most.
    spare: u32,
}

/// The piece of a place, and the place in it.
fn split(at: u32) -> (u32, usize) {
    const SIZE: u32 = PIECE as u32;
    (at / SIZE, (at % SIZE) as usize)
}

impl<D: Pieces> Slab<D> {
    /// No places.
    pub const fn new(pieces: D) -> Self {
        Slab {
            pieces,
            first: NONE,
            last: NONE,
            spare: NONE,
        }
    }

    /// The memory of its pieces.
    pub fn pieces_mut(&mut self) -> &mut D {
        &mut self.pieces
    }

    /// Puts a piece between two that follow each other on the list.
    fn link(&mut self, number: u32, prev: u32, next: u32) {
        let Some(piece) = self.pieces.get_mut(number) else {
            return;
        };
        (piece.prev, piece.next) = (prev, next);
        match self.pieces.get_mut(prev) {
            Some(piece) => piece.next = number,
            None => self.first = number,
        }
        match self.pieces.get_mut(next) {
            Some(piece) => piece.prev = number,
            None => self.last = number,
        }
    }

    fn unlink(&mut self, number: u32) {
        let Some(piece) = self.pieces.get_mut(number) else {
            return;
        };
        let (prev, next) = (piece.prev, piece.next);
        (piece.prev, piece.next) = (NONE, NONE);
        match self.pieces.get_mut(prev) {
            Some(piece) => piece.next = next,
            None => self.first = next,
        }
        match self.pieces.get_mut(next) {
            Some(piece) => piece.prev = prev,
            None => self.last = prev,
        }
    }

    /// All places of the piece are free.
    fn emptied(&mut self, number: u32) {
        self.unlink(number);
        if self.spare != NONE {
            self.pieces.give_back(number);
            return;
        }
        self.spare = number;
        self.link(number, self.last, NONE);
    }
}

impl<D: Pieces> Places for Slab<D> {
    type Item = D::Item;

    fn get(&self, at: u32) -> Option<&Slot<Self::Item>> {
        let (number, index) = split(at);
        self.pieces.get(number)?.slots.get(index)
    }

    fn get_mut(&mut self, at: u32) -> Option<&mut Slot<Self::Item>> {
        let (number, index) = split(at);
        self.pieces.get_mut(number)?.slots.get_mut(index)
    }

    fn add(&mut self, slot: Slot<Self::Item>) -> Result<u32, Option<Self::Item>> {
        if !self.reserve() {
            return Err(slot.item);
        }
        let number = self.first;
        let Some(piece) = self.pieces.get_mut(number) else {
            return Err(slot.item);
        };
        let index = piece.used.trailing_ones();
        let Some(place) = piece.slots.get_mut(index as usize) else {
            return Err(slot.item);
        };
        *place = slot;
        piece.used |= 1u32.wrapping_shl(index);
        let is_full = piece.used == u32::MAX;
        if self.spare == number {
            self.spare = NONE;
        }
        if is_full {
            self.unlink(number);
        }
        Ok(number.wrapping_mul(PIECE as u32).wrapping_add(index))
    }

    fn reserve(&mut self) -> bool {
        if self.first == NONE {
            let Some(number) = self.pieces.make() else {
                return false;
            };
            self.spare = number;
            self.link(number, NONE, NONE);
        }
        true
    }

    fn remove(&mut self, at: u32) -> Option<Self::Item> {
        let (number, index) = split(at);
        let piece = self.pieces.get_mut(number)?;
        let bit = 1u32.wrapping_shl(index as u32);
        if piece.used & bit == 0 {
            return None;
        }
        let slot = piece.slots.get_mut(index)?;
        let item = slot.item.take();
        slot.stage = MessageStage::Free;
        let was_full = piece.used == u32::MAX;
        piece.used &= !bit;
        let is_empty = piece.used == 0;
        if was_full {
            self.link(number, NONE, self.first);
        }
        if is_empty {
            self.emptied(number);
        }
        item
    }

    fn end(&self) -> u32 {
        self.pieces.end().saturating_mul(PIECE as u32)
    }

    fn publisher(item: &Self::Item) -> u32 {
        D::publisher(item)
    }
}

/// A list of places. Each place is on one list at most.
#[derive(Clone, Copy, Debug)]
pub struct PlaceList {
    head: u32,
    tail: u32,
    len: u32,
}

impl PlaceList {
    /// An empty list.
    pub const fn new() -> Self {
        PlaceList {
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

impl Default for PlaceList {
    fn default() -> Self {
        PlaceList::new()
    }
}

/// Pieces in a vector, for tests.
#[cfg(test)]
pub(super) struct Plain<T> {
    pub(super) pieces: std::vec::Vec<Option<std::boxed::Box<SlabPiece<T>>>>,
}

#[cfg(test)]
impl<T: SlabItem> Plain<T> {
    pub(super) fn slab() -> Slab<Self> {
        Slab::new(Plain {
            pieces: std::vec![],
        })
    }

    /// Pieces that have memory.
    pub(super) fn live(&self) -> usize {
        self.pieces.iter().flatten().count()
    }
}

/// A message in tests.
#[cfg(test)]
pub(super) trait SlabItem: Clone {
    /// The uid that has published it.
    fn publisher(&self) -> u32 {
        0
    }
}

#[cfg(test)]
impl SlabItem for () {}

#[cfg(test)]
impl<T: SlabItem> Pieces for Plain<T> {
    type Item = T;

    fn get(&self, number: u32) -> Option<&SlabPiece<T>> {
        self.pieces.get(number as usize)?.as_deref()
    }

    fn get_mut(&mut self, number: u32) -> Option<&mut SlabPiece<T>> {
        self.pieces.get_mut(number as usize)?.as_deref_mut()
    }

    fn make(&mut self) -> Option<u32> {
        let piece = SlabPiece {
            slots: [const { Slot::free() }; PIECE],
            used: 0,
            next: NONE,
            prev: NONE,
        };
        let piece = Some(std::boxed::Box::new(piece));
        let hole = self.pieces.iter().position(Option::is_none);
        let number = hole.unwrap_or(self.pieces.len());
        match self.pieces.get_mut(number) {
            Some(hole) => *hole = piece,
            None => self.pieces.push(piece),
        }
        Some(number as u32)
    }

    fn give_back(&mut self, number: u32) {
        self.pieces[number as usize] = None;
    }

    fn end(&self) -> u32 {
        self.pieces.len() as u32
    }

    fn publisher(item: &T) -> u32 {
        item.publisher()
    }
}

#[cfg(test)]
impl<T: SlabItem> Slab<Plain<T>> {
    /// Pieces that have memory.
    pub(super) fn live(&self) -> usize {
        self.pieces.live()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::vec::Vec;

    fn with(item: u32) -> Slot<u32> {
        Slot {
            item: Some(item),
            ..Slot::free()
        }
    }

    proptest! {
        /// What was put in comes out, and no more memory is kept than the places need.
        #[test]
        fn memory_goes_back(steps in prop::collection::vec(any::<(bool, usize)>(), 0..600)) {
            let mut slab = Plain::slab();
            let mut there: Vec<(u32, u32)> = Vec::new();
            for (number, (is_add, which)) in (0..).zip(steps) {
                if is_add || there.is_empty() {
                    let at = slab.add(with(number)).unwrap();
                    prop_assert!(there.iter().all(|&(other, _)| other != at));
                    there.push((at, number));
                } else {
                    let (at, number) = there.swap_remove(which % there.len());
                    prop_assert_eq!(slab.remove(at), Some(number));
                    prop_assert_eq!(slab.remove(at), None);
                }
                let mut pieces: Vec<_> = there.iter().map(|&(at, _)| split(at).0).collect();
                pieces.sort_unstable();
                pieces.dedup();
                prop_assert!(slab.live() <= pieces.len() + 1);
            }
            for (at, number) in there {
                prop_assert_eq!(slab.get(at).and_then(|slot| slot.item), Some(number));
                slab.remove(at);
            }
            prop_assert!(slab.live() <= 1);
        }
    }

    #[test]
    fn what_is_reserved_stays() {
        let mut slab = Plain::slab();
        let all: Vec<u32> = (0..64).map(|n| slab.add(with(n)).unwrap()).collect();
        assert!(slab.reserve());
        for at in all {
            slab.remove(at);
            assert!(slab.first != NONE, "there is a free place");
        }
        assert_eq!(slab.live(), 1);
    }
}
