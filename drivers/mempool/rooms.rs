// SPDX-License-Identifier: GPL-2.0

//! What is known of the room that other nodes' pools have.
//!
//! All that is known ages: a node that was full or out of reach is asked again after a while, since
//! nobody tells when that has changed.

use kernel::{
    prelude::*,
    sync::SpinLock, //
};
use linux::deadline::Deadline;
use virgo_proto::{
    config::MAX_NODES,
    vuid::NodeId, //
};

/// How long what a node has said of its pool is used, in milliseconds.
const TOLD_MS: u32 = 30_000;

/// How long a node that could not be reached is passed over, in milliseconds.
const DOWN_MS: u32 = 2000;

/// What is known of all nodes' pools.
#[pin_data]
pub(crate) struct Rooms {
    #[pin]
    nodes: SpinLock<[Known; MAX_NODES]>,
}

/// What is known of a node's pool.
#[derive(Clone, Copy)]
struct Known {
    /// Bytes that it had left, and until when that is used.
    told: Option<(u64, Deadline)>,
    /// Until when it is passed over.
    down: Option<Deadline>,
}

impl Known {
    fn told(&self) -> Option<u64> {
        let (room, until) = self.told?;
        (!until.passed()).then_some(room)
    }

    fn is_down(&self) -> bool {
        self.down.is_some_and(|until| !until.passed())
    }
}

impl Rooms {
    /// Nothing is known.
    pub(crate) fn new() -> impl PinInit<Self> {
        let nothing = Known {
            told: None,
            down: None,
        };
        pin_init!(Self {
            nodes <- kernel::new_spinlock!([nothing; MAX_NODES], "virgo_rooms"),
        })
    }

    /// Bytes that node `node` is taken to have left: as much as can be if nothing is known, none if
    /// it is passed over.
    pub(crate) fn of(&self, node: NodeId) -> u64 {
        let mut room = 0;
        self.with(node, |known| {
            room = match known.is_down() {
                true => 0,
                false => known.told().unwrap_or(u64::MAX),
            };
        });
        room
    }

    /// Node `node` has said that it has `free` bytes left.
    pub(crate) fn told(&self, node: NodeId, free: u64) {
        self.with(node, |known| {
            *known = Known {
                told: Some((free, Deadline::after_ms(TOLD_MS))),
                down: None,
            };
        });
    }

    /// Node `node` did not have room for `size` bytes.
    pub(crate) fn full(&self, node: NodeId, size: u64) {
        self.with(node, |known| {
            let less = known.told().unwrap_or(u64::MAX).min(size.saturating_sub(1));
            *known = Known {
                told: Some((less, Deadline::after_ms(TOLD_MS))),
                down: None,
            };
        });
    }

    /// Node `node` could not be reached.
    pub(crate) fn lost(&self, node: NodeId) {
        self.with(node, |known| {
            known.down = Some(Deadline::after_ms(DOWN_MS));
        });
    }

    fn with(&self, node: NodeId, f: impl FnOnce(&mut Known)) {
        let mut nodes = self.nodes.lock();
        let known = usize::from(node)
            .checked_sub(1)
            .and_then(|index| nodes.get_mut(index));
        if let Some(known) = known {
            f(known);
        }
    }
}
