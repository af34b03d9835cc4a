// SPDX-License-Identifier: GPL-2.0

//! What other nodes may ask of this node's queues. See [`virgo_proto::queue::wire`].

use crate::{
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
    mem::size_of,
    net::Ipv4Addr, //
};
use kernel::{
    prelude::*,
    sync::atomic::Relaxed, //
};
use virgo_proto::{
    queue::wire::{
        op,
        AckArgs,
        Entry,
        Named,
        PublishArgs,
        PublishReply,
        PullArgs,
        ReplyArgs,
        GIVE_BACK,
        MAX_PULL, //
    },
    vuid::NodeId, //
};
use virgo_utils::{
    from_wire,
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
        number: op::REPLY,
        name: "reply",
        repeat: Repeat::Stored(|_| 0),
        run: reply,
    },
];

/// Who has what a node has pulled.
pub(crate) fn holder(peer: Peer) -> u64 {
    // Not a number that anybody here gets.
    1 << 63 | u64::from(peer.node)
}

fn named(request: &[u8]) -> Result<(&[u8], &[u8])> {
    let (head, rest) = Named::read_from_prefix(request).map_err(|_| EINVAL)?;
    let name_len = usize::from(head.name_len.get());
    rest.split_at_checked(name_len).ok_or(EINVAL)
}

fn create(this: &QueueService, _peer: Peer, request: &[u8], _reply: &mut Body<'_>) -> Result {
    let (name, options) = named(request)?;
    let created = this.create(name, options);
    created.map_err(|failure| from_wire(failure.errno.to_wire()))
}

fn delete(this: &QueueService, _peer: Peer, request: &[u8], _reply: &mut Body<'_>) -> Result {
    let (name, _) = named(request)?;
    let deleted = this.delete(name);
    deleted.map_err(|failure| from_wire(failure.errno.to_wire()))
}

fn address(this: &QueueService, node: NodeId) -> Ipv4Addr {
    let config = this.queues.node.config();
    config.nodes.address(node).unwrap_or(Ipv4Addr::UNSPECIFIED)
}

fn publish(this: &QueueService, peer: Peer, request: &[u8], reply: &mut Body<'_>) -> Result {
    let (args, rest) = PublishArgs::read_from_prefix(request).map_err(|_| EINVAL)?;
    let name_len = usize::from(args.name_len.get());
    let (subject, data) = rest.split_at_checked(name_len).ok_or(EINVAL)?;
    let wanted = args.reply.get();
    let parts = Parts {
        subject,
        data,
        reply: (wanted != 0).then_some(ReplyTo {
            node: peer.node,
            id: wanted,
        }),
        from: address(this, peer.node),
    };
    let how = How {
        priority: args.priority,
        delay_ms: args.delay_ms.get(),
    };
    // Nothing may wait here: who asks tries again.
    let published = this.queues.publish(&parts, how, None)?;
    this.queues.commit(published.place)?;
    let answer = PublishReply {
        position: published.position.into(),
        channels: published.channels.into(),
        lost: published.lost.into(),
    };
    reply.put(answer.as_bytes())
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
    let room = args.bytes.get() as usize;
    if room > MAX_PULL as usize {
        return Err(EINVAL);
    }
    let channel = this.queues.find(name)?;
    let (holder, mut used) = (holder(peer), 0);
    for _ in 0..args.count.get() {
        let Some(taken) = Channel::take(&channel, holder, false)? else {
            break;
        };
        let message = &taken.item;
        let size = size_of::<Entry>() + message.subject().len() + message.data().len();
        if size > room - used {
            Channel::give_back(&channel, holder, taken.seq, 0)?;
            if used == 0 {
                return Err(EMSGSIZE);
            }
            break;
        }
        used += size;
        let to = message.reply.unwrap_or(ReplyTo { node: 0, id: 0 });
        let entry = Entry {
            seq: taken.seq.into(),
            position: message.position.load(Relaxed).into(),
            reply: to.id.into(),
            deliveries: taken.deliveries.into(),
            data_len: (message.data().len() as u32).into(),
            name_len: (message.subject().len() as u16).into(),
            reply_node: u16::from(to.node).into(),
        };
        let put = reply
            .put(entry.as_bytes())
            .and_then(|()| reply.put(message.subject()))
            .and_then(|()| reply.put(message.data()));
        if let Err(e) = put {
            Channel::give_back(&channel, holder, taken.seq, 0)?;
            return Err(e);
        }
    }
    Ok(())
}

fn ack(this: &QueueService, peer: Peer, request: &[u8], _reply: &mut Body<'_>) -> Result {
    let (args, name) = AckArgs::read_from_prefix(request).map_err(|_| EINVAL)?;
    let channel = this.queues.find(name)?;
    match args.flags.get() {
        0 => Channel::ack(&channel, holder(peer), args.seq.get()),
        GIVE_BACK => {
            let delay = args.delay_ms.get();
            Channel::give_back(&channel, holder(peer), args.seq.get(), delay)
        }
        _ => Err(EINVAL),
    }
}

fn reply(this: &QueueService, _peer: Peer, request: &[u8], _reply: &mut Body<'_>) -> Result {
    let (args, data) = ReplyArgs::read_from_prefix(request).map_err(|_| EINVAL)?;
    this.queues.pending.answer(args.id.get(), data)
}
