// SPDX-License-Identifier: GPL-2.0

//! What other nodes ask. See [`virgo_proto::analytics::rollout::wire`].

use crate::{
    local::Analytics,
    rollouts, //
};
use kernel::prelude::*;
use virgo_proto::analytics::rollout::wire::{
    op,
    read_say,
    RolloutReply,
    RolloutRequest,
    MAX_ANSWER_LEN, //
};
use virgo_utils::{
    Body,
    Operation,
    Peer,
    Repeat, //
};

pub(crate) const OPERATIONS: &[Operation<Analytics>] = &[
    Operation {
        number: op::PREPARE,
        name: "prepare",
        repeat: Repeat::Again,
        run: prepare,
    },
    Operation {
        number: op::SAY,
        name: "say",
        repeat: Repeat::Again,
        run: say,
    },
];

fn answer(reply: &RolloutReply<'_>, body: &mut Body<'_>) -> Result {
    let mut bytes = [0; MAX_ANSWER_LEN];
    let len = reply.write(&mut bytes);
    body.put(bytes.get(..len).unwrap_or_default())
}

fn prepare(this: &Analytics, peer: Peer, request: &[u8], body: &mut Body<'_>) -> Result {
    let request = RolloutRequest::read(request).ok_or(EINVAL)?;
    let said = this.rollouts.prepare(peer.node, &request);
    rollouts::with_reply(&said, |reply| answer(reply, body))?
}

fn say(this: &Analytics, peer: Peer, request: &[u8], body: &mut Body<'_>) -> Result {
    let (id, ask) = read_say(request).ok_or(EINVAL)?;
    let said = this.rollouts.handle(peer.node, id, &ask)?;
    answer(&RolloutReply::Answer(said), body)
}
