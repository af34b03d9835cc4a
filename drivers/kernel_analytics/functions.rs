// SPDX-License-Identifier: GPL-2.0

//! What other nodes call: this is how `virgo analytics apply` looks at a canary.

use crate::local::Analytics;
use kernel::prelude::*;
use virgo_utils::functions::{
    Arg,
    ArgumentKind,
    Function, //
};

pub(crate) const FUNCTIONS: &[Function] = &[Function {
    name: "analytics_get",
    about: "prints the value of a variable of this node",
    args: &[Arg {
        name: "key",
        kind: ArgumentKind::Text,
    }],
    quick: false,
    run: |call| {
        let key = call.args.first().copied().unwrap_or_default();
        let key = core::str::from_utf8(key).map_err(|_| EINVAL)?;
        let mut value = KVVec::new();
        // Copied first: the output is the call's, and the registry's mutex is not held while it is written.
        let copied = call.state::<Analytics>()?.setter.with(key, |found, _| {
            value.extend_from_slice(found.text().as_bytes(), GFP_KERNEL)
        });
        copied.ok_or(ENOENT)??;
        call.output.print(&value)?;
        Ok(0)
    },
}];
