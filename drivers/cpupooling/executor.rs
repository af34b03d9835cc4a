// SPDX-License-Identifier: GPL-2.0

//! Running calls on this node: at most so many at a time, the others wait.

use crate::{
    jobs::Jobs,
    outcome::Outcome,
    target::Target, //
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
    }, //
};
use linux::{
    deadline::Deadline,
    program::Program,
    wait::WaitQueue,
    work::{
        Queue,
        Task, //
    }, //
};
use virgo_config::Node;
use virgo_proto::clone::op;
use virgo_utils::{
    Client,
    Data,
    Expect,
    Peer,
    Request, //
};

/// Time between attempts to tell the caller the result, in milliseconds.
const RETRY_MS: u32 = 500;

/// Longest time for one attempt, in milliseconds.
const REPORT_MS: u32 = 5000;

/// Who waits for the result of a call.
#[derive(Clone, Copy)]
pub(crate) enum Origin {
    /// A program of this node.
    Here,
    /// Another node.
    Peer(Peer),
}

/// A call that runs or waits to run.
#[pin_data]
pub(crate) struct Run {
    pub(crate) origin: Origin,
    /// The caller's name for it.
    pub(crate) key: u64,
    pub(crate) uid: u32,
    pub(crate) deadline: Deadline,
    pub(crate) target: Target,
    pub(crate) cancelled: Atomic<bool>,
    /// The program, while it runs.
    #[pin]
    program: SpinLock<Option<Arc<Program>>>,
}

impl Run {
    pub(crate) fn new(
        origin: Origin,
        key: u64,
        uid: u32,
        deadline: Deadline,
        target: Target,
    ) -> Result<Arc<Self>> {
        Arc::pin_init(
            pin_init!(Self {
                origin,
                key,
                uid,
                deadline,
                target,
                cancelled: Atomic::new(false),
                program <- kernel::new_spinlock!(None, "virgo_run"),
            }),
            GFP_KERNEL,
        )
    }

    /// A program was started for it, or has ended.
    pub(crate) fn set_program(&self, program: Option<Arc<Program>>) {
        let old = core::mem::replace(&mut *self.program.lock(), program);
        drop(old);
        if self.cancelled.load(Relaxed) {
            self.cancel();
        }
    }

    /// Makes it end soon.
    fn cancel(&self) {
        self.cancelled.store(true, Relaxed);
        let program = self.program.lock().clone();
        if let Some(program) = program {
            program.end();
        }
    }
}

/// Runs calls. Dropping it cancels all and waits for them.
pub(crate) struct Executor {
    pool: Arc<Pool>,
    workers: KVec<Pin<KBox<Task<Worker>>>>,
}

/// What the workers share.
#[pin_data]
struct Pool {
    node: Arc<Node>,
    client: Arc<Client>,
    jobs: Arc<Jobs>,
    #[pin]
    state: SpinLock<State>,
    /// Nobody wakes it but the end: for waiting between attempts.
    #[pin]
    stop: WaitQueue,
}

struct State {
    /// All calls, those that wait last. Never grows.
    runs: KVVec<Arc<Run>>,
    /// How many of them run, from the front.
    running: usize,
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
    /// An executor that runs `workers` calls at a time and lets `max` wait. May sleep.
    pub(crate) fn new(
        node: Arc<Node>,
        client: Arc<Client>,
        jobs: Arc<Jobs>,
        workers: usize,
        max: usize,
    ) -> Result<Self> {
        let mut idle = KVec::with_capacity(workers, GFP_KERNEL)?;
        for number in 0..workers {
            idle.push(number, GFP_KERNEL)?;
        }
        let state = State {
            runs: KVVec::with_capacity(max.saturating_add(workers), GFP_KERNEL)?,
            running: 0,
            idle,
            stopped: false,
        };
        let pool = Arc::pin_init(
            pin_init!(Pool {
                node,
                client,
                jobs,
                state <- kernel::new_spinlock!(state, "virgo_executor"),
                stop <- linux::new_wait_queue!("virgo_executor"),
            }),
            GFP_KERNEL,
        )?;
        // One piece of work a worker.
        let queue = Queue::unbound(c"virgo_run", workers as c_int)?;
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
        self.pool.state.lock().runs.len()
    }

    /// Runs `run` as soon as a worker is free.
    ///
    /// # Errors
    ///
    /// [`EAGAIN`] if too many wait, [`ESHUTDOWN`].
    pub(crate) fn start(&self, run: Arc<Run>) -> Result {
        let mut state = self.pool.state.lock();
        if state.stopped {
            return Err(ESHUTDOWN);
        }
        // The capacity is the limit.
        state.runs.push_within_capacity(run).map_err(|_| EAGAIN)?;
        let worker = state.idle.pop();
        drop(state);
        if let Some(worker) = worker.and_then(|number| self.workers.get(number)) {
            worker.schedule();
        }
        Ok(())
    }

