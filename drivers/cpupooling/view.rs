// SPDX-License-Identifier: GPL-2.0

//! What this node knows of the others' load, and where it would run a call.

use kernel::{
    prelude::*,
    sync::SpinLock, //
};
use linux::{
    crypto,
    deadline::now_ms, //
};
pub(crate) use virgo_proto::load_view::Seen;
use virgo_proto::{
    balance::{
        self,
        Policy, //
    },
    clone::Load,
    config::MAX_NODES,
    vuid::NodeId, //
};

/// What is known of all nodes.
#[pin_data]
pub(crate) struct LoadView {
    #[pin]
    nodes: SpinLock<[Seen; MAX_NODES]>,
}

impl LoadView {
    pub(crate) fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            nodes <- kernel::new_spinlock!([Seen::NOTHING; MAX_NODES], "virgo_view"),
        })
    }

    /// Node `node` says how loaded it is.
    pub(crate) fn heard(&self, node: NodeId, load: Load) {
        self.with(node, |seen| seen.heard(load, now_ms()));
    }

    /// Node `node` could not be reached, or does not answer.
    pub(crate) fn lost(&self, node: NodeId) {
        self.with(node, |seen| seen.lost(now_ms()));
    }

    /// Whether node `node` has said something lately.
    pub(crate) fn is_heard(&self, node: NodeId) -> bool {
        self.seen(node)
            .is_some_and(|seen| seen.fresh(now_ms()).is_some())
    }

    /// Whether node `node` could not be reached lately.
    pub(crate) fn is_down(&self, node: NodeId) -> bool {
        self.seen(node).is_some_and(|seen| seen.is_down(now_ms()))
    }

    /// What is known of node `node`.
    pub(crate) fn seen(&self, node: NodeId) -> Option<Seen> {
        let index = usize::from(node).checked_sub(1)?;
        self.nodes.lock().get(index).copied()
    }

    /// Chooses one of `nodes` (bit `n - 1` for node `n`) and counts a call for it. Nodes that
    /// were lost lately are chosen only if there are no others.
    pub(crate) fn choose(&self, policy: Policy, nodes: u64) -> Option<NodeId> {
        let now = now_ms();
        let mut all = self.nodes.lock();
        let wanted = |number: NodeId| nodes >> (number - 1) & 1 != 0;
        let numbered = || (1..).zip(all.iter()).filter(|&(number, _)| wanted(number));
        let any_up = numbered().any(|(_, seen)| !seen.is_down(now));
        let mut numbers: [NodeId; MAX_NODES] = [0; MAX_NODES];
        let mut room = [0; MAX_NODES];
        let mut count = 0;
        for (number, seen) in numbered().filter(|(_, seen)| !any_up || !seen.is_down(now)) {
            if let (Some(place), Some(free)) = (numbers.get_mut(count), room.get_mut(count)) {
                *place = number;
                *free = u64::MAX - seen.weight(now);
                count += 1;
            }
        }
        let room = room.get(..count)?;
        let chosen = balance::choose(policy, room, crypto::random_u32())?;
        let node = numbers.get(chosen).copied()?;
        if let Some(seen) = all.get_mut(usize::from(node).checked_sub(1)?) {
            seen.chosen(now);
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
