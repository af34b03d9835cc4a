// SPDX-License-Identifier: GPL-2.0

//! What makes a channel durable: the log that it is in.

use crate::log::Log;
use kernel::{
    prelude::*,
    sync::Arc, //
};
use linux::bytes::copy;

/// What makes a channel durable.
pub(crate) struct ChannelLog {
    pub(crate) log: Arc<Log>,
    /// As they were given.
    pub(crate) options: KVec<u8>,
}

impl ChannelLog {
    /// Keeps `options` as they were given. May sleep.
    ///
    /// # Errors
    ///
    /// [`ENOMEM`].
    pub(crate) fn new(log: Arc<Log>, options: &[u8]) -> Result<Self> {
        Ok(ChannelLog {
            log,
            options: copy(options, GFP_KERNEL_ACCOUNT)?,
        })
    }
}
