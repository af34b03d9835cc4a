// SPDX-License-Identifier: GPL-2.0

//! What nodes say to each other about views.

use crate::cloudsync::view::View;

/// What one node asks another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ask<const N: usize> {
    /// Is this the latest view?
    Beat {
        /// Its number.
        view: u64,
    },
    /// Which view is the latest?
    Fetch,
    /// Promise this number.
    Prepare {
        /// See there.
        number: u64,
        /// The proposer's incarnation.
        boot: u64,
    },
    /// A view that a majority has promised.
    Commit(View<N>),
}

/// What is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Told<const N: usize> {
    /// Who answers: its incarnation.
    pub boot: u64,
    /// The largest number that it has promised.
    pub promised: u64,
    /// The number of its latest view.
    pub view: u64,
    /// The beat is acknowledged, the promise given, the view installed.
    pub yes: bool,
    /// Who was left out by its latest view, or by one before, cannot use anything any more.
    pub is_settled: bool,
    /// The latest view, with a promise or when it was asked for.
    pub latest: Option<View<N>>,
}
