// SPDX-License-Identifier: GPL-2.0

//! Bounds that hold for all services, most of them module parameters.

use crate::module_parameters;
use virgo_proto::slots::SLOTS;

/// Bytes of input kept for a peer that has not proven who it is.
pub(crate) const UNAUTHENTICATED_INPUT: usize = 256;

/// How often the reaper looks at sessions that have a time limit, in milliseconds.
pub(crate) const SWEEP_MS: u32 = 1000;

/// Sessions of one service of those who type.
pub(crate) fn max_sessions() -> usize {
    module_parameters::max_sessions.value().clamp(2, 2000) as usize
}

/// Sessions of one service from addresses that the configuration does not name, which have not proven
/// who they are.
pub(crate) fn max_unauthenticated() -> usize {
    module_parameters::max_unauthenticated
        .value()
        .clamp(1, 1024) as usize
}

/// Bytes of a text line.
pub(crate) fn max_line() -> usize {
    module_parameters::max_line.value().clamp(512, 1 << 20) as usize
}

/// Requests that may be under way at one service of one node.
pub(crate) fn client_slots() -> usize {
    module_parameters::client_slots
        .value()
        .clamp(4, SLOTS as u32) as usize
}

/// The most of a budget that one user other than root may have, in percent.
pub(crate) fn user_share() -> u32 {
    module_parameters::user_share.value().clamp(1, 100)
}

/// By how much the wall clocks of nodes may differ, in milliseconds: stamps that are further ahead of
/// this node's are not merged.
pub(crate) fn clock_skew_ms() -> u32 {
    module_parameters::clock_skew_ms.value().clamp(1, 3_600_000)
}

/// Bytes of the ring of events of each processor.
pub(crate) fn event_ring_bytes() -> usize {
    module_parameters::event_ring_kb.value().clamp(4, 1 << 16) as usize * 1024
}
