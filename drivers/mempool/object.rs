// SPDX-License-Identifier: GPL-2.0

//! What lies in a pool: bytes, or the map of an allocation that is spread over nodes.

use core::mem::{
    size_of,
    size_of_val, //
};
use kernel::{
    prelude::*,
    sync::Arc, //
};
use linux::{
    bytes::{
        memory_of,
        Fill, //
    },
    rwlock::RwLock, //
};
use virgo_proto::{
    fence::{
        Fence,
        FenceClaim, //
    },
    mempool::{
        Listed,
        PIECE,
        SHARED,
        SPLIT, //
    }, //
};
use virgo_utils::{
    budget::{
        Account,
        Charge, //
    },
    from_wire,
    table::SLOT_BYTES,
    Peer, //
};

/// Bytes that an object costs beside its content: itself, as the allocator rounds it up, and its slot
/// in the table.
const OVERHEAD: u64 = (size_of::<Object>().next_multiple_of(64) + SLOT_BYTES) as u64;

/// Root may free what belongs to others.
const ROOT: u32 = 0;

/// An object of cluster memory.
#[pin_data]
pub(crate) struct Object {
    /// Whether everybody may use it; otherwise only its owner, to whom it is charged.
    shared: bool,
    /// The node in whose memory the map is that this is a piece of.
    pub(crate) piece_of: Option<Peer>,
    #[pin]
    content: ObjectContent,
    charge: Charge,
}

/// The content's kind does not change; the bytes do.
#[pin_data]
pub(crate) struct ObjectContent {
    #[pin]
    guarded: RwLock<Guarded>,
    /// There are no bytes then.
    pub(crate) map: Option<Map>,
}

/// Bytes, and what is known of the lock that guards them.
struct Guarded {
    fence: Fence,
    bytes: Bytes,
}

/// Where the pieces of an allocation are.
pub(crate) struct Map {
    /// Bytes of the whole.
    pub(crate) size: u64,
    /// Bytes of each piece but the last.
    pub(crate) chunk: u64,
    /// Their ids.
    pub(crate) ids: KVVec<u64>,
}

/// Bytes that are zero at first, and are cleared before their memory can be anybody else's.
pub(crate) struct Bytes(KVVec<u8>);

impl Bytes {
    fn new(size: usize) -> Result<Self> {
        let mut bytes = KVVec::new();
        bytes.put_zeros(size, GFP_KERNEL_ACCOUNT)?;
        Ok(Bytes(bytes))
    }

    /// At most `len` bytes from `offset` on.
    fn part(&self, offset: u64, len: usize) -> &[u8] {
        let rest = usize::try_from(offset)
            .ok()
            .and_then(|offset| self.0.get(offset..))
            .unwrap_or_default();
        rest.get(..len).unwrap_or(rest)
    }

    /// The `len` bytes from `offset` on, and those behind them.
    fn place(&mut self, offset: u64, len: usize) -> Result<(&mut [u8], &mut [u8])> {
        let offset = usize::try_from(offset).map_err(|_| EFBIG)?;
        let rest = self.0.get_mut(offset..).ok_or(EFBIG)?;
        rest.split_at_mut_checked(len).ok_or(EFBIG)
    }
}

impl Guarded {
    /// See [`ObjectContent::write`].
    fn put(
        &mut self,
        offset: u64,
        from: &[u8],
        terminate: bool,
        claim: Option<FenceClaim>,
    ) -> Result {
        let (to, behind) = self.bytes.place(offset, from.len())?;
        admit(&mut self.fence, claim)?;
        to.copy_from_slice(from);
        if let (true, Some(zero)) = (terminate, behind.first_mut()) {
            *zero = 0;
        }
        Ok(())
    }
}

impl Drop for Bytes {
    fn drop(&mut self) {
        // Not optimised away: the memory goes to kvfree(), of which the compiler knows nothing.
        self.0.as_mut_slice().fill(0);
    }
}

