// SPDX-License-Identifier: GPL-2.0

//! Telling others how loaded this node is: the subscribers, which are those that have calls here or
//! have lately had some, and the registry. When there are none, nobody is told, so an idle node does
//! nothing. Who is told knows that this node lives.

use crate::{
    executor::Executor,
    load::OwnLoad,
    outbox::Outboxes, //
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
    config::MAX_NODES,
    vuid::NodeId, //
};

/// Time between two reports, in milliseconds.
const REPORT_MS: u32 = 500;

/// How long a node is told after its last call, in milliseconds.
const SUBSCRIBED_MS: u32 = 5000;

/// Tells the subscribers.
#[pin_data]
pub(crate) struct LoadReporter {
    node: Arc<Node>,
    executor: Arc<Executor>,
    outboxes: Arc<Outboxes>,
    own: Arc<OwnLoad>,
    /// Until when each node is told.
    #[pin]
    subscribers: SpinLock<[Option<Deadline>; MAX_NODES]>,
}

impl LoadReporter {
    pub(crate) fn new(
        node: Arc<Node>,
        executor: Arc<Executor>,
        outboxes: Arc<Outboxes>,
        own: Arc<OwnLoad>,
    ) -> impl PinInit<Self> {
        pin_init!(Self {
            node,
            executor,
            outboxes,
            own,
            subscribers <- kernel::new_spinlock!([None; MAX_NODES], "virgo_load_reporter"),
        })
    }

    /// Node `node` has had a call run here.
    pub(crate) fn subscribe(task: &Task<Self>, config: &Config, node: NodeId) {
        let until = Deadline::after_ms(SUBSCRIBED_MS);
        let mut subscribers = task.subscribers.lock();
        for node in [Some(node), config.registry].into_iter().flatten() {
            let place = usize::from(node)
                .checked_sub(1)
                .and_then(|index| subscribers.get_mut(index));
            if let (Some(place), true) = (place, node != config.me) {
                *place = Some(until);
            }
        }
        drop(subscribers);
        task.schedule_after_ms(REPORT_MS);
    }

    fn is_subscribed(&self, node: NodeId) -> bool {
        let mut subscribers = self.subscribers.lock();
        let place = usize::from(node)
            .checked_sub(1)
            .and_then(|index| subscribers.get_mut(index));
        let Some(place) = place else {
            return false;
        };
        if place.is_some_and(|until| until.passed()) {
            *place = None;
        }
        place.is_some()
    }
}

impl Run for LoadReporter {
    fn run(task: &Task<Self>) {
        let load = task.own.get(task.executor.len());
        let mut again = false;
        for (node, _) in task.node.config().nodes.iter() {
            if task.is_subscribed(node) || task.executor.has_any(node) {
                again = true;
                // By work of that node's own: one that is out of reach delays no other.
                task.outboxes.tell(node, load);
            }
        }
        if again {
            task.schedule_after_ms(REPORT_MS);
        }
    }
}
