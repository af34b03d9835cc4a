// SPDX-License-Identifier: GPL-2.0

//! Views: who is a member, and since when.

use super::placement;
use crate::vuid::NodeId;

/// A node's part in a view.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Member {
    /// Random number of its incarnation; 0 for a node that is no member.
    pub boot: u64,
    /// The view since which it has been a member without interruption.
    pub joined: u64,
}

/// A view of up to `N` nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct View<const N: usize> {
    /// Later views have larger numbers; 0 is none.
    pub number: u64,
    /// The view that it follows.
    pub base: u64,
    /// How long a lease lasts in it, in milliseconds.
    pub lease_ms: u32,
    /// What a lease may last that was given in an earlier view, or in this one: so long is waited for who is
    /// left out.
    pub wait_ms: u32,
    /// Somebody who was a member of the base, or may have been, is none any more, or has forgotten all; or
    /// was left out by the base, and may still use what it has.
    pub has_lost: bool,
    /// By number, from 1.
    pub members: [Member; N],
}

impl<const N: usize> View<N> {
    /// Before the first.
    pub const NONE: Self = View {
        number: 0,
        base: 0,
        lease_ms: 0,
        wait_ms: 0,
        has_lost: false,
        members: [Member { boot: 0, joined: 0 }; N],
    };

    /// A node's part.
    pub fn member(&self, node: NodeId) -> Member {
        let index = usize::from(node).wrapping_sub(1);
        self.members.get(index).copied().unwrap_or_default()
    }

    /// Whether this incarnation of a node is a member.
    pub fn has(&self, node: NodeId, boot: u64) -> bool {
        boot != 0 && self.member(node).boot == boot
    }

    /// The members.
    pub fn nodes(&self) -> impl Iterator<Item = NodeId> + '_ {
        let members = (1..).zip(&self.members);
        members.filter_map(|(node, member)| (member.boot != 0).then_some(node))
    }

    /// Members that remember what they had in the base.
    pub fn continuing(&self) -> impl Iterator<Item = NodeId> + '_ {
        self.nodes()
            .filter(|node| self.member(*node).joined < self.number)
    }

    /// Whether a name that `former` mastered in the base, and `master` masters now, stays where it is. Who came
    /// back under its number has forgotten all names.
    pub fn keeps(&self, former: NodeId, master: NodeId) -> bool {
        former == master && self.continuing().any(|node| node == master)
    }

    /// Who masters the name with this hash.
    pub fn master(&self, hash: u64) -> Option<NodeId> {
        placement::master(hash, self.nodes())
    }
}
