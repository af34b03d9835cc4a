// SPDX-License-Identifier: GPL-2.0

//! Locks of programs, and what they hold together.

use super::Answer;
use crate::cloudsync::{Mode, Token};

/// What became of a local lock, beyond what it holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fate {
    /// Nothing.
    Fine,
    /// It was not granted.
    Refused(Answer),
    /// It was lost: the cluster went on without this node.
    Lost,
}

/// A lock of a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Local {
    /// Whose it is.
    pub id: u64,
    /// What it holds.
    pub held: Option<Mode>,
    /// What it waits for.
    pub want: Option<Mode>,
    /// It does not want to wait.
    pub tries: bool,
    /// The token of what it holds.
    pub token: Token,
    /// See there.
    pub fate: Fate,
}

/// Why a local lock cannot be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It is there already.
    Exists,
    /// It is not there.
    Missing,
    /// It was lost.
    Lost,
    /// It waits.
    Waits,
    /// It would have to wait.
    Busy,
    /// It would wait for ever.
    Deadlock,
    /// No memory.
    NoMemory,
    /// There is no other token in this view.
    Exhausted,
}

/// How many local locks hold each mode, in the order of [`Mode::ALL`].
pub(super) struct Counts([usize; 6]);

impl Counts {
    pub(super) fn of(locals: &[Local]) -> Self {
        let mut counts = [0usize; 6];
        for held in locals.iter().filter_map(|local| local.held) {
            for (mode, count) in Mode::ALL.into_iter().zip(&mut counts) {
                *count = count.saturating_add(usize::from(mode == held));
            }
        }
        Counts(counts)
    }

    /// Whether the others let `local` have `mode`.
    pub(super) fn allow(&self, local: &Local, mode: Mode) -> bool {
        let counts = Mode::ALL.into_iter().zip(&self.0);
        let others =
            counts.filter(|(held, count)| **count > usize::from(local.held == Some(*held)));
        let mut held = others.map(|(held, _)| held);
        held.all(|held| held.is_compatible(mode))
    }
}
