// SPDX-License-Identifier: GPL-2.0

//! A program's subscription: what stands behind its descriptor.

use crate::{
    channel::Channel,
    queues::{
        Queues,
        Shared, //
    }, //
};
use kernel::sync::Arc;
use linux::{
    descriptor::Pollable,
    wait::WaitQueue, //
};

/// See the module. When the last descriptor of it is closed, others may have what the program has
/// not acknowledged.
pub(crate) struct Handle {
    queues: Arc<Queues>,
    pub(crate) channel: Shared,
    /// Who takes messages out.
    pub(crate) holder: u64,
    /// Messages are acknowledged by being taken.
    pub(crate) acked: bool,
}

impl Handle {
    /// A user of `channel`, which it is counted as already.
    pub(crate) fn new(queues: Arc<Queues>, channel: Shared, acked: bool) -> Self {
        Handle {
            holder: queues.next_number(),
            queues,
            channel,
            acked,
        }
    }
}

impl Pollable for Handle {
    fn is_readable(&self) -> bool {
        self.channel.has_next()
    }

    fn waiters(&self) -> &WaitQueue {
        &self.channel.ready
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        Channel::give_all_back(&self.channel, self.holder);
        self.queues.leave(&self.channel);
    }
}
