// SPDX-License-Identifier: GPL-2.0

//! A function that takes its time, for the tests of modules that go while one of their functions
//! runs.

use kernel::{
    prelude::*,
    time::{
        delay::fsleep,
        Delta, //
    }, //
};
use virgo_utils::functions::{
    Arg,
    Function,
    Kind,
    Registration, //
};

module! {
    type: Module,
    name: "virgo_test_functions",
    authors: ["The VIRGO developers"],
    description: "VIRGO: a slow function for the tests",
    license: "GPL",
}

/// Longest time that the function takes, in milliseconds.
const MAX_MS: u16 = 20_000;

const FUNCTIONS: &[Function] = &[Function {
    name: "virgo_test_slow",
    about: "sleeps, cancelled or not",
    args: &[Arg {
        name: "milliseconds",
        kind: Kind::Number,
    }],
    quick: false,
    run: |call| {
        let ms = u16::try_from(call.number(0)?).map_err(|_| ERANGE)?;
        fsleep(Delta::from_millis(ms.min(MAX_MS).into()));
        Ok(ms.into())
    },
}];

struct Module {
    _functions: Registration,
}

impl kernel::Module for Module {
    fn init(module: &'static ThisModule) -> Result<Self> {
        Ok(Module {
            _functions: Registration::new(module, FUNCTIONS)?,
        })
    }
}
