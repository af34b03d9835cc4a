// SPDX-License-Identifier: GPL-2.0

//! The processor pool as its users see it: calls that are made here and run anywhere.

use crate::{
    abandoned::Abandoned,
    executor::{
        Executor,
        Origin,
        Run, //
    },
    heart::Heart,
    jobs::{
        Job,
        Jobs, //
    },
    load::OwnLoad,
    outcome::Outcome,
    target::{
        Args,
        Opened, //
    },
    view::View, //
};
use kernel::{
    prelude::*,
    sync::Arc, //
};
use linux::work::{
    Queue,
    Task, //
};
use virgo_config::{
    Config,
    Node, //
};
use virgo_proto::{
    clone::Load,
    vuid::NodeId, //
};
use virgo_utils::{
    Client,
    User, //
};

/// All state of the module. What works by itself is dropped before what it uses.
pub(crate) struct Cpupool {
    pub(crate) heart: Pin<KBox<Task<Heart>>>,
    abandoned: Pin<KBox<Task<Abandoned>>>,
    pub(crate) executor: Arc<Executor>,
    pub(crate) node: Arc<Node>,
    pub(crate) client: Arc<Client>,
    pub(crate) jobs: Arc<Jobs>,
    pub(crate) view: Pin<KBox<View>>,
    own: Arc<OwnLoad>,
    /// Whether this node is reached like another.
    loopback: bool,
}

/// How much there may be at a time.
pub(crate) struct Limits {
    /// Calls that run here.
    pub(crate) running: usize,
    /// Calls that wait to run here.
    pub(crate) waiting: usize,
    /// Calls made here whose results were not taken.
    pub(crate) jobs: usize,
}

impl Cpupool {
    /// May sleep.
    ///
    /// # Errors
    ///
    /// [`ENOMEM`].
    pub(crate) fn new(
        node: Arc<Node>,
        port: u16,
        limits: &Limits,
        loopback: bool,
    ) -> Result<Arc<Self>> {
        let client = Arc::pin_init(Client::new(node.clone(), port), GFP_KERNEL)?;
        let jobs = Arc::pin_init(Jobs::new(limits.jobs), GFP_KERNEL)?;
        let own = Arc::pin_init(OwnLoad::new(), GFP_KERNEL)?;
        let executor = Executor::new(
            node.clone(),
            client.clone(),
            jobs.clone(),
            limits.running,
            limits.waiting,
        )?;
        let executor = Arc::new(executor, GFP_KERNEL)?;
        let queue = Queue::new(c"virgo_clone", 2)?;
        let heart = Heart::new(node.clone(), client.clone(), executor.clone(), own.clone());
        let this = Cpupool {
            heart: KBox::pin_init(
                linux::new_task!(queue.clone(), heart, "virgo_heart"),
                GFP_KERNEL,
            )?,
            abandoned: KBox::pin_init(
                linux::new_task!(queue, Abandoned::new(client.clone()), "virgo_abandoned"),
                GFP_KERNEL,
            )?,
            executor,
            node,
            client,
            jobs,
            view: KBox::pin_init(View::new(), GFP_KERNEL)?,
            own,
            loopback,
        };
        Ok(Arc::new(this, GFP_KERNEL)?)
    }

    /// Whether node `node` is reached without a connection.
    pub(crate) fn is_here(&self, config: &Config, node: NodeId) -> bool {
        node == config.me && !self.loopback
    }

    /// How loaded this node is.
    pub(crate) fn load(&self) -> Load {
        self.own.get(self.executor.len())
    }

    /// Runs a call here: at once if it is quick, then the outcome is returned; otherwise soon, and
    /// whoever `origin` means is told. May sleep.
    pub(crate) fn accept(
        &self,
        user: &User<'_>,
        origin: Origin,
        key: u64,
        argv: &[u8],
    ) -> Option<Outcome> {
        let mut args = Args::new();
        let opened = match Opened::new(user.config, argv, &mut args) {
            Ok(opened) => opened,
            Err(refused) => return Some(refused),
        };
        if opened.is_quick() {
            return Some(opened.run(user.uid, user.deadline));
        }
        let started = opened
            .keep()
            .and_then(|target| Run::new(origin, key, user.uid, user.deadline, target))
            .and_then(|run| self.executor.start(run));
        started.err().map(Outcome::failed)
    }

    /// Nobody waits for `job` any more: it ends with `e`, wherever it runs.
    pub(crate) fn give_up(&self, job: &Job, e: Error) {
        if job.has_ended() {
            return;
        }
        self.jobs.end_job(job, Outcome::failed(e));
        match job.node() {
            0 => (),
            node if self.is_here(&self.node.config(), node) => {
                self.executor.cancel(Origin::Here, job.id);
            }
            node => Abandoned::add(&self.abandoned, node, job.id),
        }
    }
}

impl Drop for Cpupool {
    fn drop(&mut self) {
        // What waits for other nodes ends now.
        self.client.stop();
    }
}
