// SPDX-License-Identifier: GPL-2.0

//! Requests to the pools of other nodes.

use kernel::prelude::*;
use linux::deadline::Deadline;
use virgo_proto::{
    mempool::{
        op,
        FreeArgs, //
    },
    vuid::NodeId, //
};
use virgo_utils::{
    Client,
    Data,
    Expect,
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
        again: true,
        expect: Expect::Soon,
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
