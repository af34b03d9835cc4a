// SPDX-License-Identifier: GPL-2.0

//! What other nodes may ask of this node's pool. See [`virgo_proto::mempool`].

use crate::{
    cluster::Mempool,
    list,
    local::ObjectOwner, //
};
use core::mem::size_of;
use kernel::prelude::*;
use virgo_proto::{
    fence::FenceClaim,
    mempool::{
        many,
        most_at_once,
        op,
        AllocArgs,
        AllocManyArgs,
        AllocManyReply,
        AllocReply,
        FreeObjectArgs,
        GetSetArgs,
        ListArgs,
        ListReply,
        LookupArgs,
        LookupReply,
        Part,
        SetMany,
        MAP,
        MAX_DATA,
        MAX_LISTED,
        MAX_LOOKUP,
        MAX_MANY,
        PIECE,
        SHARED, //
    }, //
};
use virgo_utils::{
    table::Place,
    Body,
    Operation,
    Peer,
    Repeat, //
};
use zerocopy::little_endian::U64;

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
    Operation {
        number: op::ALLOC_MANY,
        name: "alloc_many",
        repeat: Repeat::Stored(alloc_many_len),
        run: alloc_many,
    },
    Operation {
        number: op::FREE_MANY,
        name: "free_many",
        repeat: Repeat::Stored(|_| 0),
        run: free_many,
    },
    Operation {
        number: op::GET_MANY,
        name: "get_many",
        repeat: Repeat::Again,
        run: get_many,
    },
    Operation {
        number: op::SET_MANY,
        name: "set_many",
        repeat: Repeat::Stored(|_| 0),
        run: set_many,
    },
    Operation {
        number: op::FENCED_SET,
        name: "fenced_set",
        repeat: Repeat::Stored(|_| 0),
        run: fenced_set,
    },
    Operation {
        number: op::FENCED_SET_MANY,
        name: "fenced_set_many",
        repeat: Repeat::Stored(|_| 0),
        run: fenced_set_many,
    },
    Operation {
        number: op::FENCED_FREE,
        name: "fenced_free",
        repeat: Repeat::Stored(|_| 0),
        run: fenced_free,
    },
    Operation {
        number: op::LIST,
        name: "list",
        repeat: Repeat::Again,
        run: list,
    },
];

fn alloc(this: &Mempool, peer: Peer, request: &[u8], reply: &mut Body<'_>) -> Result {
    let args = AllocArgs::read_from_bytes(request).map_err(|_| EINVAL)?;
    let (owner, piece_of) = new_owner(peer, args.uid.get(), args.flags.get())?;
    if args.size.get() == 0 {
        return Err(EINVAL);
    }
    let me = this.node.config().me;
    let id = this.pool.alloc(me, owner, args.size.get(), piece_of)?;
    let answer = AllocReply {
        id: id.into(),
        free: this.pool.room().into(),
    };
    reply.put(answer.as_bytes())
}

fn alloc_many(this: &Mempool, peer: Peer, request: &[u8], reply: &mut Body<'_>) -> Result {
    let args = AllocManyArgs::read_from_bytes(request).map_err(|_| EINVAL)?;
    let (owner, piece_of) = new_owner(peer, args.uid.get(), args.flags.get())?;
    let (size, count) = (args.size.get(), args.count.get() as usize);
    if size == 0 || !(1..=most_at_once(size)).contains(&count) {
        return Err(EINVAL);
    }
    let me = this.node.config().me;
    let mut ids = [0; MAX_MANY];
    let room = ids.get_mut(..count).ok_or(EINVAL)?;
    let done = this.pool.alloc_many(me, owner, size, piece_of, room)?;
    let answer = AllocManyReply {
        free: this.pool.room().into(),
        own: this.pool.room_for(owner.uid).into(),
    };
    reply.put(answer.as_bytes())?;
    let mut ids = ids.iter().take(done);
    ids.try_for_each(|id| reply.put(&id.to_le_bytes()))
}

/// Bytes of the reply to AllocMany.
fn alloc_many_len(request: &[u8]) -> usize {
    let count = AllocManyArgs::read_from_bytes(request).map_or(0, |args| args.count.get() as usize);
    size_of::<AllocManyReply>() + 8 * count.min(MAX_MANY)
}

/// Whose a new object is going to be, and of whose map it is a piece.
fn new_owner(peer: Peer, uid: u32, flags: u32) -> Result<(ObjectOwner, Option<Peer>)> {
    if flags & !(SHARED | PIECE) != 0 {
        return Err(EINVAL);
    }
    let owner = ObjectOwner {
        uid,
        shared: flags & SHARED != 0,
    };
    Ok((owner, (flags & PIECE != 0).then_some(peer)))
}

/// The lock that a client has, and the rest of the request.
fn fenced(request: &[u8]) -> Result<(Option<FenceClaim>, &[u8])> {
    let (claim, rest) = FenceClaim::split(request).ok_or(EINVAL)?;
    Ok((Some(claim), rest))
}

/// What a Set says: where, the bytes, and whether a zero follows them.
pub(crate) fn parse_set(request: &[u8]) -> Result<(GetSetArgs, &[u8], bool)> {
    let (args, data) = GetSetArgs::read_from_prefix(request).map_err(|_| EINVAL)?;
    let terminate = match (args.len.get() as usize).checked_sub(data.len()) {
        Some(0) => false,
        Some(1) => true,
        _ => return Err(EINVAL),
    };
    match data.len() <= MAX_DATA {
        true => Ok((args, data, terminate)),
        false => Err(EMSGSIZE),
    }
}