    /// Shows `see` each call that runs or waits.
    pub(crate) fn for_each(&self, mut see: impl FnMut(&Run)) {
        let mut at = 0;
        // One at a time, since showing may sleep.
        while let Some(run) = self.pool.at(at) {
            see(&run);
            at += 1;
        }
    }

    /// Ends the call that its caller calls `key`.
    pub(crate) fn cancel(&self, origin: Origin, key: u64) {
        self.pool
            .cancel(|run| run.key == key && same_caller(run.origin, origin));
    }

    /// Ends the calls of former lives of `peer`.
    pub(crate) fn cancel_former(&self, peer: Peer) {
        self.pool.cancel(|run| match run.origin {
            Origin::Peer(of) => of.node == peer.node && of.boot != peer.boot,
            Origin::Here => false,
        });
    }
}

/// A peer's calls are its own, whatever connection or life of it speaks.
fn same_caller(a: Origin, b: Origin) -> bool {
    match (a, b) {
        (Origin::Here, Origin::Here) => true,
        (Origin::Peer(a), Origin::Peer(b)) => a.node == b.node,
        _ => false,
    }
}

impl Drop for Executor {
    fn drop(&mut self) {
        self.pool.state.lock().stopped = true;
        self.pool.stop.wake_all();
        self.pool.cancel(|_| true);
        // Dropping the workers waits for them.
    }
}

impl Pool {
    /// Cancels the calls that are wanted: one at a time, since ending a program is not done under
    /// the lock.
    fn cancel(&self, wanted: impl Fn(&Run) -> bool) {
        while let Some(run) = self.find(&wanted) {
            run.cancel();
        }
    }

    /// The first call that is wanted and not cancelled yet.
    fn find(&self, wanted: &impl Fn(&Run) -> bool) -> Option<Arc<Run>> {
        let state = self.state.lock();
        let mut runs = state.runs.iter();
        runs.find(|run| !run.cancelled.load(Relaxed) && wanted(run))
            .cloned()
    }

    fn at(&self, place: usize) -> Option<Arc<Run>> {
        self.state.lock().runs.get(place).cloned()
    }

    /// The next call to run; `None`, and the worker is idle, if there is none.
    fn next(&self, worker: usize) -> Option<Arc<Run>> {
        let mut state = self.state.lock();
        match state.runs.get(state.running).cloned() {
            Some(run) => {
                state.running += 1;
                Some(run)
            }
            None => {
                // Made for all workers.
                let _ = state.idle.push_within_capacity(worker);
                None
            }
        }
    }

    fn remove(&self, run: &Arc<Run>) {
        let mut state = self.state.lock();
        let at = state.runs.iter().position(|known| Arc::ptr_eq(known, run));
        let removed = at.and_then(|at| state.runs.remove(at).ok());
        state.running -= usize::from(removed.is_some());
        drop(state);
        drop(removed);
    }

    fn is_stopped(&self) -> bool {
        self.state.lock().stopped
    }

    /// Tells the caller what came of `run`. Gives up at the call's deadline: nobody waits then.
    fn report(&self, run: &Run, outcome: Outcome) {
        let peer = match run.origin {
            Origin::Here => {
                let me = self.node.config().me;
                return self.jobs.end(run.key, me, outcome);
            }
            Origin::Peer(peer) => peer,
        };
        let header = outcome.to_wire(run.key);
        let request = Request {
            op: op::DONE,
            args: header.as_bytes(),
            data: Data::Bytes(&outcome.output),
            again: false,
            expect: Expect::Soon,
        };
        loop {
            let deadline = Deadline::after_ms(REPORT_MS);
            match self.client.call(peer.node, &request, &mut [], deadline) {
                Err(EHOSTDOWN | ETIMEDOUT | ENOMEM)
                    if !run.deadline.passed() && !self.is_stopped() => {}
                Ok(_) => return,
                Err(e) => {
                    pr_debug!("node {}: result not delivered: {e:?}\n", peer.node);
                    return;
                }
            }
            let stopped = self.stop.wait(Deadline::after_ms(RETRY_MS), || {
                self.state.lock().stopped.then_some(())
            });
            if !matches!(stopped, Ok(None)) {
                return;
            }
        }
    }
}

impl linux::work::Run for Worker {
    fn run(task: &Task<Self>) {
        while let Some(run) = task.pool.next(task.number) {
            let outcome = if run.cancelled.load(Relaxed) {
                Outcome::failed(ECANCELED)
            } else if run.deadline.passed() {
                Outcome::failed(ETIMEDOUT)
            } else {
                run.target.run(&run, &task.pool.node.config())
            };
            task.pool.report(&run, outcome);
            task.pool.remove(&run);
        }
    }
}
