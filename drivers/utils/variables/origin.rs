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
    /// Number of the roll-out that has; 0 if it was none.
    pub rollout: u64,
}

impl ValueOrigin {
    /// User `uid`, by this way.
    pub const fn new(source: ValueSource, uid: u32) -> Self {
        ValueOrigin {
            source,
            uid,
            rollout: 0,
        }
    }

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
    pub const DEFAULT: ValueOrigin = ValueOrigin::new(ValueSource::Default, 0);
}
