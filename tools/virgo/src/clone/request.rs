// SPDX-License-Identifier: GPL-2.0
//! What is to be called, and where.

use crate::{Result, abi};
use std::str::FromStr;

/// Most bytes of output that a call keeps: 64 KiB of standard output, and as many of standard error.
pub(super) const MAX_OUTPUT: usize = 2 * 64 * 1024;

/// A call of a function or program, on some node of the cluster.
///
/// A name is a function that a kernel module has registered, an absolute path a program, and
/// `PATH:SYMBOL` a function of a library.
///
/// ```no_run
/// use virgo::{Call, Ended, On};
///
/// let outcome = virgo::run(&Call::new("echo").arg("hello").on(On::Node(2)))?;
/// assert_eq!(outcome.ended, Ended::Returned(5));
/// assert_eq!(outcome.stdout, b"hello");
/// # Ok::<(), virgo::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "nothing is called before `run` or `start`"]
pub struct Call {
    /// Name and arguments, a NUL after each; `None` if one of them has a NUL itself.
    pub(super) argv: Option<Vec<u8>>,
    on: On,
    pub(super) room: usize,
}

impl Call {
    /// A call of `target` without arguments, where the node's configuration says.
    pub fn new(target: impl AsRef<[u8]>) -> Self {
        let call = Self {
            argv: Some(Vec::new()),
            on: On::Configured,
            room: MAX_OUTPUT,
        };
        call.arg(target)
    }

    /// One more argument: any bytes but NUL.
    pub fn arg(mut self, arg: impl AsRef<[u8]>) -> Self {
        let arg = arg.as_ref();
        match &mut self.argv {
            Some(argv) if !arg.contains(&0) => {
                argv.extend_from_slice(arg);
                argv.push(0);
            }
            _ => self.argv = None,
        }
        self
    }

    /// More arguments.
    pub fn args(self, args: impl IntoIterator<Item = impl AsRef<[u8]>>) -> Self {
        args.into_iter().fold(self, Self::arg)
    }

    /// Where it runs.
    pub fn on(mut self, on: On) -> Self {
        self.on = on;
        self
    }

    /// How many bytes of output are kept, both kinds together, instead of 64 KiB of each.
    pub fn max_output(mut self, bytes: usize) -> Self {
        self.room = bytes;
        self
    }

    pub(super) fn to_abi(&self) -> abi::CallArgs {
        let (place, node) = match self.on {
            On::Configured => (abi::RUN_DEFAULT, 0),
            On::Least => (abi::RUN_LEAST, 0),
            On::Random => (abi::RUN_RANDOM, 0),
            On::Two => (abi::RUN_TWO, 0),
            On::Node(number) => (abi::RUN_NODE, number),
        };
        abi::CallArgs {
            place,
            node,
            ..abi::CallArgs::default()
        }
    }
}

/// Where a [`Call`] runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum On {
    /// As `/etc/virgo_client.conf` says.
    #[default]
    Configured,
    /// On the least loaded node, as far as is known.
    Least,
    /// On a random node.
    Random,
    /// On the less loaded of two random nodes.
    Two,
    /// On the node with this number.
    Node(u32),
}

impl FromStr for On {
    type Err = ParseOnError;

    /// Reads `least`, `random`, `two`, or the number of a node.
    fn from_str(text: &str) -> Result<Self, ParseOnError> {
        match text {
            "least" => Ok(Self::Least),
            "random" => Ok(Self::Random),
            "two" => Ok(Self::Two),
            _ => match text.parse() {
                Ok(number @ 1..) => Ok(Self::Node(number)),
                _ => Err(ParseOnError(())),
            },
        }
    }
}

/// The text does not say where to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected 'least', 'random', 'two' or the number of a node")]
pub struct ParseOnError(());

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_end_with_nul() {
        let call = Call::new("echo").arg("a b").args(["", "c"]);
        assert_eq!(call.argv.as_deref(), Some(&b"echo\0a b\0\0c\0"[..]));
    }

    #[test]
    fn places_are_read() {
        for (text, on, place, node) in [
            ("least", On::Least, abi::RUN_LEAST, 0),
            ("random", On::Random, abi::RUN_RANDOM, 0),
            ("two", On::Two, abi::RUN_TWO, 0),
            ("12", On::Node(12), abi::RUN_NODE, 12),
        ] {
            assert_eq!(text.parse(), Ok(on));
            let call = Call::new("x").on(on).to_abi();
            assert_eq!((call.place, call.node), (place, node), "{text}");
        }
        for text in ["", "0", "-1", "node2", "all", "4294967296"] {
            assert!(text.parse::<On>().is_err(), "{text:?}");
        }
    }
}
