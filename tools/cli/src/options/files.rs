// SPDX-License-Identifier: GPL-2.0
//! The command line: files of nodes.

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
