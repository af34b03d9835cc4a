// SPDX-License-Identifier: GPL-2.0

//! The processor pool as its users see it: calls that are made here and run anywhere.

use crate::{
    budgets::Budgets,
    executor::{
        Executor,
        NewRun,
        Origin, //
    },
    heart::Heart,
    jobs::{
        Job,
        Jobs, //
    },
    learnt::Learnt,
    load::OwnLoad,
    outbox::Outboxes,
    outcome::Outcome,
    target::{
        Args,
        Opened, //
    },
    view::View,
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
    Queue,
    Task, //
};
use virgo_config::{
    Config,
    Node, //
};
use virgo_proto::{
    clone::Load,
    config::MAX_NODES,
    vuid::NodeId, //
};
use virgo_utils::{
    Client,
    User, //
};

/// All state of the module. What works by itself is dropped before what it uses.
pub(crate) struct Cpupool {
    /// Sends calls to several nodes at a time. Its work holds `shared`, and has ended when it is
    /// dropped.
    pub(crate) senders: Arc<Queue>,
    pub(crate) heart: Pin<KBox<Task<Heart>>>,
    pub(crate) shared: Arc<Shared>,
}

/// The state that calls on their way need.
pub(crate) struct Shared {
    watch: Pin<KBox<Task<Watch>>>,
    pub(crate) executor: Arc<Executor>,
    pub(crate) outboxes: Arc<Outboxes>,
    pub(crate) node: Arc<Node>,
    pub(crate) client: Arc<Client>,
    pub(crate) jobs: Arc<Jobs>,
    pub(crate) view: Arc<View>,
    pub(crate) budgets: Budgets,
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
    /// Bytes of arguments and output.
    pub(crate) bytes: u64,
}

impl Deref for Cpupool {
    type Target = Shared;

    fn deref(&self) -> &Shared {
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
        limits: &Limits,
        loopback: bool,
    ) -> Result<Arc<Self>> {
        let client = Arc::pin_init(Client::new(node.clone(), port), GFP_KERNEL)?;
        let jobs = Arc::pin_init(Jobs::new(), GFP_KERNEL)?;
        let own = Arc::pin_init(OwnLoad::new(Learnt::new()?), GFP_KERNEL)?;
        let view = Arc::pin_init(View::new(), GFP_KERNEL)?;
        let outboxes = Outboxes::new(&client, &jobs)?;
        let executor = Executor::new(node.clone(), jobs.clone(), outboxes.clone(), limits.running)?;
        let executor = Arc::new(executor, GFP_KERNEL)?;
        let queue = Queue::new(c"virgo_clone", 2)?;
        let heart = Heart::new(node.clone(), client.clone(), executor.clone(), own.clone());
        let watch = Watch {
            jobs: jobs.clone(),
            view: view.clone(),
            outboxes: outboxes.clone(),
            executor: executor.clone(),
        };
        let shared = Shared {
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
            // Of sending most is waiting.
            senders: Queue::unbound(c"virgo_send", MAX_NODES as c_int)?,
            heart: KBox::pin_init(linux::new_task!(queue, heart, "virgo_heart"), GFP_KERNEL)?,
            shared: Arc::new(shared, GFP_KERNEL)?,
        };
        Ok(Arc::new(this, GFP_KERNEL)?)
    }
}

impl Shared {
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
        let opened = match Opened::new(user.config, user.uid, argv, &mut args) {
            Ok(opened) => opened,
            Err(refused) => return Some(refused),
        };
        if opened.is_quick() {
            return Some(opened.run(user.uid, user.deadline));
        }
        let start = || {
            let new = NewRun {
                origin,
                name: key,
                uid: user.uid,
                deadline: user.deadline,
                target: opened.keep()?,
            };
            self.executor.start(new, self.budgets.of_runs(user.uid)?)
        };
        start().err().map(Outcome::failed)
    }

    /// Looks after the calls that have not ended, from now on.
    pub(crate) fn watch(&self) {
        self.watch.schedule_after_ms(LOOK_MS);
    }

    /// Nobody waits for `job` any more: it ends with `e`, wherever it runs.
    pub(crate) fn give_up(&self, job: &Job, e: Error) {
        if job.has_ended() {
            return;
        }
        self.jobs.end_job(job, Outcome::failed(e));
        match job.node() {
            0 => (),
            _ if job.is_here() => self.executor.cancel(Origin::Here, job.id),
            node => self.outboxes.cancel(node, job.id, job.deadline),
        }
    }
}

impl Drop for Cpupool {
    fn drop(&mut self) {
        // What waits for other nodes ends now.
        self.client.stop();
    }
}
