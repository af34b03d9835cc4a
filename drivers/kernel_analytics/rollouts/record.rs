// SPDX-License-Identifier: GPL-2.0

//! What is shown of roll-outs that this node has part in.

use kernel::{
    fmt,
    prelude::*,
    str::CString,
    sync::Arc, //
};
use linux::deadline;
use virgo_proto::{
    analytics::rollout::{
        RolloutAnswer,
        RolloutId, //
    },
    errno::Errno,
    vuid::{
        NodeId,
        NodeSetIter, //
    }, //
};
use virgo_utils::variables::HeldChanges;

/// How many roll-outs are remembered that have ended.
pub(super) const MAX_RECORDS: usize = 16;

/// A roll-out that this node coordinates, or has coordinated last.
pub(super) struct BegunRollout {
    pub(super) number: u64,
    /// The values, while somebody may have to be told them.
    pub(super) text: Arc<KVVec<u8>>,
    pub(super) uid: u32,
    pub(super) canary: Option<NodeId>,
    /// When it has begun, in milliseconds since 1970.
    pub(super) ms: u64,
    /// Its owner wants it to be decided as soon as it can be.
    pub(super) is_wanted: bool,
    /// What was refused, and why.
    pub(super) refusal: Option<(NodeId, Errno, CString)>,
    /// What the disk has said.
    pub(super) disk: Result,
}

/// A roll-out that this node takes part in.
pub(super) struct HeldRollout {
    pub(super) id: RolloutId,
    pub(super) uid: u32,
    /// When it has come here, in milliseconds since 1970.
    pub(super) ms: u64,
    pub(super) changes: HeldChanges,
}

/// A roll-out that this node has taken part in.
#[derive(Clone, Copy)]
pub(super) struct EndedRollout {
    pub(super) id: RolloutId,
    pub(super) uid: u32,
    /// When it has ended, in milliseconds since 1970.
    pub(super) ms: u64,
    /// How.
    pub(super) answer: RolloutAnswer,
}

/// Milliseconds since 1970.
pub(super) fn wall_ms() -> u64 {
    let (seconds, nanos) = deadline::wall();
    seconds.saturating_mul(1000) + u64::from(nanos / 1_000_000)
}

/// Numbers of nodes with commas between them, or `-`.
pub(super) struct ShownNodes(pub(super) u64);

impl fmt::Display for ShownNodes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == 0 {
            return f.write_str("-");
        }
        for (at, node) in NodeSetIter(self.0).enumerate() {
            write!(f, "{}{node}", if at == 0 { "" } else { "," })?;
        }
        Ok(())
    }
}
