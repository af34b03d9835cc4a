// SPDX-License-Identifier: GPL-2.0

//! What this node knows of the others' load, and where it would run a call.

use kernel::{
    prelude::*,
    sync::SpinLock, //
};
use linux::{
    crypto,
    deadline::Deadline, //
};
use virgo_proto::{
    balance::{
        self,
        Policy, //
    },
    clone::Load,
    config::MAX_NODES,
    vuid::NodeId, //
};

/// How long what a node has said of itself is used, in milliseconds.
const FRESH_MS: u32 = 2000;

/// How long a node that could not be reached is passed over, in milliseconds.
const DOWN_MS: u32 = 2000;

/// What is known of all nodes.
#[pin_data]
pub(crate) struct View {
    #[pin]
    nodes: SpinLock<[Seen; MAX_NODES]>,
}

/// What is known of a node.
#[derive(Clone, Copy)]
pub(crate) struct Seen {
    /// What it has said last, and how long that is used.
    load: Option<(Load, Deadline)>,
    /// Calls sent there since.
    sent: u32,
    /// Until when it is passed over.
    down: Option<Deadline>,
}

impl Seen {
    /// What it has said, if that is used.
    pub(crate) fn fresh(&self) -> Option<Load> {
        let (load, until) = self.load?;
        (!until.passed()).then_some(load)
    }

    pub(crate) fn is_down(&self) -> bool {
        self.down.is_some_and(|until| !until.passed())
    }

    /// Calls sent there since it has said something.
    pub(crate) fn sent(&self) -> u32 {
        self.sent
    }

    /// Smaller is better. A node that has said nothing lately is taken for idle: with the first
    /// call it will say.
    fn weight(&self) -> u64 {
        let (known, processors) = match self.fresh() {
            Some(load) => (load.weight(), load.processors.get().max(1)),
            None => (0, 1),
        };
        let since = u64::from(self.sent).saturating_mul(100) / u64::from(processors);
        u64::from(known).saturating_add(since)
    }
}

impl View {
    pub(crate) fn new() -> impl PinInit<Self> {
        let nothing = Seen {
            load: None,
            sent: 0,
            down: None,
        };
        pin_init!(Self {
            nodes <- kernel::new_spinlock!([nothing; MAX_NODES], "virgo_view"),
        })
    }

    /// Node `node` says how loaded it is.
    pub(crate) fn heard(&self, node: NodeId, load: Load) {
        self.with(node, |seen| {
            *seen = Seen {
                load: Some((load, Deadline::after_ms(FRESH_MS))),
                sent: 0,
                down: None,
            };
        });
    }

    /// Node `node` could not be reached.
    pub(crate) fn lost(&self, node: NodeId) {
        self.with(node, |seen| {
            seen.down = Some(Deadline::after_ms(DOWN_MS));
        });
    }

    /// What is known of node `node`.
    pub(crate) fn seen(&self, node: NodeId) -> Option<Seen> {
        let index = usize::from(node).checked_sub(1)?;
        self.nodes.lock().get(index).copied()
    }

    /// Chooses one of `nodes` (bit `n - 1` for node `n`) and counts a call for it. Nodes that
    /// were lost lately are chosen only if there are no others.
    pub(crate) fn choose(&self, policy: Policy, nodes: u64) -> Option<NodeId> {
        let mut all = self.nodes.lock();
        let wanted = |number: NodeId| nodes >> (number - 1) & 1 != 0;
        let numbered = || (1..).zip(all.iter()).filter(|&(number, _)| wanted(number));
        let any_up = numbered().any(|(_, seen)| !seen.is_down());
        let mut numbers: [NodeId; MAX_NODES] = [0; MAX_NODES];
        let mut room = [0; MAX_NODES];
        let mut count = 0;
        for (number, seen) in numbered().filter(|(_, seen)| !any_up || !seen.is_down()) {
            if let (Some(place), Some(free)) = (numbers.get_mut(count), room.get_mut(count)) {
                *place = number;
                *free = u64::MAX - seen.weight();
                count += 1;
            }
        }
        let room = room.get(..count)?;
        let chosen = balance::choose(policy, room, crypto::random_u32())?;
        let node = numbers.get(chosen).copied()?;
        if let Some(seen) = all.get_mut(usize::from(node).checked_sub(1)?) {
            seen.sent = seen.sent.saturating_add(1);
        }
        Some(node)
    }

    fn with(&self, node: NodeId, change: impl FnOnce(&mut Seen)) {
        let mut nodes = self.nodes.lock();
        let seen = usize::from(node)
            .checked_sub(1)
            .and_then(|index| nodes.get_mut(index));
        if let Some(seen) = seen {
            change(seen);
        }
    }
}
