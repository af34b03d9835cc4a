// SPDX-License-Identifier: GPL-2.0
//! What a run directory remembers of its cluster.

use crate::{accel::Accel, failure::Failure, images::Images, options::Lane, run_dir::RunDir};
use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeSet, fs, io::ErrorKind};

/// How the guests of a cluster are started.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Launch {
    pub(crate) images: Images,
    pub(crate) accel: Accel,
    pub(crate) lane: Lane,
    pub(crate) nodes: u8,
    pub(crate) icount: bool,
    pub(crate) smp: u8,
    /// MiB.
    pub(crate) memory: u32,
    /// Whether the guests have a USB controller with a serial adapter.
    pub(crate) usb: bool,
}

/// What a run directory remembers of its cluster.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct State {
    pub(crate) launch: Launch,
    /// The pairs of nodes that are cut off from each other, lower number first.
    pub(crate) cuts: BTreeSet<(u8, u8)>,
}

impl State {
    /// Whether two nodes are cut off from each other.
    pub(crate) fn is_cut(&self, a: u8, b: u8) -> bool {
        self.cuts.contains(&(a.min(b), a.max(b)))
    }

    pub(crate) fn cut(&mut self, a: u8, b: u8) {
        self.cuts.insert((a.min(b), a.max(b)));
    }

    /// Reads the state of the cluster in a run directory.
    pub(crate) fn load(dir: &RunDir) -> Result<Self> {
        let path = dir.state_file();
        let text = fs::read(&path).map_err(|e| match e.kind() {
            ErrorKind::NotFound => Failure::NotUp(dir.path().into()).into(),
            _ => anyhow::Error::new(e).context(format!("cannot read {}", path.display())),
        })?;
        serde_json::from_slice(&text).with_context(|| {
            format!(
                "{} makes no sense: stop the cluster and start a new one",
                path.display()
            )
        })
    }

    /// Writes the state; the caller has the directory locked.
    pub(crate) fn save(&self, dir: &RunDir) -> Result<()> {
        let path = dir.state_file();
        let new = dir.new_state_file();
        fs::write(&new, serde_json::to_vec_pretty(self)?)
            .and_then(|()| fs::rename(&new, &path))
            .with_context(|| format!("cannot write {}", path.display()))
    }
}
