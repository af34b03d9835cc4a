// SPDX-License-Identifier: GPL-2.0

//! The log of the durable queues: one for all of them, so that whoever waits for the disk waits
//! together.
//!
//! Who changes a durable queue appends a record here, to memory, and waits until it is on disk. The
//! files are read and written by a work of this module only ([`crate::log_worker`]): the limits,
//! signals and credentials of whoever uses a queue have nothing to do with them. A record has a log
//! sequence number (LSN): the bytes that were appended up to its end since the module was loaded.
//!
//! Room on the disk is taken before records are appended ([`Log::lock_for`]), so that a full disk
//! refuses a message before it is in its queue. Room for what is done with messages is kept free of
//! messages ([`MARGIN`]).
//!
//! If the disk fails all who wait are told, and nothing more is accepted until it works again: then
//! all that the queues have is written anew. What could not be recorded meanwhile is told thereby.
//!
//! Locking: the writer's lock is taken before that of the table of queues, and held while a message
//! gets its number, is appended, and goes into its queue, so that the log has them in order. Neither
//! the disk nor the network is waited for under it.

use crate::commits::Commits;
use kernel::{
    prelude::*,
    sync::{
        atomic::{
            Acquire,
            Atomic,
            Release, //
        },
        lock::mutex::MutexGuard,
        Arc,
        Mutex,
        SetOnce, //
    }, //
};
use linux::{
    bytes::Fill,
    crypto::crc32c,
    deadline::{
        wall,
        Deadline, //
    },
    wait::WaitQueue,
    work::WorkHandle, //
};
use virgo_proto::queue::record::{
    Cookie,
    Record,
    RecordKind,
    Survey,
    MAX_FENCE,
    MAX_RECORD, //
};
use virgo_utils::Deferred;

/// Bytes of room that messages leave to records of what is done with them.
pub(crate) const MARGIN: u64 = 64 << 10;

/// Most bytes that are appended for a message: the fence that it raises, and itself.
const MAX_APPENDED: usize = MAX_FENCE + MAX_RECORD;

/// Most bytes that wait to be written; more wait for the disk.
const MAX_PENDING: usize = 512 << 10;

/// Bytes of what was done after which they are written at once.
const MANY_DONE: usize = 64 << 10;

/// What was done is written after so long, in milliseconds, if nothing else is.
const DONE_MS: u32 = 100;

/// The longest that anybody waits for the disk, in milliseconds.
const PATIENCE_MS: u32 = 60_000;

