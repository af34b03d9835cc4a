// SPDX-License-Identifier: GPL-2.0

//! What a node and the master of a name say to each other.

use crate::cloudsync::{Era, Mode, Value};

/// What a node says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Claim {
    /// Its number among the node's claims; later ones have larger numbers.
    pub seq: u64,
    /// What of its grant it keeps.
    pub keep: Option<Mode>,
    /// What it wants to be granted.
    pub want: Option<Mode>,
    /// It wants it now or not at all.
    pub tries: bool,
    /// Its latest grants to programs.
    pub era: Era,
    /// The value block, if it has written it and may not any more.
    pub value: Option<Value>,
}

/// A grant to a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Grant {
    /// The claim that it answers.
    pub seq: u64,
    /// What the node holds now.
    pub mode: Mode,
    /// The token, and the grants that share it.
    pub era: Era,
    /// The value block.
    pub value: Value,
    /// What somebody waits for who excludes the node.
    pub block: Option<Mode>,
}

/// What comes of a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Answer {
    /// The claim wanted nothing.
    Done,
    /// It has what it wanted.
    Granted(Grant),
    /// It waits; a notice follows.
    Queued,
    /// It would have to wait, and did not want to.
    Busy,
    /// It would wait for ever: another conversion waits for this one.
    Deadlock,
    /// The view has no more tokens.
    Exhausted,
    /// No memory, or too many names.
    NoMemory,
    /// The user has too many names.
    Quota,
    /// A later claim was here, or the node keeps what it was not granted.
    Stale,
}

/// What a node is told without having asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Notice {
    /// It has what it waited for.
    Grant(Grant),
    /// Somebody waits for `mode`, which excludes it. With [`Mode::Nl`], which nobody excludes: nobody waits,
    /// and what no program uses may be given back.
    Block {
        /// The node's latest claim.
        seq: u64,
        /// What is waited for.
        mode: Mode,
    },
}

/// What a node tells a new master of the name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Report {
    /// Its latest claim.
    pub seq: u64,
    /// What it holds.
    pub held: Option<Mode>,
    /// Its latest grants to programs.
    pub era: Era,
    /// The value block as it knows it.
    pub value: Value,
    /// Nobody can have written a later one.
    pub is_newest: bool,
}
