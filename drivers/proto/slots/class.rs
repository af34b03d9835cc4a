// SPDX-License-Identifier: GPL-2.0

//! How many of the slots the requests of a kind may have.

/// Which slots a request may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// All.
    Any,
    /// Half of them: its reply may be deferred.
    Deferred,
    /// A quarter: it is sent before its task waits for it, and what the task does meanwhile may
    /// take long, since a program decides how long its page faults take.
    Ahead,
}

impl Class {
    pub(super) const COUNT: usize = 3;

    pub(super) fn index(self) -> usize {
        self as usize
    }

    /// Slots that it may have at a time, of `slots`.
    pub(super) fn limit(self, slots: usize) -> usize {
        match self {
            Class::Any => slots,
            Class::Deferred => (slots / 2).max(1),
            Class::Ahead => slots / 4,
        }
    }
}
