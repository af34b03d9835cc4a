// SPDX-License-Identifier: GPL-2.0

//! What was set, by whom and when: the last changes, in order.
//!
//! # Locking
//!
//! A mutex, taken under the registry's: whoever reads the history must not set variables meanwhile.

use crate::limits::AnalyticsLimits;
use core::mem::size_of;
use kernel::{
    prelude::*,
    sync::{
        Arc,
        Mutex, //
    }, //
};
use linux::{
    bytes::memory_of,
    deadline,
    work::WorkHandle, //
};
use virgo_utils::variables::{
    Change,
    Observer,
    ValueOrigin, //
};

/// A change. Never changes itself.
pub(crate) struct ChangeRecord {
    /// Its number. They are consecutive; one is missing only if there was no memory for it.
    pub(crate) number: u64,
    /// When it was made, in milliseconds since 1970.
    pub(crate) ms: u64,
    /// Who has set the value; `None` for a variable that is no more.
    pub(crate) origin: Option<ValueOrigin>,
    /// The key, then the value from then on.
    text: KVec<u8>,
    key_len: usize,
}

impl ChangeRecord {
    /// A copy of a change: what was set is not to be charged for as long as it is remembered.
    fn new(change: &Change<'_>) -> Result<Arc<Self>> {
        let (seconds, nanos) = deadline::wall();
        let key = change.named.key().as_bytes();
        let value = change.value.map_or("", |value| value.text()).as_bytes();
        let mut text = KVec::with_capacity(key.len() + value.len(), GFP_KERNEL)?;
        text.extend_from_slice(key, GFP_KERNEL)?;
        text.extend_from_slice(value, GFP_KERNEL)?;
        let record = ChangeRecord {
            number: change.number,
            ms: seconds.saturating_mul(1000) + u64::from(nanos / 1_000_000),
            origin: change.value.map(|value| value.origin),
            text,
            key_len: key.len(),
        };
        Ok(Arc::new(record, GFP_KERNEL)?)
    }

    /// Of the variable.
    pub(crate) fn key(&self) -> &str {
        text(self.text.get(..self.key_len))
    }

    /// The value from then on.
    pub(crate) fn value(&self) -> &str {
        text(self.text.get(self.key_len..))
    }

    /// Where the value comes from.
    pub(crate) fn source(&self) -> &'static str {
        self.origin.map_or("none", |origin| origin.source.name())
    }

    /// The uid that has set it.
    pub(crate) fn uid(&self) -> u32 {
        self.origin.map_or(0, |origin| origin.uid)
    }

    fn bytes(&self) -> usize {
        size_of::<Self>() + memory_of(self.text.len())
    }
}

fn text(bytes: Option<&[u8]>) -> &str {
    core::str::from_utf8(bytes.unwrap_or_default()).unwrap_or_default()
}

/// The last changes, in memory of the module's own.
#[pin_data]
pub(crate) struct ChangeHistory {
    /// Bytes that the records may have together.
    max_bytes: usize,
    #[pin]
    inner: Mutex<Inner>,
}

/// What a watcher is told next.
pub(crate) enum WatchEvent {
    /// This change.
    Change(Arc<ChangeRecord>),
    /// So many changes are not kept any more.
    Lost(u64),
    /// Nothing yet.
    Nothing,
}

struct Inner {
    /// A ring of a fixed size, full of records once there were so many.
    records: KVVec<Option<Arc<ChangeRecord>>>,
    /// Number of the first change that was seen; 0 before that. Earlier ones were made before this module
    /// was loaded.
    start: u64,
    /// Number of the oldest record and of the next one.
    first: u64,
    next: u64,
    bytes: usize,
    /// Of those who wait for the next record.
    wakers: KVec<WorkHandle>,
}

impl ChangeHistory {
    pub(crate) fn new(limits: &AnalyticsLimits) -> Result<Arc<Self>> {
        let mut records = KVVec::with_capacity(limits.history, GFP_KERNEL)?;
        for _ in 0..limits.history {
            records.push(None, GFP_KERNEL)?;
        }
        let inner = Inner {
            records,
            start: 0,
            first: 1,
            next: 1,
            bytes: 0,
            wakers: KVec::new(),
        };
        Arc::pin_init(
            pin_init!(Self {
                max_bytes: (limits.max_bytes / 4) as usize,
                inner <- kernel::new_mutex!(inner, "virgo_analytics_history"),
            }),
            GFP_KERNEL,
        )
    }

