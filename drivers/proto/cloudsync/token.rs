// SPDX-License-Identifier: GPL-2.0

//! Fencing tokens: numbers by which a resource tells who held a lock later.
//!
//! Invariants, for the grants of one name, in the order in which they were made:
//!
//! 1. Tokens never shrink.
//! 2. Of two grants whose modes exclude each other the later has the larger token. So a resource
//!    that has seen a token refuses all who held the lock before that, and nobody else who may write.
//! 3. Grants that are compatible may share a token: two writers in CW must not fence each other.
//!
//! A token is a view's number and, below it, a counter. A master that begins anew in a later view
//! therefore need not know how far the former one had counted. The counter has 40 bits and the view
//! 24: a node that relocks a name a million times a second reaches the end of a counter in twelve days,
//! and gets `EOVERFLOW` until the next view; 32 bits would be one hour.

use super::{Mode, Modes};
use core::cmp::Ordering;

/// Bits of the counter.
const COUNTER_BITS: u32 = 40;

/// Largest number of a view.
pub const MAX_VIEW: u64 = (1 << (64 - COUNTER_BITS)) - 1;

/// A fencing token.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Token(pub u64);

impl Token {
    /// The first of a view.
    pub const fn of_view(view: u64) -> Token {
        Token(view.wrapping_shl(COUNTER_BITS))
    }

    /// The number of the view in which it was made.
    pub const fn view(self) -> u64 {
        self.0.wrapping_shr(COUNTER_BITS)
    }

    /// Whether most of the view's tokens of its name are used up.
    pub const fn is_late(self) -> bool {
        self.0.wrapping_shr(COUNTER_BITS - 1) & 1 != 0
    }

    /// The next one of the same view.
    fn next(self) -> Option<Token> {
        let next = Token(self.0.checked_add(1)?);
        (next.view() == self.view()).then_some(next)
    }
}

/// The grants that share a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Era {
    /// Their token.
    pub token: Token,
    /// Their modes; some may have ended.
    pub modes: Modes,
}

impl Era {
    /// Of a name that nobody is known to have: the first grant gets a token of its own.
    pub const fn new(view: u64) -> Era {
        Era {
            token: Token::of_view(view),
            modes: Modes::ALL,
        }
    }

    /// The token of the next grant, of this mode; it is `floor` at least if it is a new one. `None` if the
    /// counter of the view is at its end.
    pub fn grant(&mut self, mode: Mode, floor: Token) -> Option<Token> {
        if !self.modes.allow(mode) {
            self.token = match self.token < floor {
                true => floor,
                false => self.token.next()?,
            };
            self.modes = Modes::NONE;
        }
        self.modes = self.modes.with(mode);
        Some(self.token)
    }

    /// Learns of grants that another has made.
    pub fn merge(&mut self, other: Era) {
        match other.token.cmp(&self.token) {
            Ordering::Less => (),
            Ordering::Equal => self.modes = self.modes.union(other.modes),
            Ordering::Greater => *self = other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::vec::Vec;

    #[test]
    fn a_later_view_is_above_all_of_the_former() {
        let mut era = Era {
            token: Token(Token::of_view(8).0 - 2),
            modes: Modes::ALL,
        };
        let last = era.grant(Mode::Ex, Token(0)).unwrap();
        assert_eq!(era.grant(Mode::Ex, Token(0)), None);
        assert_eq!(last.view(), 7);
        assert!(Era::new(8).grant(Mode::Ex, Token(0)).unwrap() > last);
        assert_eq!(Token::of_view(MAX_VIEW).view(), MAX_VIEW);
        assert!(last.is_late() && !Token::of_view(8).is_late());
    }

    #[test]
    fn shared_writers_share_a_token() {
        let mut era = Era::new(1);
        let first = era.grant(Mode::Cw, Token(0));
        assert_eq!(era.grant(Mode::Cw, Token(0)), first);
        assert!(era.grant(Mode::Pr, Token(0)) > first);
    }

    proptest! {
        /// Invariants 1 and 2.
        #[test]
        fn of_two_that_exclude_each_other_the_later_has_the_larger(
            modes in prop::collection::vec(0usize..6, 1..40)
        ) {
            let mut era = Era::new(3);
            let mut made: Vec<(Mode, Token)> = Vec::new();
            for index in modes {
                let mode = Mode::ALL[index];
                let token = era.grant(mode, Token(0)).unwrap();
                for (before, old) in &made {
                    prop_assert!(token >= *old);
                    prop_assert!(before.is_compatible(mode) || token > *old);
                }
                made.push((mode, token));
            }
        }
    }
}
