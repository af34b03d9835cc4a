// SPDX-License-Identifier: GPL-2.0

//! Listing the objects of all nodes: what `/sys/kernel/debug/virgo/mempool/state` shows.

use crate::cluster::Mempool;
use core::mem::size_of;
use kernel::{
    fmt,
    prelude::*, //
};
use linux::bytes::Fill;
use virgo_proto::{
    mempool::{
        op,
        ListArgs,
        ListReply,
        Listed,
        EVERYBODY,
        MAX_LISTED, //
    },
    vuid::NodeId, //
};
use virgo_utils::{
    to_wire,
    User, //
};

/// Whose objects user `uid` is shown who asks for those of `of`.
///
/// # Errors
///
/// [`EPERM`] for those of others, unless root asks.
pub(crate) fn visible(uid: u32, of: u32) -> Result<u32> {
    match (uid, of) {
        (0, of) => Ok(of),
        (uid, EVERYBODY) => Ok(uid),
        (uid, of) if uid == of => Ok(of),
        _ => Err(EPERM),
    }
}

/// Shows
///
/// - `object NODE ID SIZE UID KIND ACCESS`: an object of a node's pool. KIND is `whole`, `split` for
///   an allocation in pieces, of which SIZE is the sum, or `piece` for such a piece; ACCESS is
///   `private` or `shared`,
/// - `lost NODE ERRNO`: the node did not answer, or not to the end.
///
/// May sleep, killably, until all nodes have answered or had the time that is configured.
pub(crate) fn show(pool: &Mempool, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let config = pool.node.config();
    for (node, _) in config.nodes.iter() {
        let user = User::of_node(&config);
        let mut see = |object: &Listed| {
            let (kind, access) = (object.kind(), object.access());
            let (size, uid) = (object.size.get(), object.uid.get());
            let id = object.id.get();
            writeln!(f, "object {node} {id:016x} {size} {uid} {kind} {access}")
        };
        let listed = match pool.is_here(&user, node) {
            true => {
                let see = |object| see(&object).map(|()| true);
                pool.pool.list(node, EVERYBODY, 0, see)?;
                Ok(())
            }
            false => list_remote(pool, &user, node, &mut see),
        };
        if let Err(e) = listed {
            writeln!(f, "lost {node} {}", to_wire(e).name())?;
        }
    }
    Ok(())
}

/// Shows `see` all objects of another node; the errors of `see` end that.
fn list_remote(
    pool: &Mempool,
    user: &User<'_>,
    node: NodeId,
    see: &mut dyn FnMut(&Listed) -> fmt::Result,
) -> Result {
    let mut reply = KVVec::new();
    let most = size_of::<ListReply>() + size_of::<Listed>() * MAX_LISTED;
    reply.put_zeros(most, GFP_KERNEL)?;
    let mut from = 0;
    loop {
        let args = ListArgs {
            uid: user.uid.into(),
            of: EVERYBODY.into(),
            from: from.into(),
        };
        let n = pool.ask(user, node, op::LIST, args.as_bytes(), b"", &mut reply)?;
        let reply = reply.get(..n).ok_or(EPROTO)?;
        let (answer, listed) = ListReply::read_from_prefix(reply).map_err(|_| EPROTO)?;
        let listed = <[Listed]>::ref_from_bytes(listed).map_err(|_| EPROTO)?;
        if listed.iter().try_for_each(&mut *see).is_err() {
            return Ok(());
        }
        match answer.next.get() {
            0 => return Ok(()),
            next if next <= from => return Err(EPROTO),
            next => from = next,
        }
    }
}