impl Object {
    /// An object of `size` zeros, which is charged as `least` bytes at least.
    pub(crate) fn bytes(
        owner: &Account,
        shared: bool,
        size: u64,
        least: u64,
        piece_of: Option<Peer>,
    ) -> Result<Arc<Self>> {
        let charge = owner.charge(Self::cost(size)?.max(least))?;
        let bytes = Bytes::new(usize::try_from(size).map_err(|_| ENOMEM)?)?;
        Self::new(charge, shared, piece_of, bytes, None)
    }

    /// What an object of `size` bytes is charged as.
    ///
    /// # Errors
    ///
    /// [`ENOMEM`] if there cannot be one.
    pub(crate) fn cost(size: u64) -> Result<u64> {
        let len = usize::try_from(size).map_err(|_| ENOMEM)?;
        let memory = memory_of(len) as u64;
        memory.checked_add(OVERHEAD).ok_or(ENOMEM)
    }

    /// The map of a split allocation, which is charged as `least` bytes at least.
    pub(crate) fn new_map(
        owner: &Account,
        shared: bool,
        least: u64,
        map: Map,
    ) -> Result<Arc<Self>> {
        let cost = memory_of(size_of_val(map.ids.as_slice())) as u64 + OVERHEAD;
        let charge = owner.charge(cost.max(least))?;
        let bytes = Bytes(KVVec::new());
        Self::new(charge, shared, None, bytes, Some(map))
    }

    fn new(
        charge: Charge,
        shared: bool,
        piece_of: Option<Peer>,
        bytes: Bytes,
        map: Option<Map>,
    ) -> Result<Arc<Self>> {
        let guarded = Guarded {
            fence: Fence::OPEN,
            bytes,
        };
        Arc::pin_init(
            try_pin_init!(Self {
                shared,
                piece_of,
                content <- pin_init!(ObjectContent {
                    guarded <- linux::new_rwlock!(guarded, "virgo_object"),
                    map,
                }),
                charge,
            }? Error),
            GFP_KERNEL_ACCOUNT,
        )
    }

    /// The user that it belongs to.
    pub(crate) fn owner(&self) -> u32 {
        self.charge.uid()
    }

    /// Where its pieces are, if it is a map.
    pub(crate) fn map(&self) -> Option<&Map> {
        self.content.map.as_ref()
    }

    /// As it is listed, under `id`.
    pub(crate) fn listed(&self, id: u64) -> Listed {
        let (size, split) = match &self.content.map {
            Some(map) => (map.size, SPLIT),
            None => (self.content.guarded.read().bytes.0.len() as u64, 0),
        };
        let shared = if self.shared { SHARED } else { 0 };
        let piece = self.piece_of.map_or(0, |_| PIECE);
        Listed {
            id: id.into(),
            size: size.into(),
            uid: self.owner().into(),
            flags: (shared | piece | split).into(),
        }
    }

    /// The content, for user `uid` to read and write.
    ///
    /// # Errors
    ///
    /// [`EPERM`] if it is not for this user.
    pub(crate) fn open(&self, uid: u32) -> Result<&ObjectContent> {
        match self.shared || self.owner() == uid {
            true => Ok(&self.content),
            false => Err(EPERM),
        }
    }

    /// Frees it by `remove` for user `uid`, who has the lock `claim`. Its owner and root need no lock.
    ///
    /// # Errors
    ///
    /// [`EPERM`] if this user may not; those of [`ObjectContent::with_lock`].
    pub(crate) fn free(
        &self,
        uid: u32,
        claim: Option<FenceClaim>,
        remove: impl FnOnce() -> Result,
    ) -> Result {
        let content = self.open_to_free(uid)?;
        match claim.is_none() && (uid == ROOT || uid == self.owner()) {
            true => remove(),
            false => content.with_lock(claim, remove),
        }
    }

    /// The content, for user `uid` to free: root may free everything.
    ///
    /// # Errors
    ///
    /// [`EPERM`] if this user may not.
    pub(crate) fn open_to_free(&self, uid: u32) -> Result<&ObjectContent> {
        match uid {
            ROOT => Ok(&self.content),
            _ => self.open(uid),
        }
    }
}

