// SPDX-License-Identifier: GPL-2.0

//! What other nodes may ask of this node's queues. See [`virgo_proto::queue::wire`].

use crate::{
    admin::told,
    channel::{
        Channel,
        PublishOptions, //
    },
    consumer::{
        consumer,
        consumer_of_pull, //
    },
    message::{
        Message,
        Parts, //
    },
    peer_jobs::{
        PeerJob,
        PeerJobs, //
    },
    publish::Published,
    publish_target::Publisher,
    pulls::{
        Pull,
        Pulls, //
    },
    service::QueueService, //
};
use core::{
    iter,
    mem::size_of,
    net::Ipv4Addr, //
};
use kernel::prelude::*;
use linux::{
    bytes::copy,
    deadline::Deadline,
    work::Task, //
};
use virgo_proto::{
    config::MAX_DEADLINE_MS,
    fence::FenceClaim,
    queue::{
        access::Right,
        reasons::MAX_OPTIONS,
        wire::{
            next_item,
            op,
            AckArgs,
            AskArgs,
            ForgetArgs,
            NameHeader,
            PublishReply,
            PullArgs,
            PurgeReply,
            GIVE_BACK,
            MAX_PULL,
            MAX_WAIT_MS,
            UNTAKE, //
        },
        MAX_NAME, //
    },
    vuid::NodeId, //
};
use virgo_utils::{
    to_wire,
    Body,
    Operation,
    Peer,
    Repeat, //
};

pub(crate) const OPERATIONS: &[Operation<QueueService>] = &[
    Operation {
        number: op::CREATE,
        name: "create",
        repeat: Repeat::Stored(|_| 0),
        run: create,
    },
    Operation {
        number: op::DELETE,
        name: "delete",
        repeat: Repeat::Stored(|_| 0),
        run: delete,
    },
    Operation {
        number: op::PUBLISH,
        name: "publish",
        repeat: Repeat::Stored(|_| size_of::<PublishReply>()),
        run: publish,
    },
    Operation {
        number: op::PULL,
        name: "pull",
        repeat: Repeat::Stored(longest_pull),
        run: pull,
    },
    Operation {
        number: op::ACK,
        name: "ack",
        repeat: Repeat::Stored(|_| 0),
        run: ack,
    },
    Operation {
        number: op::ASK,
        name: "ask",
        repeat: Repeat::Stored(|_| 0),
        run: ask,
    },
    Operation {
        number: op::FORGET,
        name: "forget",
        repeat: Repeat::Stored(|_| 0),
        run: forget,
    },
    Operation {
        number: op::PURGE,
        name: "purge",
        repeat: Repeat::Stored(|_| size_of::<PurgeReply>()),
        run: purge,
    },
    Operation {
        number: op::FENCED_PUBLISH,
        name: "fenced_publish",
        repeat: Repeat::Stored(|_| size_of::<PublishReply>()),
        run: fenced_publish,
    },
    Operation {
        number: op::FENCED_PURGE,
        name: "fenced_purge",
        repeat: Repeat::Stored(|_| size_of::<PurgeReply>()),
        run: fenced_purge,
    },
    Operation {
        number: op::FENCED_DELETE,
        name: "fenced_delete",
        repeat: Repeat::Stored(|_| 0),
        run: fenced_delete,
    },
    Operation {
        number: op::FENCED_ASK,
        name: "fenced_ask",
        repeat: Repeat::Stored(|_| 0),
        run: fenced_ask,
    },
];

/// By how much a pull's time is over before its puller's, in milliseconds, or a quarter of that if that
/// is less: so that nothing is taken for a puller that has given up.
const AHEAD_MS: u32 = 100;

fn named(request: &[u8]) -> Result<(u32, &[u8], &[u8])> {
    let (head, rest) = NameHeader::read_from_prefix(request).map_err(|_| EINVAL)?;
    let name_len = usize::from(head.name_len.get());
    let (name, rest) = rest.split_at_checked(name_len).ok_or(EINVAL)?;
    Ok((head.uid.get(), name, rest))
}

/// The lock that a client has, and the rest of the request.
fn fenced(request: &[u8]) -> Result<(Option<FenceClaim>, &[u8])> {
    let (claim, rest) = FenceClaim::split(request).ok_or(EINVAL)?;
    Ok((Some(claim), rest))
}

