// SPDX-License-Identifier: GPL-2.0

//! All channels of this node, by name.

use crate::{
    channel::{
        Channel,
        ChannelLog,
        ChannelRef,
        Charged,
        FenceCheck, //
    },
    consumer::SESSION,
    history::{
        History,
        ROUNDS, //
    },
    log::Log,
    pending::PendingReplies,
    table::ChannelTable, //
};
use kernel::{
    prelude::*,
    sync::{
        atomic::{
            Atomic,
            Relaxed, //
        },
        Arc,
        SetOnce, //
    }, //
};
use linux::{
    deadline::Deadline,
    rwlock::RwLock,
    work::{
        WorkHandle,
        WorkQueue, //
    }, //
};
use virgo_config::Node;
use virgo_proto::{
    fence::FenceClaim,
    queue::{
        options::{
            ChannelKind,
            Options, //
        },
        record::{
            self,
            Record, //
        },
        subject, //
    }, //
};
use virgo_utils::budget::{
    Budget,
    Charge, //
};

/// Bounds of all channels together.
#[derive(Clone, Copy)]
pub(crate) struct Bounds {
    /// Channels.
    pub(crate) channels: usize,
    /// Channels that are bound to something: whoever publishes has to look at them.
    pub(crate) bound: usize,
    /// Bytes of messages.
    pub(crate) bytes: u64,
}

/// See the module.
#[pin_data]
pub(crate) struct Queues {
    pub(crate) node: Arc<Node>,
    /// Bytes, of messages and of what they lie in.
    pub(crate) budget: Pin<KBox<Budget>>,
    /// Channels.
    channels: Pin<KBox<Budget>>,
    /// Channels that are bound to something.
    bound: Pin<KBox<Budget>>,
    pub(crate) work: Arc<WorkQueue>,
    #[pin]
    pub(crate) pending: PendingReplies,
    /// Woken when a channel has dead letters.
    dead_letters: SetOnce<WorkHandle>,
    /// For durable queues, if there can be any.
    log: SetOnce<Arc<Log>>,
    /// The last number given to who takes messages, or to a subscription.
    last: Atomic<u64>,
    #[pin]
    pub(crate) table: RwLock<ChannelTable>,
}

impl Queues {
    pub(crate) fn new(node: Arc<Node>, bounds: Bounds) -> Result<Arc<Self>> {
        let budget = Budget::new(bounds.bytes)?;
        let channels = Budget::new(bounds.channels as u64)?;
        let bound = Budget::new(bounds.bound as u64)?;
        let pending = PendingReplies::new()?;
        let work = WorkQueue::new(c"virgo_queue", 0)?;
        Arc::pin_init(
            pin_init!(Self {
                node,
                budget,
                channels,
                bound,
                work,
                pending <- pending,
                dead_letters: SetOnce::new(),
                log: SetOnce::new(),
                last: Atomic::new(0),
                table <- linux::new_rwlock!(ChannelTable::new(), "virgo_queues"),
            }),
            GFP_KERNEL,
        )
    }

    /// Whom channels wake that have dead letters. Once, before there are channels.
    pub(crate) fn set_dead_letters(&self, waker: WorkHandle) {
        self.dead_letters.populate(waker);
    }

    /// Where durable queues are written. Once.
    pub(crate) fn set_log(&self, log: Arc<Log>) {
        self.log.populate(log);
    }

    pub(crate) fn log(&self) -> Result<&Arc<Log>> {
        self.log.as_ref().ok_or(EROFS)
    }

    /// Returns when all that was published up to `lsn` is on disk. May sleep.
    ///
    /// # Errors
    ///
    /// As for [`Log::commit`].
    pub(crate) fn commit(&self, lsn: u64, deadline: Deadline) -> Result {
        match lsn {
            0 => Ok(()),
            lsn => self.log()?.commit(lsn, deadline),
        }
    }

    /// A number that nobody has had.
    pub(crate) fn next_number(&self) -> u64 {
        self.last.fetch_add(1, Relaxed) + 1
    }

    /// A consumer that nobody was: of a session or a descriptor.
    pub(crate) fn next_consumer(&self) -> u64 {
        // Far less than the bits by which takes are told apart.
        SESSION | self.next_number()
    }

    /// The channel of this name. May sleep.
    ///
    /// # Errors
    ///
    /// [`ENOENT`].
    pub(crate) fn find(&self, name: &[u8]) -> Result<ChannelRef> {
        self.table.read().find(name).cloned().ok_or(ENOENT)
    }

