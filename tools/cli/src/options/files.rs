// SPDX-License-Identifier: GPL-2.0
//! The command line: files of nodes.

use super::values::size;
use clap::Args;
use std::ffi::OsString;

#[derive(Debug, Args)]
pub(crate) struct Copy {
    /// What to copy, and last where to: a file, or a directory for any number of files
    #[arg(required = true, num_args = 2.., value_name = "SOURCE... TARGET")]
    pub(crate) files: Vec<OsString>,
    /// Directories and what is in them, too
    #[arg(long, short)]
    pub(crate) recursive: bool,
    /// Go on with what an earlier copy of the same, unchanged source has left
    #[arg(long)]
    pub(crate) resume: bool,
    /// Read both files again afterwards and compare their SHA-256
    #[arg(long)]
    pub(crate) verify: bool,
}

#[derive(Debug, Args)]
pub(crate) struct List {
    /// Permissions, size and time, too
    #[arg(long, short)]
    pub(crate) long: bool,
    /// NODE:/PATH, or /PATH in an export of this node
    #[arg(required = true, value_name = "FILE")]
    pub(crate) files: Vec<OsString>,
}

#[derive(Debug, Args)]
pub(crate) struct Write {
    /// NODE:/PATH, or /PATH in an export of this node
    pub(crate) file: OsString,
    /// What to write [default: standard input]
    pub(crate) data: Option<OsString>,
    /// First byte of the file to write to
    #[arg(long, value_name = "SIZE", value_parser = size, default_value = "0", conflicts_with = "append")]
    pub(crate) offset: u64,
    /// Write behind its end
    #[arg(long)]
    pub(crate) append: bool,
    /// Make it if it is not there
    #[arg(long)]
    pub(crate) create: bool,
    /// Cut it to nothing before
    #[arg(long)]
    pub(crate) truncate: bool,
    /// The lock that guards it, and the token: what 'virgo lock' gives its command as VIRGO_LOCK_FENCE
    ///
    /// A file that was told a token refuses smaller ones of the same lock, other locks and none.
    #[arg(long, value_name = "LOCK:TOKEN")]
    pub(crate) fence: Option<OsString>,
}
