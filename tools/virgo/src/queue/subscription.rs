// SPDX-License-Identifier: GPL-2.0
//! Subscriptions of a program.

use super::message::{Message, TAKE, explained, one, take, wrong_timeout};
use crate::{
    Result,
    abi::{QueueArgs, queue_op as op},
    call,
    memory::milliseconds,
};
use std::{
    os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd},
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};
use virgo_proto::queue::{reasons, subscribe::SubscribeArgs};

/// A subscription of this program, to a queue, a topic or a pattern of this node. Its descriptor is
/// readable when there is a message.
#[derive(Debug)]
pub struct Subscription {
    descriptor: OwnedFd,
    /// Messages that were lost, as far as nobody has asked.
    lost: AtomicU64,
}

impl Subscription {
    /// Subscribes. `options` are words: `ack` (each message has to be acknowledged), `group=NAME`
    /// (share with others), `from=POSITION`, and bounds as for a queue; see docs/queue.md.
    ///
    /// # Errors
    ///
    /// `EINVAL` for a pattern or an option that is none, `EUSERS`, `EMFILE`.
    #[expect(unsafe_code, reason = "a descriptor that the kernel has made")]
    pub fn open(pattern: &str, options: &str) -> Result<Self> {
        let args = QueueArgs {
            fd: -1,
            ..QueueArgs::default()
        };
        let mut call = call::QueueCall::new(args, pattern.as_bytes()).data(options.as_bytes());
        let fd = call.call(op::OPEN);
        let fd = fd.and_then(|fd| i32::try_from(fd).map_err(|_| libc::EBADF));
        let fd = fd.map_err(|errno| {
            explained("subscribe", errno, || {
                reasons::of_pattern(pattern.as_bytes())
                    .or_else(|| SubscribeArgs::fault(options.as_bytes()))
            })
        })?;
        // SAFETY: The kernel has just made it for this program, and nobody else knows it.
        let descriptor = unsafe { OwnedFd::from_raw_fd(fd) };
        Ok(Self {
            descriptor,
            lost: AtomicU64::new(0),
        })
    }

    /// How many messages this subscription had no room for since this was asked last, as far as
    /// [`Self::take`] has been told.
    pub fn lost(&self) -> u64 {
        self.lost.swap(0, Ordering::Relaxed)
    }

    fn call(&self, timeout: Option<Duration>) -> call::QueueCall<'_> {
        let args = QueueArgs {
            timeout_ms: timeout.map_or(0, milliseconds),
            fd: self.descriptor.as_raw_fd(),
            ..QueueArgs::default()
        };
        call::QueueCall::new(args, b"")
    }

    /// Takes up to `count` messages; waits for the first, for `timeout` or as configured.
    ///
    /// # Errors
    ///
    /// `ETIMEDOUT` if there is none in time; `ENOENT` if the queue is deleted.
    pub fn take(&self, count: usize, timeout: Option<Duration>) -> Result<Vec<Message>> {
        let wrong = || wrong_timeout(timeout.map_or(0, milliseconds));
        let lost = |lost| {
            self.lost.fetch_add(lost, Ordering::Relaxed);
        };
        take(self.call(timeout), count, lost).map_err(|errno| explained(TAKE, errno, wrong))
    }

    /// Message `id` is done.
    ///
    /// # Errors
    ///
    /// `ESTALE` if this subscription does not have it (any more).
    pub fn ack(&self, id: u64) -> Result<()> {
        let acked = one(self.call(None), op::ACK, id, b"", 0);
        acked.map_err(|errno| explained("acknowledge", errno, || None))
    }

    /// Others may have message `id` in `delay`.
    ///
    /// # Errors
    ///
    /// As for [`Self::ack`].
    pub fn give_back(&self, id: u64, delay: Duration) -> Result<()> {
        let delay = u32::try_from(delay.as_millis()).unwrap_or(u32::MAX);
        let given = one(self.call(None), op::NACK, id, b"", delay);
        given.map_err(|errno| explained("give back", errno, || None))
    }

    /// Message `id`, a request, is done, and this is the reply.
    ///
    /// # Errors
    ///
    /// As for [`Self::ack`]; `EINVAL` if it is no request; `ESRCH` if nobody waits any more.
    pub fn reply(&self, id: u64, data: &[u8]) -> Result<()> {
        let replied = one(self.call(None), op::REPLY, id, data, 0);
        replied.map_err(|errno| explained("reply", errno, || reasons::of_message(data)))
    }
}

impl AsFd for Subscription {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}
