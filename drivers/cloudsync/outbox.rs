// SPDX-License-Identifier: GPL-2.0

//! Names of which a node is to be told something, first come, first served: grants, and what somebody waits for,
//! before what nobody does. So a user who gives much back holds up nobody.

use kernel::prelude::*;

/// First in, first out.
struct Line {
    places: KVVec<u32>,
    /// Those before it are taken.
    taken: usize,
}

impl Line {
    const fn new() -> Self {
        Line {
            places: KVVec::new(),
            taken: 0,
        }
    }

    fn push(&mut self, at: u32) -> Result {
        Ok(self.places.push(at, GFP_KERNEL)?)
    }

    fn pop(&mut self) -> Option<u32> {
        let next = self.places.get(self.taken).copied()?;
        self.taken += 1;
        // Each place is moved less than once for each that is taken.
        if self.taken * 2 >= self.places.len() {
            let rest = self.places.len() - self.taken;
            self.places.copy_within(self.taken.., 0);
            self.places.truncate(rest);
            self.taken = 0;
        }
        Some(next)
    }
}

/// See the module.
pub(crate) struct Outbox {
    urgent: Line,
    other: Line,
}

impl Outbox {
    pub(crate) const fn new() -> Self {
        Outbox {
            urgent: Line::new(),
            other: Line::new(),
        }
    }

    /// Notes the name at place `at`.
    ///
    /// # Errors
    ///
    /// [`ENOMEM`].
    pub(crate) fn push(&mut self, at: u32, is_urgent: bool) -> Result {
        match is_urgent {
            true => self.urgent.push(at),
            false => self.other.push(at),
        }
    }

    /// The next place, and whether it was urgent.
    pub(crate) fn pop(&mut self) -> Option<(u32, bool)> {
        if let Some(at) = self.urgent.pop() {
            return Some((at, true));
        }
        self.other.pop().map(|at| (at, false))
    }
}
