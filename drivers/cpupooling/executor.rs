// SPDX-License-Identifier: GPL-2.0

//! Running calls on this node: at most so many at a time, the others wait.

use crate::{
    args::Args,
    budgets::RunAccounts,
    function,
    invocation::{
        CallOrigin,
        Invocation,
        InvocationKey,
        NewInvocation, //
    },
    job::Job,
    jobs::Jobs,
    outbox::Outboxes,
    outcome::Outcome,
    program,
    schedule::{
        Schedule,
        ScheduleEntry, //
    }, //
};
use kernel::{
    prelude::*,
    sync::{
        atomic::{
            Atomic,
            Relaxed, //
        },
        Arc,
        SpinLock, //
    },
    time::{
        Instant,
        Monotonic, //
    }, //
};
use linux::{
    trace,
    work::{
        Task,
        WorkQueue, //
    }, //
};
use virgo_config::{
    Config,
    Node, //
};
use virgo_proto::{
    clone::MAX_OUTPUT,
    eventnet::event::EventKind,
    vuid::NodeId, //
};
use virgo_utils::{
    budget::Charge,
    Peer, //
};

/// Runs calls. Dropping it cancels all and waits for them.
pub(crate) struct Executor {
    pool: Arc<Pool>,
    workers: KVec<Pin<KBox<Task<Worker>>>>,
}

/// What the workers share.
#[pin_data]
struct Pool {
    node: Arc<Node>,
    jobs: Arc<Jobs>,
    outboxes: Arc<Outboxes>,
    numbers: Atomic<u64>,
    #[pin]
    state: SpinLock<State>,
}

struct State {
    calls: Schedule,
    /// Numbers of workers that have nothing to do.
    idle: KVec<usize>,
    stopped: bool,
}

/// Runs one call after the other while there are any.
struct Worker {
    pool: Arc<Pool>,
    number: usize,
}

impl Executor {
    /// An executor that runs `workers` calls at a time. May sleep.
    pub(crate) fn new(
        node: Arc<Node>,
        jobs: Arc<Jobs>,
        outboxes: Arc<Outboxes>,
        workers: usize,
    ) -> Result<Self> {
        let mut idle = KVec::with_capacity(workers, GFP_KERNEL)?;
        for number in 0..workers {
            idle.push(number, GFP_KERNEL)?;
        }
        let state = State {
            calls: Schedule::new(),
            idle,
            stopped: false,
        };
        let pool = Arc::pin_init(
            pin_init!(Pool {
                node,
                jobs,
                outboxes,
                numbers: Atomic::new(0),
                state <- kernel::new_spinlock!(state, "virgo_executor"),
            }),
            GFP_KERNEL,
        )?;
        // One piece of work a worker.
        let queue = WorkQueue::unbound(c"virgo_run", workers as c_int)?;
        let mut all = KVec::with_capacity(workers, GFP_KERNEL)?;
        for number in 0..workers {
            let worker = Worker {
                pool: pool.clone(),
                number,
            };
            all.push(
                KBox::pin_init(
                    linux::new_task!(queue.clone(), worker, "virgo_worker"),
                    GFP_KERNEL,
                )?,
                GFP_KERNEL,
            )?;
        }
        Ok(Executor { pool, workers: all })
    }

    /// Calls that run or wait.
    pub(crate) fn len(&self) -> usize {
        self.pool.state.lock().calls.len()
    }

    /// Runs a call as soon as it is its user's turn and a worker is free. May sleep.
    ///
    /// # Errors
    ///
    /// [`EDQUOT`] if its user has too many calls here, [`EAGAIN`] if all together have; [`EEXIST`] if
    /// its caller has another one of this name; [`ESHUTDOWN`]; [`ENOMEM`].
    pub(crate) fn start(&self, new: NewInvocation, accounts: RunAccounts) -> Result {
        let number = self.pool.numbers.fetch_add(1, Relaxed);
        let run = Invocation::new(new, accounts, number)?;
        let entry = ScheduleEntry::new(run.clone())?;
        let mut state = self.pool.state.lock();
        if state.stopped {
            return Err(ESHUTDOWN);
        }
        let refused = state.calls.add(&run, entry);
        let worker = match refused {
            Ok(()) => state.idle.pop(),
            Err(_) => None,
        };
        drop(state);
        refused.map_err(|_| EEXIST)?;
        if let Some(worker) = worker.and_then(|number| self.workers.get(number)) {
            worker.schedule();
        }
        Ok(())
    }

    /// Shows `see` each call that runs or waits. The lock is taken for one at a time only.
    pub(crate) fn for_each(&self, mut see: impl FnMut(&Invocation)) {
        self.pool.for_each((0, 0), |run| {
            see(run);
            true
        });
    }

    /// Whether a call that node `node` calls `name` runs or waits here.
    pub(crate) fn has(&self, node: NodeId, name: u64) -> bool {
        self.pool.state.lock().calls.get((node, name)).is_some()
    }

    /// Whether any call of node `node` does.
    pub(crate) fn has_any(&self, node: NodeId) -> bool {
        let state = self.pool.state.lock();
        let first = state.calls.from((node, 0));
        first.is_some_and(|run| run.key().0 == node)
    }

