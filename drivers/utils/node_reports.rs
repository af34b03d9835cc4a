// SPDX-License-Identifier: GPL-2.0

//! What other nodes have said of themselves with their replies: a number each, such as the room that is
//! left there; and which of them could not be reached.
//!
//! All of it ages: a node that was full or out of reach is asked again after a while, since nobody tells
//! when that has changed.

use kernel::{
    prelude::*,
    sync::SpinLock, //
};
use linux::deadline::Deadline;
use virgo_proto::{
    config::MAX_NODES,
    vuid::NodeId, //
};

/// How long what a node has said is used, in milliseconds.
const TOLD_MS: u32 = 30_000;

/// How long a node that could not be reached, or did not answer, is passed over, in milliseconds.
const DOWN_MS: u32 = 2000;

/// What is known of all nodes.
#[pin_data]
pub struct NodeReports {
    #[pin]
    nodes: SpinLock<[Known; MAX_NODES]>,
}

/// What is known of a node.
#[derive(Clone, Copy)]
struct Known {
    /// What it has said, and until when that is used.
    told: Option<(u64, Deadline)>,
    /// Until when it is passed over.
    down: Option<Deadline>,
}

impl Known {
    fn told(&self) -> Option<u64> {
        let (told, until) = self.told?;
        (!until.passed()).then_some(told)
    }

    fn is_down(&self) -> bool {
        self.down.is_some_and(|until| !until.passed())
    }
}

impl NodeReports {
    /// Nothing is known.
    pub fn new() -> impl PinInit<Self> {
        let nothing = Known {
            told: None,
            down: None,
        };
        pin_init!(Self {
            nodes <- linux::new_spinlock!([nothing; MAX_NODES], "virgo_told"),
        })
    }

    /// What node `node` has said lately.
    pub fn of(&self, node: NodeId) -> Option<u64> {
        let mut told = None;
        self.with(node, |known| told = known.told());
        told
    }

    /// Whether node `node` is passed over, since it could not be reached lately.
    pub fn is_down(&self, node: NodeId) -> bool {
        let mut down = false;
        self.with(node, |known| down = known.is_down());
        down
    }

    /// Node `node` has said `now`.
    pub fn told(&self, node: NodeId, now: u64) {
        self.revise(node, |_| now);
    }

    /// Node `node` has answered: `revise` makes what it would say now of what it has said lately. That
    /// runs under a spinlock.
    pub fn revise(&self, node: NodeId, revise: impl FnOnce(Option<u64>) -> u64) {
        self.with(node, |known| {
            *known = Known {
                told: Some((revise(known.told()), Deadline::after_ms(TOLD_MS))),
                down: None,
            };
        });
    }

    /// Node `node` could not be reached, or does not answer.
    pub fn lost(&self, node: NodeId) {
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
