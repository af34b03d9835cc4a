// SPDX-License-Identifier: GPL-2.0

//! Who uses files of this node for other nodes, whose sessions must not wait for a disk.

/// The workers of this module.
pub(crate) type Workers = virgo_utils::workers::Workers<32>;
