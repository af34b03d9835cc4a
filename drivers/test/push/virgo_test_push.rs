// SPDX-License-Identifier: GPL-2.0

//! Takes what is diverted to the queue in its stead, for the tests of the diversion: loads only
//! while no queue is loaded, and says in the log what has arrived.

use kernel::{
    prelude::*,
    str::BStr, //
};
use virgo_utils::functions::{
    Arg,
    ArgumentKind,
    Function,
    Registration, //
};

module! {
    type: Module,
    name: "virgo_test_push",
    authors: ["The VIRGO developers"],
    description: "VIRGO: stand-in for the queue, for the tests of the diversion",
    license: "GPL",
}

const FUNCTIONS: &[Function] = &[Function {
    name: "kingcobra_push",
    about: "logs the text; 'full' is refused, as by a full queue",
    args: &[Arg {
        name: "text",
        kind: ArgumentKind::Text,
    }],
    quick: true,
    run: |call| {
        let [text] = *call.args else {
            return Err(EINVAL);
        };
        if text == b"full" {
            return Err(EAGAIN);
        }
        pr_info!("uid {} pushed '{}'\n", call.uid, BStr::from_bytes(text));
        Ok(0)
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
