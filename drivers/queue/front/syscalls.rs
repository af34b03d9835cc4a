// SPDX-License-Identifier: GPL-2.0

//! The queue's system call.

use crate::{
    batch::PublishBatch,
    channel::PublishOptions,
    handle::QueueHandle,
    local::{
        done_here,
        take_here,
        Delivery,
        Done, //
    },
    message::{
        self,
        Parts,
        ReplyTo, //
    },
    publish::Published,
    publish_target::Publisher,
    remote::SentMessages,
    service::QueueService, //
};
use core::{
    mem::size_of,
    net::Ipv4Addr, //
};
use kernel::{
    prelude::*,
    sync::Arc,
    uaccess::{
        UserPtr,
        UserSlice, //
    }, //
};
use linux::{
    deadline::Deadline,
    descriptor::{
        FdRef,
        FdType, //
    },
    user, //
};
use virgo_abi::{
    args::{
        self,
        queue_op,
        MessageArgs,
        QueueArgs,
        LOST_END,
        MAX_MESSAGES,
        MESSAGE_REQUEST, //
    },
    calls::QueueCalls,
    fence, //
};
use virgo_proto::{
    queue::{
        reasons::MAX_OPTIONS,
        subscribe::SubscribeArgs,
        MAX_MESSAGE,
        MAX_NAME, //
    },
    vuid::NodeId, //
};
use virgo_utils::{
    Stats,
    User, //
};

/// Names of the operations, in the order of their numbers, from 1 on.
pub(crate) const NAMES: &[&str] = &[
    "create", "delete", "publish", "open", "take", "ack", "nack", "request", "reply", "purge",
];

/// Operations that change a queue, for which its fence is asked.
const FENCED: [u32; 4] = [
    queue_op::PUBLISH,
    queue_op::REQUEST,
    queue_op::PURGE,
    queue_op::DELETE,
];

/// Serves the call; counts each operation.
pub(crate) struct QueueSyscalls {
    pub(crate) service: Arc<QueueService>,
    pub(crate) stats: Arc<Stats>,
    pub(crate) handles: Pin<KBox<FdType<QueueHandle>>>,
}

/// A call, with its arguments read.
struct Call<'a> {
    this: &'a QueueSyscalls,
    /// The caller, and the lock that it has.
    by: Publisher,
    args: QueueArgs,
    /// Where the program has them, if it has room for what it is told.
    told: Option<UserPtr>,
    node: NodeId,
    name: KVVec<u8>,
    deadline: Deadline,
}

impl QueueCalls for QueueSyscalls {
    fn queue(&self, args: UserPtr, size: usize) -> Result<usize> {
        let told = (size >= LOST_END).then_some(args);
        let args = user::read_args::<QueueArgs>(args, size)?;
        let index = (args.op as usize).checked_sub(1).ok_or(EINVAL)?;
        if index >= NAMES.len() || args.flags != 0 {
            return Err(EINVAL);
        }
        if args.fence != 0 && !FENCED.contains(&args.op) {
            return Err(EINVAL);
        }
        self.stats.count_call::<QueueService, _>(index, || {
            let config = self.service.queues.node.config();
            let User { uid, deadline, .. } = User::of_call(&config, args.timeout_ms)?;
            let claim = fence::read(args.fence)?;
            let call = Call {
                this: self,
                by: Publisher { uid, claim },
                told,
                node: NodeId::try_from(args.node).map_err(|_| ENODEV)?,
                name: read_bytes(args.name, args.name_len as usize, MAX_NAME)?,
                args,
                deadline,
            };
            call.run()
        })
    }
}

fn read_bytes(at: u64, len: usize, most: usize) -> Result<KVVec<u8>> {
    let mut bytes = KVVec::new();
    append(at, len, most, &mut bytes)?;
    Ok(bytes)
}

/// Reads as many bytes of the program as there is room for.
fn read_slice(at: u64, to: &mut [u8]) -> Result {
    let at = UserPtr::from_addr(at as usize);
    UserSlice::new(at, to.len()).reader().read_slice(to)
}

/// Appends bytes of the program.
fn append(at: u64, len: usize, most: usize, bytes: &mut KVVec<u8>) -> Result {
    if len > most {
        return Err(EMSGSIZE);
    }
    UserSlice::new(UserPtr::from_addr(at as usize), len)
        .reader()
        .read_all(bytes, GFP_KERNEL_ACCOUNT)
}

fn check(message: &MessageArgs) -> Result<&MessageArgs> {
    match message.flags {
        0 => Ok(message),
        _ => Err(EINVAL),
    }
}

/// Does something with each of these messages. Returns with how many it went well before the first
/// with which it did not; the error if that was the first of all.
fn each(messages: &[MessageArgs], mut act: impl FnMut(&MessageArgs) -> Result) -> Result<usize> {
    let mut done = 0;
    for message in messages {
        match (check(message).and_then(&mut act), done) {
            (Err(e), 0) => return Err(e),
            (Err(_), _) => break,
            _ => done += 1,
        }
    }
    Ok(done)
}

