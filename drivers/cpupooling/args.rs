// SPDX-License-Identifier: GPL-2.0

//! Name and arguments of a call, as they come over the wire, taken apart.

use crate::outcome::Outcome;
use kernel::prelude::*;
use virgo_proto::clone::words;
use virgo_utils::functions::MAX_ARGS;

/// Arguments of a call.
pub(crate) struct Args<'a> {
    args: [&'a [u8]; MAX_ARGS],
    count: usize,
}

impl<'a> Args<'a> {
    pub(crate) const fn new() -> Self {
        Args {
            args: [b""; MAX_ARGS],
            count: 0,
        }
    }

    /// Takes the arguments of `argv`. Returns the name.
    ///
    /// # Errors
    ///
    /// The outcome of a call that is none.
    pub(crate) fn split(&mut self, argv: &'a [u8]) -> Result<&'a [u8], Outcome> {
        let bad = |reason| Outcome::refused(EINVAL, reason);
        let mut words = words(argv).ok_or_else(|| bad("a name, and a NUL at the end"))?;
        let name = words.next().unwrap_or_default();
        for word in words {
            let place = self.args.get_mut(self.count);
            *place.ok_or_else(|| bad("more than 16 arguments"))? = word;
            self.count += 1;
        }
        Ok(name)
    }

    pub(crate) fn slice(&self) -> &[&'a [u8]] {
        self.args.get(..self.count).unwrap_or_default()
    }
}
