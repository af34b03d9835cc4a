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

impl CallError {
    /// What can be done about it.
    pub(crate) fn advice(&self) -> Option<&'static str> {
        Some(match self.errno {
            // A function that fails so by itself gives no reason.
            libc::ENOENT | libc::EINVAL if !self.said.is_empty() => {
                "'virgo functions --on NODE' lists the functions of a node and what arguments they \
                 take"
            }
            // The file itself, or what the program does, may be forbidden, too.
            libc::EACCES if self.said.contains("virgo_cloud.conf") => {
                "add it to /etc/virgo_cloud.conf of that node, 'executable = PATH' or 'library = \
                 PATH', and say 'virgo config reload' there"
            }
            libc::ENODEV => "'virgo nodes' shows the nodes",
            libc::ETIMEDOUT => "it was ended at its deadline; --timeout gives it another one",
            libc::EHOSTDOWN => {
                "is the node up and virgo_cpupooling loaded there? 'virgo nodes --ping' shows \
                 which nodes answer"
            }
            libc::ECONNRESET => "the node has restarted; nobody knows whether the call had run",
            libc::EKEYREJECTED => "all nodes need the same /etc/virgo.key",
            libc::EAGAIN => {
                "the node has too many calls waiting; see max_waiting of virgo_cpupooling"
            }
            libc::EDQUOT => "you have your share of that node's calls: wait for some of them",
            libc::ESHUTDOWN => {
                "somebody has stopped the service: write 'start' to \
                 /sys/kernel/debug/virgo/cpupooling/peers"
            }
            _ => return None,
        })
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
    fn advice_fits_the_cause() {
        let advice = |errno, said: &str| {
            let error = CallError {
                what: String::new(),
                node: 2,
                errno,
                said: said.to_owned(),
            };
            error.advice()
        };
        let not_listed = "not allowed: /etc/virgo_cloud.conf of this node has no line for it";
        assert!(
            advice(libc::EACCES, not_listed)
                .unwrap()
                .contains("executable")
        );
        assert_eq!(advice(libc::EACCES, "permission denied"), None);
        assert!(advice(libc::ENOENT, "no such function").is_some());
        assert_eq!(advice(libc::ENOENT, ""), None);
    }

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