    /// Makes a channel. May sleep.
    ///
    /// # Errors
    ///
    /// [`EINVAL`] for what is no name, [`EEXIST`], [`EUSERS`] for one too many, [`EDQUOT`] if its owner
    /// has too many, [`ENOMEM`].
    pub(crate) fn create(&self, name: &[u8], options: &Options<'_>) -> Result<ChannelRef> {
        self.create_with(name, options, None, false, None)
    }

    /// Makes a channel of the module's own, whatever there is already. May sleep.
    ///
    /// # Errors
    ///
    /// [`EEXIST`], [`ENOMEM`].
    pub(crate) fn create_own(&self, name: &[u8], options: &Options<'_>) -> Result<ChannelRef> {
        self.create_with(name, options, None, true, None)
    }

    /// Makes a durable queue, whose options were given as `text`. It is on disk then, for which this waits
    /// until `deadline`. May sleep.
    ///
    /// # Errors
    ///
    /// As for [`Self::create`] and [`Log::commit`]; [`EROFS`] if there is no folder for it; those of files.
    pub(crate) fn create_durable(
        &self,
        name: &[u8],
        options: &Options<'_>,
        text: &[u8],
        deadline: Deadline,
    ) -> Result<ChannelRef> {
        let log = self.log()?;
        let record = Record {
            queue: name,
            data: text,
            ..Record::new(record::RecordKind::Create)
        };
        let durable = ChannelLog::new(log.clone(), text)?;
        let mut writer = log.lock_for(record.size(), deadline)?;
        let channel = self.create_with(name, options, Some(durable), false, None)?;
        let appended = log.append(&mut writer, &record);
        drop(writer);
        let lsn = appended.inspect_err(|_| {
            let _ = self.take_out(&channel);
        })?;
        if let Err(e) = log.commit(lsn, deadline) {
            // That it was made may be on disk, or get there: it is made undone, or the log is written
            // anew from the table.
            if self.remove_logged(&channel, FenceCheck::Exempt).is_err() {
                log.lock().stale = true;
                let _ = self.take_out(&channel);
            }
            return Err(e);
        }
        Ok(channel)
    }

    /// Makes a durable queue of which the log knows, whatever its owner has already.
    pub(crate) fn create_logged(
        &self,
        name: &[u8],
        options: &Options<'_>,
        text: &[u8],
        log: Arc<Log>,
    ) -> Result<ChannelRef> {
        let durable = ChannelLog::new(log, text)?;
        self.create_with(name, options, Some(durable), true, None)
    }

    /// Makes a channel. It begins with `history`.
    pub(crate) fn create_with(
        &self,
        name: &[u8],
        options: &Options<'_>,
        durable: Option<ChannelLog>,
        is_restored: bool,
        mut history: Option<History<'_>>,
    ) -> Result<ChannelRef> {
        if !subject::is_name(name) {
            return Err(EINVAL);
        }
        let dead_letters = self.dead_letters.as_ref().ok_or(ENODEV)?.clone();
        let owner = options.access().owner;
        let one_of = |budget: &Budget| -> Result<Charge> {
            let account = budget.account(owner)?;
            match is_restored {
                true => Ok(account.charge_unbounded(1)),
                false => account.charge(1).map_err(|e| match e {
                    ENOMEM => EUSERS,
                    e => e,
                }),
            }
        };
        let is_bound = !options.bind.is_empty();
        let charged = Charged {
            account: self.budget.account(owner)?,
            count: one_of(&self.channels)?,
            bound: is_bound.then(|| one_of(&self.bound)).transpose()?,
            is_restored,
        };
        let channel = Channel::new(
            self.work.clone(),
            name,
            options,
            dead_letters,
            durable,
            charged,
        )?;
        if channel.kind == ChannelKind::Subscription {
            channel.users.store(1, Relaxed);
        }
        let mut rounds = 0..ROUNDS;
        loop {
            if let Some(history) = &mut history {
                history.begin(&self.table, &channel)?;
            }
            let mut table = self.table.write();
            let Err(at) = table.search(name) else {
                return Err(EEXIST);
            };
            table.all.reserve(1, GFP_KERNEL)?;
            table.bound.reserve()?;
            let finished = match &mut history {
                Some(history) => history.finish(&channel, &table),
                None => Ok(()),
            };
            match finished {
                // What nothing is waited for while the table is locked may be there without it.
                Err(ENOMEM) if rounds.next().is_some() => continue,
                finished => finished?,
            }
            // Within the capacity, so neither fails.
            let _ = table.all.insert_within_capacity(at, channel.clone());
            table.bound.insert(&channel);
            return Ok(channel);
        }
    }

