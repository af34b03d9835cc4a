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
    /// The account of the stream: no user has this uid. What its host sends is root's, but does not take
    /// root's room.
    pub const STREAM_ACCOUNT: u32 = u32::MAX;

    /// The uid that what it sets is charged to.
    pub fn account(&self) -> u32 {
        match self.source {
            ValueSource::Stream => Self::STREAM_ACCOUNT,
            _ => self.uid,
        }
    }

    /// Nobody.
    pub const DEFAULT: ValueOrigin = ValueOrigin {
        source: ValueSource::Default,
        uid: 0,
    };
}
