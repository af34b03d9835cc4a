// SPDX-License-Identifier: GPL-2.0

//! Functions for tests and benches: some that take their time, as modules may go while one of their
//! functions runs, and one that makes requests where nothing may sleep.

use core::net::Ipv4Addr;
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
use virgo_utils::{
    functions::{
        Arg,
        ArgumentKind,
        Function,
        Registration, //
    },
    requests::{
        pop_request,
        push_request,
        QueueRequest, //
    }, //
};

module! {
    type: Module,
    name: "virgo_test_functions",
    authors: ["The VIRGO developers"],
    description: "VIRGO: functions for tests and benches",
    license: "GPL",
}

/// Longest time that the function takes, in milliseconds.
const MAX_MS: u16 = 20_000;

/// Requests made in one go.
const BATCH: u16 = 100;

const FUNCTIONS: &[Function] = &[
    Function {
        name: "virgo_test_slow",
        about: "sleeps, cancelled or not",
        args: &[Arg {
            name: "milliseconds",
            kind: ArgumentKind::Number,
        }],
        quick: false,
        run: |call| {
            let ms = u16::try_from(call.number(0)?).map_err(|_| ERANGE)?;
            fsleep(Delta::from_millis(ms.min(MAX_MS).into()));
            Ok(ms.into())
        },
    },
    Function {
        name: "kingcobra_problem",
        about: "does problem reports, each in three seconds",
        args: &[Arg {
            name: "text",
            kind: ArgumentKind::Text,
        }],
        quick: false,
        run: |call| {
            fsleep(Delta::from_millis(3000));
            call.output.print(b"done")?;
            Ok(0)
        },
    },
    Function {
        name: "kingcobra_suggestion",
        about: "says which uid has made a suggestion",
        args: &[Arg {
            name: "text",
            kind: ArgumentKind::Text,
        }],
        quick: false,
        run: |call| {
            let said = CString::try_from_fmt(fmt!("uid={}", call.uid))?;
            call.output.print(said.to_bytes())?;
            Ok(0)
        },
    },
    Function {
        name: "virgo_test_log",
        about: "says something to EventNet so often; returns nanoseconds for once",
        args: &[
            Arg {
                name: "times",
                kind: ArgumentKind::Number,
            },
            Arg {
                name: "text",
                kind: ArgumentKind::Text,
            },
        ],
        quick: false,
        run: |call| {
            let times = u32::try_from(call.number(0)?).map_err(|_| ERANGE)?;
            let text = call.args.get(1).copied().unwrap_or_default();
            let start = Instant::<Monotonic>::now();
            for _ in 0..times {
                if call.is_over() {
                    return Err(ETIMEDOUT);
                }
                virgo_utils::eventnet::log(text);
            }
            Ok(start.elapsed().as_nanos() / i64::from(times.max(1)))
        },
    },
    Function {
        name: "virgo_test_requests",
        about: "makes and takes requests under a lock; returns nanoseconds for making one",
        args: &[Arg {
            name: "batches",
            kind: ArgumentKind::Number,
        }],
        quick: false,
        run: |call| {
            let batches = u16::try_from(call.number(0)?).map_err(|_| ERANGE)?.max(1);
            let mut nanos = 0;
            for _ in 0..batches {
                nanos += requests()?;
            }
            Ok(nanos / i64::from(batches) / i64::from(BATCH))
        },
    },
];

kernel::sync::global_lock! {
    // SAFETY: Initialised by the module's initialisation, before its functions can be called.
    unsafe(uninit) static LOCK: SpinLockIrq<()> = ();
}

/// Makes [`BATCH`] requests and takes them back, with interrupts off. Returns how long making took, in
/// nanoseconds.
///
/// # Errors
///
/// Those of the queue; [`ENOMSG`] if a request is not there.
fn requests() -> Result<i64> {
    let request = QueueRequest {
        data: b"sixteen bytes...",
        from: Ipv4Addr::LOCALHOST,
        uid: 0,
        reply: None,
    };
    let guard = LOCK.lock();
    let start = Instant::<Monotonic>::now();
    for _ in 0..BATCH {
        push_request(&request)?;
    }
    let nanos = start.elapsed().as_nanos();
    for _ in 0..BATCH {
        let popped = pop_request().ok_or(ENOMSG)?;
        if popped != *request.data {
            return Err(EBADMSG);
        }
    }
    drop(guard);
    Ok(nanos)
}

struct Module {
    _functions: Registration,
}

impl kernel::Module for Module {
    fn init(module: &'static ThisModule) -> Result<Self> {
        // SAFETY: Called once in the life of the module.
        unsafe { LOCK.init() };
        Ok(Module {
            _functions: Registration::new(module, FUNCTIONS)?,
        })
    }
}
