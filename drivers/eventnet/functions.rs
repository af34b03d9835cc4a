// SPDX-License-Identifier: GPL-2.0

//! What other nodes call: this is how events of all nodes come together, and how recording is
//! switched on all nodes. Root's calls only, but for the status, which is everybody's.

use crate::events::{
    dump,
    rate,
    record,
    Status, //
};
use kernel::{
    prelude::*,
    str::CString, //
};
use linux::bytes::Fill;
use virgo_proto::{
    clone::MAX_OUTPUT,
    command::parse_u64,
    eventnet::ring::Cursor, //
};
use virgo_utils::functions::{
    Arg,
    ArgumentKind,
    Call,
    Function, //
};

const fn text(name: &'static str) -> Arg {
    Arg {
        name,
        kind: ArgumentKind::Text,
    }
}

pub(crate) const FUNCTIONS: &[Function] = &[
    Function {
        name: "eventnet_dump",
        about: "prints events of one ring from a position on, of which so many were before (root)",
        args: &[text("ring"), text("position"), text("count")],
        quick: false,
        run: run_dump,
    },
    Function {
        name: "eventnet_record",
        about: "records kinds of events (all, none, memory+file): one call of so many (root)",
        args: &[text("kinds"), text("one_in")],
        quick: false,
        run: |call| {
            only_root(call)?;
            let [kinds, one_in] = *call.args else {
                return Err(EINVAL);
            };
            record(kinds, rate(one_in)?)?;
            Ok(0)
        },
    },
    Function {
        name: "eventnet_status",
        about: "prints what is recorded and what was lost",
        args: &[],
        quick: false,
        run: |call| {
            let status = CString::try_from_fmt(core::format_args!("{Status}"))?;
            call.output.print(status.to_bytes())?;
            Ok(0)
        },
    },
];

/// Events tell what others do.
fn only_root(call: &Call<'_>) -> Result {
    match call.uid {
        0 => Ok(()),
        _ => Err(EPERM),
    }
}

fn run_dump(call: &mut Call<'_>) -> Result<i64> {
    only_root(call)?;
    let number = |index: usize| {
        let arg = call.args.get(index).copied().unwrap_or_default();
        parse_u64(arg).ok_or(EINVAL)
    };
    let ring = usize::try_from(number(0)?)?;
    let from = Cursor {
        at: number(1)?,
        count: number(2)?,
    };
    let mut bytes = KVVec::new();
    bytes.put_zeros(MAX_OUTPUT, GFP_KERNEL)?;
    let size = dump(ring, from, &mut bytes)?;
    bytes.truncate(size);
    call.output.print(&bytes)?;
    Ok(0)
}
