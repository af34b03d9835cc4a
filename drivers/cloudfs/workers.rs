// SPDX-License-Identifier: GPL-2.0

//! Who uses files of this node for other nodes, whose sessions must not wait for a disk.

pub(crate) use virgo_utils::workers::{
    JobTurn,
    ReplyInterest, //
};

/// How many there are.
const MAX: usize = 32;

/// The workers of this module.
pub(crate) type FileWorkers = virgo_utils::workers::Workers<MAX>;

/// Where work waits for them.
pub(crate) type FileLines = virgo_utils::workers::Lines<MAX>;
