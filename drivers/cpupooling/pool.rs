// SPDX-License-Identifier: GPL-2.0

//! The state of the module: of calls that are made here, and of those that run here.

use crate::{
    budgets::{
        Budgets,
        PoolLimits, //
    },
    executor::Executor,
    jobs::Jobs,
    learnt::Learnt,
    load::OwnLoad,
    load_reporter::LoadReporter,
    outbox::Outboxes,
    senders::Senders,
    view::LoadView,
    watch::{
        Watch,
        LOOK_MS, //
    }, //
};
use core::ops::Deref;
use kernel::{
    prelude::*,
    sync::Arc, //
};
use linux::work::{
    Task,
    WorkQueue, //
};
use virgo_config::{
    Config,
    Node, //
};
use virgo_proto::{
    clone::Load,
    vuid::NodeId, //
};
use virgo_utils::Client;

/// All state of the module. What works by itself is dropped before what it uses.
pub(crate) struct Cpupool {
    /// Sends calls to several nodes at a time. Its work holds `shared`, and has ended when it is
    /// dropped.
    pub(crate) senders: Senders,
    pub(crate) reporter: Pin<KBox<Task<LoadReporter>>>,
    pub(crate) shared: Arc<PoolContext>,
}

/// The state that calls on their way need.
pub(crate) struct PoolContext {
    watch: Pin<KBox<Task<Watch>>>,
    pub(crate) executor: Arc<Executor>,
    pub(crate) outboxes: Arc<Outboxes>,
    pub(crate) node: Arc<Node>,
    pub(crate) client: Arc<Client>,
    pub(crate) jobs: Arc<Jobs>,
    pub(crate) view: Arc<LoadView>,
    pub(crate) budgets: Budgets,
    own: Arc<OwnLoad>,
    /// Whether this node is reached like another.
    loopback: bool,
}

impl Deref for Cpupool {
    type Target = PoolContext;

    fn deref(&self) -> &PoolContext {
        &self.shared
    }
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
        limits: &PoolLimits,
        loopback: bool,
    ) -> Result<Arc<Self>> {
        let client = Arc::pin_init(Client::new(node.clone(), port), GFP_KERNEL)?;
        let jobs = Arc::pin_init(Jobs::new(), GFP_KERNEL)?;
        let own = Arc::pin_init(OwnLoad::new(Learnt::new()?), GFP_KERNEL)?;
        let view = Arc::pin_init(LoadView::new(), GFP_KERNEL)?;
        let outboxes = Outboxes::new(&client, &jobs)?;
        let executor = Executor::new(node.clone(), jobs.clone(), outboxes.clone(), limits.running)?;
        let executor = Arc::new(executor, GFP_KERNEL)?;
        let queue = WorkQueue::new(c"virgo_clone", 2)?;
        let reporter = LoadReporter::new(
            node.clone(),
            executor.clone(),
            outboxes.clone(),
            own.clone(),
        );
        let watch = Watch::new(
            jobs.clone(),
            view.clone(),
            outboxes.clone(),
            executor.clone(),
        );
        let shared = PoolContext {
            watch: KBox::pin_init(
                linux::new_task!(queue.clone(), watch, "virgo_watch"),
                GFP_KERNEL,
            )?,
            executor,
            outboxes,
            node,
            client,
            jobs,
            view,
            budgets: Budgets::new(limits)?,
            own,
            loopback,
        };
        let this = Cpupool {
            senders: Senders::new(),
            reporter: KBox::pin_init(
                linux::new_task!(queue, reporter, "virgo_load_reporter"),
                GFP_KERNEL,
            )?,
            shared: Arc::new(shared, GFP_KERNEL)?,
        };
        Ok(Arc::new(this, GFP_KERNEL)?)
    }
}

impl PoolContext {
    /// Whether node `node` is reached without a connection.
    pub(crate) fn is_here(&self, config: &Config, node: NodeId) -> bool {
        node == config.me && !self.loopback
    }

    /// How loaded this node is.
    pub(crate) fn load(&self) -> Load {
        self.own.get(self.executor.len())
    }

    /// Looks after the calls that have not ended, from now on.
    pub(crate) fn watch(&self) {
        self.watch.schedule_after_ms(LOOK_MS);
    }

    /// Ends all calls that were made here, wherever they run, and what waits for other nodes; takes no
    /// more until [`Self::resume`].
    pub(crate) fn stop(&self) {
        self.jobs.set_stopped(true);
        self.client.stop();
        self.jobs
            .for_each(|job| self.executor.give_up(job, ESHUTDOWN));
    }

    /// Takes calls again.
    pub(crate) fn resume(&self) {
        self.client.start();
        self.jobs.set_stopped(false);
    }
}

impl Drop for Cpupool {
    fn drop(&mut self) {
        // What waits for other nodes ends now.
        self.client.stop();
    }
}
