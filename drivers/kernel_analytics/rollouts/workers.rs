// SPDX-License-Identifier: GPL-2.0

//! The work of roll-outs: what speaks to each node, looks at the clock, and writes decisions.

use super::{
    remote::{
        self,
        Said, //
    },
    Rollouts, //
};
use kernel::{
    prelude::*,
    sync::Arc, //
};
use linux::work::{
    Run,
    Task,
    WorkQueue, //
};
use virgo_proto::{
    analytics::rollout::{
        wire::RolloutRequest,
        RolloutAsk, //
    },
    config::MAX_NODES,
    vuid::NodeId, //
};

/// What speaks to a node, and hears its answer. This node's own part is spoken to like the others.
struct Speaker {
    rollouts: Arc<Rollouts>,
    node: NodeId,
}

impl Run for Speaker {
    fn run(task: &Task<Self>) {
        let (rollouts, node) = (&task.rollouts, task.node);
        let is_me = node == rollouts.node.config().me;
        let wait = rollouts.timing.lease_ms / 2;
        loop {
            let (message, sent, values) = match rollouts.poll(node) {
                Ok(polled) => polled,
                // Unless it was woken meanwhile.
                Err(Some(ms @ 1..)) => return task.schedule_after_ms(ms),
                // At once, but others get their turn.
                Err(Some(0)) => return task.schedule(),
                Err(None) => return,
            };
            let (id, ask) = message;
            let said = match (ask, &values) {
                (RolloutAsk::Prepare(plan), Some((text, uid))) => {
                    let request = RolloutRequest {
                        id,
                        plan,
                        uid: *uid,
                        text,
                    };
                    match is_me {
                        true => rollouts.prepare(node, &request),
                        false => remote::prepare(&rollouts.client, node, &request, wait),
                    }
                }
                _ if is_me => match rollouts.handle(node, id, &ask) {
                    Ok(answer) => Said::Answer(answer),
                    Err(_) => Said::Silent,
                },
                (RolloutAsk::Keep { .. } | RolloutAsk::Try { .. }, _) => {
                    let wait = rollouts.timing.keep_ms;
                    remote::tell(&rollouts.client, node, &message, wait)
                }
                _ => remote::tell(&rollouts.client, node, &message, wait),
            };
            rollouts.told(node, &message, sent, said);
        }
    }
}

/// What looks at the clock. It waits for no disk and no node.
struct Clock(Arc<Rollouts>);

impl Run for Clock {
    fn run(task: &Task<Self>) {
        if let Some(ms) = task.0.tick() {
            // Unless it was woken meanwhile: then it looks at once.
            task.schedule_after_ms(ms.max(1));
        }
    }
}

/// What writes decisions.
struct Decider(Arc<Rollouts>);

impl Run for Decider {
    fn run(task: &Task<Self>) {
        task.0.decide();
    }
}

/// All of it. Dropped, it has ended.
pub(crate) struct RolloutWorkers {
    speakers: KVec<Arc<Task<Speaker>>>,
    clock: Arc<Task<Clock>>,
    decider: Arc<Task<Decider>>,
}

impl RolloutWorkers {
    /// Makes the workers known to `rollouts`. May sleep.
    ///
    /// # Errors
    ///
    /// [`ENOMEM`].
    pub(crate) fn new(rollouts: &Arc<Rollouts>) -> Result<Self> {
        let queue = WorkQueue::unbound(c"virgo_rollout", MAX_NODES as c_int + 2)?;
        let clock = Clock(rollouts.clone());
        let decider = Decider(rollouts.clone());
        let mut workers = RolloutWorkers {
            speakers: KVec::with_capacity(MAX_NODES, GFP_KERNEL)?,
            clock: Arc::pin_init(
                linux::new_task!(queue.clone(), clock, "virgo_rollout_clock"),
                GFP_KERNEL,
            )?,
            decider: Arc::pin_init(
                linux::new_task!(queue.clone(), decider, "virgo_rollout_decider"),
                GFP_KERNEL,
            )?,
        };
        let mut speaking = KVec::with_capacity(MAX_NODES, GFP_KERNEL)?;
        for node in 1..=MAX_NODES as u8 {
            let speaker = Speaker {
                rollouts: rollouts.clone(),
                node,
            };
            let speaker = Arc::pin_init(
                linux::new_task!(queue.clone(), speaker, "virgo_rollout_speaker"),
                GFP_KERNEL,
            )?;
            speaking.push(speaker.handle()?, GFP_KERNEL)?;
            workers.speakers.push(speaker, GFP_KERNEL)?;
        }
        rollouts.set_workers(speaking, workers.clock.handle()?, workers.decider.handle()?);
        Ok(workers)
    }
}

impl Drop for RolloutWorkers {
    fn drop(&mut self) {
        for speaker in &self.speakers {
            speaker.stop();
        }
        self.clock.stop();
        self.decider.stop();
    }
}