fn how(message: &MessageArgs) -> Result<PublishOptions> {
    match message.priority {
        0..=9 => Ok(PublishOptions {
            priority: message.priority as u8,
            delay_ms: message.delay_ms,
        }),
        _ => Err(EINVAL),
    }
}

/// Appends what a message says.
fn append_data(message: &MessageArgs, data: &mut KVVec<u8>) -> Result {
    append(message.data, message.len as usize, MAX_MESSAGE, data)
}

/// Copies what fits.
fn write_bytes(at: u64, room: u32, bytes: &[u8]) -> Result {
    let shown = bytes.get(..room as usize).unwrap_or(bytes);
    UserSlice::new(UserPtr::from_addr(at as usize), shown.len())
        .writer()
        .write_slice(shown)
}

impl Call<'_> {
    fn service(&self) -> &QueueService {
        &self.this.service
    }

    fn run(&self) -> Result<usize> {
        match self.args.op {
            queue_op::CREATE => {
                let options = self.options()?;
                self.service().create_on(
                    self.by.uid,
                    self.node,
                    &self.name,
                    &options,
                    self.deadline,
                )?;
                Ok(0)
            }
            queue_op::DELETE => {
                self.service()
                    .delete_on(self.by, self.node, &self.name, self.deadline)?;
                Ok(0)
            }
            queue_op::PURGE => {
                let service = self.service();
                let purged = service.purge_on(self.by, self.node, &self.name, self.deadline)?;
                Ok(usize::try_from(purged).unwrap_or(usize::MAX))
            }
            queue_op::OPEN => self.open(),
            queue_op::REQUEST => self.request(),
            queue_op::REPLY => self.reply(),
            queue_op::PUBLISH => match self.service().other(self.node) {
                None => self.publish_here(),
                Some(node) => self.publish_on(node),
            },
            queue_op::TAKE => self.take(),
            queue_op::ACK => each(&self.messages()?, |message| {
                self.done(message.id, Done::Acked)
            }),
            queue_op::NACK => each(&self.messages()?, |message| {
                self.done(message.id, Done::Back(message.delay_ms))
            }),
            _ => Err(EINVAL),
        }
    }

    fn options(&self) -> Result<KVVec<u8>> {
        read_bytes(self.args.data, self.args.len as usize, MAX_OPTIONS)
    }

    /// The caller's subscription, if it means one.
    fn handle(&self) -> Result<Option<FdRef<'_, QueueHandle>>> {
        if !self.name.is_empty() {
            return Ok(None);
        }
        if self.node != 0 {
            return Err(EINVAL);
        }
        self.this.handles.get(self.args.fd).map(Some)
    }

    fn message_at(&self, index: usize) -> UserPtr {
        let at = UserPtr::from_addr(self.args.messages as usize);
        at.wrapping_byte_add(index * size_of::<MessageArgs>())
    }

    fn message(&self, index: usize) -> Result<MessageArgs> {
        let at = self.message_at(index);
        let message = UserSlice::new(at, size_of::<MessageArgs>())
            .reader()
            .read()?;
        check(&message)?;
        Ok(message)
    }

    fn count(&self) -> Result<usize> {
        match self.args.count {
            count @ 1..=MAX_MESSAGES => Ok(count as usize),
            _ => Err(EINVAL),
        }
    }

    fn messages(&self) -> Result<KVVec<MessageArgs>> {
        user::read_array(self.message_at(0), self.count()?)
    }

    fn parts<'a>(&'a self, data: &'a [u8], from: Ipv4Addr) -> Parts<'a> {
        Parts {
            subject: &self.name,
            data,
            reply: None,
            from,
            uid: user::current_uid(),
        }
    }

    fn publish_here(&self) -> Result<usize> {
        let queues = &self.service().queues;
        let account = queues.budget.account(self.by.uid)?;
        let parts = self.parts(&[], self.service().own_address());
        let all = self.messages()?;
        let messages = all.iter().map(|from| {
            let how = how(check(from)?)?;
            let message = message::Message::read(&account, &parts, from.len as usize, |to| {
                read_slice(from.data, to)
            })?;
            Ok((message, how))
        });
        let mut published = Published::default();
        let deadline = Some(self.deadline);
        let result = queues.publish_all(self.by, &self.name, messages, deadline, &mut published);
        match result {
            Err(e) if published.count == 0 => Err(e),
            _ => {
                queues.commit(published.lsn, self.deadline)?;
                self.tell_lost(published.lost.into())?;
                Ok(published.count as usize)
            }
        }
    }

    fn publish_on(&self, node: NodeId) -> Result<usize> {
        let all = self.messages()?;
        let (mut rest, mut published, mut lost) = (all.as_slice(), 0, 0);
        while !rest.is_empty() {
            let sent = match self.batch(rest) {
                // A number would say that those behind are not there: not if nobody knows.
                Ok(batch) => self.service().send(node, batch, self.deadline)?,
                Err(e) => SentMessages {
                    refused: Some(e),
                    ..SentMessages::default()
                },
            };
            published += sent.count;
            lost += sent.lost;
            rest = rest.get(sent.count..).unwrap_or_default();
            match sent.refused {
                Some(e) if published == 0 => return Err(e),
                Some(_) => break,
                None => (),
            }
        }
        self.tell_lost(lost)?;
        Ok(published)
    }

    /// As many of these messages as go in one request, one at least.
    fn batch(&self, messages: &[MessageArgs]) -> Result<PublishBatch> {
        let lengths = messages.iter().map(|message| message.len as usize);
        let mut batch = PublishBatch::new(self.by, &self.name, lengths)?;
        each(messages, |message| {
            batch.put(how(message)?, message.len as usize, |bytes| {
                append_data(message, bytes)
            })
        })?;
        Ok(batch)
    }

    fn open(&self) -> Result<usize> {
        if self.node != 0 {
            return Err(EOPNOTSUPP);
        }
        let options = self.options()?;
        let args = SubscribeArgs::parse(&self.name, &options).map_err(|_| EINVAL)?;
        let queues = &self.service().queues;
        let channel = queues.channel_for(&args, self.by.uid)?;
        let handle = QueueHandle::new(queues.clone(), channel, args.acked);
        Ok(self.this.handles.install(handle, true)? as usize)
    }

    fn take(&self) -> Result<usize> {
        let count = self.count()?;
        let mut index = 0;
        let give = |got: &Delivery<'_>| {
            self.give(index, got)?;
            index += 1;
            Ok(())
        };
        match self.handle()? {
            Some(handle) => {
                let deadline = self.deadline;
                let lost = self.told.map_or(0, |_| handle.newly_lost());
                let (channel, consumer, acked) = (&handle.channel, handle.consumer, handle.acked);
                let taken = take_here(channel, consumer, acked, count as u32, deadline, give);
                if self.tell_lost(lost).is_err() {
                    handle.add_lost(lost);
                }
                taken
            }
            None => {
                let (node, name) = (self.node, &self.name);
                self.service()
                    .take_on(self.by.uid, node, name, count as u32, self.deadline, give)
            }
        }
    }

    fn give(&self, index: usize, got: &Delivery<'_>) -> Result {
        let mut message = self.message(index)?;
        write_bytes(message.data, message.len, got.data)?;
        write_bytes(message.subject, message.subject_len, got.subject)?;
        message.id = got.id;
        message.position = got.position;
        message.len = got.data.len() as u32;
        message.subject_len = got.subject.len() as u32;
        message.deliveries = got.deliveries;
        message.flags = match got.is_request {
            true => MESSAGE_REQUEST,
            false => 0,
        };
        UserSlice::new(self.message_at(index), size_of::<MessageArgs>())
            .writer()
            .write(&message)
    }

    fn done(&self, id: u64, done: Done) -> Result {
        match self.handle()? {
            Some(handle) => done_here(&handle.channel, handle.consumer, id, done),
            None => {
                let service = self.service();
                service.done_on(self.by.uid, self.node, &self.name, id, done, self.deadline)
            }
        }
    }

    /// Says how many messages, or copies of them, were lost, if the program has room for that.
    fn tell_lost(&self, lost: u64) -> Result {
        match self.told {
            Some(args) => args::write_lost(args, lost),
            None => Ok(()),
        }
    }

    fn request(&self) -> Result<usize> {
        let message = self.message(0)?;
        let mut data = KVVec::new();
        append_data(&message, &mut data)?;
        let parts = self.parts(&data, self.service().own_address());
        let account = self.service().queues.budget.account(self.by.uid)?;
        let reply =
            self.service()
                .request_on(self.node, (self.by, account), &parts, self.deadline)?;
        write_bytes(self.args.data, self.args.len, &reply)?;
        Ok(reply.len())
    }

    fn reply(&self) -> Result<usize> {
        let message = self.message(0)?;
        let mut data = KVVec::new();
        let fits = match append_data(&message, &mut data) {
            // Who waits is told, and does not wait in vain.
            Err(EMSGSIZE) => Err(EMSGSIZE),
            read => Ok(read?),
        };
        let to: ReplyTo = match self.handle()? {
            Some(handle) => {
                let request = handle.channel.held(handle.consumer, message.id)?;
                request.is_answered();
                request.reply.ok_or(EINVAL)?
            }
            None if self.node == 0 => {
                self.service()
                    .requester(self.by.uid, &self.name, message.id)?
            }
            None => return Err(EOPNOTSUPP),
        };
        // Acknowledged also if nobody waits any more.
        self.done(message.id, Done::Acked)?;
        let pending = &self.service().queues.pending;
        match fits {
            Ok(()) => pending.answer(to, &data)?,
            Err(e) => {
                pending.fail(to, e)?;
                return Err(e);
            }
        }
        Ok(0)
    }
}
