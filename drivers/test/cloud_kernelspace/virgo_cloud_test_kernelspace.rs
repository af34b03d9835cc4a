// SPDX-License-Identifier: GPL-2.0

//! virgo_cloud_test_kernelspace: the function of the original by which a cluster is tried out,
//! and an example of how a module offers functions.

use kernel::prelude::*;
use virgo_utils::functions::{
    Function,
    Registration, //
};

module! {
    type: Module,
    name: "virgo_cloud_test_kernelspace",
    authors: ["The VIRGO developers"],
    description: "VIRGO: a function to try out calls with",
    license: "GPL",
}

const FUNCTIONS: &[Function] = &[Function {
    name: "virgo_cloud_test_kernelspace",
    about: "says that it has run, here and in the log",
    args: &[],
    quick: true,
    run: |call| {
        let uid = call.uid;
        pr_info!("called by uid {uid}\n");
        call.output.print(b"virgo_cloud_test_kernelspace has run")?;
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
