// SPDX-License-Identifier: GPL-2.0

//! Whether another node answers, and whom it hears.

use super::Links;

/// What is known of another node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct PeerState {
    /// When it answered last, or when this node began to listen.
    pub(super) heard: u64,
    /// It has answered since.
    pub(super) is_alive: bool,
    /// The incarnation that answered.
    pub(super) boot: u64,
    /// When the last beat was sent that it has acknowledged in this view, plus one; 0 for none.
    pub(super) acked: u64,
    /// The view that it has.
    pub(super) view: u64,
    /// When the next beat is due.
    pub(super) next: u64,
    /// When it asked something last, plus one; 0 for never.
    pub(super) asked: u64,
    /// It did not answer when this node last listened, and has asked nothing since. As long that counts.
    pub(super) deaf_until: u64,
    /// What it said last of those whom it hears, and those whom it does not, as bits.
    pub(super) links: Links,
    /// How often it has answered, and not promised what this node proposed, since it was a member.
    pub(super) refusals: u32,
    /// As long it is not asked for that any more.
    pub(super) left_until: u64,
}

impl PeerState {
    pub(super) const UNKNOWN: Self = PeerState {
        heard: 0,
        is_alive: false,
        boot: 0,
        acked: 0,
        view: 0,
        next: 0,
        asked: 0,
        deaf_until: 0,
        links: Links::NONE,
        refusals: 0,
        left_until: 0,
    };
}
