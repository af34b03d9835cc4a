// SPDX-License-Identifier: GPL-2.0

//! What `/sys/kernel/debug/virgo/cpupooling/state` shows.

use crate::{
    invocation::CallOrigin,
    outcome::state_name,
    pool::Cpupool, //
};
use kernel::{
    fmt,
    prelude::*,
    str::BStr, //
};
use linux::deadline::now_ms;

/// Shows
///
/// - `job ID NODE UID STATE`: a call made here whose result was not taken,
/// - `call KEY NODE UID NAME`: a call that runs or waits here, and the node that made it,
/// - `load NODE CALLS RUNNABLE PROCESSORS BUSY FREE_MIB SENT`: what is known of a node's load, `-` for
///   what is not; BUSY in percent; SENT are the calls since.
pub(crate) fn show(pool: &Cpupool, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let (config, now) = (pool.node.config(), now_ms());
    let mut result = Ok(());
    let mut line = |text: fmt::Arguments<'_>| {
        if result.is_ok() {
            result = f.write_fmt(text);
        }
    };
    pool.jobs.for_each(|job| {
        let (id, node, uid) = (job.id, job.node(), job.uid);
        line(fmt!("job {id} {node} {uid} {}\n", state_name(job.state())));
    });
    pool.executor.for_each(|run| {
        let from = match run.origin {
            CallOrigin::Here => config.me,
            CallOrigin::Peer(peer) => peer.node,
        };
        let name = BStr::from_bytes(run.target.name());
        line(fmt!("call {} {from} {} {name}\n", run.name, run.uid));
    });
    for (node, _) in config.nodes.iter() {
        let seen = pool.view.seen(node);
        let load = match node == config.me {
            true => Some(pool.load()),
            false => seen.and_then(|seen| seen.fresh(now)),
        };
        let sent = seen.map_or(0, |seen| seen.sent(now));
        match load {
            Some(load) => line(fmt!(
                "load {node} {} {} {} {} {} {sent}\n",
                load.calls.get(),
                load.runnable.get(),
                load.processors.get(),
                load.busy.get(),
                load.free_mib.get()
            )),
            None => line(fmt!("load {node} - - - - - {sent}\n")),
        }
    }
    result
}
