// SPDX-License-Identifier: GPL-2.0

//! What other nodes call: this is how `virgo locks` shows the locks of all nodes.

use crate::{
    list,
    locks::Locks, //
};
use kernel::prelude::*;
use linux::bytes::Fill;
use virgo_proto::clone::MAX_OUTPUT;
use virgo_utils::functions::Function;

pub(crate) const FUNCTIONS: &[Function] = &[Function {
    name: "lock_list",
    about: "prints the locks of this node's programs; for users other than root their own",
    args: &[],
    quick: false,
    run: |call| {
        let uid = call.uid;
        let mut lines = KVVec::new();
        let cluster = call.state::<Locks>()?.cluster.clone();
        list::each(&cluster, uid, |line| {
            if lines.len() + line.len() >= MAX_OUTPUT {
                return Ok(false);
            }
            lines.put_bytes(line, GFP_KERNEL)?;
            lines.put_bytes(b"\n", GFP_KERNEL)?;
            Ok(true)
        })?;
        call.output.print(&lines)?;
        Ok(0)
    },
}];
