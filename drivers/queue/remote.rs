// SPDX-License-Identifier: GPL-2.0

//! Using queues of any node: this one's at once, others' by request.

use crate::{
    batch::Batch,
    channel::{
        Channel,
        How, //
    },
    message::{
        Parts,
        ReplyTo, //
    },
    service::QueueService, //
};
use core::{
    iter,
    mem::size_of, //
};
use kernel::{
    prelude::*,
    sync::atomic::Relaxed, //
};
use linux::{
    bytes::Fill,
    deadline::Deadline, //
};
use virgo_proto::{
    errno::Errno,
    queue::{
        wire::{
            next_entry,
            op,
            AckArgs,
            AskArgs,
            Named,
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

/// In the reply of a Publish: there was no room for the next message, but the sender may wait.
const WAITS: u32 = Errno::EAGAIN.to_wire();

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
    pub(crate) fn other(&self, node: NodeId) -> Option<NodeId> {
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

    /// Publishes a message; waits for room if that is the queue's way. Returns what has to be
    /// [committed](crate::queues::Queues::commit). A reply is not waited for. May sleep.
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
    ) -> Result<u64> {
        let Some(node) = self.other(node) else {
            return Ok(self.queues.publish(parts, how, Some(deadline))?.place);
        };
        let mut batch = Batch::new(parts.subject, iter::once(parts.data.len()))?;
        batch.put(how, parts.data.len(), |bytes| {
            Ok(bytes.put_bytes(parts.data, GFP_KERNEL)?)
        })?;
        match self.send(node, batch, deadline)? {
            (_, Some(refused)) => Err(refused),
            _ => Ok(0),
        }
    }

    /// Publishes messages on another node, in order; waits for room if that is the queue's way.
    /// Returns how many went well and, if these are not all, why the others did not. Sleeps,
    /// killably.
    ///
    /// # Errors
    ///
    /// Those after which nobody knows which of them are there: [`ETIMEDOUT`], [`ECONNRESET`],
    /// [`ESHUTDOWN`], [`EIO`] if the other node's disk has failed, [`EPROTO`] if it answers nonsense.
    pub(crate) fn send(
        &self,
        node: NodeId,
        mut batch: Batch,
        deadline: Deadline,
    ) -> Result<(usize, Option<Error>)> {
        let mut published = 0;
        while !batch.is_empty() {
            let mut answer = [0; size_of::<PublishReply>()];
            let (head, data) = batch.request();
            let mut full = false;
            let sent = until_ready(deadline, || {
                let sent = self.call(
                    node,
                    op::PUBLISH,
                    head.as_bytes(),
                    data,
                    &mut answer,
                    deadline,
                );
                full = matches!(sent, Err(EAGAIN));
                sent
            });
            match sent {
                Err(e @ (ETIMEDOUT | ECONNRESET | ESHUTDOWN | EIO)) if !full => return Err(e),
                Err(e) => return Ok((published, Some(e))),
                Ok(_) => (),
            }
            let reply = PublishReply::read_from_bytes(&answer).map_err(|_| EPROTO)?;
            published += batch.remove(reply.published.get())?;
            match reply.errno.get() {
                // The next one may wait for room.
                0 | WAITS => (),
                errno => return Ok((published, Some(from_wire(errno)))),
            }
        }
        Ok((published, None))
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
                let (entry, subject, data) = next_entry(&mut rest).ok_or(EPROTO)?;
                if given == count as usize {
                    // There is no room for more than were asked for.
                    return Err(EPROTO);
                }
                let got = Got {
                    id: entry.seq.get(),
                    position: entry.position.get(),
                    deliveries: entry.deliveries.get(),
                    subject,
                    data,
                    is_request: entry.flags.get() & REQUEST != 0,
                };
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
