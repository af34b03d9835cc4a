// SPDX-License-Identifier: GPL-2.0
//! The command line: cluster memory.

use super::values::{deadline, size};
use clap::{Args, Subcommand};
use std::{ffi::OsString, time::Duration};
use virgo::{Id, Place};

#[derive(Debug, Subcommand)]
pub(crate) enum MemoryCommand {
    /// List the allocations of all users on all nodes (as root)
    ///
    /// KIND is 'whole', 'split' for an allocation in pieces, of which SIZE is the sum, or 'piece' for
    /// such a piece. Root can free each with 'virgo free'.
    List(MemoryList),
}

#[derive(Debug, Args)]
pub(crate) struct MemoryList {
    /// Only what belongs to this uid
    #[arg(long)]
    pub(crate) uid: Option<u32>,
    /// Only what this node has
    #[arg(long)]
    pub(crate) node: Option<u8>,
    /// Pieces of split allocations, too
    #[arg(long)]
    pub(crate) pieces: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Malloc {
    /// Bytes, such as 100 or 1M
    #[arg(value_parser = size)]
    pub(crate) size: u64,
    /// Every uid of the cluster may set, get and free it
    #[arg(long)]
    pub(crate) shared: bool,
    /// Where its chunks go: random, least-used, or the number of a node [default: as configured]
    #[arg(long)]
    pub(crate) place: Option<Place>,
    /// How long it may take, such as 2s [default: as configured]
    #[arg(long, value_name = "TIME", value_parser = deadline)]
    pub(crate) timeout: Option<Duration>,
}

#[derive(Debug, Args)]
pub(crate) struct Set {
    /// The id, as malloc prints it
    pub(crate) id: Id,
    /// What to copy [default: standard input]
    pub(crate) data: Option<OsString>,
    /// First byte of the allocation to copy to
    #[arg(long, value_name = "SIZE", value_parser = size, default_value = "0")]
    pub(crate) offset: u64,
    /// The lock that guards it, and the token: what 'virgo lock' gives its command as VIRGO_LOCK_FENCE
    ///
    /// An allocation that was set with a token refuses smaller ones of the same lock, other locks and
    /// none.
    #[arg(long, value_name = "LOCK:TOKEN")]
    pub(crate) fence: Option<OsString>,
}

#[derive(Debug, Args)]
pub(crate) struct Free {
    /// Ids, as malloc prints them
    #[arg(required = true, value_name = "ID")]
    pub(crate) ids: Vec<Id>,
    /// The lock that guards them, and the token: see 'set'; their owner needs none
    #[arg(long, value_name = "LOCK:TOKEN")]
    pub(crate) fence: Option<OsString>,
}

#[derive(Debug, Args)]
pub(crate) struct Get {
    /// The id, as malloc prints it
    pub(crate) id: Id,
    /// First byte of the allocation to copy
    #[arg(long, value_name = "SIZE", value_parser = size, default_value = "0")]
    pub(crate) offset: u64,
    /// How many bytes at most [default: to the end of the allocation]
    #[arg(long, value_name = "SIZE", value_parser = size)]
    pub(crate) length: Option<u64>,
}
