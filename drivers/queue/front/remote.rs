// SPDX-License-Identifier: GPL-2.0

//! Using queues of any node: this one's at once, others' by request.

use crate::{
    admin::told,
    batch::PublishBatch,
    channel::PublishOptions,
    consumer::programs,
    local::{
        done_here,
        take_here,
        Delivery,
        Done, //
    },
    message::{
        Parts,
        ReplyTo, //
    },
    publish_target::Publisher,
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
    fence::Fenced,
    queue::{
        access::Right,
        wire::{
            next_entry,
            op,
            AckArgs,
            AskArgs,
            NameHeader,
            PublishReply,
            PullArgs,
            PurgeReply,
            GIVE_BACK,
            MAX_PULL,
            MAX_WAIT_MS,
            PULLS,
            REQUEST,
            UNTAKE, //
        },
        MAX_NAME, //
    },
    vuid::NodeId, //
};
use virgo_utils::{
    budget::Account,
    from_wire,
    retry::until_ready,
    Data,
    ReplyDeadline,
    Request, //
};

/// What has become of messages that were sent to another node.
#[derive(Default)]
pub(crate) struct SentMessages {
    /// How many went well.
    pub(crate) count: usize,
    /// Copies of these that were lost.
    pub(crate) lost: u64,
    /// Why the others did not, if these are not all.
    pub(crate) refused: Option<Error>,
}

/// Operations that change a queue: without and with a lock.
type Change = (u16, u16);

/// A queue that is not there has no fence.
const CREATE: Change = (op::CREATE, op::CREATE);
const DELETE: Change = (op::DELETE, op::FENCED_DELETE);
const PURGE: Change = (op::PURGE, op::FENCED_PURGE);
const PUBLISH: Change = (op::PUBLISH, op::FENCED_PUBLISH);

/// In the reply of a Publish: there was no room for the next message, but the sender may wait.
const WAITS: u32 = Errno::EAGAIN.to_wire();

