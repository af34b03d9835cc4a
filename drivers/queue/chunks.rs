// SPDX-License-Identifier: GPL-2.0

//! Memory for the places of a queue: in pieces, so that taking more never moves what is there and
//! is possible in any context.

use crate::message::Message;
use kernel::{
    prelude::*,
    sync::Arc, //
};
use virgo_proto::queue::slab::{
    Places,
    Slot, //
};

/// Places in a piece.
const PIECE: usize = 32;

type Place = Slot<Arc<Message>>;

/// Grows, and shrinks only when dropped.
pub(crate) struct Chunks(KVec<KVec<Place>>);

impl Chunks {
    pub(crate) const fn new() -> Self {
        Chunks(KVec::new())
    }
}

impl Places for Chunks {
    type Item = Arc<Message>;

    fn get(&self, at: u32) -> Option<&Place> {
        let at = at as usize;
        self.0.get(at / PIECE)?.get(at % PIECE)
    }

    fn get_mut(&mut self, at: u32) -> Option<&mut Place> {
        let at = at as usize;
        self.0.get_mut(at / PIECE)?.get_mut(at % PIECE)
    }

    fn add(&mut self, slot: Place) -> Option<u32> {
        if self.0.last().is_none_or(|piece| piece.len() >= PIECE) {
            let piece = KVec::with_capacity(PIECE, GFP_ATOMIC).ok()?;
            self.0.push(piece, GFP_ATOMIC).ok()?;
        }
        let before = (self.0.len() - 1) * PIECE;
        let piece = self.0.last_mut()?;
        let at = u32::try_from(before + piece.len()).ok()?;
        // Within the capacity that was taken above.
        piece.push(slot, GFP_ATOMIC).ok()?;
        Some(at)
    }
}