/// Whether who has the lock `claim`, or none, may change what `fence` guards.
fn admit(fence: &mut Fence, claim: Option<FenceClaim>) -> Result {
    let admitted = fence.admit(claim);
    admitted.map_err(|errno| from_wire(errno.to_wire()))
}

impl Map {
    /// The place of byte `at`; `None` if there is no such byte.
    pub(crate) fn find(&self, at: u64) -> Option<PieceRange> {
        let index = usize::try_from(at.checked_div(self.chunk)?).ok()?;
        let id = self.ids.get(index).copied()?;
        PieceRange::new(id, at, self.size, self.chunk)
    }
}

/// A place in a piece.
pub(crate) struct PieceRange {
    /// Id of the piece.
    pub(crate) id: u64,
    /// Byte within it.
    pub(crate) offset: u64,
    /// Bytes from there to its end.
    pub(crate) left: u64,
}

impl PieceRange {
    /// The place of byte `at` of an allocation of `size` bytes in pieces of `chunk`, in the piece with
    /// this id. `None` if there is no such byte.
    pub(crate) fn new(id: u64, at: u64, size: u64, chunk: u64) -> Option<Self> {
        let offset = at.checked_rem(chunk)?;
        let left = size.checked_sub(at)?.min(chunk - offset);
        (left > 0).then_some(PieceRange { id, offset, left })
    }
}

impl ObjectContent {
    /// Does what who has the lock `claim` wants, unless somebody else has had the lock since.
    ///
    /// # Errors
    ///
    /// Those of [`Fence::admit`], and of `f`.
    pub(crate) fn with_lock(
        &self,
        claim: Option<FenceClaim>,
        f: impl FnOnce() -> Result,
    ) -> Result {
        let mut guarded = self.guarded.write();
        admit(&mut guarded.fence, claim)?;
        f()
    }

    /// Of a map: whether who has the lock `claim` may write to its pieces, up to byte `end` of the whole.
    ///
    /// # Errors
    ///
    /// [`EFBIG`] beyond the end; those of [`Fence::admit`].
    pub(crate) fn admit(&self, end: Option<u64>, claim: Option<FenceClaim>) -> Result {
        match (&self.map, end) {
            (Some(map), Some(end)) if end <= map.size => self.with_lock(claim, || Ok(())),
            _ => Err(EFBIG),
        }
    }

    /// Copies bytes from `offset` on to `to`. Returns how many: fewer at the end.
    pub(crate) fn read(&self, offset: u64, to: &mut [u8]) -> usize {
        self.with(offset, to.len(), |from| {
            if let Some(to) = to.get_mut(..from.len()) {
                to.copy_from_slice(from);
            }
            from.len()
        })
    }

    /// Shows `see` at most `len` bytes from `offset` on, which do not change meanwhile.
    pub(crate) fn with<T>(&self, offset: u64, len: usize, see: impl FnOnce(&[u8]) -> T) -> T {
        see(self.guarded.read().bytes.part(offset, len))
    }

    /// As [`Self::with`]; `None` if somebody is writing. Any context but hard interrupts.
    pub(crate) fn try_with<T>(
        &self,
        offset: u64,
        len: usize,
        see: impl FnOnce(&[u8]) -> T,
    ) -> Option<T> {
        Some(see(self.guarded.try_read()?.bytes.part(offset, len)))
    }

    /// Copies `from` to the bytes from `offset` on, for who has the lock `claim`; with `terminate` a zero
    /// follows if there is room.
    ///
    /// # Errors
    ///
    /// [`EFBIG`] if it does not fit; those of [`Fence::admit`]. Nothing is changed then.
    pub(crate) fn write(
        &self,
        offset: u64,
        from: &[u8],
        terminate: bool,
        claim: Option<FenceClaim>,
    ) -> Result {
        self.guarded.write().put(offset, from, terminate, claim)
    }

    /// As [`Self::write`], for who has no lock; `None` if somebody reads or writes. Any context but hard
    /// interrupts.
    pub(crate) fn try_write(&self, offset: u64, from: &[u8], terminate: bool) -> Option<Result> {
        let mut guarded = self.guarded.try_write()?;
        Some(guarded.put(offset, from, terminate, None))
    }
}
