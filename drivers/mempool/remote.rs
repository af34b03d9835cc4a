// SPDX-License-Identifier: GPL-2.0

//! Requests to the pools of other nodes. See [`virgo_proto::mempool`].

use crate::{
    extents::Extent,
    local::ObjectOwner,
    maps::MapWindow, //
};
use core::{
    iter::Peekable,
    mem::size_of, //
};
use kernel::prelude::*;
use linux::bytes::Fill;
use virgo_proto::{
    fence::FenceToken,
    mempool::{
        op,
        AllocArgs,
        AllocManyArgs,
        AllocManyReply,
        AllocReply,
        FreeObjectArgs,
        GetSetArgs,
        ListArgs,
        ListReply,
        Listed,
        LookupArgs,
        LookupReply,
        ManyArgs,
        Part,
        SetManyArgs,
        EVERYBODY,
        MAX_DATA,
        MAX_LISTED,
        MAX_LOOKUP,
        MAX_MANY,
        MAX_PIECES,
        PIECE, //
    },
    vuid::{
        NodeId,
        Vuid, //
    }, //
};
use virgo_utils::{
    Client,
    Data,
    PendingCall,
    ReplyDeadline,
    Request,
    User, //
};

/// A request for user `uid` that may be sent again to a node that has restarted: that has nothing left of
/// what was done before.
fn request<'a>(uid: u32, op: u16, args: &'a [u8], data: &'a [u8]) -> Request<'a> {
    Request {
        op,
        args,
        data: Data::Bytes(data),
        uid,
        retry_after_restart: true,
        reply_deadline: ReplyDeadline::Soon,
        brief: None,
    }
}

/// # Errors
///
/// [`EINVAL`] if there is no node `node`: an id that nobody issued has named it.
fn check(user: &User<'_>, node: NodeId) -> Result {
    user.config.nodes.address(node).ok_or(EINVAL).map(drop)
}

/// Asks node `node` to do `op`; what comes back goes to `reply`.
fn ask(
    client: &Client,
    user: &User<'_>,
    node: NodeId,
    (op, args, data): (u16, &[u8], &[u8]),
    reply: &mut [u8],
) -> Result<usize> {
    check(user, node)?;
    client.call(
        node,
        &request(user.uid, op, args, data),
        reply,
        user.deadline,
    )
}

/// The numbers of an operation that changes something: for who has no lock, and for who has one.
type Change = (u16, u16);

const SET: Change = (op::SET, op::FENCED_SET);
const SET_MANY: Change = (op::SET_MANY, op::FENCED_SET_MANY);
const FREE: Change = (op::FREE, op::FENCED_FREE);

/// Asks node `node` to change something, with the lock that the user may have.
fn change(
    client: &Client,
    user: &User<'_>,
    node: NodeId,
    (plain, fenced): Change,
    args: &[u8],
    data: &[u8],
) -> Result {
    let Some(claim) = user.claim else {
        return ask(client, user, node, (plain, args, data), &mut []).map(drop);
    };
    let fence = claim.to_wire();
    let mut both = [0; size_of::<FenceToken>() + size_of::<GetSetArgs>()];
    let both = both.get_mut(..size_of::<FenceToken>() + args.len());
    let both = both.ok_or(EINVAL)?;
    let (first, second) = both.split_at_mut(size_of::<FenceToken>());
    first.copy_from_slice(fence.as_bytes());
    second.copy_from_slice(args);
    ask(client, user, node, (fenced, both, data), &mut []).map(drop)
}

/// Asks node `node` for an object of `size` zeros.
pub(crate) fn alloc(
    client: &Client,
    user: &User<'_>,
    node: NodeId,
    owner: ObjectOwner,
    size: u64,
) -> Result<AllocReply> {
    let args = AllocArgs {
        size: size.into(),
        uid: owner.uid.into(),
        flags: owner.flags().into(),
    };
    let mut reply = [0; size_of::<AllocReply>()];
    ask(
        client,
        user,
        node,
        (op::ALLOC, args.as_bytes(), b""),
        &mut reply,
    )?;
    let reply = AllocReply::read_from_bytes(&reply).map_err(|_| EPROTO)?;
    match Vuid::node_of(reply.id.get()) == node {
        true => Ok(reply),
        false => Err(EPROTO),
    }
}

