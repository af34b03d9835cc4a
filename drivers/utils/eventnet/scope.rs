// SPDX-License-Identifier: GPL-2.0

//! Which event the current task has recorded last: it is the cause of what the task does next.
//!
//! A task has a scope while it makes a call or serves a request that is recorded. There is a place for
//! each in a table that is looked up by the task's address. If a task finds no place, the causes of its
//! events are not known, which is all.

use core::num::NonZeroUsize;
use kernel::sync::atomic::{
    Atomic,
    Relaxed, //
};
use linux::user::task_number;
use virgo_proto::eventnet::event::EventId;

/// Tasks that can have a scope at a time.
const PLACES: usize = 1024;

/// Places that are tried for one task.
const TRIES: usize = 4;

/// Number of a node that stands for "not recorded".
const SKIPPED: u64 = 0;

/// A task's place. Only the task itself uses it, all but `task`.
struct Place {
    /// Address of the task; 0 if nobody has the place.
    task: Atomic<usize>,
    /// The last event's node, and its number.
    node: Atomic<u64>,
    seq: Atomic<u64>,
}

static TABLE: [Place; PLACES] = [const {
    Place {
        task: Atomic::new(0),
        node: Atomic::new(0),
        seq: Atomic::new(0),
    }
}; PLACES];

/// What is known of the current task.
pub(super) enum Current {
    /// It has no scope: it begins something of its own.
    None,
    /// What it does is not recorded.
    Skipped,
    /// The last event.
    Event(EventId),
}

/// Takes a scope off the current task when dropped, or gives it back the one that it had.
pub(super) struct Scope {
    index: usize,
    task: NonZeroUsize,
    /// The event that the scope which this one replaces had last.
    outer: Option<(u64, u64)>,
}

fn places(task: NonZeroUsize) -> impl Iterator<Item = (usize, &'static Place)> {
    // Tasks lie some KiB apart.
    let start = (task.get() >> 6).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
    (0..TRIES).filter_map(move |at| {
        let index = start.wrapping_add(at) % PLACES;
        Some((index, TABLE.get(index)?))
    })
}

fn find(task: NonZeroUsize) -> Option<(usize, &'static Place)> {
    places(task).find(|(_, place)| place.task.load(Relaxed) == task.get())
}

fn set(place: &Place, (node, seq): (u64, u64)) {
    place.node.store(node, Relaxed);
    place.seq.store(seq, Relaxed);
}

impl Scope {
    /// From now on `last` is the event that the current task has recorded last; `None` says that
    /// nothing of what it does is recorded. Task context.
    pub(super) fn enter(last: Option<EventId>) -> Option<Self> {
        let task = task_number()?;
        let last = last.map_or((SKIPPED, 0), |event| (event.node.into(), event.seq));
        if let Some((index, place)) = find(task) {
            let outer = (place.node.load(Relaxed), place.seq.load(Relaxed));
            set(place, last);
            return Some(Scope {
                index,
                task,
                outer: Some(outer),
            });
        }
        let (index, place) =
            places(task).find(|(_, place)| place.task.cmpxchg(0, task.get(), Relaxed).is_ok())?;
        set(place, last);
        Some(Scope {
            index,
            task,
            outer: None,
        })
    }
}

impl Drop for Scope {
    fn drop(&mut self) {
        let Some(place) = TABLE.get(self.index) else {
            return;
        };
        match self.outer {
            Some(outer) => set(place, outer),
            None => {
                // The work that has entered it may be ended by another task only if that one has waited
                // for the first: nobody else uses the place.
                let _ = place.task.cmpxchg(self.task.get(), 0, Relaxed);
            }
        }
    }
}

/// The scope of the current task, if it has one. Any context.
pub(super) fn here() -> Here {
    Here(task_number().and_then(find).map(|(_, place)| place))
}

/// See [`here`]. Of use to the task that has asked, as long as it is in that scope.
#[derive(Clone, Copy)]
pub(super) struct Here(Option<&'static Place>);

impl Here {
    /// What is known of the task.
    pub(super) fn current(self) -> Current {
        let Some(place) = self.0 else {
            return Current::None;
        };
        match place.node.load(Relaxed) {
            SKIPPED => Current::Skipped,
            node => Current::Event(EventId {
                node: node as u8,
                seq: place.seq.load(Relaxed),
            }),
        }
    }

    /// The task has recorded `event`.
    pub(super) fn happened(self, event: EventId) {
        if let Some(place) = self.0 {
            set(place, (event.node.into(), event.seq));
        }
    }
}