    /// The number that the next change will have. May sleep.
    pub(crate) fn next_number(&self) -> u64 {
        self.inner.lock().next
    }

    /// The first record from number `from` on whose key begins with `prefix`, unless some from there on are
    /// not kept any more; if there is none, `waker` is woken by the next one. `from` becomes the number of
    /// the first record that was not looked at. May sleep.
    ///
    /// # Errors
    ///
    /// [`ENOMEM`].
    pub(crate) fn next_or_wake(
        &self,
        from: &mut u64,
        prefix: &str,
        waker: &WorkHandle,
    ) -> Result<WatchEvent> {
        let mut inner = self.inner.lock();
        let lost = inner.first.saturating_sub((*from).max(inner.start));
        if lost > 0 {
            *from = inner.first;
            return Ok(WatchEvent::Lost(lost));
        }
        if let Some(record) = inner.from(*from).find(|r| r.key().starts_with(prefix)) {
            *from = record.number.saturating_add(1);
            return Ok(WatchEvent::Change(record.clone()));
        }
        *from = inner.next;
        inner
            .wakers
            .retain(|other| other.has_task() && !other.is(waker));
        inner.wakers.push(waker.clone(), GFP_KERNEL)?;
        Ok(WatchEvent::Nothing)
    }

    /// `waker` is not woken any more. May sleep.
    pub(crate) fn forget(&self, waker: &WorkHandle) {
        let mut inner = self.inner.lock();
        inner.wakers.retain(|other| !other.is(waker));
        if inner.wakers.is_empty() {
            inner.wakers = KVec::new();
        }
    }

    /// The records whose key begins with `prefix`, the oldest first. May sleep.
    ///
    /// # Errors
    ///
    /// [`ENOMEM`].
    pub(crate) fn records(&self, prefix: &str) -> Result<KVVec<Arc<ChangeRecord>>> {
        let inner = self.inner.lock();
        let mut records = KVVec::new();
        for record in inner.from(inner.first) {
            if record.key().starts_with(prefix) {
                records.push(record.clone(), GFP_KERNEL)?;
            }
        }
        Ok(records)
    }

    /// Shows `see` each record, the oldest first. May sleep.
    ///
    /// # Errors
    ///
    /// Those of `see`.
    pub(crate) fn try_for_each<E>(
        &self,
        mut see: impl FnMut(&ChangeRecord) -> Result<(), E>,
    ) -> Result<(), E> {
        let inner = self.inner.lock();
        let mut records = inner.from(inner.first);
        records.try_for_each(|record| see(record))
    }
}

impl Inner {
    fn slot(&self, number: u64) -> usize {
        // The ring is not empty.
        (number % self.records.len().max(1) as u64) as usize
    }

    /// The records from `number` on.
    fn from(&self, number: u64) -> impl Iterator<Item = &Arc<ChangeRecord>> {
        (number.max(self.first)..self.next)
            .filter_map(|number| self.records.get(self.slot(number))?.as_ref())
    }

    fn put(&mut self, record: Option<Arc<ChangeRecord>>, number: u64) {
        let slot = self.slot(number);
        self.bytes = self
            .bytes
            .saturating_add(record.as_ref().map_or(0, |record| record.bytes()));
        if let Some(place) = self.records.get_mut(slot) {
            let old = core::mem::replace(place, record);
            self.bytes = self
                .bytes
                .saturating_sub(old.as_ref().map_or(0, |record| record.bytes()));
        }
    }

    fn drop_first(&mut self) {
        self.put(None, self.first);
        self.first = self.first.saturating_add(1);
    }
}

impl Observer for ChangeHistory {
    fn changed(&self, change: &Change<'_>) {
        // Without memory for it the change is missing here: no record has its number.
        let record = ChangeRecord::new(change).ok();
        let mut inner = self.inner.lock();
        // Changes have consecutive numbers, but the first that this history sees may have any.
        if inner.start == 0 {
            inner.start = change.number;
            inner.first = change.number;
            inner.next = change.number;
        }
        // The oldest record goes first: the new one gets its slot.
        let ring = inner.records.len() as u64;
        while inner.first < inner.next && change.number.saturating_sub(inner.first) >= ring {
            inner.drop_first();
        }
        inner.put(record, change.number);
        inner.next = change.number.saturating_add(1);
        while inner.first < inner.next && inner.bytes > self.max_bytes {
            inner.drop_first();
        }
        let wakers = core::mem::take(&mut inner.wakers);
        drop(inner);
        for waker in &wakers {
            waker.wake();
        }
    }
}