/// Bytes of the longest reply to [`alloc_many`].
pub(crate) const ALLOC_MANY_REPLY: usize = size_of::<AllocManyReply>() + 8 * MAX_MANY;

/// Asks node `node` for pieces of `size` zeros each, as many as there is room for in `ids`, to which their
/// ids go. Returns what it has left, and how many they are: at least one. `reply` is room for the reply.
pub(crate) fn alloc_many(
    client: &Client,
    user: &User<'_>,
    node: NodeId,
    owner: ObjectOwner,
    size: u64,
    ids: &mut [u64],
    reply: &mut [u8],
) -> Result<(AllocManyReply, usize)> {
    let args = AllocManyArgs {
        size: size.into(),
        uid: owner.uid.into(),
        flags: (owner.flags() | PIECE).into(),
        count: (ids.len() as u32).into(),
    };
    let n = ask(
        client,
        user,
        node,
        (op::ALLOC_MANY, args.as_bytes(), b""),
        reply,
    )?;
    let reply = reply.get(..n).ok_or(EPROTO)?;
    let (answer, new) = AllocManyReply::read_from_prefix(reply).map_err(|_| EPROTO)?;
    let new = new.chunks_exact(8);
    let count = new.len();
    if !(1..=ids.len()).contains(&count) {
        return Err(EPROTO);
    }
    for (id, new) in ids.iter_mut().zip(new) {
        *id = u64::from_le_bytes(new.try_into().unwrap_or_default());
        if Vuid::node_of(*id) != node {
            return Err(EPROTO);
        }
    }
    Ok((answer, count))
}

/// Asks node `node` to free its object `id`. `flags` are those of [`FreeObjectArgs`].
pub(crate) fn free(client: &Client, user: &User<'_>, node: NodeId, id: u64, flags: u32) -> Result {
    let args = FreeObjectArgs {
        id: id.into(),
        uid: user.uid.into(),
        flags: flags.into(),
    };
    change(client, user, node, FREE, args.as_bytes(), b"")
}

/// Asks node `node` to free its objects `ids`, with as few requests as possible. All are tried, unless
/// the node does not answer. Returns the first error of its answers.
///
/// # Errors
///
/// It does not answer; [`ENODEV`] if there is no such node.
pub(crate) fn free_many(
    client: &Client,
    user: &User<'_>,
    node: NodeId,
    mut ids: impl Iterator<Item = u64>,
) -> Result<Result> {
    let args = ManyArgs {
        uid: user.uid.into(),
    };
    let args = args.as_bytes();
    let mut result = Ok(());
    let mut batch = KVec::new();
    loop {
        batch.clear();
        for id in ids.by_ref().take(MAX_MANY) {
            batch.put_bytes(&id.to_le_bytes(), GFP_KERNEL_ACCOUNT)?;
        }
        if batch.is_empty() {
            return Ok(result);
        }
        let request = request(user.uid, op::FREE_MANY, args, &batch);
        let answer = client.ask(node, &request, &mut [], user.deadline)?;
        result = result.and(answer.map(drop));
    }
}

/// Asks node `node` for bytes of its object `id`. Returns how many: fewer at the end.
pub(crate) fn read(
    client: &Client,
    user: &User<'_>,
    node: NodeId,
    id: u64,
    offset: u64,
    to: &mut [u8],
) -> Result<usize> {
    let mut done = 0;
    for part in to.chunks_mut(MAX_DATA) {
        let args = GetSetArgs {
            id: id.into(),
            offset: offset.checked_add(done as u64).ok_or(EINVAL)?.into(),
            len: (part.len() as u32).into(),
            uid: user.uid.into(),
        };
        let wanted = part.len();
        check(user, node)?;
        let request = Request {
            brief: Some(wanted),
            ..request(user.uid, op::GET, args.as_bytes(), b"")
        };
        let n = client.call(node, &request, part, user.deadline)?;
        done += n.min(wanted);
        if n < wanted {
            break;
        }
    }
    Ok(done)
}