    /// Deletes the channel. Who waits at it is told. For a durable one the disk is waited for until
    /// `deadline`. May sleep.
    ///
    /// # Errors
    ///
    /// [`ENOENT`] if it is not there (any more); those of the fence, if that is asked; for a durable one also
    /// those of files and of [`Log::commit`].
    pub(crate) fn remove(
        &self,
        channel: &ChannelRef,
        check: FenceCheck,
        deadline: Deadline,
    ) -> Result {
        if !channel.is_durable() {
            return self.take_out_checked(channel, check);
        }
        let bytes = record::HEAD + channel.name.len();
        let lsn = self.append_with_room(bytes, deadline, || self.remove_logged(channel, check))?;
        self.commit(lsn, deadline)
    }

    /// Takes out all messages of a channel for who has the lock `claim`, whose token is on disk then if the
    /// channel is durable: for that it waits until `deadline`. Returns how many. Sleeps.
    ///
    /// # Errors
    ///
    /// Those of [`Channel::raise_fence`], [`Channel::purge`] and [`Log::commit`].
    pub(crate) fn purge(
        &self,
        channel: &ChannelRef,
        claim: Option<FenceClaim>,
        deadline: Deadline,
    ) -> Result<u64> {
        let lsn = channel.raise_fence(claim, deadline)?;
        let purged = Channel::purge(channel, claim)?;
        self.commit(lsn, deadline)?;
        Ok(purged)
    }

    /// Does what appends so many bytes to the log; if there is no room it waits for some, once.
    fn append_with_room<T>(
        &self,
        bytes: usize,
        deadline: Deadline,
        append: impl Fn() -> Result<T>,
    ) -> Result<T> {
        match append() {
            Err(ENOSPC) => {
                drop(self.log()?.lock_for(bytes, deadline)?);
                append()
            }
            appended => appended,
        }
    }

    /// Takes a durable channel out of the table, and says so in the log. Returns the LSN to
    /// [commit](Self::commit).
    fn remove_logged(&self, channel: &ChannelRef, check: FenceCheck) -> Result<u64> {
        let log = self.log()?;
        let mut writer = log.lock();
        let record = Record {
            queue: &channel.name,
            ..Record::new(record::RecordKind::Delete)
        };
        if !self
            .find(&channel.name)
            .is_ok_and(|found| Arc::ptr_eq(&found, channel))
        {
            return Err(ENOENT);
        }
        // The fence stays as it is while we may write.
        channel.ask_fence(check)?;
        let lsn = log.append(&mut writer, &record)?;
        // Before anybody else can append what happens to it.
        let removed = self.unlink(channel, check)?;
        drop(writer);
        channel.clear();
        drop(removed);
        Ok(lsn)
    }

    /// Takes the channel out of the table, whatever guards it. What the log says of it stays.
    pub(crate) fn take_out(&self, channel: &ChannelRef) -> Result {
        self.take_out_checked(channel, FenceCheck::Exempt)
    }

    fn take_out_checked(&self, channel: &ChannelRef, check: FenceCheck) -> Result {
        let removed = self.unlink(channel, check)?;
        channel.clear();
        // Not under the lock, which its task may want.
        drop(removed);
        Ok(())
    }

    fn unlink(&self, channel: &ChannelRef, check: FenceCheck) -> Result<ChannelRef> {
        let mut table = self.table.write();
        let at = table.search(&channel.name).map_err(|_| ENOENT)?;
        let known = table.all.get(at);
        if !known.is_some_and(|known| Arc::ptr_eq(known, channel)) {
            return Err(ENOENT);
        }
        // From here on nothing comes in that a later holder of its lock would find gone.
        channel.close(check)?;
        table.bound.remove(channel);
        table.all.remove(at).map_err(|_| ENOENT)
    }

    /// Shows each channel to `see`, while that wants more. May sleep.
    pub(crate) fn for_each(&self, mut see: impl FnMut(&ChannelRef) -> bool) {
        let table = self.table.read();
        for channel in &table.all {
            if !see(channel) {
                return;
            }
        }
    }

    /// The first channel that has dead letters of those whose names are behind `name`. May sleep.
    pub(crate) fn next_with_dead(&self, name: &[u8]) -> Option<ChannelRef> {
        let table = self.table.read();
        let from = table.search(name).map_or_else(|at| at, |at| at + 1);
        let mut behind = table.all.get(from..).unwrap_or_default().iter();
        behind.find(|channel| channel.has_dead()).cloned()
    }

    /// How many channels there are.
    pub(crate) fn len(&self) -> usize {
        self.table.read().all.len()
    }

    /// Deletes all. Nobody uses this any more.
    pub(crate) fn clear(&self) {
        loop {
            let last = self.table.read().all.last().cloned();
            match last {
                Some(channel) => {
                    let _ = self.take_out(&channel);
                }
                None => return,
            }
        }
    }
}
