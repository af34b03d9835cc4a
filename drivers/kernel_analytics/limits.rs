// SPDX-License-Identifier: GPL-2.0

//! Bounds of what the module keeps.

use crate::module_parameters;
use kernel::prelude::*;
use virgo_proto::analytics::rollout::RolloutTiming;
use virgo_utils::budget::Budget;

/// Of leases that last so long: several renewals may be lost before one ends.
fn timing(lease_ms: u32) -> RolloutTiming {
    RolloutTiming {
        lease_ms,
        keep_ms: lease_ms / 5,
        margin_ms: lease_ms / 10,
        owner_ms: lease_ms,
    }
}

/// Bounds, from the module's parameters.
pub(crate) struct AnalyticsLimits {
    pub(crate) max_keys: usize,
    pub(crate) max_bytes: u64,
    pub(crate) max_file_bytes: usize,
    pub(crate) history: usize,
    pub(crate) stream_lines: u32,
    pub(crate) audit_bytes: u64,
    pub(crate) rollouts: RolloutTiming,
}

impl AnalyticsLimits {
    pub(crate) fn of_parameters() -> Self {
        AnalyticsLimits {
            max_keys: module_parameters::max_keys.value().clamp(1, 65536) as usize,
            max_bytes: module_parameters::max_bytes.value().max(65536),
            max_file_bytes: module_parameters::max_file_bytes.value().min(16 << 20) as usize,
            history: module_parameters::history.value().clamp(16, 65536) as usize,
            stream_lines: module_parameters::stream_lines.value().clamp(1, 100_000),
            audit_bytes: module_parameters::audit_bytes.value().clamp(65536, 1 << 40),
            rollouts: timing(
                module_parameters::rollout_lease_ms
                    .value()
                    .clamp(200, 60_000),
            ),
        }
    }

    pub(crate) fn budget(&self) -> Result<Pin<KBox<Budget>>> {
        Budget::new(self.max_bytes)
    }
}
