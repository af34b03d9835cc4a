// SPDX-License-Identifier: GPL-2.0

//! Work that may wait for a disk, a node, or for ever, by few workers that many users share.
//!
//! What cannot begin yet waits in a line of its owner, and is dropped when nobody wants it any more. Which
//! owner comes next is decided by [`WorkerShares`], which counts on workers that come back: so a job whose
//! end depends on others gives its worker back after each turn, if anybody waits for one.
//!
//! # Lifetime
//!
//! Dropping [`Workers`] waits for all work that has begun, and drops what waits. So no work may hold what
//! holds them; but it may hold the [`Lines`].

use crate::{
    server::deferred::ReplyWatch,
    waiting::take_given_up, //
};
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
        Task,
        WorkHandle,
        WorkQueue, //
    }, //
};
use virgo_proto::worker_shares::{
    WorkOwner,
    WorkerShares, //
};

/// Lines beyond which those that are empty are dropped.
const KEEP: usize = 16;

/// What comes after a turn of a job.
pub enum JobTurn {
    /// Nothing, the job is done.
    Last,
    /// Another turn, when others have had theirs.
    More,
}

/// Something to do.
trait Job: Send {
    fn run(&mut self) -> JobTurn;
}

/// A function that is called once.
struct Once<F>(Option<F>);

impl<F: FnOnce() + Send> Job for Once<F> {
    fn run(&mut self) -> JobTurn {
        if let Some(function) = self.0.take() {
            function();
        }
        JobTurn::Last
    }
}

/// A function that is called for each turn.
struct Turns<F>(F);

impl<F: FnMut() -> JobTurn + Send> Job for Turns<F> {
    fn run(&mut self) -> JobTurn {
        (self.0)()
    }
}

/// A job that waits for a worker.
struct Waiting {
    owner: WorkOwner,
    job: KBox<dyn Job>,
    wanted: ReplyInterest,
}

/// For how long somebody waits for the reply that a job gives.
pub struct ReplyInterest {
    /// Until then.
    pub until: Deadline,
    /// And not beyond the end of this incarnation of a node.
    pub by: Option<ReplyWatch>,
}

impl ReplyInterest {
    /// It is not dropped: what it does is looked at when it runs.
    pub fn always() -> Self {
        ReplyInterest {
            until: Deadline::never(),
            by: None,
        }
    }

    fn is_over(&self) -> bool {
        self.until.passed() || self.by.as_ref().is_some_and(|by| !by.is_wanted())
    }
}

/// The jobs of one owner, in the order in which they came.
struct Line {
    owner: WorkOwner,
    /// The last to come is last.
    back: KVVec<Waiting>,
    /// Those that came before; the first to come is last.
    front: KVVec<Waiting>,
}

impl Line {
    fn first(&mut self) -> Option<&Waiting> {
        if self.front.is_empty() {
            core::mem::swap(&mut self.front, &mut self.back);
            self.front.reverse();
        }
        self.front.last()
    }

    fn pop(&mut self) -> Option<Waiting> {
        self.first()?;
        self.front.pop()
    }

    /// Takes out what was given up, to be dropped without the lock.
    fn take_given_up(&mut self) -> [KVVec<Waiting>; 2] {
        let jobs = [&mut self.front, &mut self.back];
        jobs.map(|jobs| take_given_up(jobs, |job| job.wanted.is_over()))
    }
}

/// A worker, while it has something to do.
struct Worker {
    work: WorkHandle,
    job: Option<Waiting>,
}

struct State<const N: usize> {
    shares: WorkerShares<N>,
    /// By the numbers that `shares` gives them.
    workers: KVec<Worker>,
    lines: KVVec<Line>,
    /// Where to look for the next line that may go on.
    next: usize,
    /// Nothing begins any more.
    over: bool,
}

/// What waits for the workers. Its lock is not held while a job runs, or is dropped.
#[pin_data]
pub struct Lines<const N: usize> {
    #[pin]
    state: Mutex<State<N>>,
}

