// SPDX-License-Identifier: GPL-2.0

//! Telling others how loaded this node is: those that have calls here or have lately had some, and
//! the registry. When nobody has, nobody is told, so an idle node does nothing. Who is told knows
//! that this node lives.

use crate::{
    executor::Executor,
    load::OwnLoad, //
};
use kernel::{
    prelude::*,
    sync::{
        Arc,
        SpinLock, //
    }, //
};
use linux::{
    deadline::Deadline,
    work::{
        Run,
        Task, //
    }, //
};
use virgo_config::{
    Config,
    Node, //
};
use virgo_proto::{
    clone::op,
    config::MAX_NODES,
    vuid::NodeId, //
};
use virgo_utils::{
    Client,
    Data,
    ReplyDeadline,
    Request, //
};

/// Time between two beats, in milliseconds.
const BEAT_MS: u32 = 500;

/// How long a node is told after its last call, in milliseconds.
const INTERESTED_MS: u32 = 5000;

/// Longest time to tell one node, in milliseconds.
const TELL_MS: u32 = 500;

/// Tells others. Its work beats.
#[pin_data]
pub(crate) struct Heart {
    node: Arc<Node>,
    client: Arc<Client>,
    executor: Arc<Executor>,
    own: Arc<OwnLoad>,
    /// Until when each node is told.
    #[pin]
    interested: SpinLock<[Option<Deadline>; MAX_NODES]>,
}

impl Heart {
    pub(crate) fn new(
        node: Arc<Node>,
        client: Arc<Client>,
        executor: Arc<Executor>,
        own: Arc<OwnLoad>,
    ) -> impl PinInit<Self> {
        pin_init!(Self {
            node,
            client,
            executor,
            own,
            interested <- kernel::new_spinlock!([None; MAX_NODES], "virgo_heart"),
        })
    }

    /// Node `node` has had a call run here.
    pub(crate) fn interests(task: &Task<Self>, config: &Config, node: NodeId) {
        let until = Deadline::after_ms(INTERESTED_MS);
        let mut interested = task.interested.lock();
        for node in [Some(node), config.registry].into_iter().flatten() {
            let place = usize::from(node)
                .checked_sub(1)
                .and_then(|index| interested.get_mut(index));
            if let (Some(place), true) = (place, node != config.me) {
                *place = Some(until);
            }
        }
        drop(interested);
        task.schedule_after_ms(BEAT_MS);
    }

    fn is_interested(&self, node: NodeId) -> bool {
        let mut interested = self.interested.lock();
        let place = usize::from(node)
            .checked_sub(1)
            .and_then(|index| interested.get_mut(index));
        let Some(place) = place else {
            return false;
        };
        if place.is_some_and(|until| until.passed()) {
            *place = None;
        }
        place.is_some()
    }
}

impl Run for Heart {
    fn run(task: &Task<Self>) {
        let load = task.own.get(task.executor.len());
        let mut again = false;
        for (node, _) in task.node.config().nodes.iter() {
            if !task.is_interested(node) && !task.executor.has_any(node) {
                continue;
            }
            again = true;
            let request = Request {
                op: op::TELL,
                args: load.as_bytes(),
                data: Data::Bytes(b""),
                uid: 0,
                retry_after_restart: true,
                reply_deadline: ReplyDeadline::Soon,
            };
            // Who is not reached finds out by himself.
            let deadline = Deadline::after_ms(TELL_MS);
            let _ = task.client.call(node, &request, &mut [], deadline);
        }
        if again {
            task.schedule_after_ms(BEAT_MS);
        }
    }
}
