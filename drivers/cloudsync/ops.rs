// SPDX-License-Identifier: GPL-2.0

//! What other nodes ask. See [`virgo_proto::cloudsync::wire`].

use crate::{
    cluster::ClusterAsk,
    reader,
    service::Cloudsync, //
};
use kernel::prelude::*;
use virgo_proto::cloudsync::{
    wire::{
        max_member,
        op,
        In,
        Out, //
    },
    MAX_NODES, //
};
use virgo_utils::{
    Body,
    Operation,
    Peer,
    Repeat, //
};

pub(crate) const OPERATIONS: &[Operation<Cloudsync>] = &[
    Operation {
        number: op::MEMBER,
        name: "member",
        repeat: Repeat::Again,
        run: member,
    },
    Operation {
        number: op::CLAIM,
        name: "claim",
        repeat: Repeat::Again,
        run: claim,
    },
    Operation {
        number: op::NOTICES,
        name: "notices",
        repeat: Repeat::Again,
        run: notices,
    },
    Operation {
        number: op::REPORTS,
        name: "reports",
        repeat: Repeat::Again,
        run: reports,
    },
];

fn member(this: &Cloudsync, peer: Peer, request: &[u8], reply: &mut Body<'_>) -> Result {
    let ask = read_ask(request)?;
    let told = this.locks.cluster.handle(peer.node, &ask)?;
    reply.fill(max_member(MAX_NODES), |to| {
        let mut out = Out::new(to);
        out.told(&told);
        out.finish().ok_or(EMSGSIZE)
    })?;
    Ok(())
}

/// Not part of its caller's stack frame, which others go on from.
#[inline(never)]
fn read_ask(request: &[u8]) -> Result<KBox<ClusterAsk>> {
    let mut bytes = In(request);
    let ask = bytes.ask().ok_or(EINVAL)?;
    bytes.end().ok_or(EINVAL)?;
    Ok(KBox::new(ask, GFP_KERNEL)?)
}

fn claim(this: &Cloudsync, peer: Peer, request: &[u8], reply: &mut Body<'_>) -> Result {
    let mut bytes = In(request);
    let _view = bytes.u64().ok_or(EINVAL)?;
    let uid = bytes.u32().ok_or(EINVAL)?;
    receive(this, peer, (op::CLAIM, uid, request), reply)
}

fn notices(this: &Cloudsync, peer: Peer, request: &[u8], reply: &mut Body<'_>) -> Result {
    receive(this, peer, (op::NOTICES, 0, request), reply)
}

fn reports(this: &Cloudsync, peer: Peer, request: &[u8], reply: &mut Body<'_>) -> Result {
    receive(this, peer, (op::REPORTS, 0, request), reply)
}

fn receive(this: &Cloudsync, peer: Peer, what: (u16, u32, &[u8]), reply: &mut Body<'_>) -> Result {
    reader::receive(&this.locks.cluster, peer.node, what, reply)
}
