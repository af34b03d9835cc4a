// SPDX-License-Identifier: GPL-2.0

//! What other nodes may ask of this node's processors. See [`virgo_proto::clone`].

use crate::{
    invocation::CallOrigin,
    load_reporter::LoadReporter,
    pool::Cpupool, //
};
use core::mem::size_of;
use kernel::prelude::*;
use linux::deadline::Deadline;
use virgo_proto::{
    balance::Policy,
    clone::{
        self,
        next_call,
        next_outcome,
        op,
        state,
        Load,
        PickArgs,
        RunArgs,
        MAX_CALLS,
        MAX_SHORT, //
    },
    config::MAX_DEADLINE_MS, //
};
use virgo_utils::{
    Body,
    Operation,
    Peer,
    Repeat,
    User, //
};

pub(crate) const OPERATIONS: &[Operation<Cpupool>] = &[
    Operation {
        number: op::RUN,
        name: "run",
        repeat: Repeat::Stored(longest_answer),
        run,
    },
    Operation {
        number: op::DONE,
        name: "done",
        repeat: Repeat::Again,
        run: done,
    },
    Operation {
        number: op::CANCEL,
        name: "cancel",
        repeat: Repeat::Again,
        run: cancel,
    },
    Operation {
        number: op::TELL,
        name: "tell",
        repeat: Repeat::Again,
        run: tell,
    },
    Operation {
        number: op::PICK,
        name: "pick",
        repeat: Repeat::Again,
        run: pick,
    },
    Operation {
        number: op::PROBE,
        name: "probe",
        repeat: Repeat::Again,
        run: probe,
    },
];

/// Arguments and calls of a Run, if there are as many as it says.
fn run_args(request: &[u8]) -> Result<(RunArgs, &[u8])> {
    let (args, calls) = RunArgs::read_from_prefix(request).map_err(|_| EINVAL)?;
    let count = args.count.get() as usize;
    if args.reserved.get() != 0 || count == 0 || count > MAX_CALLS {
        return Err(EINVAL);
    }
    let mut rest = calls;
    for _ in 0..count {
        next_call(&mut rest).ok_or(EINVAL)?;
    }
    match rest.is_empty() {
        true => Ok((args, calls)),
        false => Err(EINVAL),
    }
}

fn longest_answer(request: &[u8]) -> usize {
    let count = RunArgs::read_from_prefix(request).map_or(0, |(args, _)| args.count.get());
    let calls = (count as usize).min(MAX_CALLS);
    size_of::<Load>() + calls * (size_of::<clone::OutcomeHeader>() + MAX_SHORT)
}

fn run(this: &Cpupool, peer: Peer, request: &[u8], reply: &mut Body<'_>) -> Result {
    let (args, mut calls) = run_args(request)?;
    let config = this.node.config();
    let user = User {
        uid: args.uid.get(),
        deadline: Deadline::after_ms(args.timeout_ms.get().clamp(1, MAX_DEADLINE_MS)),
        config: &config,
        claim: None,
    };
    LoadReporter::subscribe(&this.reporter, &config, peer.node);
    this.outboxes.heard(peer.node);
    reply.put(this.load().as_bytes())?;
    while let Some((key, argv)) = next_call(&mut calls) {
        match this.accept(&user, CallOrigin::Peer(peer), key, argv) {
            Some(outcome) => {
                let outcome = outcome.short();
                reply.put(outcome.to_wire(key).as_bytes())?;
                reply.put(&outcome.output)?;
            }
            None => {
                let running = clone::OutcomeHeader {
                    key: key.into(),
                    value: 0.into(),
                    state: state::RUNNING.into(),
                    out_len: 0.into(),
                    err_len: 0.into(),
                    flags: 0.into(),
                };
                reply.put(running.as_bytes())?;
            }
        }
    }
    Ok(())
}

fn done(this: &Cpupool, peer: Peer, request: &[u8], _reply: &mut Body<'_>) -> Result {
    let mut results = request;
    while let Some((header, output)) = next_outcome(&mut results) {
        let is_part = header.flags.get() & clone::PART != 0;
        if header.state.get() == state::RUNNING && !is_part {
            return Err(EINVAL);
        }
        let Some(job) = this.jobs.running(header.key.get(), peer.node) else {
            continue;
        };
        match is_part {
            true => job.receive_errors(output),
            false => job.receive(&header, output),
        }
    }
    match results.is_empty() {
        true => Ok(()),
        false => Err(EINVAL),
    }
}

fn cancel(this: &Cpupool, peer: Peer, request: &[u8], _reply: &mut Body<'_>) -> Result {
    for key in clone::keys(request).ok_or(EINVAL)? {
        this.executor.cancel(CallOrigin::Peer(peer), key);
    }
    this.outboxes.heard(peer.node);
    Ok(())
}

fn probe(this: &Cpupool, peer: Peer, request: &[u8], reply: &mut Body<'_>) -> Result {
    let keys = clone::keys(request).ok_or(EINVAL)?;
    this.outboxes.heard(peer.node);
    for key in keys {
        // In this order: what has ended is in the outbox before it is no call any more.
        let known = this.executor.has(peer.node, key) || this.outboxes.has(peer.node, key);
        reply.put(&[known.into()])?;
    }
    Ok(())
}

fn tell(this: &Cpupool, peer: Peer, request: &[u8], _reply: &mut Body<'_>) -> Result {
    let load = Load::read_from_bytes(request).map_err(|_| EINVAL)?;
    this.view.heard(peer.node, load);
    this.outboxes.heard(peer.node);
    Ok(())
}

fn pick(this: &Cpupool, _peer: Peer, request: &[u8], reply: &mut Body<'_>) -> Result {
    let args = PickArgs::read_from_bytes(request).map_err(|_| EINVAL)?;
    let policy = Policy::from_wire(args.policy.get()).ok_or(EINVAL)?;
    let count = args.count.get();
    if count > virgo_abi::args::MAX_CALLS {
        return Err(EINVAL);
    }
    this.view.heard(this.node.config().me, this.load());
    for _ in 0..count {
        let node = this.view.choose(policy, args.nodes.get()).ok_or(ENODEV)?;
        reply.put(&[node])?;
    }
    Ok(())
}
