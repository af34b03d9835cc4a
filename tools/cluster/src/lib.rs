// SPDX-License-Identifier: GPL-2.0
//! A cluster of virtual machines, each a node of VIRGO, for people (`qemu/cluster.sh`) and tests.
//!
//! ```no_run
//! use virgo_cluster::{Cluster, Options};
//!
//! # fn main() -> anyhow::Result<()> {
//! let cluster = Cluster::up(&Options::default())?;
//! let output = cluster.node(1).run(["ping", "-c1", "node2"])?;
//! assert_eq!(output.status, 0);
//!
//! cluster.cut(1, 2)?;
//! assert!(!cluster.node(1).run(["ping", "-c1", "-W1", "node2"])?.success());
//! cluster.heal()?;
//! # Ok(())
//! # } // The cluster goes down with the value.
//! ```
//!
//! The guests are QEMU processes that outlive the program that started them. Everything about
//! them lies in one [run directory](RunDir): state, sockets, pid files, consoles and disks. A node
//! is controlled over two ports, by QEMU itself (stop it, cut a link) and by the agent inside the
//! guest (run a command, copy a file).
//!
//! Errors are [`anyhow::Error`]s that say what failed where; those that a caller may want to tell
//! apart have a [`Failure`] among their causes.

mod accel;
mod agent;
mod cluster;
mod command;
mod failure;
mod images;
mod monitor;
mod network;
mod node;
mod node_state;
mod options;
mod owned;
mod pid_file;
mod qemu;
mod run_dir;
mod state;
mod trial;

pub use accel::Accel;
pub use cluster::Cluster;
pub use command::{Output, RunningCommand};
pub use failure::Failure;
pub use network::{MAX_NODES, address, name};
pub use node::Node;
pub use node_state::{Modules, NodeState};
pub use options::{Lane, Options};
pub use run_dir::RunDir;
