// SPDX-License-Identifier: GPL-2.0

//! Parts of the maps of other nodes, kept for their next use.
//!
//! A window is what one Lookup answers. It holds as long as its id lives: ids are never issued twice,
//! a map never changes, and the pieces that it names are checked where they lie. That the id still
//! lives is asked again after [`FRESH_MS`], with the first window; the others are found by way of it.
//!
//! # Locking
//!
//! One mutex, held for a look at one set, or for a scan of all [`WINDOWS`].

use crate::object::PieceRange;
use kernel::{
    prelude::*,
    sync::{
        atomic::{
            Atomic,
            Relaxed, //
        },
        Arc,
        Mutex, //
    }, //
};
use linux::{
    crypto,
    deadline::Deadline, //
};
use virgo_utils::budget::{
    Budget,
    Charge, //
};

/// Windows that are kept.
const WINDOWS: usize = SETS * WAYS;
const SETS: usize = 256;

/// Places where a window may be.
const WAYS: usize = 4;

/// How long the first window of an allocation is used before its node is asked again, in
/// milliseconds.
const FRESH_MS: u32 = 1000;

/// A part of the map of an allocation.
pub(crate) struct MapWindow {
    /// Bytes of the whole allocation.
    pub(crate) size: u64,
    /// Bytes of each piece but the last.
    pub(crate) chunk: u64,
    /// Index of the first piece here.
    pub(crate) first: u64,
    /// Ids of the pieces.
    pub(crate) ids: KVec<u64>,
}

impl MapWindow {
    /// The place of byte `at`; `None` if it is not here.
    pub(crate) fn find(&self, at: u64) -> Option<PieceRange> {
        let index = at.checked_div(self.chunk)?.checked_sub(self.first)?;
        let id = *self.ids.get(usize::try_from(index).ok()?)?;
        PieceRange::new(id, at, self.size, self.chunk)
    }
}

/// Which window, and for whom: its node has said that this user may know.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct WindowKey {
    pub(crate) id: u64,
    pub(crate) uid: u32,
    /// Its number in the map.
    pub(crate) number: u32,
}

struct Entry {
    key: WindowKey,
    window: Arc<MapWindow>,
    /// Until when it is used, if it is the first one.
    until: Deadline,
    /// When it was used last, in uses of all.
    used: u64,
    _charge: Charge,
}

/// See the module.
#[pin_data]
pub(crate) struct Maps {
    /// Windows, however large: what is short are the places for them.
    budget: Pin<KBox<Budget>>,
    /// Makes it hard to have one's windows meet those of others.
    factor: u64,
    /// Entries; who finds none need not look, nor lock.
    count: Atomic<usize>,
    #[pin]
    inner: Mutex<Inner>,
}

struct Inner {
    /// [`WINDOWS`] places, or none before the first use.
    entries: KVVec<Option<Entry>>,
    uses: u64,
}

impl Maps {
    pub(crate) fn new() -> impl PinInit<Self, Error> {
        let inner = Inner {
            entries: KVVec::new(),
            uses: 0,
        };
        try_pin_init!(Self {
            budget: Budget::new(WINDOWS as u64)?,
            factor: crypto::random_u64() | 1,
            count: Atomic::new(0),
            inner <- linux::new_mutex!(inner, "virgo_maps"),
        }? Error)
    }

    /// The window, if it is here and still good. May sleep.
    pub(crate) fn get(&self, key: WindowKey) -> Option<Arc<MapWindow>> {
        if self.count.load(Relaxed) == 0 {
            return None;
        }
        let mut inner = self.inner.lock();
        inner.uses += 1;
        let uses = inner.uses;
        let entry = inner
            .set(self.set_of(key))
            .iter_mut()
            .flatten()
            .find(|entry| entry.key == key && (key.number > 0 || !entry.until.passed()))?;
        entry.used = uses;
        Some(entry.window.clone())
    }

    /// Keeps a window, if its user has room for it, perhaps in the place of an older one. May sleep.
    pub(crate) fn put(&self, key: WindowKey, window: &Arc<MapWindow>) {
        // Without the lock: in a memory cgroup that is full this waits, and others need not.
        let Ok(account) = self.budget.account(key.uid) else {
            return;
        };
        let mut inner = self.inner.lock();
        if inner.prepare().is_err() {
            return;
        }
        inner.uses += 1;
        let uses = inner.uses;
        let set = inner.set(self.set_of(key));
        let same = |entry: &Option<Entry>| entry.as_ref().is_some_and(|entry| entry.key == key);
        let old = |entry: &Option<Entry>| entry.as_ref().map_or(0, |entry| entry.used);
        let at = match set.iter().position(same) {
            Some(at) => Some(at),
            None => (0..set.len()).min_by_key(|&at| set.get(at).map_or(0, old)),
        };
        let Some(at) = at.map(|at| at + self.set_of(key)) else {
            return;
        };
        // First what is there goes, then what the user has left unused for longest.
        self.remove(&mut inner, at);
        let charge = loop {
            match account.charge(1) {
                Ok(charge) => break charge,
                Err(EDQUOT) => match inner.oldest_of(key.uid) {
                    Some(oldest) => self.remove(&mut inner, oldest),
                    None => return,
                },
                Err(_) => return,
            }
        };
        if let Some(place) = inner.entries.get_mut(at) {
            *place = Some(Entry {
                key,
                window: window.clone(),
                until: Deadline::after_ms(FRESH_MS),
                used: uses,
                _charge: charge,
            });
            self.count.fetch_add(1, Relaxed);
        }
    }

    /// Allocation `id` is no more. May sleep.
    pub(crate) fn forget(&self, id: u64) {
        if self.count.load(Relaxed) == 0 {
            return;
        }
        let mut inner = self.inner.lock();
        for place in &mut inner.entries {
            if place.as_ref().is_some_and(|entry| entry.key.id == id) {
                *place = None;
                self.count.fetch_sub(1, Relaxed);
            }
        }
    }

    fn remove(&self, inner: &mut Inner, at: usize) {
        if inner.entries.get_mut(at).and_then(Option::take).is_some() {
            self.count.fetch_sub(1, Relaxed);
        }
    }

    /// Index of the first place where the window may be.
    fn set_of(&self, key: WindowKey) -> usize {
        let name = key.id ^ (u64::from(key.uid) << 32) ^ u64::from(key.number);
        // Its upper bits: as many as there are sets.
        let hash = name.wrapping_mul(self.factor) >> (64 - SETS.ilog2());
        hash as usize * WAYS
    }
}

impl Inner {
    fn prepare(&mut self) -> Result {
        if self.entries.is_empty() {
            let mut entries = KVVec::with_capacity(WINDOWS, GFP_KERNEL)?;
            for _ in 0..WINDOWS {
                entries.push(None, GFP_KERNEL)?;
            }
            self.entries = entries;
        }
        Ok(())
    }

    fn set(&mut self, from: usize) -> &mut [Option<Entry>] {
        self.entries.get_mut(from..from + WAYS).unwrap_or_default()
    }

    /// Where the window is that user `uid` has left unused for longest.
    fn oldest_of(&self, uid: u32) -> Option<usize> {
        let own = |entry: &Entry| (entry.key.uid == uid).then_some(entry.used);
        let entries = self.entries.iter().enumerate();
        entries
            .filter_map(|(at, place)| Some((place.as_ref().and_then(own)?, at)))
            .min()
            .map(|(_, at)| at)
    }
}
