// SPDX-License-Identifier: GPL-2.0

//! Who has set a value.

use virgo_proto::analytics::source::ValueSource;

/// Who has set a value.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct ValueOrigin {
    /// By which way.
    pub source: ValueSource,
    /// The uid that has; 0 for the file and the stream, which are root's.
    pub uid: u32,
}

impl ValueOrigin {
    /// Nobody.
    pub const DEFAULT: ValueOrigin = ValueOrigin {
        source: ValueSource::Default,
        uid: 0,
    };
}