    /// Ends the call that its caller calls `name`. May sleep.
    pub(crate) fn cancel(&self, origin: CallOrigin, name: u64) {
        let run = self.pool.state.lock().calls.get(origin.key(name)).cloned();
        if let Some(run) = run {
            self.pool.cancel(&run);
        }
    }

    /// Nobody waits for `job` any more: it ends with `e`, wherever it runs.
    pub(crate) fn give_up(&self, job: &Job, e: Error) {
        if job.has_ended() {
            return;
        }
        job.end(Outcome::failed(e));
        match job.node() {
            0 => (),
            _ if job.is_here() => self.cancel(CallOrigin::Here, job.id),
            node => self.pool.outboxes.cancel(node, job.id, job.deadline),
        }
    }

    /// Ends the calls of `gone`, an incarnation of a node that is over.
    pub(crate) fn cancel_gone(&self, gone: Peer) {
        self.pool.for_each((gone.node, 0), |run| {
            match run.origin {
                CallOrigin::Peer(of) if of == gone => self.pool.cancel(run),
                CallOrigin::Peer(of) if of.node == gone.node => (),
                _ => return false,
            }
            true
        });
    }
}

impl Drop for Executor {
    fn drop(&mut self) {
        self.pool.state.lock().stopped = true;
        self.pool.for_each((0, 0), |run| {
            self.pool.cancel(run);
            true
        });
        // Dropping the workers waits for them.
    }
}

impl Pool {
    /// Shows `see` each call from `first` on, until it says false.
    fn for_each(&self, first: InvocationKey, mut see: impl FnMut(&Arc<Invocation>) -> bool) {
        let mut next = Some(first);
        while let Some(first) = next {
            let Some(run) = self.state.lock().calls.from(first).cloned() else {
                return;
            };
            if !see(&run) {
                return;
            }
            let (node, name) = run.key();
            next = match name.checked_add(1) {
                Some(name) => Some((node, name)),
                None => node.checked_add(1).map(|node| (node, 0)),
            };
        }
    }

    /// Ends a call: at once if it does not run yet.
    fn cancel(&self, run: &Arc<Invocation>) {
        run.cancel();
        let waited = self.state.lock().calls.withdraw(run.turn());
        if waited.is_some() {
            self.finish(run, Outcome::failed(ECANCELED));
        }
    }

    /// The next call to run; `None`, and the worker is idle, if there is none.
    fn next(&self, worker: usize) -> Option<(Arc<Invocation>, Charge)> {
        let mut state = self.state.lock();
        match state.calls.next() {
            Some((node, charge)) => {
                drop(state);
                let (_, run) = node.to_key_value();
                Some((run, charge))
            }
            None => {
                // Made for all workers.
                let _ = state.idle.push_within_capacity(worker);
                None
            }
        }
    }

    /// Hands the outcome of `run` over to who wants it, and forgets the call. Waits for nobody.
    fn finish(&self, run: &Invocation, outcome: Outcome) {
        match run.origin {
            CallOrigin::Here => self.jobs.end(run.name, self.node.config().me, outcome),
            // Who has cancelled it knows already.
            CallOrigin::Peer(_) if run.cancelled.load(Relaxed) => (),
            CallOrigin::Peer(peer) => {
                let outcome = outcome.charged(&run.accounts.bytes);
                self.outboxes.result(peer, run, outcome);
            }
        }
        // Not before: at any time either the executor or the outbox knows the call.
        let removed = self.state.lock().calls.remove(run.key());
        drop(removed);
    }
}

/// Operations of the tracepoint of jobs: see `drivers/linux/trace.h`.
const BEGUN: u32 = 0;
const ENDED: u32 = 1;

impl linux::work::Run for Worker {
    fn run(task: &Task<Self>) {
        while let Some((run, running)) = task.pool.next(task.number) {
            let start = trace::job_is_on().then(Instant::<Monotonic>::now);
            trace::job(|| run.event(BEGUN));
            let work = run
                .cause
                .work(EventKind::Clone, run.name, run.target.name());
            let outcome = if run.cancelled.load(Relaxed) {
                Outcome::failed(ECANCELED)
            } else if run.deadline.passed() {
                Outcome::failed(ETIMEDOUT)
            } else {
                call(&run, &task.pool.node.config())
            };
            trace::job(|| run.event(ENDED).ended(&outcome.has_run(), start));
            if let Some(work) = &work {
                work.has_ended(&outcome.has_run());
            }
            task.pool.finish(&run, outcome);
            drop(work);
            drop(running);
        }
    }
}

/// Calls what `run` names, if that is still allowed. Sleeps until it ends, or shortly after the
/// deadline.
fn call(run: &Invocation, config: &Config) -> Outcome {
    let mut args = Args::new();
    let target = match run.target.open(config, run.uid, &mut args) {
        Ok(target) => target,
        Err(refused) => return refused,
    };
    match &run.target.function {
        Some(function) => {
            let how = function::FunctionCall {
                args: args.slice(),
                uid: run.uid,
                deadline: run.deadline,
                cancelled: &run.cancelled,
                max_output: MAX_OUTPUT,
            };
            function::call(function, &how)
        }
        None => program::run(target, args.slice(), run, config).unwrap_or_else(Outcome::failed),
    }
}
