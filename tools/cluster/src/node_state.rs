// SPDX-License-Identifier: GPL-2.0
//! How a node is.

use crate::{agent, failure::Failure, node::Node};
use anyhow::Result;
use std::fmt::{self, Display, Formatter};

/// How a node is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NodeState {
    /// It answers.
    Running(Modules),
    /// It was stopped by [`Node::pause`].
    Paused,
    /// It runs and does not answer.
    Silent,
    /// Its machine is not there.
    Dead,
}

/// What became of VIRGO's modules on a node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Modules {
    /// Loaded now, in the order of loading.
    pub loaded: Vec<String>,
    /// Could not be loaded when the node came up; its console says why.
    pub failed: Vec<String>,
}

impl Node {
    /// How the node is.
    ///
    /// # Errors
    ///
    /// If it is in none of the states that there are, for example if its QEMU does not answer.
    pub fn state(&self) -> Result<NodeState> {
        let state = match self.run_with_timeout(["/lib/virgo/state"], agent::TIMEOUT) {
            Ok(output) => return Ok(NodeState::Running(Modules::parse(&output.text()?))),
            Err(error) => match error.downcast_ref::<Failure>() {
                Some(Failure::Dead(_)) => NodeState::Dead,
                Some(Failure::Paused(_)) => NodeState::Paused,
                Some(Failure::TimedOut { .. }) => NodeState::Silent,
                _ => return Err(error),
            },
        };
        Ok(state)
    }
}

impl Modules {
    /// Reads what `qemu/guest/state` prints.
    fn parse(text: &str) -> Self {
        let mut modules = Self::default();
        for line in text.lines() {
            match line.split_once(' ') {
                Some(("loaded", name)) => modules.loaded.push(name.into()),
                Some(("failed", name)) => modules.failed.push(name.into()),
                _ => (),
            }
        }
        modules
    }
}

impl Display for NodeState {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Modules { loaded, failed } = match self {
            Self::Running(modules) => modules,
            Self::Paused => return f.write_str("paused"),
            Self::Silent => return f.write_str("runs, but does not answer"),
            Self::Dead => return f.write_str("dead"),
        };
        f.write_str("running")?;
        if !loaded.is_empty() {
            write!(f, ": {}", loaded.join(" "))?;
        }
        if !failed.is_empty() {
            write!(f, "; FAILED to load: {}", failed.join(" "))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modules_are_shown() {
        let show = |text| NodeState::Running(Modules::parse(text)).to_string();
        assert_eq!(show(""), "running");
        assert_eq!(show("loaded a\nloaded b\n"), "running: a b");
        assert_eq!(show("loaded a\nfailed b"), "running: a; FAILED to load: b");
    }
}
