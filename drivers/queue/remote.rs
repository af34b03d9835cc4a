// SPDX-License-Identifier: GPL-2.0

//! Using queues of any node: this one's at once, others' by request.

use crate::{
    channel::{
        Channel,
        How, //
    },
    message::{
        Parts,
        ReplyTo, //
    },
    queues::Published,
    service::QueueService, //
};
use core::mem::size_of;
use kernel::{
    prelude::*,
    sync::atomic::Relaxed, //
};
use linux::{
    bytes::Fill,
    deadline::Deadline, //
};
use virgo_proto::{
    queue::{
        wire::{
            op,
            AckArgs,
            AskArgs,
            Entry,
            Named,
            PublishArgs,
            PublishReply,
            PullArgs,
            GIVE_BACK,
            MAX_PULL,
            MAX_WAIT_MS,
            REQUEST, //
        },
        MAX_NAME, //
    },
    vuid::NodeId, //
};
use virgo_utils::{
    from_wire,
    retry::until_ready,
    Data,
    Expect,
    Request, //
};

/// Who has what programs of this node have taken by name.
const PROGRAMS: u64 = (1 << 63) - 1;

/// A message that was taken, wherever it was.
pub(crate) struct Got<'a> {
    pub(crate) id: u64,
    pub(crate) position: u64,
    pub(crate) deliveries: u32,
    pub(crate) subject: &'a [u8],
    pub(crate) data: &'a [u8],
    /// Whether somebody waits for a reply.
    pub(crate) is_request: bool,
}

impl QueueService {
    /// `Some` for another node.
    fn other(&self, node: NodeId) -> Option<NodeId> {
        match node {
            0 => None,
            node if !self.loopback && node == self.queues.node.config().me => None,
            node => Some(node),
        }
    }

    fn call(
        &self,
        node: NodeId,
        op: u16,
        args: &[u8],
        data: &[u8],
        reply: &mut [u8],
        deadline: Deadline,
    ) -> Result<usize> {
        let request = Request {
            op,
            args,
            data: Data::Bytes(data),
            again: false,
            expect: Expect::Soon,
        };
        self.client.call(node, &request, reply, deadline)
    }

    /// Makes a queue or topic. May sleep.
    pub(crate) fn create_on(
        &self,
        node: NodeId,
        name: &[u8],
        options: &[u8],
        deadline: Deadline,
    ) -> Result {
        match self.other(node) {
            None => self
                .create(name, options)
                .map_err(|failure| from_wire(failure.errno.to_wire())),
            Some(node) => self.call_named(node, op::CREATE, name, options, deadline),
        }
    }

    /// Deletes a queue or topic. May sleep.
    pub(crate) fn delete_on(&self, node: NodeId, name: &[u8], deadline: Deadline) -> Result {
        match self.other(node) {
            None => self
                .delete(name)
                .map_err(|failure| from_wire(failure.errno.to_wire())),
            Some(node) => self.call_named(node, op::DELETE, name, b"", deadline),
        }
    }

    fn call_named(
        &self,
        node: NodeId,
        op: u16,
        name: &[u8],
        rest: &[u8],
        deadline: Deadline,
    ) -> Result {
        let head = Named {
            name_len: (name.len() as u16).into(),
            reserved: 0.into(),
        };
        let data = join(name, rest)?;
        self.call(node, op, head.as_bytes(), &data, &mut [], deadline)?;
        Ok(())
    }

    /// Publishes a message; waits for room if that is the queue's way. In a durable queue of this
    /// node it still has to be committed. A reply is not waited for. May sleep.
    ///
    /// # Errors
    ///
    /// Those of [`crate::queues::Queues::publish`], and of the network.
    pub(crate) fn publish_on(
        &self,
        node: NodeId,
        parts: &Parts<'_>,
        how: How,
        deadline: Deadline,
    ) -> Result<Published> {
        let Some(node) = self.other(node) else {
            return self.queues.publish(parts, how, Some(deadline));
        };
        let args = PublishArgs {
            delay_ms: how.delay_ms.into(),
            name_len: (parts.subject.len() as u16).into(),
            priority: how.priority,
            reserved: 0,
        };
        let data = join(parts.subject, parts.data)?;
        let mut answer = [0; size_of::<PublishReply>()];
        until_ready(deadline, || {
            let args = args.as_bytes();
            self.call(node, op::PUBLISH, args, &data, &mut answer, deadline)
        })?;
        let reply = PublishReply::read_from_bytes(&answer).map_err(|_| EPROTO)?;
        Ok(Published {
            position: reply.position.get(),
            channels: reply.channels.get(),
            lost: reply.lost.get(),
            place: 0,
        })
    }

