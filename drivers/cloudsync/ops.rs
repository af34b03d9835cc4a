// SPDX-License-Identifier: GPL-2.0

//! What other nodes ask. See [`virgo_proto::cloudsync::wire`].

use crate::{
    cluster::ClusterAsk,
    service::Cloudsync, //
};
use kernel::prelude::*;
use virgo_proto::cloudsync::{
    wire::{
        max_member,
        op,
        In,
        Out,
        MAX_ANSWER, //
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
    let view = bytes.u64().ok_or(EINVAL)?;
    let uid = bytes.u32().ok_or(EINVAL)?;
    let name = bytes.name().ok_or(EINVAL)?;
    let claim = bytes.claim().ok_or(EINVAL)?;
    bytes.end().ok_or(EINVAL)?;
    let mut names = this.locks.cluster.names.lock();
    let answer = names.claimed(peer.node, view, uid, name, &claim)?;
    drop(names);
    reply.fill(MAX_ANSWER, |to| {
        let mut out = Out::new(to);
        out.answer(&answer);
        out.finish().ok_or(EMSGSIZE)
    })?;
    Ok(())
}

fn notices(this: &Cloudsync, _peer: Peer, request: &[u8], _reply: &mut Body<'_>) -> Result {
    let mut bytes = In(request);
    let view = bytes.u64().ok_or(EINVAL)?;
    let mut names = this.locks.cluster.names.lock();
    names.check_view(view)?;
    while !bytes.is_empty() {
        let name = bytes.name().ok_or(EINVAL)?;
        let notice = bytes.notice().ok_or(EINVAL)?;
        names.noticed(name, &notice)?;
    }
    Ok(())
}

fn reports(this: &Cloudsync, peer: Peer, request: &[u8], _reply: &mut Body<'_>) -> Result {
    let mut bytes = In(request);
    let view = bytes.u64().ok_or(EINVAL)?;
    let is_last = bytes.flag().ok_or(EINVAL)?;
    let mut names = this.locks.cluster.names.lock();
    names.check_view(view)?;
    while !bytes.is_empty() {
        let name = bytes.name().ok_or(EINVAL)?;
        let report = bytes.report().ok_or(EINVAL)?;
        names.reported(peer.node, name, &report)?;
    }
    if is_last {
        names.reported_all(peer.node);
        drop(names);
        // Perhaps it is only to be waited for now.
        this.locks.cluster.wake_clock();
    }
    Ok(())
}
