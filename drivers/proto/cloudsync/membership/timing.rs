// SPDX-License-Identifier: GPL-2.0

//! How long is waited for what.

/// Times, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Timing {
    /// Between two beats.
    pub beat_ms: u32,
    /// A node that has not answered for so long is taken for dead.
    pub dead_ms: u32,
    /// What a lease lasts.
    pub lease_ms: u32,
    /// What is waited longer than a lease and an eighth.
    pub margin_ms: u32,
}

impl Timing {
    pub(super) const ZERO: Self = Timing {
        beat_ms: 0,
        dead_ms: 0,
        lease_ms: 0,
        margin_ms: 0,
    };
}