/// `N` workers: each has a kernel stack while it waits.
pub struct Workers<const N: usize> {
    lines: Arc<Lines<N>>,
    tasks: KVec<Pin<KBox<Task<Numbered<N>>>>>,
}

/// What a worker's task has.
struct Numbered<const N: usize> {
    lines: Arc<Lines<N>>,
    number: usize,
}

impl<const N: usize> Workers<N> {
    /// All are idle. Their work queue has this name. May sleep.
    ///
    /// # Errors
    ///
    /// [`ENOMEM`].
    pub fn new(name: &CStr) -> Result<Self> {
        let state = State {
            shares: WorkerShares::new(),
            workers: KVec::with_capacity(N, GFP_KERNEL)?,
            lines: KVVec::new(),
            next: 0,
            over: false,
        };
        let lines = Arc::pin_init(
            pin_init!(Lines {
                state <- linux::new_mutex!(state, "virgo_workers"),
            }),
            GFP_KERNEL,
        )?;
        let queue = WorkQueue::unbound(name, N as c_int)?;
        let mut tasks = KVec::with_capacity(N, GFP_KERNEL)?;
        for number in 0..N {
            let lines = lines.clone();
            let task = linux::new_task!(
                queue.clone(),
                Numbered { lines, number },
                "virgo_shared_worker"
            );
            tasks.push(KBox::pin_init(task, GFP_KERNEL)?, GFP_KERNEL)?;
        }
        for task in &tasks {
            let worker = Worker {
                work: task.handle()?,
                job: None,
            };
            lines.state.lock().workers.push(worker, GFP_KERNEL)?;
        }
        Ok(Workers { lines, tasks })
    }

    /// Where work waits for them.
    pub fn lines(&self) -> &Arc<Lines<N>> {
        &self.lines
    }
}

impl<const N: usize> Drop for Workers<N> {
    fn drop(&mut self) {
        let mut state = self.lines.state.lock();
        state.over = true;
        let waiting = core::mem::take(&mut state.lines);
        drop(state);
        drop(waiting);
        // Waits for what runs.
        self.tasks.clear();
        // What a worker was given and has not begun.
        let begun = core::mem::take(&mut self.lines.state.lock().workers);
        drop(begun);
    }
}

impl<const N: usize> Lines<N> {
    /// Has `job` done by a worker, for `owner`; it is dropped instead, if none is free while it is `wanted`.
    /// Others of `owner` that were given up are dropped. May sleep, not for other jobs.
    ///
    /// # Errors
    ///
    /// [`ENOMEM`]; [`ESHUTDOWN`] when there are no workers any more; then it is dropped.
    pub fn submit(
        &self,
        owner: WorkOwner,
        wanted: ReplyInterest,
        job: impl FnOnce() + Send + 'static,
    ) -> Result {
        let job: KBox<dyn Job> = KBox::new(Once(Some(job)), GFP_KERNEL)?;
        self.add(Waiting { owner, job, wanted })
    }

    /// As [`Self::submit`], but `job` is called for one turn after the other, until it says that it is
    /// done. It is always wanted: others may come for it who are more patient.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn submit_turns(
        &self,
        owner: WorkOwner,
        job: impl FnMut() -> JobTurn + Send + 'static,
    ) -> Result {
        let job: KBox<dyn Job> = KBox::new(Turns(job), GFP_KERNEL)?;
        let wanted = ReplyInterest::always();
        self.add(Waiting { owner, job, wanted })
    }

    fn add(&self, waiting: Waiting) -> Result {
        let owner = waiting.owner;
        let mut state = self.state.lock();
        if let Err((e, refused)) = state.put(waiting) {
            // Not under the lock, as everything that is not wanted.
            drop(state);
            drop(refused);
            return Err(e);
        }
        let given_up = state.line(owner).map(Line::take_given_up);
        state.dispatch();
        drop(state);
        drop(given_up);
        Ok(())
    }

    /// Drops all that was given up. May sleep, not for jobs.
    pub fn drop_given_up(&self) {
        // One line at a time: then the lock is not held for long.
        for at in 0.. {
            let mut state = self.state.lock();
            let Some(line) = state.lines.get_mut(at) else {
                return;
            };
            let given_up = line.take_given_up();
            drop(state);
            drop(given_up);
        }
    }
}

