// SPDX-License-Identifier: GPL-2.0

//! What a line of a configuration file says.

use crate::{balance::Policy, vuid::NodeId};
use core::net::Ipv4Addr;

/// One statement of a configuration file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Statement<'a> {
    /// The next node's address.
    Node(Ipv4Addr),
    /// This machine's address.
    SelfAddress(Ipv4Addr),
    /// Whether peers must prove that they know the key.
    Auth(bool),
    /// Where the key is.
    KeyFile(&'a str),
    /// Whether text sessions may come from other machines.
    RemoteText(bool),
    /// Whether nodes use datagrams, too.
    Datagrams(bool),
    /// The uid that text sessions act as which know the shared key.
    TextUid(u32),
    /// A key that opens text sessions.
    TextKey {
        /// The uid that they act as.
        uid: u32,
        /// Where the key is: absolute path.
        path: &'a str,
    },
    /// Longest wait for another node, in milliseconds.
    DeadlineMs(u32),
    /// Where allocations go.
    Place(Policy),
    /// A directory for other nodes.
    Export {
        /// Absolute path.
        path: &'a str,
        /// Whether they may write.
        writable: bool,
        /// Who reads and writes there.
        owner: ExportUser,
    },
    /// Where calls run.
    Balance(Policy),
    /// The node that chooses where calls run.
    Registry(NodeId),
    /// How many nodes must agree to grant cluster locks.
    Quorum(u32),
    /// The uid that programs run as.
    RunAs(u32),
    /// Whether text for the processor pool goes to the queue.
    UseAsKingcobraService(bool),
    /// A program that other nodes may run.
    Executable {
        /// Absolute path.
        path: &'a str,
        /// Patterns of its arguments; empty if they are free.
        patterns: &'a str,
    },
    /// A library that other nodes may call: absolute path.
    Library(&'a str),
    /// Who may call something that may be called.
    Callers {
        /// Name of a function, or path of a program or library.
        target: &'a str,
        /// Their uids, with commas between them; root may call everything.
        uids: &'a str,
    },
}

/// A user and a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExportUser {
    /// Not 0.
    pub uid: u32,
    /// Not 0, either.
    pub gid: u32,
}

impl ExportUser {
    /// Nobody in particular.
    pub const NOBODY: ExportUser = ExportUser {
        uid: 65534,
        gid: 65534,
    };

    /// Reads `UID` or `UID:GID`; the group has the user's number if it is not named.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (uid, gid) = text.split_once(':').unwrap_or((text, text));
        let number = |text: &str| text.parse().ok().filter(|&n| n != 0 && n != u32::MAX);
        Some(ExportUser {
            uid: number(uid)?,
            gid: number(gid)?,
        })
    }
}