    /// Publishes a request and waits for its reply. Sleeps, killably.
    ///
    /// # Errors
    ///
    /// Those of [`Self::publish_on`]; [`ETIMEDOUT`] if nobody replies in time.
    pub(crate) fn request_on(
        &self,
        node: NodeId,
        parts: &Parts<'_>,
        deadline: Deadline,
    ) -> Result<KVec<u8>> {
        if let Some(node) = self.other(node) {
            return self.ask(node, parts, deadline);
        }
        let place = self.queues.pending.open(self.queues.next_number())?;
        let parts = Parts {
            reply: Some(place.reply_to),
            ..*parts
        };
        let published = self.queues.publish(&parts, How::PLAIN, Some(deadline))?;
        self.queues.commit(published.place)?;
        place.wait(deadline)
    }

    /// As [`Self::request_on`], for another node.
    fn ask(&self, node: NodeId, parts: &Parts<'_>, deadline: Deadline) -> Result<KVec<u8>> {
        let data = join(parts.subject, parts.data)?;
        until_ready(deadline, || {
            let args = AskArgs {
                timeout_ms: deadline.left_ms().into(),
                name_len: (parts.subject.len() as u16).into(),
                reserved: 0.into(),
            };
            let request = Request {
                op: op::ASK,
                args: args.as_bytes(),
                data: Data::Bytes(&data),
                again: false,
                expect: Expect::Sometime,
            };
            let mut reply = Err(EPROTO);
            self.client
                .call_with(node, &request, deadline, &mut |body| {
                    let mut copy = KVec::new();
                    reply = copy
                        .put_bytes(body, GFP_KERNEL)
                        .map_err(Error::from)
                        .map(|()| copy);
                })?;
            reply
        })
    }

