// SPDX-License-Identifier: GPL-2.0

//! Listing the objects of all nodes: what `/sys/kernel/debug/virgo/mempool/state` shows.

use crate::{
    cluster::Mempool,
    remote, //
};
use kernel::{
    fmt,
    prelude::*, //
};
use virgo_proto::mempool::{
    Listed,
    EVERYBODY, //
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
            false => {
                let mut more = |object: &Listed| see(object).is_ok();
                remote::list(&pool.client, &user, node, &mut more)
            }
        };
        if let Err(e) = listed {
            writeln!(f, "lost {node} {}", to_wire(e).name())?;
        }
    }
    Ok(())
}