fn create(this: &QueueService, _peer: Peer, request: &[u8], reply: &mut Body<'_>) -> Result {
    let (uid, name, options) = named(request)?;
    if name.len() > MAX_NAME || options.len() > MAX_OPTIONS {
        return Err(EINVAL);
    }
    if !this.queues.waits_for_disk(name, options) {
        // No disk is waited for.
        let deadline = Deadline::never();
        return told(this.queues.create_for(uid, name, options, deadline));
    }
    let job = PeerJob::Create(copy(options, GFP_KERNEL)?);
    add_job(
        &this.peer_jobs,
        Publisher::without_lock(uid),
        name,
        job,
        reply,
    )
}

fn delete(this: &QueueService, _peer: Peer, request: &[u8], reply: &mut Body<'_>) -> Result {
    delete_with(this, None, request, reply)
}

fn fenced_delete(this: &QueueService, _peer: Peer, request: &[u8], reply: &mut Body<'_>) -> Result {
    let (claim, request) = fenced(request)?;
    delete_with(this, claim, request, reply)
}

fn delete_with(
    this: &QueueService,
    claim: Option<FenceClaim>,
    request: &[u8],
    reply: &mut Body<'_>,
) -> Result {
    let (uid, name, _) = named(request)?;
    let by = Publisher { uid, claim };
    if !this.queues.waits_for_disk(name, b"") {
        return told(this.queues.delete_for(by, name, Deadline::never()));
    }
    add_job(&this.peer_jobs, by, name, PeerJob::Delete, reply)
}

fn purge(this: &QueueService, _peer: Peer, request: &[u8], reply: &mut Body<'_>) -> Result {
    purge_with(this, None, request, reply)
}

fn fenced_purge(this: &QueueService, _peer: Peer, request: &[u8], reply: &mut Body<'_>) -> Result {
    let (claim, request) = fenced(request)?;
    purge_with(this, claim, request, reply)
}

fn purge_with(
    this: &QueueService,
    claim: Option<FenceClaim>,
    request: &[u8],
    reply: &mut Body<'_>,
) -> Result {
    let (uid, name, _) = named(request)?;
    let by = Publisher { uid, claim };
    // There may be many messages, and the log.
    add_job(&this.purges, by, name, PeerJob::Purge, reply)
}

fn add_job(
    jobs: &Task<PeerJobs>,
    by: Publisher,
    name: &[u8],
    job: PeerJob,
    reply: &mut Body<'_>,
) -> Result {
    let until = Deadline::after_ms(reply.patience_ms());
    PeerJobs::add(jobs, by, name, job, reply.defer(by.uid)?, until)
}

fn address(this: &QueueService, node: NodeId) -> Ipv4Addr {
    let config = this.queues.node.config();
    config.nodes.address(node).unwrap_or(Ipv4Addr::UNSPECIFIED)
}

fn publish(this: &QueueService, peer: Peer, request: &[u8], reply: &mut Body<'_>) -> Result {
    publish_with(this, peer, None, request, reply)
}

fn fenced_publish(this: &QueueService, peer: Peer, request: &[u8], reply: &mut Body<'_>) -> Result {
    let (claim, request) = fenced(request)?;
    publish_with(this, peer, claim, request, reply)
}

fn publish_with(
    this: &QueueService,
    peer: Peer,
    claim: Option<FenceClaim>,
    request: &[u8],
    reply: &mut Body<'_>,
) -> Result {
    let (uid, subject, items) = named(request)?;
    let mut rest = items;
    // What is torn publishes nothing.
    while !rest.is_empty() {
        next_item(&mut rest).ok_or(EINVAL)?;
    }
    rest = items;
    let from = address(this, peer.node);
    let queues = &this.queues;
    let account = queues.budget.account(uid)?;
    let messages = iter::from_fn(|| {
        let (item, data) = next_item(&mut rest)?;
        let parts = Parts {
            subject,
            data,
            reply: None,
            from,
            uid,
        };
        let how = PublishOptions {
            priority: item.priority,
            delay_ms: item.delay_ms.get(),
        };
        let message = Message::new(&account, &parts, GFP_KERNEL);
        Some(message.map(|message| (message, how)))
    });
    let mut published = Published::default();
    // Nothing may wait here: who asks tries again.
    let by = Publisher { uid, claim };
    let result = queues.publish_all(by, subject, messages, None, &mut published);
    if let (Err(e), 0) = (result, published.count) {
        return Err(e);
    }
    let answer = PublishReply {
        published: published.count.into(),
        errno: result.map_or_else(|e| to_wire(e).to_wire(), |()| 0).into(),
        lost: published.lost.into(),
    };
    // Messages have been accepted: an error must not say that there are none.
    let unknown = |_| EIO;
    if published.lsn == 0 {
        return reply.put(answer.as_bytes()).map_err(unknown);
    }
    let owed = reply.defer(uid).map_err(unknown)?;
    let log = queues.log().map_err(unknown)?;
    log.commit_later(published.lsn, owed, answer.as_bytes())
        .map_err(unknown)
}