/// Whether there can be durable queues.
#[derive(Clone, Copy)]
pub(crate) enum LogState {
    /// The files are being read.
    Opening,
    /// All is well.
    Ready,
    /// The disk has refused something; it is tried again.
    Failed(Error),
    /// There are none before the module is loaded again, for this reason.
    Unusable(Error, &'static str),
}

/// What people are told of the log.
#[derive(Clone, Copy, Default)]
pub(crate) struct Numbers {
    /// The file that is written.
    pub(crate) file: usize,
    pub(crate) bytes: u64,
    pub(crate) max_bytes: u64,
    pub(crate) generation: u64,
    /// How often the disk has failed.
    pub(crate) failures: u64,
    /// What was found when it was opened.
    pub(crate) found: Survey,
    /// Messages whose queue's record was missing.
    pub(crate) orphans: u64,
    /// Bit N - 1: there is a file that was moved aside with number N.
    pub(crate) kept: u64,
}

/// See the module.
#[pin_data]
pub(crate) struct Log {
    #[pin]
    writer: Mutex<LogWriter>,
    /// All up to this LSN is on disk.
    synced: Atomic<u64>,
    /// All up to this LSN that is not on disk was lost by a failure, as far as is known.
    lost: Atomic<u64>,
    /// Rounds of the worker.
    rounds: Atomic<u64>,
    /// Who waits for a round, or to be on disk.
    #[pin]
    progress: WaitQueue,
    worker: SetOnce<WorkHandle>,
    /// Peers that wait to be on disk.
    #[pin]
    commits: Commits,
    #[pin]
    numbers: Mutex<Numbers>,
}

/// What is to be written.
pub(crate) struct LogWriter {
    pub(crate) state: LogState,
    /// What records of the files have.
    pub(crate) cookie: Cookie,
    pub(crate) pending: KVVec<u8>,
    /// LSN of the end of what is pending.
    pub(crate) lsn: u64,
    /// Somebody waits until all up to here is on disk.
    pub(crate) sync_to: u64,
    /// Bytes that may be appended before more room is taken.
    pub(crate) room: u64,
    /// Bytes that somebody waits for room for.
    pub(crate) asked: u64,
    /// How often there was none, and why the last time.
    refusals: u64,
    refusal: Error,
    /// There was none the last time that somebody asked.
    is_full: bool,
    /// Something has happened to the queues that the files do not say: they are to be written anew.
    pub(crate) stale: bool,
}

/// Milliseconds since 1970.
pub(crate) fn now() -> u64 {
    let (seconds, nanos) = wall();
    seconds.saturating_mul(1000) + u64::from(nanos / 1_000_000)
}

impl LogWriter {
    /// Whether records are accepted.
    fn check(&self) -> Result {
        match self.state {
            LogState::Ready => Ok(()),
            LogState::Failed(_) => Err(EIO),
            LogState::Opening | LogState::Unusable(..) => Err(EROFS),
        }
    }

    /// Whoever waits for room has waited in vain.
    pub(crate) fn refuse(&mut self, e: Error) {
        self.refusals += 1;
        (self.refusal, self.asked, self.is_full) = (e, 0, true);
    }

    /// There is room for so many bytes, which is all that was asked for.
    pub(crate) fn grant(&mut self, room: u64) {
        (self.room, self.asked, self.is_full) = (room, 0, false);
    }

    /// Whether messages of so many bytes can be appended now.
    fn has_room(&self, need: u64) -> bool {
        self.room >= need && self.pending.len() <= MAX_PENDING
    }
}

impl Log {
    /// A log that nobody has opened yet.
    pub(crate) fn new() -> Result<Arc<Self>> {
        let writer = LogWriter {
            state: LogState::Opening,
            cookie: Cookie::NONE,
            pending: KVVec::new(),
            lsn: 0,
            sync_to: 0,
            room: 0,
            asked: 0,
            refusals: 0,
            refusal: ENOSPC,
            is_full: false,
            stale: false,
        };
        Arc::pin_init(
            pin_init!(Self {
                writer <- kernel::new_mutex!(writer, "virgo_log"),
                synced: Atomic::new(0),
                lost: Atomic::new(0),
                rounds: Atomic::new(0),
                progress <- linux::new_wait_queue!("virgo_log_progress"),
                worker: SetOnce::new(),
                commits <- Commits::new(),
                numbers <- kernel::new_mutex!(Numbers::default(), "virgo_log_numbers"),
            }),
            GFP_KERNEL,
        )
    }

    /// Has `worker` read the files, and write them from now on. Once. Returns when that is done.
    /// Sleeps.
    ///
    /// # Errors
    ///
    /// [`EINTR`] if the task is being killed.
    pub(crate) fn start(&self, worker: WorkHandle) -> Result {
        self.worker.populate(worker);
        self.wake();
        let opened = || (self.rounds.load(Acquire) > 0).then_some(());
        while self
            .progress
            .wait(Deadline::after_ms(PATIENCE_MS), opened)?
            .is_none()
        {}
        Ok(())
    }

    fn wake(&self) {
        if let Some(worker) = self.worker.as_ref() {
            worker.wake_now();
        }
    }

    /// The right to append, and to say what is done. May sleep.
    pub(crate) fn lock(&self) -> MutexGuard<'_, LogWriter> {
        self.writer.lock()
    }

