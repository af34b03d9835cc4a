// SPDX-License-Identifier: GPL-2.0
//! What can be chosen about a cluster.

use crate::network::MAX_NODES;
use anyhow::{Result, ensure};
use serde::{Deserialize, Serialize};
use std::{
    fmt::{self, Display, Formatter},
    path::PathBuf,
    time::Duration,
};

/// Which kernel the guests run, and what is in their image.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Lane {
    /// The fast one.
    #[default]
    Slim,
    /// The one with KASAN, lockdep and kmemleak.
    Debug,
    /// The fast one, beside the programs that VIRGO is compared with.
    Bench,
    /// Debian's own, which has no system calls of VIRGO.
    Stock,
}

impl Lane {
    /// Memory of a guest in MiB, unless chosen otherwise.
    fn memory(self) -> u32 {
        match self {
            Self::Slim => 256,
            Self::Debug => 1024,
            Self::Bench | Self::Stock => 512,
        }
    }

    /// How long a guest may take to boot when all processors are emulated and busy.
    pub(crate) fn boot_timeout(self) -> Duration {
        Duration::from_secs(match self {
            Self::Slim | Self::Bench => 60,
            // It has much more to start, and modules to load before it has a disk.
            Self::Stock => 120,
            Self::Debug => 240,
        })
    }
}

impl Display for Lane {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Slim => "slim",
            Self::Debug => "debug",
            Self::Bench => "bench",
            Self::Stock => "stock",
        })
    }
}

/// What can be chosen about a cluster.
#[derive(Clone, Debug)]
pub struct Options {
    /// How many nodes, 1 to [`MAX_NODES`]; 3 by default.
    pub nodes: u8,
    /// Which kernel.
    pub lane: Lane,
    /// For measuring: one node with one processor, whose clock counts instructions (1 ns each), so
    /// that figures repeat.
    pub icount: bool,
    /// Processors of a guest.
    pub smp: u8,
    /// Memory of a guest in MiB; by default as much as the lane needs.
    pub memory: Option<u32>,
    /// Whether the guests have a USB controller with a serial adapter (FTDI), whose line is the file
    /// `usb-serial` of each node.
    pub usb: bool,
    /// Where the cluster keeps everything; by default [`RunDir::find`](crate::RunDir::find).
    pub run_dir: Option<PathBuf>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            nodes: 3,
            lane: Lane::default(),
            icount: false,
            smp: 2,
            memory: None,
            usb: false,
            run_dir: None,
        }
    }
}

impl Options {
    /// A single node to measure on; see [`Options::icount`].
    pub fn measuring() -> Self {
        Self {
            nodes: 1,
            lane: Lane::Bench,
            icount: true,
            smp: 1,
            ..Self::default()
        }
    }

    /// Refuses what cannot be.
    pub(crate) fn check(&self) -> Result<()> {
        ensure!(
            (1..=MAX_NODES).contains(&self.nodes),
            "a cluster has 1 to {MAX_NODES} nodes, not {}",
            self.nodes
        );
        ensure!(self.smp >= 1, "a guest needs a processor");
        ensure!(
            !self.icount || (self.nodes == 1 && self.smp == 1),
            "counting instructions works for one node with one processor only, not for {} nodes \
             with {} each",
            self.nodes,
            self.smp
        );
        Ok(())
    }

    /// Memory of a guest in MiB.
    pub(crate) fn memory(&self) -> u32 {
        self.memory.unwrap_or_else(|| self.lane.memory())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_possible() {
        assert!(Options::default().check().is_ok());
        assert!(Options::measuring().check().is_ok());
    }

    #[test]
    fn the_impossible_is_refused() {
        let options = Options::default();
        for nodes in [0, MAX_NODES + 1] {
            assert!(
                Options {
                    nodes,
                    ..options.clone()
                }
                .check()
                .is_err()
            );
        }
        assert!(
            Options {
                smp: 0,
                ..options.clone()
            }
            .check()
            .is_err()
        );
        assert!(
            Options {
                icount: true,
                ..options
            }
            .check()
            .is_err()
        );
    }
}
