// SPDX-License-Identifier: GPL-2.0
//! The errors that callers may want to tell apart.

use std::{
    error::Error,
    fmt::{self, Display, Formatter},
    path::PathBuf,
    time::Duration,
};

/// Why something could not be done; get it with [`anyhow::Error::downcast_ref`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// There is no cluster in the run directory.
    NotUp(PathBuf),
    /// There is a cluster in the run directory already.
    AlreadyUp(PathBuf),
    /// The cluster has no node of this name.
    NoSuchNode {
        /// The name that was asked for.
        name: String,
        /// How many nodes there are.
        nodes: u8,
    },
    /// The node's machine is not there: it was killed, was powered off, or panicked.
    Dead(String),
    /// The node was paused.
    Paused(String),
    /// A node did not do something in time.
    TimedOut {
        /// The node.
        node: String,
        /// What it was to do.
        what: String,
        /// How long it was waited for.
        after: Duration,
    },
}

impl Display for Failure {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotUp(dir) => write!(
                f,
                "no cluster is up (looked in {}): start one with 'qemu/cluster.sh up'",
                dir.display()
            ),
            Self::AlreadyUp(dir) => write!(
                f,
                "a cluster is up already (in {}): stop it with 'qemu/cluster.sh down', or name \
                 another directory in VIRGO_RUN_DIR to have two",
                dir.display()
            ),
            Self::NoSuchNode { name, nodes: 1 } => {
                write!(f, "there is no node '{name}': the cluster has node1 only")
            }
            Self::NoSuchNode { name, nodes } => {
                write!(
                    f,
                    "there is no node '{name}': the cluster has node1 to node{nodes}"
                )
            }
            Self::Dead(node) => write!(
                f,
                "{node} is not running: see 'qemu/cluster.sh log {node}', and start it again with \
                 'qemu/cluster.sh restart {node}'"
            ),
            Self::Paused(node) => {
                write!(
                    f,
                    "{node} is paused: let it go on with 'qemu/cluster.sh resume {node}'"
                )
            }
            Self::TimedOut { node, what, after } => {
                write!(f, "{node} did not {what} within {after:?}")
            }
        }
    }
}

impl Error for Failure {}