/// A request that may be done once only, and is answered at once.
fn request<'a>(uid: u32, op: u16, args: &'a [u8], data: &'a [u8]) -> Request<'a> {
    Request {
        op,
        args,
        data: Data::Bytes(data),
        uid,
        retry_after_restart: false,
        reply_deadline: ReplyDeadline::Soon,
        brief: None,
    }
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

    /// Makes a queue or topic. May sleep.
    pub(crate) fn create_on(
        &self,
        uid: u32,
        node: NodeId,
        name: &[u8],
        options: &[u8],
        deadline: Deadline,
    ) -> Result {
        match self.other(node) {
            None => told(self.queues.create_for(uid, name, options, deadline)),
            Some(node) => {
                let by = Publisher::without_lock(uid);
                self.call_named(by, node, CREATE, [name, options], &mut [], deadline)?;
                Ok(())
            }
        }
    }

    /// Deletes a queue or topic. May sleep.
    pub(crate) fn delete_on(
        &self,
        by: Publisher,
        node: NodeId,
        name: &[u8],
        deadline: Deadline,
    ) -> Result {
        match self.other(node) {
            None => told(self.queues.delete_for(by, name, deadline)),
            Some(node) => {
                self.call_named(by, node, DELETE, [name, b""], &mut [], deadline)?;
                Ok(())
            }
        }
    }

    /// Takes all messages out of a queue or topic. Returns how many. May sleep.
    pub(crate) fn purge_on(
        &self,
        by: Publisher,
        node: NodeId,
        name: &[u8],
        deadline: Deadline,
    ) -> Result<u64> {
        let Some(node) = self.other(node) else {
            return told(self.queues.purge_for(by, name, deadline));
        };
        let mut reply = [0; size_of::<PurgeReply>()];
        let len = self.call_named(by, node, PURGE, [name, b""], &mut reply, deadline)?;
        let told = reply.get(..len).unwrap_or_default();
        let reply = PurgeReply::read_from_bytes(told).map_err(|_| EPROTO)?;
        Ok(reply.purged.get())
    }

    fn call_named(
        &self,
        by: Publisher,
        node: NodeId,
        change: Change,
        [name, rest]: [&[u8]; 2],
        reply: &mut [u8],
        deadline: Deadline,
    ) -> Result<usize> {
        let data = join(name, rest)?;
        self.change(
            by,
            node,
            change,
            (name.len() as u16, &data),
            reply,
            deadline,
        )
    }

    /// Asks for a change of the queue whose name, of so many bytes, `data` begin with.
    fn change(
        &self,
        by: Publisher,
        node: NodeId,
        (plain, fenced): Change,
        (name_len, data): (u16, &[u8]),
        reply: &mut [u8],
        deadline: Deadline,
    ) -> Result<usize> {
        let args = NameHeader {
            name_len: name_len.into(),
            reserved: 0.into(),
            uid: by.uid.into(),
        };
        let Some(claim) = by.claim else {
            let request = request(by.uid, plain, args.as_bytes(), data);
            return self.client.call(node, &request, reply, deadline);
        };
        let fence = claim.to_wire();
        let args = Fenced { fence, args };
        let request = request(by.uid, fenced, args.as_bytes(), data);
        self.client.call(node, &request, reply, deadline)
    }

    /// Publishes a message with the rights of `uid`; waits for room if that is the queue's way. It is
    /// charged to `account`, on another node to `uid`. Returns the LSN to
    /// [commit](crate::queues::Queues::commit). A reply is not waited for. May sleep.
    ///
    /// # Errors
    ///
    /// Those of [`crate::queues::Queues::publish`], and of the network.
    pub(crate) fn publish_on(
        &self,
        node: NodeId,
        (uid, account): (u32, &Account),
        parts: &Parts<'_>,
        how: PublishOptions,
        deadline: Deadline,
    ) -> Result<u64> {
        let by = Publisher::without_lock(uid);
        let Some(node) = self.other(node) else {
            let queues = &self.queues;
            let published = queues.publish(by, account, parts, how, Some(deadline))?;
            return Ok(published.lsn);
        };
        let lengths = iter::once(parts.data.len());
        let mut batch = PublishBatch::new(by, parts.subject, lengths)?;
        batch.put(how, parts.data.len(), |bytes| {
            Ok(bytes.put_bytes(parts.data, GFP_KERNEL)?)
        })?;
        match self.send(node, batch, deadline)?.refused {
            Some(refused) => Err(refused),
            None => Ok(0),
        }
    }

    /// Publishes messages on another node, in order; waits for room if that is the queue's way.
    /// Sleeps, killably.
    ///
    /// # Errors
    ///
    /// Those after which nobody knows which of them are there: [`ETIMEDOUT`], [`ECONNRESET`],
    /// [`ESHUTDOWN`], [`EIO`] if the other node's disk has failed, [`EPROTO`] if it answers nonsense.
    pub(crate) fn send(
        &self,
        node: NodeId,
        mut batch: PublishBatch,
        deadline: Deadline,
    ) -> Result<SentMessages> {
        let mut all = SentMessages::default();
        while !batch.is_empty() {
            let mut answer = [0; size_of::<PublishReply>()];
            let named = batch.request();
            if let Err(e) = self.bandwidth.pass(named.1.len(), deadline) {
                all.refused = Some(e);
                return Ok(all);
            }
            let mut full = false;
            let sent = until_ready(deadline, || {
                let sent = self.change(batch.by, node, PUBLISH, named, &mut answer, deadline);
                full = matches!(sent, Err(EAGAIN));
                sent
            });
            match sent {
                Err(e @ (ETIMEDOUT | ECONNRESET | ESHUTDOWN | EIO)) if !full => return Err(e),
                Err(e) => {
                    all.refused = Some(e);
                    return Ok(all);
                }
                Ok(_) => (),
            }
            let reply = PublishReply::read_from_bytes(&answer).map_err(|_| EPROTO)?;
            all.count += batch.remove(reply.published.get())?;
            all.lost += u64::from(reply.lost.get());
            match reply.errno.get() {
                // The next one may wait for room.
                0 | WAITS => (),
                errno => {
                    all.refused = Some(from_wire(errno));
                    return Ok(all);
                }
            }
        }
        Ok(all)
    }

    /// Publishes a request with the rights and lock of `by` and waits for its reply. Both are charged to
    /// `account`. Sleeps, killably.
    ///
    /// # Errors
    ///
    /// Those of [`Self::publish_on`]; [`ETIMEDOUT`] if nobody replies in time, [`EMSGSIZE`] if the
    /// reply is too large.
    pub(crate) fn request_on(
        &self,
        node: NodeId,
        (by, account): (Publisher, Account),
        parts: &Parts<'_>,
        deadline: Deadline,
    ) -> Result<KVec<u8>> {
        if let Some(node) = self.other(node) {
            return self.ask(by, node, parts, deadline);
        }
        let number = self.queues.next_number();
        let place = self.queues.pending.open(number, account.clone())?;
        let parts = Parts {
            reply: Some(place.reply_to),
            ..*parts
        };
        let published =
            self.queues
                .publish(by, &account, &parts, PublishOptions::PLAIN, Some(deadline))?;
        self.queues.commit(published.lsn, deadline)?;
        place.wait(deadline)
    }

    /// As [`Self::request_on`], for another node.
    fn ask(
        &self,
        by: Publisher,
        node: NodeId,
        parts: &Parts<'_>,
        deadline: Deadline,
    ) -> Result<KVec<u8>> {
        let data = join(parts.subject, parts.data)?;
        self.bandwidth.pass(data.len(), deadline)?;
        until_ready(deadline, || {
            let args = AskArgs {
                timeout_ms: deadline.left_ms().into(),
                name_len: (parts.subject.len() as u16).into(),
                reserved: 0.into(),
                uid: by.uid.into(),
            };
            let fenced = by.claim.map(|claim| Fenced {
                fence: claim.to_wire(),
                args,
            });
            let (op, args) = match &fenced {
                Some(fenced) => (op::FENCED_ASK, fenced.as_bytes()),
                None => (op::ASK, args.as_bytes()),
            };
            let request = Request {
                op,
                args,
                data: Data::Bytes(&data),
                uid: by.uid,
                retry_after_restart: false,
                reply_deadline: ReplyDeadline::Sometime,
                brief: None,
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
        uid: u32,
        node: NodeId,
        name: &[u8],
        count: u32,
        deadline: Deadline,
        mut give: impl FnMut(&Delivery<'_>) -> Result,
    ) -> Result<usize> {
        let Some(node) = self.other(node) else {
            let channel = self.queues.find(name)?;
            channel.check(uid, Right::Take)?;
            return take_here(&channel, programs(uid), false, count, deadline, give);
        };
        let mut bytes = KVVec::new();
        bytes.put_zeros(MAX_PULL as usize, GFP_KERNEL_ACCOUNT)?;
        loop {
            let wait_ms = deadline.left_ms().min(MAX_WAIT_MS);
            let number = self.last_pull.fetch_add(1, Relaxed) % PULLS;
            let args = PullArgs {
                count: count.into(),
                bytes: MAX_PULL.into(),
                wait_ms: wait_ms.into(),
                uid: uid.into(),
                number: number.into(),
            };
            let request = Request {
                op: op::PULL,
                args: args.as_bytes(),
                data: Data::Bytes(name),
                uid,
                retry_after_restart: false,
                reply_deadline: ReplyDeadline::Within(wait_ms),
                brief: None,
            };
            let pulled = self.client.call(node, &request, &mut bytes, deadline);
            if let Err(EINTR | ETIMEDOUT) = pulled {
                self.forget_pull(uid, node, name, number);
            }
            let len = pulled?;
            if len == 0 {
                if deadline.passed() {
                    return Err(ETIMEDOUT);
                }
                // Who waits for this one's slot gets it.
                Deadline::after_ms(1).sleep()?;
                continue;
            }
            let pulled = bytes.get(..len).ok_or(EPROTO)?;
            let given = self.give_all((uid, node, name), count, pulled, deadline, &mut give);
            return given;
        }
    }

    /// Shows `give` the messages of a reply; those of which it knows nothing then are given back.
    /// Returns how many it has: what it has counts, whatever happens to the others.
    fn give_all(
        &self,
        (uid, node, name): (u32, NodeId, &[u8]),
        count: u32,
        mut rest: &[u8],
        deadline: Deadline,
        give: &mut impl FnMut(&Delivery<'_>) -> Result,
    ) -> Result<usize> {
        let (mut given, mut failed) = (0, None);
        while !rest.is_empty() {
            let Some((entry, subject, data)) = next_entry(&mut rest) else {
                failed = failed.or(Some(EPROTO));
                break;
            };
            // There is no room for more than were asked for.
            if failed.is_none() && given == count as usize {
                failed = Some(EPROTO);
            }
            let got = Delivery {
                id: entry.id.get(),
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
                // If that does not get there others get it when its time is over.
                Some(_) => {
                    let _ = self.done_on(uid, node, name, got.id, Done::Untaken, deadline);
                }
            }
        }
        match failed {
            Some(e) if given == 0 => Err(e),
            _ => Ok(given),
        }
    }

    /// The program that has made this pull has given up, or is being killed: what is taken for it is
    /// for others, and so is what was. A worker says so to the other node, since a task that is being
    /// killed does not wait any more.
    fn forget_pull(&self, uid: u32, node: NodeId, name: &[u8], number: u32) {
        let timeout_ms = self.queues.node.config().deadline_ms;
        // Otherwise others get it when its time is over.
        let _ = self.forgets.add(node, uid, name, number, timeout_ms);
    }

    /// Says what becomes of delivery `id` of queue `name`. May sleep.
    ///
    /// # Errors
    ///
    /// [`ESTALE`] if no program of this user has it (any more); [`ENOENT`]; those of the network.
    pub(crate) fn done_on(
        &self,
        uid: u32,
        node: NodeId,
        name: &[u8],
        id: u64,
        done: Done,
        deadline: Deadline,
    ) -> Result {
        let Some(node) = self.other(node) else {
            let channel = self.queues.find(name)?;
            return done_here(&channel, programs(uid), id, done);
        };
        let (flags, delay_ms) = match done {
            Done::Acked => (0, 0),
            Done::Back(delay_ms) => (GIVE_BACK, delay_ms),
            Done::Untaken => (UNTAKE, 0),
        };
        let args = AckArgs {
            id: id.into(),
            delay_ms: delay_ms.into(),
            flags: flags.into(),
            reserved: 0.into(),
            uid: uid.into(),
        };
        let request = request(uid, op::ACK, args.as_bytes(), name);
        self.client.call(node, &request, &mut [], deadline)?;
        Ok(())
    }

    /// Who wants a reply to delivery `id` of this node's queue `name`.
    ///
    /// # Errors
    ///
    /// [`ESTALE`] if no program of this user has it (any more), [`EINVAL`] if nobody wants one,
    /// [`ENOENT`].
    pub(crate) fn requester(&self, uid: u32, name: &[u8], id: u64) -> Result<ReplyTo> {
        let message = self.queues.find(name)?.held(programs(uid), id)?;
        message.is_answered();
        message.reply.ok_or(EINVAL)
    }
}

fn join(first: &[u8], second: &[u8]) -> Result<KVVec<u8>> {
    if first.len() > MAX_NAME {
        return Err(EINVAL);
    }
    let mut joined = KVVec::with_capacity(first.len() + second.len(), GFP_KERNEL_ACCOUNT)?;
    joined.put_bytes(first, GFP_KERNEL_ACCOUNT)?;
    joined.put_bytes(second, GFP_KERNEL_ACCOUNT)?;
    Ok(joined)
}