impl<const N: usize> Run for Numbered<N> {
    fn run(task: &Task<Self>) {
        let this: &Self = task;
        let mut state = this.lines.state.lock();
        while let Some(mut waiting) = state.take(this.number) {
            drop(state);
            let turn = match waiting.wanted.is_over() {
                true => JobTurn::Last,
                false => waiting.job.run(),
            };
            let left = match turn {
                JobTurn::More => Some(waiting),
                JobTurn::Last => {
                    drop(waiting);
                    None
                }
            };
            state = this.lines.state.lock();
            if let Some(unwanted) = state.end_turn(this.number, left) {
                drop(state);
                drop(unwanted);
                state = this.lines.state.lock();
            }
        }
    }
}

impl<const N: usize> State<N> {
    /// The line of `owner`, perhaps a new one.
    fn line(&mut self, owner: WorkOwner) -> Result<&mut Line> {
        let at = match self.lines.iter().position(|line| line.owner == owner) {
            Some(at) => at,
            None => {
                let new = Line {
                    owner,
                    back: KVVec::new(),
                    front: KVVec::new(),
                };
                self.lines.push(new, GFP_KERNEL)?;
                self.lines.len() - 1
            }
        };
        self.lines.get_mut(at).ok_or(ENOMEM)
    }

    /// Puts `waiting` to the end of its owner's line.
    fn put(&mut self, waiting: Waiting) -> Result<(), (Error, Waiting)> {
        if self.over {
            return Err((ESHUTDOWN, waiting));
        }
        let line = match self.line(waiting.owner) {
            Ok(line) => line,
            Err(e) => return Err((e, waiting)),
        };
        match line.back.reserve(1, GFP_KERNEL) {
            Ok(()) => line
                .back
                .push_within_capacity(waiting)
                .map_err(|full| (ENOMEM, full.0)),
            Err(e) => Err((e.into(), waiting)),
        }
    }

    /// A turn of worker `number` is over. What is `left` of its job goes on: at once if nobody waits for a
    /// worker, or if there is no memory to have it wait. Returns it if nothing goes on any more.
    fn end_turn(&mut self, number: usize, left: Option<Waiting>) -> Option<Waiting> {
        let mut unwanted = None;
        if let Some(left) = left {
            let is_alone = self.lines.iter_mut().all(|line| line.first().is_none());
            let stays = match is_alone && !self.over {
                true => Some(left),
                false => self.put(left).err().map(|(_, left)| left),
            };
            if self.over {
                unwanted = stays;
            } else if let (Some(left), Some(worker)) = (stays, self.workers.get_mut(number)) {
                worker.job = Some(left);
                return None;
            }
        }
        self.shares.end(number);
        self.dispatch();
        unwanted
    }

    /// The job that worker `number` has been given.
    fn take(&mut self, number: usize) -> Option<Waiting> {
        self.workers.get_mut(number)?.job.take()
    }

    /// Gives workers all jobs that may begin. Lines take turns.
    fn dispatch(&mut self) {
        // A few that are empty are kept, so that not each job makes one.
        if self.lines.len() > KEEP {
            self.lines.retain(|line| line.first().is_some());
        }
        let count = self.lines.len();
        let mut refused = 0;
        while refused < count {
            self.next = (self.next + 1) % count;
            let Some(line) = self.lines.get_mut(self.next) else {
                return;
            };
            let owner = line.owner;
            let begun = line.first().and_then(|_| self.shares.begin(owner));
            let worker = begun.and_then(|number| self.workers.get_mut(number));
            match worker {
                Some(worker) => {
                    worker.job = line.pop();
                    worker.work.wake();
                    refused = 0;
                }
                None => refused += 1,
            }
        }
    }
}
