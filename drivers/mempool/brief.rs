// SPDX-License-Identifier: GPL-2.0

//! What other nodes may ask of this node's pool by a datagram: carried out where that arrives, in softirq.
//! Whatever would have to wait for a lock is left to [`crate::ops`].

use crate::{
    cluster::Mempool,
    object::{
        Object,
        ObjectContent, //
    },
    ops::parse_set, //
};
use kernel::prelude::*;
use virgo_proto::{
    mempool::{
        op,
        GetSetArgs,
        MAX_DATA, //
    },
    vuid::NodeId, //
};
use virgo_utils::{
    BriefOperation,
    BriefReply,
    BriefRequest, //
};

pub(crate) const BRIEF: &[BriefOperation<Mempool>] = &[
    BriefOperation {
        number: op::GET,
        run: get,
    },
    BriefOperation {
        number: op::SET,
        run: set,
    },
];

fn get(this: &Mempool, request: &BriefRequest<'_>, reply: &mut BriefReply) -> Option<Result> {
    let Ok(args) = GetSetArgs::read_from_bytes(request.body) else {
        return Some(Err(EINVAL));
    };
    let len = args.len.get() as usize;
    if len > MAX_DATA {
        return Some(Err(EMSGSIZE));
    }
    with(this, request.me, &args, |content| {
        content
            .try_with(args.offset.get(), len, |bytes| reply.put(bytes))
            .flatten()
            .map(Ok)
    })
}

fn set(this: &Mempool, request: &BriefRequest<'_>, _reply: &mut BriefReply) -> Option<Result> {
    match parse_set(request.body) {
        Ok((args, data, terminate)) => with(this, request.me, &args, |content| {
            content.try_write(args.offset.get(), data, terminate)
        }),
        Err(e) => Some(Err(e)),
    }
}

/// Shows `see` the content of an object that is no map.
fn with(
    this: &Mempool,
    me: NodeId,
    args: &GetSetArgs,
    see: impl FnOnce(&ObjectContent) -> Option<Result>,
) -> Option<Result> {
    let place = match this.pool.open(me, args.id.get()) {
        Ok(place) => place,
        Err(e) => return Some(Err(e)),
    };
    let see = |object: &Object| match object.open(args.uid.get()) {
        Ok(content) if content.map.is_some() => Some(Err(EXDEV)),
        Ok(content) => see(content),
        Err(e) => Some(Err(e)),
    };
    this.pool.try_with(place, see)
}
