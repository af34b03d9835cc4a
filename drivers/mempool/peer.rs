// SPDX-License-Identifier: GPL-2.0

//! What other nodes may ask of this node's pool. See [`virgo_proto::mempool`].

use crate::{
    cluster::Mempool,
    pool::Owner, //
};
use core::mem::size_of;
use kernel::prelude::*;
use virgo_proto::{
    mempool::{
        op,
        AllocArgs,
        AllocReply,
        DataArgs,
        FreeArgs,
        LookupArgs,
        LookupReply,
        MAP,
        MAX_DATA,
        MAX_LOOKUP,
        PIECE,
        SHARED, //
    },
    vuid::Vuid, //
};
use virgo_utils::{
    Body,
    Operation,
    Peer,
    Repeat, //
};

pub(crate) const OPERATIONS: &[Operation<Mempool>] = &[
    Operation {
        number: op::ALLOC,
        name: "alloc",
        repeat: Repeat::Stored(|_| size_of::<AllocReply>()),
        run: alloc,
    },
    Operation {
        number: op::SET,
        name: "set",
        repeat: Repeat::Stored(|_| 0),
        run: set,
    },
    Operation {
        number: op::GET,
        name: "get",
        repeat: Repeat::Again,
        run: get,
    },
    Operation {
        number: op::FREE,
        name: "free",
        repeat: Repeat::Stored(|_| 0),
        run: free,
    },
    Operation {
        number: op::LOOKUP,
        name: "lookup",
        repeat: Repeat::Again,
        run: lookup,
    },
];

fn alloc(this: &Mempool, peer: Peer, request: &[u8], reply: &mut Body<'_>) -> Result {
    let args = AllocArgs::read_from_bytes(request).map_err(|_| EINVAL)?;
    let flags = args.flags.get();
    if flags & !(SHARED | PIECE) != 0 || args.size.get() == 0 {
        return Err(EINVAL);
    }
    let owner = Owner {
        uid: args.uid.get(),
        shared: flags & SHARED != 0,
    };
    let piece_of = (flags & PIECE != 0).then_some(peer);
    let config = this.node.config();
    let id = this.pool.alloc(&config, owner, args.size.get(), piece_of)?;
    let answer = AllocReply {
        id: id.into(),
        free: this.pool.budget().free().into(),
    };
    reply.put(answer.as_bytes())
}

fn set(this: &Mempool, _peer: Peer, request: &[u8], _reply: &mut Body<'_>) -> Result {
    let (args, data) = DataArgs::read_from_prefix(request).map_err(|_| EINVAL)?;
    let terminate = match (args.len.get() as usize).checked_sub(data.len()) {
        Some(0) => false,
        Some(1) => true,
        _ => return Err(EINVAL),
    };
    if data.len() > MAX_DATA {
        return Err(EMSGSIZE);
    }
    let object = this.pool.get(own(this, args.id.get())?)?;
    let content = object.open(args.uid.get())?;
    match content.map {
        Some(_) => Err(EXDEV),
        None => content.write(args.offset.get(), data, terminate),
    }
}

fn get(this: &Mempool, _peer: Peer, request: &[u8], reply: &mut Body<'_>) -> Result {
    let args = DataArgs::read_from_bytes(request).map_err(|_| EINVAL)?;
    let len = args.len.get() as usize;
    if len > MAX_DATA {
        return Err(EMSGSIZE);
    }
    let object = this.pool.get(own(this, args.id.get())?)?;
    let content = object.open(args.uid.get())?;
    if content.map.is_some() {
        return Err(EXDEV);
    }
    content.with(args.offset.get(), len, |bytes| reply.put(bytes))
}

fn free(this: &Mempool, _peer: Peer, request: &[u8], _reply: &mut Body<'_>) -> Result {
    let args = FreeArgs::read_from_bytes(request).map_err(|_| EINVAL)?;
    let vuid = own(this, args.id.get())?;
    let object = this.pool.get(vuid)?;
    let content = object.open(args.uid.get())?;
    match (&content.map, args.flags.get()) {
        (Some(_), MAP) | (None, 0) => this.pool.free(vuid),
        (Some(_), 0) => Err(EXDEV),
        _ => Err(EINVAL),
    }
}

fn lookup(this: &Mempool, _peer: Peer, request: &[u8], reply: &mut Body<'_>) -> Result {
    let args = LookupArgs::read_from_bytes(request).map_err(|_| EINVAL)?;
    let object = this.pool.get(own(this, args.id.get())?)?;
    let content = object.open(args.uid.get())?;
    let map = content.map.as_ref().ok_or(EINVAL)?;
    let answer = LookupReply {
        size: map.size.into(),
        chunk: map.chunk.into(),
    };
    reply.put(answer.as_bytes())?;
    let ids = map.ids.get(args.first.get() as usize..).unwrap_or_default();
    for id in ids.iter().take(MAX_LOOKUP) {
        reply.put(&id.to_le_bytes())?;
    }
    Ok(())
}

/// What `id` says, which must be one of this node's.
pub(crate) fn own(this: &Mempool, id: u64) -> Result<Vuid> {
    let config = this.node.config();
    let vuid = Vuid::open(id, &config.check).ok_or(EINVAL)?;
    match vuid.node == config.me {
        true => Ok(vuid),
        false => Err(EINVAL),
    }
}
