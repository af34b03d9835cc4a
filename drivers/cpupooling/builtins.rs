// SPDX-License-Identifier: GPL-2.0

//! The functions that every node has.

use crate::{
    outcome::state_name,
    pool::PoolContext, //
};
use kernel::{
    prelude::*,
    str::CString,
    time::{
        delay::fsleep,
        Delta,
        Instant,
        Monotonic, //
    }, //
};
use linux::work::yield_now;
use virgo_proto::clone::MAX_OUTPUT;
use virgo_utils::functions::{
    self,
    Arg,
    ArgumentKind,
    Call,
    Function, //
};

pub(crate) const FUNCTIONS: &[Function] = &[
    Function {
        name: "noop",
        about: "does nothing",
        args: &[],
        quick: true,
        run: |_| Ok(0),
    },
    Function {
        name: "echo",
        about: "prints its argument",
        args: &[Arg {
            name: "text",
            kind: ArgumentKind::Text,
        }],
        quick: false,
        run: echo,
    },
    Function {
        name: "node",
        about: "prints the node's load, returns its number",
        args: &[],
        quick: true,
        run: node,
    },
    Function {
        name: "functions",
        about: "lists the node's functions, returns how many there are",
        args: &[],
        quick: false,
        run: list,
    },
    Function {
        name: "jobs",
        about: "lists the caller's jobs, root's call everybody's, of a uid (-1: of any) and behind a job",
        args: &[
            Arg {
                name: "uid",
                kind: ArgumentKind::Number,
            },
            Arg {
                name: "behind",
                kind: ArgumentKind::Number,
            },
        ],
        quick: false,
        run: jobs,
    },
    Function {
        name: "cancel_job",
        about: "ends a job of the node",
        args: &[Arg {
            name: "job",
            kind: ArgumentKind::Number,
        }],
        quick: true,
        run: cancel_job,
    },
    Function {
        name: "spin",
        about: "keeps a processor busy",
        args: MILLISECONDS,
        quick: false,
        run: spin,
    },
    Function {
        name: "sleep",
        about: "waits",
        args: MILLISECONDS,
        quick: false,
        run: sleep,
    },
];

const MILLISECONDS: &[Arg] = &[Arg {
    name: "milliseconds",
    kind: ArgumentKind::Number,
}];

/// How often what waits looks whether it is cancelled.
const LOOK: Delta = Delta::from_millis(20);

fn echo(call: &mut Call<'_>) -> Result<i64> {
    let text = call.args.first().copied().unwrap_or_default();
    call.output.print(text)?;
    Ok(text.len() as i64)
}

fn node(call: &mut Call<'_>) -> Result<i64> {
    let shared = call.state::<PoolContext>()?;
    let number = shared.node.config().me;
    // As it was measured lately: to look at all tasks is too much for each call.
    let load = shared.load();
    let text = CString::try_from_fmt(fmt!(
        "processors={} runnable={} free_mib={}",
        load.processors.get(),
        load.runnable.get(),
        load.free_mib.get()
    ))?;
    call.output.print(text.to_bytes())?;
    Ok(number.into())
}

/// A line each: `NAME ARGUMENT=KIND...: ABOUT`.
fn list(call: &mut Call<'_>) -> Result<i64> {
    let mut count = 0;
    functions::try_for_each(|function| {
        count += 1;
        let mut print = |text: &str| call.output.print(text.as_bytes());
        print(function.name)?;
        for arg in function.args {
            print(" ")?;
            print(arg.name)?;
            print(match arg.kind {
                ArgumentKind::Number => "=number",
                ArgumentKind::Text => "=text",
            })?;
        }
        print(": ")?;
        print(function.about)?;
        print("\n")
    })?;
    Ok(count)
}

/// Longest line of [`jobs`].
const LINE: usize = 64;

/// A line each, the oldest first: `JOB NODE UID STATE`. Stops where the output is full; the next call
/// goes on behind the last line. Returns how many there are.
fn jobs(call: &mut Call<'_>) -> Result<i64> {
    let (uid, behind) = (call.number(0)?, call.number(1)?);
    // Ids are less than 2^63, and 0 is none.
    let first = u64::try_from(behind).unwrap_or(0).saturating_add(1);
    let caller = call.uid;
    let wanted = |of: u32| (uid == -1 || uid == i64::from(of)) && (caller == 0 || caller == of);
    let mut list = KVVec::new();
    let (mut count, mut result) = (0, Ok(()));
    call.state::<PoolContext>()?
        .jobs
        .for_each_from(first, |job| {
            if !job.is_kept() || !wanted(job.uid) {
                return true;
            }
            if list.len() > MAX_OUTPUT - LINE {
                return false;
            }
            let (id, node, uid) = (job.id, job.node(), job.uid);
            let state = state_name(job.state());
            result = CString::try_from_fmt(fmt!("{id} {node} {uid} {state}\n"))
                .and_then(|line| Ok(list.extend_from_slice(line.to_bytes(), GFP_KERNEL)?));
            count += 1;
            result.is_ok()
        });
    result?;
    call.output.print(&list)?;
    Ok(count)
}

fn cancel_job(call: &mut Call<'_>) -> Result<i64> {
    let id = u64::try_from(call.number(0)?).map_err(|_| ESRCH)?;
    let shared = call.state::<PoolContext>()?;
    let job = shared.jobs.find(id, call.uid)?;
    shared.executor.give_up(&job, ECANCELED);
    Ok(0)
}

/// Time that a call is to take: not less, so it is not measured in jiffies.
struct Time {
    start: Instant<Monotonic>,
    length: Delta,
}

impl Time {
    fn of(call: &Call<'_>) -> Result<Self> {
        let ms = u32::try_from(call.number(0)?).map_err(|_| EINVAL)?;
        Ok(Time {
            start: Instant::now(),
            length: Delta::from_millis(ms.into()),
        })
    }

    fn is_over(&self) -> bool {
        self.start.elapsed() >= self.length
    }
}

fn spin(call: &mut Call<'_>) -> Result<i64> {
    let time = Time::of(call)?;
    while !time.is_over() {
        ended(call)?;
        // Others have their turn; a spinning call is no reason for a lockup.
        yield_now();
    }
    Ok(0)
}

fn sleep(call: &mut Call<'_>) -> Result<i64> {
    let time = Time::of(call)?;
    while !time.is_over() {
        ended(call)?;
        fsleep(LOOK);
    }
    Ok(0)
}

/// Whether the call has to end.
fn ended(call: &Call<'_>) -> Result {
    match (call.is_over(), call.deadline.passed()) {
        (true, true) => Err(ETIMEDOUT),
        (true, false) => Err(ECANCELED),
        _ => Ok(()),
    }
}
