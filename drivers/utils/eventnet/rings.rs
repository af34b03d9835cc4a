// SPDX-License-Identifier: GPL-2.0

//! A ring of events for each processor. Writing never waits for a reader or another processor's
//! writer for longer than it takes to copy a few records.

use core::mem::size_of;
use kernel::{
    prelude::*,
    sync::SpinLockIrq, //
};
use linux::load;
use virgo_proto::eventnet::{
    event::EventRecord,
    ring::{
        Cursor,
        EventRing,
        Read, //
    }, //
};

/// Bytes that are read under the lock at a time: at least a record.
const STEP: usize = 4096;

#[pin_data]
struct Locked {
    #[pin]
    ring: SpinLockIrq<EventRing<KVVec<u64>>>,
}

/// The rings of all processors.
pub(super) struct Rings(KVec<Pin<KBox<Locked>>>);

impl Rings {
    /// Empty rings, of `size` bytes each. May sleep.
    pub(super) fn new(size: usize) -> Result<Self> {
        let mut rings = KVec::new();
        for _ in 0..load::processors() {
            let words = KVVec::from_elem(0, size / size_of::<u64>(), GFP_KERNEL)?;
            let ring = EventRing::new(words).ok_or(EINVAL)?;
            let locked = KBox::pin_init(
                pin_init!(Locked {
                    ring <- linux::new_spinlock_irq!(ring, "virgo_event_ring"),
                }),
                GFP_KERNEL,
            )?;
            rings.push(locked, GFP_KERNEL)?;
        }
        Ok(Rings(rings))
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.0.len()
    }

    /// Adds an event to the ring of this processor. Any context.
    pub(super) fn push(&self, event: &EventRecord<'_>) {
        if let Some(own) = self.0.get(load::this_processor()).or(self.0.first()) {
            // The smallest ring has room for the largest event.
            own.ring.lock().push(event);
        }
    }

    /// Reads records of the ring with this index. Any context.
    pub(super) fn read(&self, index: usize, from: Cursor, out: &mut [u8]) -> Option<Read> {
        let ring = &self.0.get(index)?.ring;
        let mut all = Read {
            next: from,
            bytes: 0,
            lost: 0,
        };
        while let Some(rest @ [_, ..]) = out.get_mut(all.bytes..) {
            let step = rest.len().min(STEP);
            let read = ring.lock().read(all.next, rest.get_mut(..step)?);
            all.next = read.next;
            all.bytes += read.bytes;
            all.lost += read.lost;
            if read.bytes == 0 {
                break;
            }
        }
        Some(all)
    }

    /// Events of the ring with this index that later ones have replaced. Any context.
    pub(super) fn replaced(&self, index: usize) -> Option<u64> {
        Some(self.0.get(index)?.ring.lock().replaced())
    }
}
