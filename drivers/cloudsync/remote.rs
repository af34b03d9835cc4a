// SPDX-License-Identifier: GPL-2.0

//! Asking other nodes. See [`virgo_proto::cloudsync::wire`].

use crate::{
    cluster::{
        Cluster,
        ClusterAsk,
        ClusterTold, //
    },
    names::Outgoing, //
};
use kernel::prelude::*;
use linux::deadline::Deadline;
use virgo_proto::{
    cloudsync::{
        resource::Answer,
        wire::{
            max_member,
            op,
            In,
            Out,
            MAX_ANSWER,
            MAX_CLAIM, //
        },
        MAX_NODES, //
    },
    vuid::NodeId, //
};
use virgo_utils::{
    buffer::Buffer,
    Data,
    ReplyDeadline,
    Request, //
};

fn ask(
    cluster: &Cluster,
    node: NodeId,
    (op, uid, data): (u16, u32, &[u8]),
    reply: &mut [u8],
    ms: u32,
) -> Result<usize> {
    let request = Request {
        brief: None,
        op,
        args: b"",
        data: Data::Bytes(data),
        uid,
        // What it does is numbered, or said again.
        retry_after_restart: false,
        reply_deadline: ReplyDeadline::Soon,
    };
    cluster
        .client
        .call(node, &request, reply, Deadline::after_ms(ms))
}

/// Says what concerns the view.
pub(crate) fn member(
    cluster: &Cluster,
    node: NodeId,
    message: &ClusterAsk,
) -> Result<KBox<ClusterTold>> {
    const MAX: usize = max_member(MAX_NODES);
    let mut buffer = Buffer::new(2 * MAX)?;
    let (request, reply) = buffer.bytes().split_at_mut_checked(MAX).ok_or(EINVAL)?;
    let mut out = Out::new(request);
    out.ask(message);
    let len = out.finish().ok_or(EMSGSIZE)?;
    let request = request.get(..len).unwrap_or_default();
    let wait = cluster.timing.dead_ms / 2;
    let len = ask(cluster, node, (op::MEMBER, 0, request), reply, wait)?;
    read_told(reply.get(..len).unwrap_or_default())
}

/// Not part of its caller's stack frame, which others go on from.
#[inline(never)]
fn read_told(reply: &[u8]) -> Result<KBox<ClusterTold>> {
    let told = In(reply).told().ok_or(EPROTO)?;
    Ok(KBox::new(told, GFP_KERNEL)?)
}

/// Sends a claim and waits for the answer until `deadline`.
pub(crate) fn claim(cluster: &Cluster, out: &Outgoing, deadline: Deadline) -> Result<Answer> {
    let mut bytes = [0; MAX_CLAIM];
    let mut request = Out::new(&mut bytes);
    request.u64(out.view);
    request.u32(out.uid);
    request.name(&out.name);
    request.claim(&out.claim);
    let len = request.finish().ok_or(EMSGSIZE)?;
    let request = bytes.get(..len).unwrap_or_default();
    let mut reply = [0; MAX_ANSWER];
    let wait = cluster.timing.dead_ms.min(deadline.left_ms());
    let len = ask(
        cluster,
        out.master,
        (op::CLAIM, out.uid, request),
        &mut reply,
        wait,
    )?;
    In(reply.get(..len).unwrap_or_default())
        .answer()
        .ok_or(EPROTO)
}

/// Sends notices.
pub(crate) fn notices(cluster: &Cluster, node: NodeId, bytes: &[u8]) -> Result {
    let wait = cluster.timing.dead_ms;
    ask(cluster, node, (op::NOTICES, 0, bytes), &mut [], wait).map(drop)
}

/// Sends reports.
pub(crate) fn reports(cluster: &Cluster, node: NodeId, bytes: &[u8]) -> Result {
    let wait = cluster.timing.dead_ms;
    ask(cluster, node, (op::REPORTS, 0, bytes), &mut [], wait).map(drop)
}