    /// The right to append `bytes` bytes of messages, for which there is room. Waits for room until
    /// `deadline`, or for as long as the disk is waited for. Sleeps, killably.
    ///
    /// # Errors
    ///
    /// [`ENOSPC`] and other errors of files; [`EIO`] while the disk does not work; [`EROFS`] if there
    /// are no durable queues; [`ETIMEDOUT`], [`EINTR`].
    pub(crate) fn lock_for(
        &self,
        bytes: usize,
        deadline: Deadline,
    ) -> Result<MutexGuard<'_, LogWriter>> {
        let need = bytes.min(MAX_APPENDED) as u64 + MARGIN;
        let until = Deadline::after_ms(PATIENCE_MS).min(deadline);
        let mut refusals = None;
        loop {
            let mut writer = self.writer.lock();
            writer.check()?;
            if writer.has_room(need) {
                return Ok(writer);
            }
            match refusals {
                Some(before) if writer.refusals != before => return Err(writer.refusal),
                _ => refusals = Some(writer.refusals),
            }
            writer.asked = writer.asked.max(need);
            let round = self.rounds.load(Acquire);
            drop(writer);
            self.wake();
            let next = || (self.rounds.load(Acquire) != round).then_some(());
            self.progress.wait(until, next)?.ok_or(ETIMEDOUT)?;
        }
    }

    /// The same for `count` messages of so many bytes, without a wait for the disk. May sleep for short.
    ///
    /// # Errors
    ///
    /// [`EAGAIN`] if there is no room now; if there was none the last time that somebody asked, why.
    pub(crate) fn try_lock_for(
        &self,
        bytes: usize,
        count: usize,
    ) -> Result<MutexGuard<'_, LogWriter>> {
        let need = (bytes.min(MAX_APPENDED) as u64)
            .saturating_mul(count as u64)
            .saturating_add(MARGIN);
        let mut writer = self.writer.lock();
        writer.check()?;
        if writer.has_room(need) {
            return Ok(writer);
        }
        writer.asked = writer.asked.max(need);
        let refused = match writer.is_full {
            true => writer.refusal,
            false => EAGAIN,
        };
        drop(writer);
        self.wake();
        Err(refused)
    }

    /// Appends a record for which there is room. Returns the LSN to [commit](Self::commit).
    ///
    /// # Errors
    ///
    /// Nothing is appended then: [`ENOSPC`], [`ENOMEM`]; [`EIO`] while the disk does not work.
    pub(crate) fn append(&self, writer: &mut LogWriter, record: &Record<'_>) -> Result<u64> {
        writer.check()?;
        let size = record.size();
        if writer.room < size as u64 {
            return Err(ENOSPC);
        }
        let pending = &mut writer.pending;
        let before = pending.len();
        pending.reserve(size, GFP_KERNEL)?;
        let cookie = writer.cookie;
        let put = record.write(cookie, crc32c, |part| pending.put_bytes(part, GFP_KERNEL));
        match put {
            Some(Ok(())) => (),
            Some(Err(e)) => {
                pending.truncate(before);
                return Err(e.into());
            }
            None => return Err(EMSGSIZE),
        }
        writer.room -= size as u64;
        writer.lsn += size as u64;
        if record.kind != RecordKind::Done {
            writer.sync_to = writer.lsn;
        }
        Ok(writer.lsn)
    }

    /// What has become of all up to `lsn`, once that is known.
    fn outcome(&self, lsn: u64) -> Option<Result> {
        if self.is_synced(lsn) {
            return Some(Ok(()));
        }
        (self.lost.load(Acquire) >= lsn).then_some(Err(EIO))
    }

    /// Returns when all up to `lsn` is on disk. Sleeps, killably.
    ///
    /// # Errors
    ///
    /// [`EIO`] if the disk has failed or takes too long; [`ETIMEDOUT`] at the deadline, and [`EINTR`] if the
    /// task is being killed: it may get there yet.
    pub(crate) fn commit(&self, lsn: u64, deadline: Deadline) -> Result {
        if self.is_synced(lsn) {
            return Ok(());
        }
        self.wake();
        let until = Deadline::after_ms(PATIENCE_MS).min(deadline);
        let outcome = || self.outcome(lsn);
        match self.progress.wait(until, outcome)? {
            Some(outcome) => outcome,
            None if deadline.passed() => Err(ETIMEDOUT),
            None => Err(EIO),
        }
    }

    /// Has a peer told `body` when all up to `lsn` is on disk, or [`EIO`]. May sleep, not for the
    /// disk.
    ///
    /// # Errors
    ///
    /// [`ENOMEM`].
    pub(crate) fn commit_later(&self, lsn: u64, reply: Deferred, body: &[u8]) -> Result {
        self.commits.add(lsn, reply, body)?;
        self.wake();
        // It may be there already, and then the worker does not look again.
        if self.outcome(lsn).is_some() {
            self.settle_commits();
        }
        Ok(())
    }

    fn settle_commits(&self) {
        self.commits.settle(|lsn| self.outcome(lsn));
    }

    /// Message `seq` of queue `queue` is done. That it is gets to disk with the next message, or
    /// soon.
    pub(crate) fn done(&self, writer: &mut LogWriter, queue: &[u8], seq: u64) {
        if let LogState::Unusable(..) = writer.state {
            return;
        }
        let record = Record {
            seq,
            queue,
            ..Record::new(RecordKind::Done)
        };
        let many = writer.pending.len() > MANY_DONE;
        let full = writer.pending.len() > 2 * MAX_PENDING;
        // Who cannot append says so by writing all anew: the message is not there then.
        writer.stale |= full || self.append(writer, &record).is_err();
        // What is left of the room is for such records while the worker takes more, if it has not been asked
        // or has found none.
        let asks = writer.room < MARGIN && writer.asked == 0 && !writer.is_full;
        if asks {
            writer.asked = MARGIN;
        }
        match self.worker.as_ref() {
            Some(worker) if many || asks => worker.wake_now(),
            Some(worker) => worker.wake_after_ms(DONE_MS),
            None => (),
        }
    }

    /// Brings all that was appended to disk, as far as that is possible. Nobody appends any more.
    /// Sleeps.
    pub(crate) fn close(&self) {
        let mut writer = self.writer.lock();
        if writer.check().is_err() {
            return;
        }
        let lsn = writer.lsn;
        writer.sync_to = lsn;
        drop(writer);
        if let Err(e) = self.commit(lsn, Deadline::never()) {
            pr_err!("durable queues: the last records may not be on disk: {e:?}\n");
        }
    }

    /// All up to `lsn` is on disk.
    pub(crate) fn set_synced(&self, lsn: u64) {
        self.synced.store(lsn, Release);
        self.progress.wake_in_steps();
        self.settle_commits();
    }

    /// Whether all up to `lsn` is on disk.
    pub(crate) fn is_synced(&self, lsn: u64) -> bool {
        self.synced.load(Acquire) >= lsn
    }

    /// The disk has failed, and what was appended up to `lsn` may not be there.
    pub(crate) fn set_lost(&self, lsn: u64) {
        self.lost.store(lsn, Release);
        self.progress.wake_in_steps();
    }

    /// Tells peers so, without the writer's lock. May sleep.
    pub(crate) fn tell_lost(&self) {
        self.settle_commits();
    }

    /// The worker has done a round: who waits looks again.
    pub(crate) fn end_round(&self) {
        self.rounds.fetch_add(1, Release);
        self.progress.wake_in_steps();
    }

    pub(crate) fn numbers(&self) -> MutexGuard<'_, Numbers> {
        self.numbers.lock()
    }
}
