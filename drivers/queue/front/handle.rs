// SPDX-License-Identifier: GPL-2.0

//! A program's subscription: what stands behind its descriptor.

use crate::{
    channel::{
        Channel,
        ChannelRef, //
    },
    queues::Queues, //
};
use kernel::sync::{
    atomic::{
        Atomic,
        Relaxed, //
    },
    Arc, //
};
use linux::{
    descriptor::Pollable,
    wait::WaitQueue, //
};

/// See the module. When the last descriptor of it is closed, others may have what the program has
/// not acknowledged.
pub(crate) struct QueueHandle {
    queues: Arc<Queues>,
    pub(crate) channel: ChannelRef,
    /// Who takes messages out.
    pub(crate) consumer: u64,
    /// Messages are acknowledged by being taken.
    pub(crate) acked: bool,
    /// Messages that were lost before the program was told.
    lost: Atomic<u64>,
}

impl QueueHandle {
    /// A user of `channel`, which it is counted as already.
    pub(crate) fn new(queues: Arc<Queues>, channel: ChannelRef, acked: bool) -> Self {
        QueueHandle {
            consumer: queues.next_consumer(),
            lost: Atomic::new(channel.lost()),
            queues,
            channel,
            acked,
        }
    }

    /// Messages that were lost since this was asked last.
    pub(crate) fn newly_lost(&self) -> u64 {
        let lost = self.channel.lost();
        lost.saturating_sub(self.lost.xchg(lost, Relaxed))
    }

    /// The program has not been told of so many.
    pub(crate) fn add_lost(&self, lost: u64) {
        self.lost.fetch_sub(lost, Relaxed);
    }
}

impl Pollable for QueueHandle {
    fn is_readable(&self) -> bool {
        self.channel.has_next()
    }

    fn waiters(&self) -> &WaitQueue {
        &self.channel.polled
    }
}

impl Drop for QueueHandle {
    fn drop(&mut self) {
        // What is acknowledged by being taken is not out.
        if !self.acked {
            Channel::give_all_back(&self.channel, true, |consumer| consumer == self.consumer);
        }
        self.queues.leave(&self.channel);
    }
}
