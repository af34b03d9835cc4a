// SPDX-License-Identifier: GPL-2.0

//! What lies in a pool: bytes, or the map of an allocation that is spread over nodes.

use kernel::{
    prelude::*,
    sync::{
        atomic::{
            Atomic,
            Relaxed, //
        },
        Arc, //
    }, //
};
use linux::{
    bytes::Fill,
    rwlock::RwLock, //
};
use virgo_utils::Peer;

/// Bytes that an object costs beside its content.
const OVERHEAD: u64 = 192;

/// An object of cluster memory.
#[pin_data]
pub(crate) struct Object {
    /// Who may use it.
    owner: u32,
    /// Whether everybody may.
    shared: bool,
    /// The node in whose memory the map is that this is a piece of.
    pub(crate) piece_of: Option<Peer>,
    #[pin]
    content: Content,
    _charge: Charge,
}

/// The content's kind does not change; the bytes do.
#[pin_data]
pub(crate) struct Content {
    #[pin]
    bytes: RwLock<Bytes>,
    /// There are no bytes then.
    pub(crate) map: Option<Map>,
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
        bytes.put_zeros(size, GFP_KERNEL)?;
        Ok(Bytes(bytes))
    }
}

impl Drop for Bytes {
    fn drop(&mut self) {
        // Not optimised away: the memory goes to kvfree(), of which the compiler knows nothing.
        self.0.as_mut_slice().fill(0);
    }
}

impl Object {
    /// An object of `size` zeros.
    pub(crate) fn bytes(
        budget: &Arc<Budget>,
        owner: u32,
        shared: bool,
        size: u64,
        piece_of: Option<Peer>,
    ) -> Result<Arc<Self>> {
        let charge = Charge::new(budget, size)?;
        let bytes = Bytes::new(usize::try_from(size).map_err(|_| ENOMEM)?)?;
        Self::new(charge, owner, shared, piece_of, bytes, None)
    }

    /// The map of a split allocation.
    pub(crate) fn map(
        budget: &Arc<Budget>,
        owner: u32,
        shared: bool,
        map: Map,
    ) -> Result<Arc<Self>> {
        let charge = Charge::new(budget, 8 * map.ids.len() as u64)?;
        let bytes = Bytes(KVVec::new());
        Self::new(charge, owner, shared, None, bytes, Some(map))
    }

    fn new(
        charge: Charge,
        owner: u32,
        shared: bool,
        piece_of: Option<Peer>,
        bytes: Bytes,
        map: Option<Map>,
    ) -> Result<Arc<Self>> {
        Arc::pin_init(
            try_pin_init!(Self {
                owner,
                shared,
                piece_of,
                content <- pin_init!(Content {
                    bytes <- linux::new_rwlock!(bytes, "virgo_object"),
                    map,
                }),
                _charge: charge,
            }? Error),
            GFP_KERNEL,
        )
    }

    /// The content, for user `uid`.
    ///
    /// # Errors
    ///
    /// [`EPERM`] if it is not for this user.
    pub(crate) fn open(&self, uid: u32) -> Result<&Content> {
        match self.shared || self.owner == uid {
            true => Ok(&self.content),
            false => Err(EPERM),
        }
    }
}

impl Map {
    /// The place of byte `at`; `None` if there is no such byte.
    pub(crate) fn find(&self, at: u64) -> Option<Piece> {
        let index = usize::try_from(at.checked_div(self.chunk)?).ok()?;
        let offset = at.checked_rem(self.chunk)?;
        let left = self.size.checked_sub(at)?.min(self.chunk - offset);
        let id = self.ids.get(index).copied()?;
        (left > 0).then_some(Piece { id, offset, left })
    }
}

/// A place in a piece.
pub(crate) struct Piece {
    /// Id of the piece.
    pub(crate) id: u64,
    /// Byte within it.
    pub(crate) offset: u64,
    /// Bytes from there to its end.
    pub(crate) left: u64,
}

impl Content {
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
        let bytes = self.bytes.read();
        let rest = usize::try_from(offset)
            .ok()
            .and_then(|offset| bytes.0.get(offset..))
            .unwrap_or_default();
        see(rest.get(..len).unwrap_or(rest))
    }

    /// Copies `from` to the bytes from `offset` on; with `terminate` a zero follows if there is
    /// room.
    ///
    /// # Errors
    ///
    /// [`EFBIG`] if it does not fit; nothing is changed then.
    pub(crate) fn write(&self, offset: u64, from: &[u8], terminate: bool) -> Result {
        let offset = usize::try_from(offset).map_err(|_| EFBIG)?;
        let mut bytes = self.bytes.write();
        let rest = bytes.0.get_mut(offset..).ok_or(EFBIG)?;
        let (to, behind) = rest.split_at_mut_checked(from.len()).ok_or(EFBIG)?;
        to.copy_from_slice(from);
        if let (true, Some(zero)) = (terminate, behind.first_mut()) {
            *zero = 0;
        }
        Ok(())
    }
}

/// How much memory the pool of this node may take.
pub(crate) struct Budget {
    limit: u64,
    used: Atomic<u64>,
}

impl Budget {
    pub(crate) fn new(limit: u64) -> Self {
        Budget {
            limit,
            used: Atomic::new(0),
        }
    }

    /// Bytes taken.
    pub(crate) fn used(&self) -> u64 {
        self.used.load(Relaxed)
    }

    /// Bytes that may be taken in all.
    pub(crate) fn limit(&self) -> u64 {
        self.limit
    }

    /// Bytes left.
    pub(crate) fn free(&self) -> u64 {
        self.limit.saturating_sub(self.used())
    }
}

/// A part of the budget, given back when dropped.
struct Charge {
    budget: Arc<Budget>,
    bytes: u64,
}

impl Charge {
    fn new(budget: &Arc<Budget>, size: u64) -> Result<Self> {
        let bytes = size.checked_add(OVERHEAD).ok_or(ENOMEM)?;
        // What is added beyond the limit is taken back at once; it never wraps, since a single
        // charge cannot exceed the limit.
        if bytes > budget.limit {
            return Err(ENOMEM);
        }
        let charge = Charge {
            budget: budget.clone(),
            bytes,
        };
        let before = budget.used.fetch_add(bytes, Relaxed);
        match before.saturating_add(bytes) > budget.limit {
            true => Err(ENOMEM),
            false => Ok(charge),
        }
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.budget.used.fetch_sub(self.bytes, Relaxed);
    }
}
