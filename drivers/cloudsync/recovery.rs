// SPDX-License-Identifier: GPL-2.0

//! What is waited for after a change of view.

/// What is not known yet after a change of view.
pub(crate) struct Recovery {
    /// Members that have not reported everything yet, as bits.
    pub(crate) awaited: u64,
    /// When those who are left out cannot use anything any more.
    pub(crate) opens_at: u64,
    /// Who they are, as bits.
    pub(crate) gone: u64,
    /// Somebody may have written values that nobody knows.
    pub(crate) has_lost: bool,
}
