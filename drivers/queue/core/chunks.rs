// SPDX-License-Identifier: GPL-2.0

//! Memory for the places of a queue: in pieces, so that taking more never moves what is there and
//! is possible in any context. It is charged to who owns the queue, and to the memory cgroup of the
//! program that puts a message in.

use crate::message::Message;
use core::mem::{
    replace,
    size_of, //
};
use kernel::{
    prelude::*,
    sync::Arc, //
};
use linux::gfp::atomic_account;
use pin_init::init_array_from_fn;
use virgo_proto::queue::slab::{
    Pieces,
    SlabPiece,
    Slot,
    MAX_PIECES,
    NONE,
    PIECE, //
};
use virgo_utils::budget::{
    Account,
    Charge, //
};

/// Pieces of a group. The first piece is in none: most queues need no other.
const GROUP: usize = 128;

type MessagePiece = SlabPiece<Arc<Message>>;

/// Pieces with numbers that follow each other.
struct Group {
    pieces: KBox<[Option<KBox<MessagePiece>>; GROUP]>,
    /// How many there are.
    live: usize,
}

/// Bytes that a piece takes, as far as it is counted.
const PIECE_BYTES: u64 = size_of::<MessagePiece>().next_power_of_two() as u64;

/// Bytes that a group takes.
const GROUP_BYTES: u64 = (GROUP * size_of::<usize>()) as u64;

/// The pieces of one queue.
pub(crate) struct Chunks {
    first: Option<KBox<MessagePiece>>,
    groups: KVec<Option<Group>>,
    /// Groups before this one have no room for another piece.
    open: usize,
    account: Account,
    charge: Charge,
    /// What is charged is not bounded: it was there before.
    is_restoring: bool,
    /// Why the last piece that was not made was not.
    refusal: Error,
}

/// The group of a piece, and which one it is there; `None` for the first of all.
fn split(number: u32) -> Option<(usize, usize)> {
    let number = number.checked_sub(1)? as usize;
    Some((number / GROUP, number % GROUP))
}

impl Chunks {
    /// None yet; all will be charged to `account`.
    pub(crate) fn new(account: Account) -> Self {
        Chunks {
            first: None,
            groups: KVec::new(),
            open: 0,
            // Nothing; also if there is more already than there may be.
            charge: account.charge_unbounded(0),
            account,
            is_restoring: false,
            refusal: ENOMEM,
        }
    }

    /// Whether what is taken from now on was there before, and is counted but not refused.
    pub(crate) fn set_restoring(&mut self, is_restoring: bool) {
        self.is_restoring = is_restoring;
    }

    /// Why there is no other piece: [`EDQUOT`] if the user has too much, [`ENOMEM`].
    pub(crate) fn refusal(&self) -> Error {
        self.refusal
    }

    fn take(&mut self, bytes: u64) -> Result {
        let all = self.charge.amount() + bytes;
        if self.is_restoring {
            drop(replace(
                &mut self.charge,
                self.account.charge_unbounded(all),
            ));
            return Ok(());
        }
        self.charge.resize(all).inspect_err(|e| self.refusal = *e)
    }

    fn give(&mut self, bytes: u64) {
        // Does not grow, so it does not fail.
        let _ = self.charge.resize(self.charge.amount() - bytes);
    }

    /// The first group that has room for another piece, made if there is none.
    fn open_group(&mut self) -> Option<usize> {
        let groups = self.groups.iter().enumerate().skip(self.open);
        let is_open = |group: &Option<Group>| group.as_ref().is_none_or(|group| group.live < GROUP);
        let found = groups.into_iter().find(|(_, group)| is_open(group));
        let index = found.map_or(self.groups.len(), |(index, _)| index);
        // One group less than there is room for, because of the first piece.
        if index >= MAX_PIECES as usize / GROUP - 1 {
            return None;
        }
        if index == self.groups.len() {
            self.groups.push(None, atomic_account()).ok()?;
        }
        if self.groups.get(index)?.is_none() {
            self.take(GROUP_BYTES).ok()?;
            let Ok(pieces) = KBox::new([const { None }; GROUP], atomic_account()) else {
                self.give(GROUP_BYTES);
                return None;
            };
            *self.groups.get_mut(index)? = Some(Group { pieces, live: 0 });
        }
        self.open = index;
        Some(index)
    }

    /// Gives the memory of a group back if it has no pieces.
    fn close_group(&mut self, index: usize) {
        let Some(group) = self.groups.get_mut(index) else {
            return;
        };
        if group.as_ref().is_some_and(|group| group.live == 0) {
            *group = None;
            self.give(GROUP_BYTES);
        }
    }

    /// Makes a piece that is nowhere yet.
    fn new_piece(&mut self) -> Option<KBox<MessagePiece>> {
        self.take(PIECE_BYTES).ok()?;
        let piece = init!(MessagePiece {
            slots <- init_array_from_fn(|_| Slot::free()),
            used: 0,
            next: NONE,
            prev: NONE,
        });
        let piece = KBox::init(piece, atomic_account());
        if piece.is_err() {
            self.refusal = ENOMEM;
            self.give(PIECE_BYTES);
        }
        piece.ok()
    }

    /// Makes a piece in a group that has room for it.
    fn make_in(&mut self, index: usize) -> Option<u32> {
        let piece = self.new_piece()?;
        let group = self.groups.get_mut(index)?.as_mut()?;
        let hole = group.pieces.iter().position(Option::is_none)?;
        *group.pieces.get_mut(hole)? = Some(piece);
        group.live += 1;
        u32::try_from(1 + index * GROUP + hole).ok()
    }
}

const _: () = assert!(MAX_PIECES as usize % GROUP == 0 && PIECE_BYTES <= 2048 && PIECE == 32);

impl Pieces for Chunks {
    type Item = Arc<Message>;

    fn get(&self, number: u32) -> Option<&MessagePiece> {
        let Some((group, index)) = split(number) else {
            return self.first.as_deref();
        };
        let group = self.groups.get(group)?.as_ref()?;
        group.pieces.get(index)?.as_deref()
    }

    fn get_mut(&mut self, number: u32) -> Option<&mut MessagePiece> {
        let Some((group, index)) = split(number) else {
            return self.first.as_deref_mut();
        };
        let group = self.groups.get_mut(group)?.as_mut()?;
        group.pieces.get_mut(index)?.as_deref_mut()
    }

    fn make(&mut self) -> Option<u32> {
        if self.first.is_none() {
            self.first = Some(self.new_piece()?);
            return Some(0);
        }
        let index = self.open_group()?;
        let made = self.make_in(index);
        if made.is_none() {
            self.close_group(index);
        }
        made
    }

    fn give_back(&mut self, number: u32) {
        let Some((index, at)) = split(number) else {
            if self.first.take().is_some() {
                self.give(PIECE_BYTES);
            }
            return;
        };
        let Some(Some(group)) = self.groups.get_mut(index) else {
            return;
        };
        let Some(piece) = group.pieces.get_mut(at).and_then(Option::take) else {
            return;
        };
        drop(piece);
        group.live -= 1;
        self.open = self.open.min(index);
        self.give(PIECE_BYTES);
        self.close_group(index);
    }

    fn publisher(message: &Arc<Message>) -> u32 {
        message.publisher
    }

    fn end(&self) -> u32 {
        // At most MAX_PIECES.
        (1 + self.groups.len() * GROUP) as u32
    }
}
