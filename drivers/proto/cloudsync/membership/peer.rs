// SPDX-License-Identifier: GPL-2.0

//! Whether another node answers.

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
}

impl PeerState {
    pub(super) const UNKNOWN: Self = PeerState {
        heard: 0,
        is_alive: false,
        boot: 0,
        acked: 0,
        view: 0,
        next: 0,
    };
}