/// Asks node `node` to write `from` to its object `id`; with `terminate` a zero follows, if there is
/// room.
pub(crate) fn write(
    client: &Client,
    user: &User<'_>,
    node: NodeId,
    id: u64,
    offset: u64,
    from: &[u8],
    terminate: bool,
) -> Result {
    if from.len() > MAX_DATA {
        return Err(EMSGSIZE);
    }
    let args = GetSetArgs {
        id: id.into(),
        offset: offset.into(),
        len: (from.len() as u32 + u32::from(terminate)).into(),
        uid: user.uid.into(),
    };
    if user.claim.is_some() {
        return change(client, user, node, SET, args.as_bytes(), from);
    }
    check(user, node)?;
    let request = Request {
        brief: Some(0),
        ..request(user.uid, op::SET, args.as_bytes(), from)
    };
    client.call(node, &request, &mut [], user.deadline)?;
    Ok(())
}

/// A request to read several parts of one node, which may be under way.
pub(crate) struct ReadMany<'a> {
    node: NodeId,
    args: ManyArgs,
    asked: KVec<u8>,
    parts: KVec<Extent>,
    flight: Option<PendingCall<'a>>,
}

impl<'a> ReadMany<'a> {
    /// A request for as many of `parts` as go into one; they are of node `node`.
    pub(crate) fn new(
        user: &User<'_>,
        node: NodeId,
        parts: &mut Peekable<impl Iterator<Item = Extent>>,
    ) -> Result<Self> {
        check(user, node)?;
        let mut this = ReadMany {
            node,
            args: ManyArgs {
                uid: user.uid.into(),
            },
            asked: KVec::new(),
            parts: KVec::new(),
            flight: None,
        };
        let mut len = 0;
        while let Some(at) = parts.next_if(|at| len + at.len <= MAX_DATA) {
            let part = at.to_wire();
            this.asked.put_bytes(part.as_bytes(), GFP_KERNEL_ACCOUNT)?;
            this.parts.push(at, GFP_KERNEL_ACCOUNT)?;
            len += at.len;
        }
        Ok(this)
    }

    fn request(&self, uid: u32) -> Request<'_> {
        request(uid, op::GET_MANY, self.args.as_bytes(), &self.asked)
    }

    /// Sends it, if that can be done at once: so the node has it while this one does something else.
    pub(crate) fn begin(&mut self, client: &'a Client, user: &User<'_>) {
        self.flight = client.begin(self.node, &self.request(user.uid), user.deadline);
    }

    /// Waits for the bytes, and writes them to where they belong in `to`.
    pub(crate) fn complete(mut self, client: &'a Client, user: &User<'_>, to: &mut [u8]) -> Result {
        let mut result = Err(EPROTO);
        let mut take = |body: &[u8]| result = scatter(&self.parts, body, to);
        let flight = self.flight.take();
        client.complete_with(
            self.node,
            flight,
            &self.request(user.uid),
            user.deadline,
            &mut take,
        )?;
        result
    }
}

/// Copies `body` to where its parts go.
fn scatter(parts: &[Extent], body: &[u8], to: &mut [u8]) -> Result {
    let mut rest = body;
    for part in parts {
        let (bytes, behind) = rest.split_at_checked(part.len).ok_or(EPROTO)?;
        let place = to.get_mut(part.to..part.to.saturating_add(part.len));
        place.ok_or(EPROTO)?.copy_from_slice(bytes);
        rest = behind;
    }
    match rest.is_empty() {
        true => Ok(()),
        false => Err(EPROTO),
    }
}