    /// Takes up to `count` messages of the queue `name`, at least one, and shows each to `give`;
    /// one for which that fails is given back. Waits until `deadline` for the first. Returns how
    /// many. Sleeps, killably.
    ///
    /// # Errors
    ///
    /// [`ETIMEDOUT`], [`EINTR`], [`ENOENT`]; those of `give` for the first one, and of the network.
    pub(crate) fn take_on(
        &self,
        node: NodeId,
        name: &[u8],
        count: u32,
        deadline: Deadline,
        mut give: impl FnMut(&Got<'_>) -> Result,
    ) -> Result<usize> {
        let Some(node) = self.other(node) else {
            let channel = self.queues.find(name)?;
            return take_here(&channel, PROGRAMS, false, count, deadline, give);
        };
        let mut bytes = KVVec::new();
        bytes.put_zeros(MAX_PULL as usize, GFP_KERNEL)?;
        loop {
            let wait_ms = deadline.left_ms().min(MAX_WAIT_MS);
            let args = PullArgs {
                count: count.into(),
                bytes: MAX_PULL.into(),
                wait_ms: wait_ms.into(),
            };
            let request = Request {
                op: op::PULL,
                args: args.as_bytes(),
                data: Data::Bytes(name),
                again: false,
                expect: Expect::Within(wait_ms),
            };
            let len = self.client.call(node, &request, &mut bytes, deadline)?;
            if len == 0 {
                if deadline.passed() {
                    return Err(ETIMEDOUT);
                }
                // Who waits for this one's slot gets it.
                Deadline::after_ms(1).sleep()?;
                continue;
            }
            let mut rest = bytes.get(..len).ok_or(EPROTO)?;
            let (mut given, mut failed) = (0, None);
            while !rest.is_empty() {
                let (got, behind) = entry(rest).ok_or(EPROTO)?;
                rest = behind;
                if failed.is_none() {
                    failed = give(&got).err();
                }
                match failed {
                    None => given += 1,
                    Some(_) => self.done_on(node, name, got.id, Some(0), deadline)?,
                }
            }
            return match failed {
                Some(e) if given == 0 => Err(e),
                _ => Ok(given),
            };
        }
    }

    /// Message `id` of queue `name` is done or, with a delay, given back. May sleep.
    ///
    /// # Errors
    ///
    /// [`ESTALE`] if nobody here has it (any more); [`ENOENT`]; those of the network.
    pub(crate) fn done_on(
        &self,
        node: NodeId,
        name: &[u8],
        id: u64,
        back_after: Option<u32>,
        deadline: Deadline,
    ) -> Result {
        let Some(node) = self.other(node) else {
            let channel = self.queues.find(name)?;
            return match back_after {
                None => Channel::ack(&channel, PROGRAMS, id),
                Some(delay) => Channel::give_back(&channel, PROGRAMS, id, delay),
            };
        };
        let args = AckArgs {
            seq: id.into(),
            delay_ms: back_after.unwrap_or(0).into(),
            flags: back_after.map_or(0, |_| GIVE_BACK).into(),
            reserved: 0.into(),
        };
        self.call(node, op::ACK, args.as_bytes(), name, &mut [], deadline)?;
        Ok(())
    }

    /// Who wants a reply to message `id` of this node's queue `name`.
    ///
    /// # Errors
    ///
    /// [`ESTALE`] if no program has it (any more), [`EINVAL`] if nobody wants one, [`ENOENT`].
    pub(crate) fn requester(&self, name: &[u8], id: u64) -> Result<ReplyTo> {
        let message = self.queues.find(name)?.held(PROGRAMS, id)?;
        message.reply.ok_or(EINVAL)
    }
}

fn join(first: &[u8], second: &[u8]) -> Result<KVVec<u8>> {
    if first.len() > MAX_NAME {
        return Err(EINVAL);
    }
    let mut joined = KVVec::with_capacity(first.len() + second.len(), GFP_KERNEL)?;
    joined.extend_from_slice(first, GFP_KERNEL)?;
    joined.extend_from_slice(second, GFP_KERNEL)?;
    Ok(joined)
}

/// The first message in the reply of a Pull, and what follows it.
fn entry(bytes: &[u8]) -> Option<(Got<'_>, &[u8])> {
    let (entry, rest) = Entry::read_from_prefix(bytes).ok()?;
    let (subject, rest) = rest.split_at_checked(entry.name_len.get().into())?;
    let (data, rest) = rest.split_at_checked(entry.data_len.get() as usize)?;
    let got = Got {
        id: entry.seq.get(),
        position: entry.position.get(),
        deliveries: entry.deliveries.get(),
        subject,
        data,
        is_request: entry.flags.get() & REQUEST != 0,
    };
    Some((got, rest))
}

/// Takes messages of a channel of this node, as [`QueueService::take_on`] does.
pub(crate) fn take_here(
    channel: &crate::queues::Shared,
    holder: u64,
    acked: bool,
    count: u32,
    deadline: Deadline,
    mut give: impl FnMut(&Got<'_>) -> Result,
) -> Result<usize> {
    let mut given = 0;
    while given < count as usize {
        // Not for good before the program has it.
        let Some(taken) = Channel::take(channel, holder, false)? else {
            if given > 0 {
                break;
            }
            match channel.wait(deadline)? {
                true => continue,
                false => return Err(ETIMEDOUT),
            }
        };
        let message = &taken.item;
        let result = give(&Got {
            id: taken.seq,
            position: message.position.load(Relaxed),
            deliveries: taken.deliveries,
            subject: message.subject(),
            data: message.data(),
            is_request: message.reply.is_some(),
        });
        match result {
            Ok(()) if acked => Channel::ack(channel, holder, taken.seq)?,
            Ok(()) => (),
            Err(e) => {
                Channel::give_back(channel, holder, taken.seq, 0)?;
                match given {
                    0 => return Err(e),
                    _ => break,
                }
            }
        }
        given += 1;
    }
    Ok(given)
}
