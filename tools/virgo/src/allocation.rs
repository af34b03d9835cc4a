// SPDX-License-Identifier: GPL-2.0
//! Allocating cluster memory.

use crate::{
    Error, Id, Result,
    abi::{self, MallocArgs},
    call,
    error::Tried,
    memory::milliseconds,
};
use std::{str::FromStr, time::Duration};

/// An allocation to be made.
///
/// ```no_run
/// use std::time::Duration;
/// use virgo::{Allocation, Place};
///
/// let id = Allocation::new(4096)
///     .shared()
///     .place(Place::Node(2))
///     .timeout(Duration::from_secs(1))
///     .allocate()?;
/// println!("{id}");
/// # Ok::<(), virgo::Error>(())
/// ```
#[derive(Clone, Copy, Debug)]
#[must_use = "nothing is allocated before `allocate`"]
pub struct Allocation {
    args: MallocArgs,
}

impl Allocation {
    /// An allocation of `size` bytes, which are zero at first. It belongs to the caller's
    /// effective uid, lies where the node's configuration says, and waits as long as that says.
    pub fn new(size: u64) -> Self {
        let args = MallocArgs {
            size,
            ..MallocArgs::default()
        };
        Self { args }
    }

    /// Every uid of the cluster may set, get and free it.
    pub fn shared(mut self) -> Self {
        self.args.flags |= abi::MALLOC_SHARED;
        self
    }

    /// Where it goes.
    pub fn place(mut self, place: Place) -> Self {
        (self.args.place, self.args.node) = match place {
            Place::Configured => (abi::PLACE_DEFAULT, 0),
            Place::Random => (abi::PLACE_RANDOM, 0),
            Place::LeastUsed => (abi::PLACE_LEAST_USED, 0),
            Place::Node(number) => (abi::PLACE_NODE, number),
        };
        self
    }

    /// How long it may take; rounded up to milliseconds.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.args.timeout_ms = milliseconds(timeout);
        self
    }

    /// Allocates.
    ///
    /// # Errors
    ///
    /// `EINVAL` for no bytes or a timeout above 300 s; `ENOMEM` if the pools are full; `EDQUOT` if this
    /// uid has all of them that one user may have; `ENODEV`
    /// if the cluster has no such node; `EHOSTDOWN`, `ETIMEDOUT` or `ECONNRESET` if other nodes do
    /// not answer; `ENOSYS` if virgo_mempool is not loaded.
    pub fn allocate(self) -> Result<Id> {
        let mut args = self.args;
        match call::malloc2(&mut args) {
            Ok(_) => Ok(args.id.into()),
            Err(errno) => Err(Error::new(Tried::Allocate { size: args.size }, errno)),
        }
    }
}

/// Where the chunks of an allocation go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Place {
    /// As `/etc/virgo_client.conf` says.
    #[default]
    Configured,
    /// Each on a random node.
    Random,
    /// Each where the most pool memory is free.
    LeastUsed,
    /// All on the node with this number.
    Node(u32),
}

impl FromStr for Place {
    type Err = ParsePlaceError;

    /// Reads `random`, `least-used`, or the number of a node.
    fn from_str(text: &str) -> Result<Self, ParsePlaceError> {
        match text {
            "random" => Ok(Self::Random),
            "least-used" => Ok(Self::LeastUsed),
            _ => match text.parse() {
                Ok(number @ 1..) => Ok(Self::Node(number)),
                _ => Err(ParsePlaceError(())),
            },
        }
    }
}

/// The text is not a [`Place`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected 'random', 'least-used' or the number of a node")]
pub struct ParsePlaceError(());

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_become_arguments() {
        let allocation = Allocation::new(5)
            .shared()
            .place(Place::Node(3))
            .timeout(Duration::from_micros(1_001));
        let expected = MallocArgs {
            size: 5,
            id: 0,
            flags: abi::MALLOC_SHARED,
            place: abi::PLACE_NODE,
            node: 3,
            timeout_ms: 2,
        };
        assert_eq!(allocation.args, expected);
        let back = allocation.place(Place::LeastUsed).args;
        assert_eq!((back.place, back.node), (abi::PLACE_LEAST_USED, 0));
    }

    #[test]
    fn places_are_read() {
        assert_eq!("random".parse(), Ok(Place::Random));
        assert_eq!("least-used".parse(), Ok(Place::LeastUsed));
        assert_eq!("12".parse(), Ok(Place::Node(12)));
        for text in ["", "0", "-1", "node2", "4294967296"] {
            assert!(text.parse::<Place>().is_err(), "{text:?}");
        }
    }
}