/// Asks node `node` to write what `from` has for `parts`, which are its own, with as few requests as
/// possible.
pub(crate) fn write_many(
    client: &Client,
    user: &User<'_>,
    node: NodeId,
    parts: impl Iterator<Item = Extent> + Clone,
    from: &[u8],
) -> Result {
    let mut parts = parts.peekable();
    let mut data = KVVec::new();
    while parts.peek().is_some() {
        data.clear();
        let batch = parts.clone();
        // Bytes of the parts, and of what says where they go.
        let (mut count, mut size) = (0, 0);
        while let Some(at) = parts.next_if(|at| {
            count == 0 || count < MAX_MANY && size + at.len + size_of::<Part>() <= MAX_DATA
        }) {
            data.put_bytes(at.to_wire().as_bytes(), GFP_KERNEL_ACCOUNT)?;
            size += at.len + size_of::<Part>();
            count += 1;
        }
        for at in batch.take(count) {
            let part = from.get(at.to..at.to.saturating_add(at.len));
            data.put_bytes(part.ok_or(EINVAL)?, GFP_KERNEL_ACCOUNT)?;
        }
        let args = SetManyArgs {
            uid: user.uid.into(),
            count: (count as u32).into(),
        };
        change(client, user, node, SET_MANY, args.as_bytes(), &data)?;
    }
    Ok(())
}

/// Asks node `node` for the ids of pieces of allocation `id`, from number `first` on.
pub(crate) fn lookup(
    client: &Client,
    user: &User<'_>,
    node: NodeId,
    id: u64,
    first: u64,
) -> Result<MapWindow> {
    let args = LookupArgs {
        id: id.into(),
        first: u32::try_from(first).map_err(|_| EPROTO)?.into(),
        uid: user.uid.into(),
    };
    let mut reply = KVVec::new();
    let most = size_of::<LookupReply>() + 8 * MAX_LOOKUP;
    reply.put_zeros(most, GFP_KERNEL_ACCOUNT)?;
    let n = ask(
        client,
        user,
        node,
        (op::LOOKUP, args.as_bytes(), b""),
        &mut reply,
    )?;
    let reply = reply.get(..n).ok_or(EPROTO)?;
    let (answer, of_pieces) = LookupReply::read_from_prefix(reply).map_err(|_| EPROTO)?;
    let (size, chunk) = (answer.size.get(), answer.chunk.get());
    let of_pieces = of_pieces.chunks_exact(8);
    let pieces = match chunk {
        0 => return Err(EPROTO),
        _ => size.div_ceil(chunk),
    };
    let expected = pieces.saturating_sub(first).min(MAX_LOOKUP as u64);
    if pieces > MAX_PIECES || expected == 0 || of_pieces.len() as u64 != expected {
        return Err(EPROTO);
    }
    let mut ids = KVec::with_capacity(of_pieces.len(), GFP_KERNEL_ACCOUNT)?;
    for id in of_pieces {
        let id = u64::from_le_bytes(id.try_into().unwrap_or_default());
        ids.push(id, GFP_KERNEL_ACCOUNT)?;
    }
    Ok(MapWindow {
        size,
        chunk,
        first,
        ids,
    })
}

/// Shows `see` all objects of node `node`, until it says false.
pub(crate) fn list(
    client: &Client,
    user: &User<'_>,
    node: NodeId,
    see: &mut dyn FnMut(&Listed) -> bool,
) -> Result {
    let mut reply = KVVec::new();
    let most = size_of::<ListReply>() + size_of::<Listed>() * MAX_LISTED;
    reply.put_zeros(most, GFP_KERNEL_ACCOUNT)?;
    let mut from = 0;
    loop {
        let args = ListArgs {
            uid: user.uid.into(),
            of: EVERYBODY.into(),
            from: from.into(),
        };
        let n = ask(
            client,
            user,
            node,
            (op::LIST, args.as_bytes(), b""),
            &mut reply,
        )?;
        let reply = reply.get(..n).ok_or(EPROTO)?;
        let (answer, listed) = ListReply::read_from_prefix(reply).map_err(|_| EPROTO)?;
        let listed = <[Listed]>::ref_from_bytes(listed).map_err(|_| EPROTO)?;
        if !listed.iter().all(&mut *see) {
            return Ok(());
        }
        match answer.next.get() {
            0 => return Ok(()),
            next if next <= from => return Err(EPROTO),
            next => from = next,
        }
    }
}