fn ask(this: &QueueService, peer: Peer, request: &[u8], reply: &mut Body<'_>) -> Result {
    ask_with(this, peer, None, request, reply)
}

fn fenced_ask(this: &QueueService, peer: Peer, request: &[u8], reply: &mut Body<'_>) -> Result {
    let (claim, request) = fenced(request)?;
    ask_with(this, peer, claim, request, reply)
}

fn ask_with(
    this: &QueueService,
    peer: Peer,
    claim: Option<FenceClaim>,
    request: &[u8],
    reply: &mut Body<'_>,
) -> Result {
    let (args, rest) = AskArgs::read_from_prefix(request).map_err(|_| EINVAL)?;
    let name_len = usize::from(args.name_len.get());
    let (subject, data) = rest.split_at_checked(name_len).ok_or(EINVAL)?;
    let until = Deadline::after_ms(args.timeout_ms.get().clamp(1, MAX_DEADLINE_MS));
    let queues = &this.queues;
    let account = queues.budget.account(args.uid.get())?;
    queues.pending.forget_late();
    let id = queues.next_number();
    let uid = account.uid();
    let reply_to = queues.pending.owe(id, uid, reply.defer(uid)?, until)?;
    let parts = Parts {
        subject,
        data,
        reply: Some(reply_to),
        from: address(this, peer.node),
        uid: args.uid.get(),
    };
    // Nothing may wait here: who asks tries again. Nor is the disk waited for: whoever replies has the
    // request.
    queues
        .publish(
            Publisher { uid, claim },
            &account,
            &parts,
            PublishOptions::PLAIN,
            None,
        )
        .map(drop)
        .inspect_err(|_| queues.pending.forget(reply_to))
}

/// Bytes that a Pull asks for.
fn longest_pull(request: &[u8]) -> usize {
    match PullArgs::read_from_prefix(request) {
        Ok((args, _)) => args.bytes.get().min(MAX_PULL) as usize,
        _ => 0,
    }
}

fn pull(this: &QueueService, peer: Peer, request: &[u8], reply: &mut Body<'_>) -> Result {
    let (args, name) = PullArgs::read_from_prefix(request).map_err(|_| EINVAL)?;
    let wait_ms = args.wait_ms.get();
    if args.bytes.get() > MAX_PULL || wait_ms > MAX_WAIT_MS {
        return Err(EINVAL);
    }
    let uid = args.uid.get();
    let channel = this.queues.find(name)?;
    channel.check(uid, Right::Take)?;
    let pull = Pull {
        channel,
        consumer: consumer_of_pull(peer, uid, args.number.get()),
        count: args.count.get(),
        room: args.bytes.get() as usize,
    };
    let taken = pull.take(None)?;
    let patience_ms = reply.patience_ms();
    let wait_ms = wait_ms.min(patience_ms - AHEAD_MS.min(patience_ms / 4));
    if taken.is_empty() && wait_ms > 0 {
        this.queues.pending.forget_late();
        let until = Deadline::after_ms(wait_ms);
        let charge = this.queues.pending.charge(uid)?;
        return Pulls::add(&this.pulls, pull, until, reply.defer(uid)?, charge);
    }
    reply.put(&taken)
}

fn ack(this: &QueueService, peer: Peer, request: &[u8], _reply: &mut Body<'_>) -> Result {
    let (args, name) = AckArgs::read_from_prefix(request).map_err(|_| EINVAL)?;
    let channel = this.queues.find(name)?;
    let (consumer, id) = (consumer(peer.node, args.uid.get()), args.id.get());
    match args.flags.get() {
        0 => Channel::ack(&channel, consumer, id),
        GIVE_BACK => Channel::give_back(&channel, consumer, id, args.delay_ms.get()),
        UNTAKE => Channel::untake(&channel, consumer, id),
        _ => Err(EINVAL),
    }
}

fn forget(this: &QueueService, peer: Peer, request: &[u8], _reply: &mut Body<'_>) -> Result {
    let (args, name) = ForgetArgs::read_from_prefix(request).map_err(|_| EINVAL)?;
    let channel = this.queues.find(name)?;
    let consumer = consumer_of_pull(peer, args.uid.get(), args.number.get());
    this.pulls.forget(&channel, consumer);
    Ok(())
}
