// SPDX-License-Identifier: GPL-2.0

//! The variable `MaxNetworkBandwidth`: how much this node sends to other nodes' queues.

use kernel::{
    prelude::*,
    sync::atomic::{
        Atomic,
        Relaxed, //
    }, //
};
use linux::deadline::{
    self,
    Deadline, //
};
use virgo_proto::{
    analytics::variable::{
        Declaration,
        ValueType, //
    },
    pace, //
};
use virgo_utils::variables::Variable;

const MAX_NETWORK_BANDWIDTH: Declaration = Declaration {
    name: "MaxNetworkBandwidth",
    kind: ValueType::Integer,
    unit: "Mbit/s",
    min: 0,
    max: 1_000_000,
    default: 0,
    reader: "queue",
    about: "rate of messages that this node publishes on other nodes; 0 for no limit",
};

/// Lets messages pass at the rate of the variable. Senders have their turns in the order in which they
/// come; each waits for its own, so that one with many messages is not ahead of one with few.
pub(crate) struct Bandwidth {
    limit: Variable,
    /// When the next turn is, in microseconds of a clock that never goes back.
    next_us: Atomic<u64>,
}

impl Bandwidth {
    pub(crate) fn new() -> Result<Self> {
        Ok(Bandwidth {
            limit: Variable::declare(&MAX_NETWORK_BANDWIDTH)?,
            next_us: Atomic::new(0),
        })
    }

    /// Returns when `bytes` may be sent. Sleeps, killably.
    ///
    /// # Errors
    ///
    /// [`ETIMEDOUT`] at once if that is not before `deadline`; [`EINTR`] when the task is being killed.
    pub(crate) fn pass(&self, bytes: usize, deadline: Deadline) -> Result {
        match u64::try_from(self.limit.get()) {
            Ok(mbits @ 1..) => self.wait(pace::cost_us(bytes, mbits), deadline),
            _ => Ok(()),
        }
    }

    #[inline(never)]
    fn wait(&self, cost_us: u64, deadline: Deadline) -> Result {
        let now_us = deadline::now_ms().saturating_mul(1000);
        let mut before = self.next_us.load(Relaxed);
        let wait_ms = loop {
            let turn = pace::turn(before, now_us, cost_us);
            let wait_ms = u32::try_from(turn.wait_us / 1000).unwrap_or(u32::MAX);
            if wait_ms > deadline.left_ms() {
                return Err(ETIMEDOUT);
            }
            match self.next_us.cmpxchg(before, turn.next_us, Relaxed) {
                Ok(_) => break wait_ms,
                Err(now) => before = now,
            }
        };
        match wait_ms {
            0 => Ok(()),
            ms => Deadline::after_ms(ms).sleep(),
        }
    }
}
