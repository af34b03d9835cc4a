// SPDX-License-Identifier: GPL-2.0

//! The functions that every node has.

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
use virgo_utils::functions::{
    self,
    Arg,
    Call,
    Function,
    Kind, //
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
            kind: Kind::Text,
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
    kind: Kind::Number,
}];

/// How often what waits looks whether it is cancelled.
const LOOK: Delta = Delta::from_millis(20);

fn echo(call: &mut Call<'_>) -> Result<i64> {
    let text = call.args.first().copied().unwrap_or_default();
    call.output.print(text)?;
    Ok(text.len() as i64)
}

fn node(call: &mut Call<'_>) -> Result<i64> {
    let number = virgo_config::node()?.config().me;
    let load = linux::load::load();
    let text = CString::try_from_fmt(fmt!(
        "processors={} runnable={} free_mib={}",
        load.online,
        load.runnable,
        load.free_mib
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
                Kind::Number => "=number",
                Kind::Text => "=text",
            })?;
        }
        print(": ")?;
        print(function.about)?;
        print("\n")
    })?;
    Ok(count)
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
