// SPDX-License-Identifier: GPL-2.0
//! A call that did not run, or of which nobody knows.

use std::fmt::{self, Display, Formatter};
use virgo::{Outcome, Reason};

/// Why a call of a function or program has failed, and on which node.
#[derive(Debug)]
pub(crate) struct CallError {
    what: String,
    node: u32,
    /// Why.
    pub(crate) errno: i32,
    /// Why, as the node puts it.
    said: String,
}

impl CallError {
    /// That `what` has failed, with its outcome.
    pub(crate) fn new(what: &str, errno: i32, outcome: &Outcome) -> Self {
        Self {
            what: what.to_owned(),
            node: outcome.node,
            errno,
            said: String::from_utf8_lossy(&outcome.stderr).into_owned(),
        }
    }
}

impl Display for CallError {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.what)?;
        if self.node > 0 {
            write!(f, " on node {}", self.node)?;
        }
        write!(f, ": {}", Reason(self.errno))?;
        if !self.said.is_empty() {
            write!(f, ": {}", self.said)?;
        }
        Ok(())
    }
}

impl std::error::Error for CallError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_what_where_and_why() {
        let error = CallError {
            what: "frob".to_owned(),
            node: 2,
            errno: libc::ENOENT,
            said: "no such function on this node".to_owned(),
        };
        assert_eq!(
            error.to_string(),
            "frob on node 2: does not exist (ENOENT): no such function on this node"
        );
    }
}
