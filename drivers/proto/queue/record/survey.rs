// SPDX-License-Identifier: GPL-2.0

//! Which of the two files of a log counts, and what is kept of the other.

use super::{
    layout::{RecordKind, FORMAT},
    scan::Scanned,
};

/// What a file has, as far as it can be said without its records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Survey {
    /// All bytes.
    pub bytes: u64,
    /// Of these, at the end, such as were being written when the machine stopped.
    pub torn: u64,
    /// Bytes that are damaged.
    pub damaged: u64,
    /// Records of unknown kinds.
    pub unknown: u64,
    /// Records that are understood.
    pub records: u64,
    /// The largest generation that it says; 0 if it says none.
    pub generation: u64,
    /// It has a record [`RecordKind::Whole`].
    pub whole: bool,
    /// The latest format that it says.
    pub format: u8,
}

impl Survey {
    /// Counts what was found.
    pub fn count(&mut self, found: &Scanned<'_>) {
        match found {
            Scanned::Record { record, bytes } => {
                self.bytes = self.bytes.saturating_add(*bytes);
                self.records = self.records.saturating_add(1);
                match record.kind {
                    RecordKind::Begin => self.format = self.format.max(record.priority),
                    RecordKind::Whole => self.whole = true,
                    _ => return,
                }
                self.generation = self.generation.max(record.seq);
            }
            Scanned::Unknown { bytes, .. } => {
                self.bytes = self.bytes.saturating_add(*bytes);
                self.unknown = self.unknown.saturating_add(1);
            }
            Scanned::Damaged { bytes, .. } => {
                self.bytes = self.bytes.saturating_add(*bytes);
                self.damaged = self.damaged.saturating_add(*bytes);
            }
            Scanned::Torn(bytes) => {
                self.bytes = self.bytes.saturating_add(*bytes);
                self.torn = self.torn.saturating_add(*bytes);
            }
        }
    }

    /// Whether it is of a format that is later than [`FORMAT`].
    pub fn is_newer(&self) -> bool {
        self.format > FORMAT
    }

    /// Whether it has what is not understood: then it is kept.
    pub fn is_suspect(&self) -> bool {
        self.damaged > 0 || self.unknown > 0
    }

    /// Which of two files counts: one that is not whole only if the other says less.
    fn rank(&self) -> (bool, u64, u64) {
        (self.whole, self.generation, self.records)
    }
}

/// What is done with the two files of a log; see [`crate::queue::rewrite`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Choice {
    /// The file that counts.
    pub active: usize,
    /// For each file: it is moved aside, never emptied.
    pub keep: [bool; 2],
}

impl Choice {
    /// Chooses between files. `None` if one of them is of a later format: then neither may be
    /// touched.
    pub fn of(files: &[Survey; 2]) -> Option<Choice> {
        let [first, second] = files;
        if first.is_newer() || second.is_newer() {
            return None;
        }
        let active = usize::from(second.rank() > first.rank());
        let (counts, other) = match active {
            0 => (first, second),
            _ => (second, first),
        };
        // A former file, of which the present one has all; or a next one, which was being written.
        let is_former = other.whole && other.generation < counts.generation;
        let is_next = !other.whole && other.generation > counts.generation;
        let needless =
            counts.whole && !counts.is_suspect() && !other.is_suspect() && (is_next || is_former);
        let keep_other = other.bytes > other.torn && !needless;
        let mut keep = [counts.is_suspect(); 2];
        if let Some(keep) = keep.get_mut(1usize.saturating_sub(active)) {
            *keep = keep_other;
        }
        Some(Choice { active, keep })
    }
}
