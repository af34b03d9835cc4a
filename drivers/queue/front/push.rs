// SPDX-License-Identifier: GPL-2.0

//! Pushing a request by name, for what hands text over without knowing this module.

use kernel::prelude::*;
use virgo_utils::{
    functions::{
        Arg,
        ArgumentKind,
        Call,
        Function, //
    },
    requests::{
        push_request,
        QueueRequest, //
    }, //
};

pub(crate) const FUNCTIONS: &[Function] = &[Function {
    name: "kingcobra_push",
    about: "puts a request into the queue of its node",
    args: &[Arg {
        name: "request",
        kind: ArgumentKind::Text,
    }],
    quick: true,
    run: push,
}];

fn push(call: &mut Call<'_>) -> Result<i64> {
    let config = virgo_config::node()?.config();
    let own = config.nodes.address(config.me).ok_or(ENODEV)?;
    push_request(&QueueRequest {
        data: call.args.first().copied().unwrap_or_default(),
        from: own,
        uid: call.uid,
        reply: None,
    })?;
    Ok(0)
}
