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

/// Asks node `node` to do `op`; what comes back goes to `reply`.
pub(crate) fn ask(
    client: &Client,
    node: NodeId,
    op: u16,
    args: &[u8],
    data: &[u8],
    reply: &mut [u8],
    deadline: Deadline,
) -> Result<usize> {
    let request = Request {
        op,
        args,
        data: Data::Bytes(data),
        // A node that has restarted has nothing left of what was done before.
        retry_after_restart: true,
        reply_deadline: ReplyDeadline::Soon,
    };
    client.call(node, &request, reply, deadline)
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
    ask(
        client,
        node,
        op::FREE,
        args.as_bytes(),
        b"",
        &mut [],
        deadline,
    )?;
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
        match ask(client, node, op::FREE_MANY, args, &batch, &mut [], deadline) {
            Ok(_) => (),
            Err(e @ (EINVAL | EPERM | EXDEV)) => result = result.and(Err(e)),
            Err(e) => return Err(e),
        }
    }
}
