// SPDX-License-Identifier: GPL-2.0

//! Requests to the pools of other nodes.

use kernel::prelude::*;
use linux::{
    bytes::Fill,
    deadline::Deadline, //
};
use virgo_proto::{
    mempool::{
        op,
        FreeArgs,
        ManyArgs,
        MAX_MANY, //
    },
    vuid::NodeId, //
};
use virgo_utils::{
    Client,
    Data,
    ReplyDeadline,
    Request, //
};

/// A request to do `op` for user `uid`.
pub(crate) fn request<'a>(uid: u32, op: u16, args: &'a [u8], data: &'a [u8]) -> Request<'a> {
    Request {
        op,
        args,
        data: Data::Bytes(data),
        uid,
        // A node that has restarted has nothing left of what was done before.
        retry_after_restart: true,
        reply_deadline: ReplyDeadline::Soon,
    }
}

/// Asks node `node` to free its object `id` for user `uid`.
pub(crate) fn free_remote(
    client: &Client,
    node: NodeId,
    id: u64,
    uid: u32,
    flags: u32,
    deadline: Deadline,
) -> Result {
    let args = FreeArgs {
        id: id.into(),
        uid: uid.into(),
        flags: flags.into(),
    };
    let request = request(uid, op::FREE, args.as_bytes(), b"");
    client.call(node, &request, &mut [], deadline)?;
    Ok(())
}

/// Asks node `node` to free its objects `ids` for user `uid`, with as few requests as possible. All
/// are tried, unless the node cannot be reached.
///
/// # Errors
///
/// The first of the node's; those of the network.
pub(crate) fn free_many(
    client: &Client,
    node: NodeId,
    uid: u32,
    deadline: Deadline,
    mut ids: impl Iterator<Item = u64>,
) -> Result {
    let args = ManyArgs { uid: uid.into() };
    let args = args.as_bytes();
    let mut result = Ok(());
    let mut batch = KVec::new();
    loop {
        batch.clear();
        for id in ids.by_ref().take(MAX_MANY) {
            batch.put_bytes(&id.to_le_bytes(), GFP_KERNEL_ACCOUNT)?;
        }
        if batch.is_empty() {
            return result;
        }
        let request = request(uid, op::FREE_MANY, args, &batch);
        match client.call(node, &request, &mut [], deadline) {
            Ok(_) => (),
            Err(e @ (EINVAL | EPERM | EXDEV)) => result = result.and(Err(e)),
            Err(e) => return Err(e),
        }
    }
}
