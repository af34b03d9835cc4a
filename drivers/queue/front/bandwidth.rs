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
    check: None,
    reader: "queue",
    about: "rate of messages that this node publishes on other nodes; 0 for no limit",
};

/// Lets messages pass at the rate of the variable. Senders have their turns in the order in which they
/// come; each waits for its own, so that one with many messages is not ahead of one with few.
pub(crate) struct Bandwidth {
    limit: Variable,
    /// When the next turn is, in ticks of [`pace`].
    next: Atomic<u64>,
}

impl Bandwidth {
    pub(crate) fn new() -> Result<Self> {
        Ok(Bandwidth {
            limit: Variable::declare(&MAX_NETWORK_BANDWIDTH)?,
            next: Atomic::new(0),
        })
    }

    /// Returns when `bytes` may be sent. Sleeps, killably.
    ///
    /// # Errors
    ///
    /// [`ETIMEDOUT`] at once if that is not before `deadline`; [`EINTR`] when the task is being killed.
    pub(crate) fn pass(&self, bytes: usize, deadline: Deadline) -> Result {
        match u64::try_from(self.limit.get()) {
            Ok(mbits @ 1..) => self.wait(pace::cost(bytes, mbits), deadline),
            _ => Ok(()),
        }
    }

    #[inline(never)]
    fn wait(&self, cost: u64, deadline: Deadline) -> Result {
        let now = deadline::now_ms().saturating_mul(pace::TICKS_PER_MS);
        let mut before = self.next.load(Relaxed);
        let wait_ms = loop {
            let turn = pace::turn(before, now, cost);
            let wait_ms = u32::try_from(turn.wait / pace::TICKS_PER_MS).unwrap_or(u32::MAX);
            if wait_ms > deadline.left_ms() {
                return Err(ETIMEDOUT);
            }
            match self.next.cmpxchg(before, turn.next, Relaxed) {
                Ok(_) => break wait_ms,
                Err(newer) => before = newer,
            }
        };
        match wait_ms {
            0 => Ok(()),
            // Who is killed sends nothing, and its turn is others'.
            ms => Deadline::after_ms(ms).sleep().inspect_err(|_| {
                self.next.fetch_sub(cost, Relaxed);
            }),
        }
    }
}
