// SPDX-License-Identifier: GPL-2.0

//! Ending calls on other nodes that nobody here waits for any more.

use kernel::{
    prelude::*,
    sync::{
        Arc,
        Mutex, //
    }, //
};
use linux::{
    deadline::Deadline,
    work::{
        Run,
        Task, //
    }, //
};
use virgo_proto::{
    clone::op,
    vuid::NodeId, //
};
use virgo_utils::{
    Client,
    Data,
    Expect,
    Request, //
};

/// Calls that wait at most. More than that end by their deadlines.
const MAX: usize = 4096;

/// Longest time to tell one node, in milliseconds.
const TELL_MS: u32 = 2000;

/// Calls that are to end. Its work tells their nodes.
#[pin_data]
pub(crate) struct Abandoned {
    client: Arc<Client>,
    #[pin]
    calls: Mutex<KVVec<(NodeId, u64)>>,
}

impl Abandoned {
    pub(crate) fn new(client: Arc<Client>) -> impl PinInit<Self> {
        pin_init!(Self {
            client,
            calls <- kernel::new_mutex!(KVVec::new(), "virgo_abandoned"),
        })
    }

    /// The call that this node calls `key` is to end on node `node`. May sleep.
    pub(crate) fn add(task: &Task<Self>, node: NodeId, key: u64) {
        let mut calls = task.calls.lock();
        // One too many ends by its deadline.
        let _ = match calls.len() < MAX {
            true => calls.push((node, key), GFP_KERNEL),
            false => Ok(()),
        };
        drop(calls);
        task.schedule();
    }
}

impl Run for Abandoned {
    fn run(task: &Task<Self>) {
        loop {
            let Some((node, key)) = task.calls.lock().pop() else {
                return;
            };
            let request = Request {
                op: op::CANCEL,
                args: &key.to_le_bytes(),
                data: Data::Bytes(b""),
                again: true,
                expect: Expect::Soon,
            };
            // A node that is not reached ends the call at its deadline.
            let deadline = Deadline::after_ms(TELL_MS);
            let _ = task.client.call(node, &request, &mut [], deadline);
        }
    }
}