fn set(this: &Mempool, _peer: Peer, request: &[u8], _reply: &mut Body<'_>) -> Result {
    set_with(this, None, request)
}

fn fenced_set(this: &Mempool, _peer: Peer, request: &[u8], _reply: &mut Body<'_>) -> Result {
    let (claim, request) = fenced(request)?;
    set_with(this, claim, request)
}

fn set_with(this: &Mempool, claim: Option<FenceClaim>, request: &[u8]) -> Result {
    let (args, data, terminate) = parse_set(request)?;
    let object = this.pool.get(own(this, args.id.get())?)?;
    let content = object.open(args.uid.get())?;
    match content.map {
        None => content.write(args.offset.get(), data, terminate, claim),
        Some(_) => {
            if claim.is_some() {
                let end = args.offset.get().checked_add(data.len() as u64);
                content.admit(end, claim)?;
            }
            Err(EXDEV)
        }
    }
}

fn get(this: &Mempool, _peer: Peer, request: &[u8], reply: &mut Body<'_>) -> Result {
    let args = GetSetArgs::read_from_bytes(request).map_err(|_| EINVAL)?;
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
    free_with(this, None, request)
}

fn fenced_free(this: &Mempool, _peer: Peer, request: &[u8], _reply: &mut Body<'_>) -> Result {
    let (claim, request) = fenced(request)?;
    free_with(this, claim, request)
}

fn free_with(this: &Mempool, claim: Option<FenceClaim>, request: &[u8]) -> Result {
    let args = FreeObjectArgs::read_from_bytes(request).map_err(|_| EINVAL)?;
    let place = own(this, args.id.get())?;
    let object = this.pool.get(place)?;
    object.free(args.uid.get(), claim, || {
        match (object.map(), args.flags.get()) {
            (Some(_), MAP) | (None, 0) => this.pool.free(place),
            (Some(_), 0) => Err(EXDEV),
            _ => Err(EINVAL),
        }
    })
}

fn free_many(this: &Mempool, _peer: Peer, request: &[u8], _reply: &mut Body<'_>) -> Result {
    let (uid, ids) = many::<U64>(request).ok_or(EINVAL)?;
    let me = this.node.config().me;
    let mut result = Ok(());
    for id in ids {
        match this.pool.free_bytes(me, id.get(), uid) {
            Ok(()) | Err(ESTALE) => (),
            Err(e) => result = result.and(Err(e)),
        }
    }
    result
}

fn get_many(this: &Mempool, _peer: Peer, request: &[u8], reply: &mut Body<'_>) -> Result {
    let (uid, parts) = many::<Part>(request).ok_or(EINVAL)?;
    let lens = parts.iter().map(|part| part.len.get() as usize);
    if lens.fold(0, usize::saturating_add) > MAX_DATA {
        return Err(EMSGSIZE);
    }
    for part in parts {
        let len = part.len.get() as usize;
        let object = this.pool.get(own(this, part.id.get())?)?;
        let content = object.open(uid)?;
        if content.map.is_some() {
            return Err(EXDEV);
        }
        content.with(part.offset.get(), len, |bytes| match bytes.len() == len {
            true => reply.put(bytes),
            false => Err(EFBIG),
        })?;
    }
    Ok(())
}

fn set_many(this: &Mempool, _peer: Peer, request: &[u8], _reply: &mut Body<'_>) -> Result {
    set_many_with(this, None, request)
}

fn fenced_set_many(this: &Mempool, _peer: Peer, request: &[u8], _reply: &mut Body<'_>) -> Result {
    let (claim, request) = fenced(request)?;
    set_many_with(this, claim, request)
}

fn set_many_with(this: &Mempool, claim: Option<FenceClaim>, request: &[u8]) -> Result {
    let (uid, set) = SetMany::parse(request).ok_or(EINVAL)?;
    for (part, data) in set {
        let object = this.pool.get(own(this, part.id.get())?)?;
        let content = object.open(uid)?;
        if content.map.is_some() {
            return Err(EXDEV);
        }
        content.write(part.offset.get(), data, false, claim)?;
    }
    Ok(())
}

fn lookup(this: &Mempool, _peer: Peer, request: &[u8], reply: &mut Body<'_>) -> Result {
    let args = LookupArgs::read_from_bytes(request).map_err(|_| EINVAL)?;
    let object = this.pool.get(own(this, args.id.get())?)?;
    // Who may free it needs to know of what it consists.
    let content = object.open_to_free(args.uid.get())?;
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

fn list(this: &Mempool, _peer: Peer, request: &[u8], reply: &mut Body<'_>) -> Result {
    let args = ListArgs::read_from_bytes(request).map_err(|_| EINVAL)?;
    let of = list::visible(args.uid.get(), args.of.get())?;
    let me = this.node.config().me;
    let mut listed = KVVec::new();
    let next = this.pool.list(me, of, args.from.get(), |object| {
        listed.push(object, GFP_KERNEL)?;
        Ok::<_, Error>(listed.len() < MAX_LISTED)
    })?;
    reply.put(ListReply { next: next.into() }.as_bytes())?;
    listed
        .iter()
        .try_for_each(|object| reply.put(object.as_bytes()))
}

/// Where the object `id` is, which must be one of this node's.
pub(crate) fn own(this: &Mempool, id: u64) -> Result<Place> {
    this.pool.open(this.node.config().me, id)
}
