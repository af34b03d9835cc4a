// SPDX-License-Identifier: GPL-2.0

//! The two files of the log, and how one follows the other without a moment at which a crash loses
//! something: a state machine without I/O.
//!
//! One file is active: records are written at its end. A rewrite begins the other one:
//!
//! ```text
//!   Idle -> Clear -> Snapshot -> Copy -> Whole -> Seal -> Empty -> Idle
//!                                 ^        |
//!                                 +--------+ written meanwhile
//! ```
//!
//! - *Clear*: the other file is emptied, and that is on disk.
//! - *Snapshot*: what the queues have is written to it, one queue after the other. Queues are used
//!   meanwhile, and records about that go to the active file.
//! - *Copy*: all records that were written to the active file since the rewrite began follow, and
//!   all of that is brought to disk.
//! - *Whole*: if none was written since, the record that makes the file count is written.
//! - *Seal*: that is brought to disk; nothing is written to the active file meanwhile. Then the
//!   other file is the active one.
//! - *Empty*: the former one is emptied or moved aside.
//!
//! A snapshot may show a queue at any moment after the rewrite began. What happened before that
//! moment is shown by it and said again by the records behind; this is harmless because a reader
//! applies records so that once more changes nothing: a queue that is there is not created, a
//! message that is there is not put in, one that is not there is not taken out. What happened before
//! the rewrite began is in the snapshot, since records are written in the order in which queues
//! change, and both under one lock.
//!
//! Until [`Step::Seal`] is done the former file has all that anybody was told; from then on both
//! have. If the disk refuses that step nobody knows which of them counts after a crash, so nothing is
//! written to the former any more until another rewrite was done. The test below stops at every step, with any part of what is not on disk lost.

use super::record::HEAD;

/// One of the two files.
pub type FileIndex = usize;

/// Most bytes that are copied in one step.
pub const PIECE: u64 = 64 << 10;

/// What has to be done next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Nothing: no rewrite is under way.
    Nothing,
    /// Empty this file, and bring that to disk. Then [`Files::done`].
    Clear(FileIndex),
    /// Write what the queues have to this file, see [`Files::snapshot_at`]. Then [`Files::done`].
    Snapshot(FileIndex),
    /// Copy bytes. Then [`Files::done`].
    Copy {
        /// File and place to read from.
        from: (FileIndex, u64),
        /// File and place to write to.
        to: (FileIndex, u64),
        /// How many bytes.
        len: u64,
    },
    /// Bring this file to disk. Then [`Files::done`].
    Sync(FileIndex),
    /// Write [`RecordKind::Whole`] to this file, there. Then [`Files::done`].
    ///
    /// [`RecordKind::Whole`]: super::record::RecordKind::Whole
    Whole(FileIndex, u64),
    /// Bring this file to disk. Then [`Files::done`]: it is the active one then.
    Seal(FileIndex),
    /// Empty this file, or move it aside. Then [`Files::done`].
    Empty(FileIndex),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Idle,
    Clear,
    Snapshot,
    Copy,
    Whole,
    Seal,
    Empty,
}

/// See the module.
#[derive(Clone, Copy, Debug)]
pub struct Files {
    active: FileIndex,
    /// Bytes of the active file.
    size: u64,
    generation: u64,
    phase: Phase,
    /// Bytes of the next file.
    next_size: u64,
    /// Bytes of the active file that the next one has, or need not have.
    copied: u64,
    /// The next file may count already: nothing more may be written to the active one.
    stuck: bool,
}

impl Files {
    /// `active` has so many bytes, of this generation.
    pub fn new(active: FileIndex, size: u64, generation: u64) -> Self {
        Files {
            active,
            size,
            generation,
            phase: Phase::Idle,
            next_size: 0,
            copied: 0,
            stuck: false,
        }
    }

    /// The file that is written.
    pub fn active(&self) -> FileIndex {
        self.active
    }

    /// Bytes of the active file: where the next record goes.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Generation of the active file.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    fn next(&self) -> FileIndex {
        1usize.saturating_sub(self.active)
    }

    /// Whether records may be written to the active file now.
    pub fn may_append(&self) -> bool {
        !self.stuck && self.phase != Phase::Seal
    }

    /// So many bytes were written to the active file.
    pub fn appended(&mut self, bytes: u64) {
        self.size = self.size.saturating_add(bytes);
    }

    /// Begins a rewrite when none is under way. From now on records are also for the next file.
    pub fn begin(&mut self) {
        self.phase = Phase::Clear;
        self.next_size = 0;
        self.copied = self.size;
    }

    /// Gives a rewrite up. All goes on in the active file, unless the other one may be taken for it
    /// after a crash: then only another rewrite helps.
    pub fn give_up(&mut self) {
        self.stuck |= self.phase == Phase::Seal;
        self.phase = Phase::Idle;
    }

    /// Generation that the next file gets.
    pub fn next_generation(&self) -> u64 {
        self.generation.saturating_add(1)
    }

    /// Bytes of the next file: where the next part of the snapshot goes.
    pub fn snapshot_at(&self) -> u64 {
        self.next_size
    }

    /// So many bytes of the snapshot were written.
    pub fn wrote_snapshot(&mut self, bytes: u64) {
        self.next_size = self.next_size.saturating_add(bytes);
    }

    /// What has to be done.
    pub fn step(&self) -> Step {
        let next = self.next();
        match self.phase {
            Phase::Idle => Step::Nothing,
            Phase::Clear => Step::Clear(next),
            Phase::Snapshot => Step::Snapshot(next),
            Phase::Copy | Phase::Whole if self.left() > 0 => Step::Copy {
                from: (self.active, self.copied),
                to: (next, self.next_size),
                len: self.left().min(PIECE),
            },
            Phase::Copy => Step::Sync(next),
            Phase::Whole => Step::Whole(next, self.next_size),
            Phase::Seal => Step::Seal(next),
            Phase::Empty => Step::Empty(next),
        }
    }

    fn left(&self) -> u64 {
        self.size.saturating_sub(self.copied)
    }

    /// The [step](Self::step) is done.
    pub fn done(&mut self) {
        self.phase = match self.step() {
            Step::Clear(_) => Phase::Snapshot,
            Step::Snapshot(_) => Phase::Copy,
            Step::Copy { len, .. } => {
                self.copied = self.copied.saturating_add(len);
                self.next_size = self.next_size.saturating_add(len);
                Phase::Copy
            }
            Step::Sync(_) => Phase::Whole,
            Step::Whole(..) => {
                self.next_size = self.next_size.saturating_add(HEAD as u64);
                Phase::Seal
            }
            Step::Seal(_) => {
                self.active = self.next();
                self.size = self.next_size;
                self.generation = self.next_generation();
                self.stuck = false;
                Phase::Empty
            }
            Step::Empty(_) | Step::Nothing => Phase::Idle,
        };
    }
}

#[cfg(test)]
mod tests;
