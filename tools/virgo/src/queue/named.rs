// SPDX-License-Identifier: GPL-2.0
//! A queue or topic, by its name.

use super::message::{
    Message, TAKE, explained, explained_by, one, take, with_rooms, wrong_timeout,
};
use crate::{
    Error, Result,
    abi::{self, QueueArgs, queue_op as op},
    call,
    lock::Fence,
    memory::milliseconds,
};
use libc::c_int;
use std::time::Duration;
use virgo_proto::queue::reasons;

/// How a message is published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct How {
    /// 0 to 9; larger is sooner.
    pub priority: u8,
    /// Until it can be taken.
    pub delay: Duration,
}

impl Default for How {
    fn default() -> Self {
        Self {
            priority: 4,
            delay: Duration::ZERO,
        }
    }
}

/// What has become of messages that were published.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Published {
    /// So many were accepted, from the first on.
    pub accepted: usize,
    /// Copies of these for which a queue or subscription had no room.
    pub lost: u64,
}

/// A queue or topic, by its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Queue {
    name: String,
    node: u32,
    timeout_ms: u32,
    fence: Option<Fence>,
}

impl Queue {
    /// The one of this name on this node.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            node: 0,
            timeout_ms: 0,
            fence: None,
        }
    }

    /// The one on another node.
    pub fn on(mut self, node: u32) -> Self {
        self.node = node;
        self
    }

    /// Its operations wait for so long at most, rounded up to milliseconds.
    pub fn within(mut self, timeout: Duration) -> Self {
        self.timeout_ms = milliseconds(timeout);
        self
    }

    /// Says which lock guards it: what changes it has the token, and is refused with `ESTALE` if somebody has
    /// come with a later one since. From the first token on it refuses other locks and none (`ENOLCK`); its
    /// owner, and root, may delete it without. Who says a token needs the right to delete it.
    ///
    /// ```no_run
    /// use virgo::{lock::{Fence, Mode, Session}, queue::Queue};
    ///
    /// let session = Session::open()?;
    /// let held = session.lock("ledger", Mode::Ex)?;
    /// let orders = Queue::new("orders").fenced(Fence::new("ledger", held.token));
    /// // ESTALE if somebody else has had the lock since.
    /// orders.publish(b"one apple")?;
    /// # Ok::<(), virgo::Error>(())
    /// ```
    pub fn fenced(mut self, fence: Fence) -> Self {
        self.fence = Some(fence);
        self
    }

    /// A call that changes it.
    fn change(&self) -> call::QueueCall<'_> {
        self.call().fenced(self.fence.as_ref())
    }

    fn call(&self) -> call::QueueCall<'_> {
        let args = QueueArgs {
            node: self.node,
            timeout_ms: self.timeout_ms,
            fd: -1,
            ..QueueArgs::default()
        };
        call::QueueCall::new(args, self.name.as_bytes())
    }

    /// Why one of its operations has failed, with a reason if `wrong` finds one in what else was
    /// passed.
    fn error(
        &self,
        what: &'static str,
        errno: c_int,
        wrong: impl FnOnce() -> Option<&'static str>,
    ) -> Error {
        explained(what, errno, || {
            let name = reasons::of_name(self.name.as_bytes());
            name.or_else(wrong).or(wrong_timeout(self.timeout_ms))
        })
    }

    /// The same of what changes it.
    fn refused(
        &self,
        what: &'static str,
        errno: c_int,
        wrong: impl FnOnce() -> Option<&'static str>,
    ) -> Error {
        if self.fence.is_none() {
            let error = self.error(what, errno, wrong);
            return error.by_fence(errno == libc::ENOLCK);
        }
        let error = explained_by(reasons::explain_fenced, what, errno, || {
            let name = reasons::of_name(self.name.as_bytes());
            name.or_else(wrong).or(wrong_timeout(self.timeout_ms))
        });
        error.by_fence(matches!(errno, libc::ENOLCK | libc::ESTALE))
    }

    /// Makes it. `options` are words such as `ack=5000 policy=block`, see docs/queue.md.
    ///
    /// # Errors
    ///
    /// `EEXIST` if there is one; `EINVAL` for a name or an option that is none; those of the network,
    /// as for all methods here.
    pub fn create(&self, options: &str) -> Result<()> {
        let mut call = self.call().data(options.as_bytes());
        let wrong = || reasons::of_options(options.as_bytes());
        call.call(op::CREATE)
            .map_err(|errno| self.error("create the queue", errno, wrong))?;
        Ok(())
    }

    /// Deletes it, with its messages.
    ///
    /// # Errors
    ///
    /// `ENOENT`; `EBUSY` for one that cannot be deleted.
    pub fn delete(&self) -> Result<()> {
        self.change()
            .call(op::DELETE)
            .map_err(|errno| self.refused("delete the queue", errno, || None))?;
        Ok(())
    }

    /// Drops all its messages, also those that are handed out or kept. Returns how many.
    ///
    /// # Errors
    ///
    /// `ENOENT`; `EACCES` for who may not delete it.
    pub fn purge(&self) -> Result<usize> {
        self.change()
            .call(op::PURGE)
            .map_err(|errno| self.refused("empty the queue", errno, || None))
    }

    /// Publishes a message.
    ///
    /// # Errors
    ///
    /// `ENOENT` if there is no queue or topic of this name and nobody has subscribed to it;
    /// `ENOBUFS` if there is no room; `EMSGSIZE` beyond [`MAX_MESSAGE`].
    pub fn publish(&self, data: &[u8]) -> Result<()> {
        self.publish_all(&[data], How::default()).map(drop)
    }

    /// Publishes messages, up to [`abi::MAX_MESSAGES`], in order, and returns how many were
    /// accepted: those behind are not there.
    ///
    /// # Errors
    ///
    /// As for [`Self::publish`], if not even the first one was accepted. `ETIMEDOUT`,
    /// `ECONNRESET`, `ESHUTDOWN` or `EPROTO` from another node, and `EIO`, if nobody knows how
    /// many, from the first on, are there.
    pub fn publish_all(&self, messages: &[&[u8]], how: How) -> Result<usize> {
        Ok(self.publish_counted(messages, how)?.accepted)
    }

    /// The same; also says how many copies of what was accepted were lost: queues and subscriptions
    /// that get it, too, had no room.
    ///
    /// # Errors
    ///
    /// As for [`Self::publish_all`].
    pub fn publish_counted(&self, messages: &[&[u8]], how: How) -> Result<Published> {
        let mut call = self.change();
        for data in messages {
            let message = abi::MessageArgs {
                priority: how.priority.into(),
                delay_ms: u32::try_from(how.delay.as_millis()).unwrap_or(u32::MAX),
                ..abi::MessageArgs::default()
            };
            call.push(message, data);
        }
        let accepted = call.call(op::PUBLISH).map_err(|errno| {
            self.refused("publish", errno, || match how.priority {
                0..=9 => messages.iter().find_map(|data| reasons::of_message(data)),
                _ => Some("a priority is 0 to 9"),
            })
        })?;
        let lost = call.lost();
        Ok(Published { accepted, lost })
    }

    /// Takes up to `count` messages; waits for the first. Each has to be acknowledged, or others
    /// get it when its time is over.
    ///
    /// # Errors
    ///
    /// `ETIMEDOUT` if there is none in time; `ENOENT`.
    pub fn take(&self, count: usize) -> Result<Vec<Message>> {
        let error = |errno| self.error(TAKE, errno, || None);
        take(self.call(), count, |_| ()).map_err(error)
    }

    /// Message `id` is done.
    ///
    /// # Errors
    ///
    /// `ESTALE` if no program of this node has it (any more).
    pub fn ack(&self, id: u64) -> Result<()> {
        let error = |errno| self.error("acknowledge", errno, || None);
        one(self.call(), op::ACK, id, b"", 0).map_err(error)
    }

    /// Others may have message `id` in `delay`.
    ///
    /// # Errors
    ///
    /// As for [`Self::ack`].
    pub fn give_back(&self, id: u64, delay: Duration) -> Result<()> {
        let delay = u32::try_from(delay.as_millis()).unwrap_or(u32::MAX);
        let error = |errno| self.error("give back", errno, || None);
        one(self.call(), op::NACK, id, b"", delay).map_err(error)
    }

    /// Publishes a request and returns the reply.
    ///
    /// # Errors
    ///
    /// As for [`Self::publish`]; `ETIMEDOUT` if nobody replies in time.
    pub fn request(&self, data: &[u8]) -> Result<Vec<u8>> {
        with_rooms(1, |rooms| {
            let room = &mut rooms[0].data;
            let mut call = self.change().room(room);
            let message = abi::MessageArgs {
                priority: How::default().priority.into(),
                ..abi::MessageArgs::default()
            };
            call.push(message, data);
            let len = call
                .call(op::REQUEST)
                .map_err(|errno| self.refused("ask", errno, || reasons::of_message(data)))?;
            Ok(room[..len.min(room.len())].to_vec())
        })
    }

    /// Message `id`, a request, is done, and this is the reply. For queues of this node.
    ///
    /// # Errors
    ///
    /// As for [`Self::ack`]; `EINVAL` if it is no request; `ESRCH` if nobody waits any more.
    pub fn reply(&self, id: u64, data: &[u8]) -> Result<()> {
        let error = |errno| self.error("reply", errno, || reasons::of_message(data));
        one(self.call(), op::REPLY, id, data, 0).map_err(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use libc::{EINVAL, ETIMEDOUT};

    #[test]
    fn reasons_are_those_of_the_kernel() {
        let queue = Queue::new("a.b");
        let why = |name: &str, options: &str| {
            let wrong = || reasons::of_options(options.as_bytes());
            let error = Queue::new(name).error("create the queue", EINVAL, wrong);
            error.to_string()
        };
        assert_eq!(
            why("a.b", "nonsense=1").split(" (EINVAL)").next(),
            Some(&*format!(
                "cannot create the queue: {}",
                reasons::of_options(b"nonsense=1").unwrap()
            ))
        );
        assert!(why("a..b", "").contains("expected a name"));
        // What this version finds nothing wrong with a newer kernel may refuse all the same.
        assert_eq!(why("a", ""), "cannot create the queue: not valid (EINVAL)");
        let late = queue.clone().within(Duration::from_millis(300_001));
        assert_eq!(
            late.error("publish", EINVAL, || None).reason(),
            Some("a timeout is at most 300 s")
        );
        let full = queue.error("publish", libc::ENOBUFS, || None);
        assert_eq!(
            full.to_string(),
            "cannot publish: the queue is full (ENOBUFS)"
        );
        let down = queue.error("publish", libc::EHOSTDOWN, || None);
        assert_eq!(down.reason(), None);
        let late = queue.refused("publish", libc::ENOLCK, || None);
        assert_eq!(
            late.reason(),
            Some(reasons::explain(virgo_proto::errno::Errno::ENOLCK))
        );
        let fenced = queue.clone().fenced(Fence::new("ledger", 7));
        let late = fenced.refused("publish", libc::ESTALE, || None);
        assert_eq!(
            late.reason(),
            Some("somebody else has had the lock since this token was granted")
        );
        assert!(late.is_of_fence() && !full.is_of_fence());
        let nothing = queue.error(TAKE, ETIMEDOUT, || None);
        assert_eq!(nothing.reason(), Some("no message in time"));
    }
}
