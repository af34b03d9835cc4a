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

/// Whom a node hears of all nodes, as bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Links {
    /// These have answered it or asked something not long ago.
    pub hears: u64,
    /// These did not answer when it asked last.
    pub misses: u64,
}

impl Links {
    pub(super) const NONE: Self = Links {
        hears: 0,
        misses: 0,
    };
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
    /// Whom it hears.
    pub links: Links,
    /// The latest view, with a promise or when it was asked for.
    pub latest: Option<View<N>>,
}
