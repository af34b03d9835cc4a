// SPDX-License-Identifier: GPL-2.0

//! Cluster locks: who may enter, as state machines without I/O.
//!
//! ```text
//!   programs of a node          the node that masters the name
//!   +---------------+  Claim    +----------------+
//!   | holder        | --------> | resource       |   one of each for a name
//!   |  local locks  | <-------- |  one entry a   |
//!   |  the node's   |  Answer,  |  node          |
//!   |  mode         |  Notice   +----------------+
//!   +---------------+
//!   | membership: views and the lease, one for a node |
//! ```
//!
//! A lock is granted twice: the master of its name grants a mode to a node, and the node grants
//! that mode, or a weaker one, to its programs. A node keeps what it was granted until somebody asks
//! for it, so most locks cost no message.

pub mod holder;
pub mod list;
pub mod membership;
pub mod mode;
pub mod placement;
pub mod resource;
pub mod token;
pub mod view;
pub mod wire;

pub use mode::{Mode, Modes};
pub use token::{Era, Token};

/// TCP port of the service.
pub const PORT: u16 = 55000;

/// Nodes that can share locks: those with the first numbers. Views are passed by value, on stacks that
/// are small in the kernel.
pub const MAX_NODES: usize = 32;

/// Longest name of a lock, in bytes; the shortest has one.
pub const MAX_NAME: usize = 255;

/// Bytes of a value block.
pub const VALUE: usize = 64;

/// Whether a lock may be called so.
pub const fn is_name(name: &[u8]) -> bool {
    !name.is_empty() && name.len() <= MAX_NAME
}

/// What is handed on with a lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Value {
    /// The block.
    pub bytes: [u8; VALUE],
    /// The token of who wrote it: the later value has the larger one.
    pub version: Token,
    /// False if who may have written a later one is gone.
    pub is_valid: bool,
}

impl Value {
    /// As a name begins with.
    pub const ZERO: Value = Value {
        bytes: [0; VALUE],
        version: Token(0),
        is_valid: true,
    };

    /// Takes over `other` if that is later.
    pub fn merge(&mut self, other: &Value) {
        if other.version > self.version {
            *self = *other;
        }
    }
}
