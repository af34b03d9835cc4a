// SPDX-License-Identifier: GPL-2.0

//! All channels of this node, by name.

use crate::{
    channel::{
        Channel,
        Charged,
        Durable,
        How, //
    },
    log::Log,
    message::Message,
    pending::Pending, //
};
use kernel::{
    prelude::*,
    str::CString,
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
    rwlock::RwLock,
    work::WorkHandle,
    work::{
        Queue as WorkQueue,
        Run,
        Task, //
    }, //
};
use virgo_config::Node;
use virgo_proto::queue::{
    access::Right,
    options::{
        Kind,
        Options, //
    },
    record::{
        self,
        Record, //
    },
    subject, //
};
use virgo_utils::budget::Budget;

/// A channel, shared.
pub(crate) type Shared = Arc<Task<Channel>>;

/// Bounds of all channels together.
#[derive(Clone, Copy)]
pub(crate) struct Bounds {
    /// Channels.
    pub(crate) channels: usize,
    /// Bytes of messages.
    pub(crate) bytes: u64,
}

/// Bit of a holder that is not a user of some node: a session or a descriptor.
const SESSION: u64 = 1 << 63;

/// Who has what the handler of requests has taken.
pub(crate) const HANDLER: u64 = SESSION;

/// After so long, in milliseconds, it is tried again to bring dead letters where they belong.
const AGAIN_MS: u32 = 1000;

/// Sorted by name.
pub(crate) struct Table {
    all: KVVec<Shared>,
    /// Those that are bound to a pattern, in the order in which they were made.
    pub(crate) bound: KVVec<Shared>,
}

/// See the module.
#[pin_data]
pub(crate) struct Queues {
    pub(crate) node: Arc<Node>,
    /// Bytes, of messages and of what they lie in.
    pub(crate) budget: Pin<KBox<Budget>>,
    /// Channels.
    channels: Pin<KBox<Budget>>,
    pub(crate) work: Arc<WorkQueue>,
    #[pin]
    pub(crate) pending: Pending,
    /// For dead letters.
    undertaker: SetOnce<WorkHandle>,
    /// For durable queues, if there can be any.
    log: SetOnce<Arc<Log>>,
    /// The last number given to who takes messages, or to a subscription.
    last: Atomic<u64>,
    #[pin]
    pub(crate) table: RwLock<Table>,
}

impl Table {
    fn search(&self, name: &[u8]) -> Result<usize, usize> {
        self.all
            .binary_search_by(|channel| channel.name.as_slice().cmp(name))
    }

    pub(crate) fn find(&self, name: &[u8]) -> Option<&Shared> {
        self.all.get(self.search(name).ok()?)
    }

    /// The others that get what is published as `name`, which `named` is called, if anything is: a
    /// name that nobody owns is heard by all, others by those who may take from it.
    pub(crate) fn bound_to<'a>(
        &'a self,
        name: &'a [u8],
        named: Option<&'a Shared>,
    ) -> impl Iterator<Item = &'a Shared> {
        let may = move |bound: &Shared| {
            named.is_none_or(|named| named.access.allows(bound.access.owner, Right::Take))
        };
        let all = self.bound.iter();
        all.filter(move |bound| {
            subject::matches(&bound.bound, name) && bound.name != *name && may(bound)
        })
    }
}

impl Queues {
    pub(crate) fn new(node: Arc<Node>, bounds: Bounds) -> Result<Arc<Self>> {
        let budget = Budget::new(bounds.bytes)?;
        let channels = Budget::new(bounds.channels as u64)?;
        let pending = Pending::new()?;
        let work = WorkQueue::new(c"virgo_queue", 0)?;
        let table = Table {
            all: KVVec::new(),
            bound: KVVec::new(),
        };
        Arc::pin_init(
            pin_init!(Self {
                node,
                budget,
                channels,
                work,
                pending <- pending,
                undertaker: SetOnce::new(),
                log: SetOnce::new(),
                last: Atomic::new(0),
                table <- linux::new_rwlock!(table, "virgo_queues"),
            }),
            GFP_KERNEL,
        )
    }

    /// Whom channels wake that have dead letters. Once, before there are channels.
    pub(crate) fn set_undertaker(&self, waker: WorkHandle) {
        self.undertaker.populate(waker);
    }

    /// Where durable queues are written. Once.
    pub(crate) fn set_log(&self, log: Arc<Log>) {
        self.log.populate(log);
    }

    pub(crate) fn log(&self) -> Result<&Arc<Log>> {
        self.log.as_ref().ok_or(EROFS)
    }

    /// Returns when all that was published up to `place` is on disk. May sleep.
    ///
    /// # Errors
    ///
    /// [`EIO`] if the disk has failed.
    pub(crate) fn commit(&self, place: u64) -> Result {
        match place {
            0 => Ok(()),
            place => self.log()?.commit(place),
        }
    }

    /// A number that nobody has had.
    pub(crate) fn next_number(&self) -> u64 {
        self.last.fetch_add(1, Relaxed) + 1
    }

    /// A holder that nobody was: of a session or a descriptor.
    pub(crate) fn next_holder(&self) -> u64 {
        // Far less than the bits by which takes are told apart.
        SESSION | self.next_number()
    }

    /// The channel of this name. May sleep.
    ///
    /// # Errors
    ///
    /// [`ENOENT`].
    pub(crate) fn find(&self, name: &[u8]) -> Result<Shared> {
        self.table.read().find(name).cloned().ok_or(ENOENT)
    }

    /// Makes a channel. May sleep.
    ///
    /// # Errors
    ///
    /// [`EINVAL`] for what is no name, [`EEXIST`], [`EUSERS`] for one too many, [`EDQUOT`] if its owner
    /// has too many, [`ENOMEM`].
    pub(crate) fn create(&self, name: &[u8], options: &Options<'_>) -> Result<Shared> {
        self.create_with(name, options, None, false, |_, _| Ok(()))
    }

    /// Makes a channel of the module's own, whatever there is already. May sleep.
    ///
    /// # Errors
    ///
    /// [`EEXIST`], [`ENOMEM`].
    pub(crate) fn create_own(&self, name: &[u8], options: &Options<'_>) -> Result<Shared> {
        self.create_with(name, options, None, true, |_, _| Ok(()))
    }

    /// Makes a durable queue, whose options were given as `text`. It is on disk then. May sleep.
    ///
    /// # Errors
    ///
    /// As for [`Self::create`]; [`EROFS`] if there is no folder for it; those of files.
    pub(crate) fn create_durable(
        &self,
        name: &[u8],
        options: &Options<'_>,
        text: &[u8],
    ) -> Result<Shared> {
        let log = self.log()?;
        let record = Record {
            queue: name,
            data: text,
            ..Record::new(record::Kind::Create)
        };
        let mut writer = log.lock_for(record.size())?;
        let durable = Durable::new(log.clone(), text)?;
        let channel = self.create_with(name, options, Some(durable), false, |_, _| Ok(()))?;
        let place = log.append(&mut writer, &record).inspect_err(|_| {
            let _ = self.take_out(&channel);
        })?;
        drop(writer);
        if let Err(e) = log.commit(place) {
            // That it was made may be on disk, or get there: it is made undone, or the log is written
            // anew from the table.
            if self.remove_logged(&channel).is_err() {
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
    ) -> Result<Shared> {
        let durable = Durable::new(log, text)?;
        self.create_with(name, options, Some(durable), true, |_, _| Ok(()))
    }

    /// The same; `fill` is called before anything is published to it, and nothing is meanwhile.
    fn create_with(
        &self,
        name: &[u8],
        options: &Options<'_>,
        durable: Option<Durable>,
        is_restored: bool,
        fill: impl FnOnce(&Shared, &Table) -> Result,
    ) -> Result<Shared> {
        if !subject::is_name(name) {
            return Err(EINVAL);
        }
        let undertaker = self.undertaker.as_ref().ok_or(ENODEV)?.clone();
        let owner = options.access().owner;
        let channels = self.channels.account(owner)?;
        let charged = Charged {
            account: self.budget.account(owner)?,
            count: match is_restored {
                true => channels.charge_unbounded(1),
                false => channels.charge(1).map_err(|e| match e {
                    ENOMEM => EUSERS,
                    e => e,
                })?,
            },
            is_restored,
        };
        let channel = Channel::new(
            self.work.clone(),
            name,
            options,
            undertaker,
            durable,
            charged,
        )?;
        let mut table = self.table.write();
        let Err(at) = table.search(name) else {
            return Err(EEXIST);
        };
        table.all.reserve(1, GFP_KERNEL)?;
        table.bound.reserve(1, GFP_KERNEL)?;
        fill(&channel, &table)?;
        // Within the capacity, so neither fails.
        let _ = table.all.insert_within_capacity(at, channel.clone());
        if !channel.bound.is_empty() {
            let _ = table.bound.push_within_capacity(channel.clone());
        }
        Ok(channel)
    }

    /// Deletes the channel. Who waits at it is told. May sleep.
    ///
    /// # Errors
    ///
    /// [`ENOENT`] if it is not there (any more); for a durable one also those of files.
    pub(crate) fn remove(&self, channel: &Shared) -> Result {
        if !channel.is_durable() {
            return self.take_out(channel);
        }
        let place = match self.remove_logged(channel) {
            Err(ENOSPC) => {
                // Waits for room.
                let log = self.log()?;
                drop(log.lock_for(record::HEAD + channel.name.len())?);
                self.remove_logged(channel)?
            }
            removed => removed?,
        };
        self.commit(place)
    }

    /// Takes a durable channel out of the table, and says so in the log. Returns what has to be
    /// [committed](Self::commit).
    fn remove_logged(&self, channel: &Shared) -> Result<u64> {
        let log = self.log()?;
        let mut writer = log.lock();
        let record = Record {
            queue: &channel.name,
            ..Record::new(record::Kind::Delete)
        };
        if !self
            .find(&channel.name)
            .is_ok_and(|found| Arc::ptr_eq(&found, channel))
        {
            return Err(ENOENT);
        }
        let place = log.append(&mut writer, &record)?;
        self.take_out(channel)?;
        Ok(place)
    }

    /// Takes the channel out of the table. What the log says of it stays.
    pub(crate) fn take_out(&self, channel: &Shared) -> Result {
        let mut table = self.table.write();
        let at = table.search(&channel.name).map_err(|_| ENOENT)?;
        if !table
            .all
            .get(at)
            .is_some_and(|known| Arc::ptr_eq(known, channel))
        {
            return Err(ENOENT);
        }
        let removed = table.all.remove(at);
        table.bound.retain(|known| !Arc::ptr_eq(known, channel));
        drop(table);
        channel.close();
        // Not under the lock, which its task may want.
        drop(removed);
        Ok(())
    }

    /// A subscription of `uid` to `pattern`. With `from` it begins with what topics have kept from
    /// that number on. It has a user already. May sleep.
    ///
    /// # Errors
    ///
    /// As for [`Self::create`].
    pub(crate) fn subscribe(
        &self,
        uid: u32,
        pattern: &[u8],
        group: &[u8],
        options: &Options<'_>,
        from: Option<u64>,
    ) -> Result<Shared> {
        loop {
            let name = self.subscription_name(uid, pattern, group)?;
            if let (Ok(channel), false) = (self.find(&name), group.is_empty()) {
                // Two patterns may have one name, as what stands for a wildcard may be meant.
                if channel.bound.as_slice() != pattern || channel.kind != Kind::Subscription {
                    return Err(EEXIST);
                }
                channel.users.fetch_add(1, Relaxed);
                return Ok(channel);
            }
            let options = Options {
                kind: Kind::Subscription,
                bind: pattern,
                owner: Some(uid),
                ..*options
            };
            let created = self.create_with(&name, &options, None, false, |channel, table| {
                channel.users.store(1, Relaxed);
                match from {
                    Some(from) => fill(channel, table, pattern, from),
                    None => Ok(()),
                }
            });
            // Another one of the group was faster, or somebody has made a queue of this name.
            if !matches!(created, Err(EEXIST)) {
                return created;
            }
        }
    }

    /// A group is one of the user's: those of others have other names.
    fn subscription_name(&self, uid: u32, pattern: &[u8], group: &[u8]) -> Result<KVec<u8>> {
        let mut name = KVec::new();
        if group.is_empty() {
            let number = CString::try_from_fmt(fmt!("_sub.{}", self.next_number()))?;
            name.extend_from_slice(number.to_bytes(), GFP_KERNEL)?;
            return Ok(name);
        }
        // With its length, so that it is clear where the group's name ends.
        let length = CString::try_from_fmt(fmt!("_group.{uid}.{}.", group.len()))?;
        for part in [length.to_bytes(), group, b"."] {
            name.extend_from_slice(part, GFP_KERNEL)?;
        }
        // A pattern is no name.
        for &byte in pattern {
            let byte = match byte {
                b'*' => b'+',
                b'>' => b'#',
                byte => byte,
            };
            name.push(byte, GFP_KERNEL)?;
        }
        Ok(name)
    }

    /// A user of a subscription is gone; the last one takes it along. May sleep.
    pub(crate) fn leave(&self, channel: &Shared) {
        if channel.kind == Kind::Subscription && channel.users.fetch_sub(1, Relaxed) == 1 {
            // Whoever has found it meanwhile finds it deleted.
            let _ = self.remove(channel);
        }
    }

    /// Shows each channel to `see`, while that wants more. May sleep.
    pub(crate) fn for_each(&self, mut see: impl FnMut(&Shared) -> bool) {
        let table = self.table.read();
        for channel in &table.all {
            if !see(channel) {
                return;
            }
        }
    }

    /// The first channel that has dead letters of those whose names are behind `name`. May sleep.
    fn next_with_dead(&self, name: &[u8]) -> Option<Shared> {
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

/// Begins a subscription with what topics have kept from number `from` on.
fn fill(channel: &Shared, table: &Table, pattern: &[u8], from: u64) -> Result {
    let topics = table.all.iter().filter(|topic| {
        topic.kind == Kind::Topic
            && subject::matches(pattern, &topic.name)
            && topic.access.allows(channel.access.owner, Right::Take)
    });
    for topic in topics {
        for message in topic.kept(from)? {
            Channel::push(channel, &message, How::PLAIN)?;
        }
    }
    Ok(())
}

/// Brings dead letters to where they belong. One that cannot be brought stays where it is, and is
/// tried again.
pub(crate) struct Undertaker(pub(crate) Arc<Queues>);

impl Undertaker {
    /// A durable letter is on disk there before it is gone here.
    fn bring(&self, letter: &Arc<Message>, from: &Channel) -> Result {
        let to = self.0.find(&from.dead)?;
        to.check(from.access.owner, Right::Publish)?;
        if !to.is_durable() {
            return Channel::push(&to, letter, How::PLAIN).map(drop);
        }
        let place = self.0.push_durable(&to, letter, How::PLAIN, None)?;
        self.0.commit(place)
    }

    /// Brings those of one channel, up to the first that cannot be brought.
    fn bring_all(&self, channel: &Channel) -> Result {
        while let Some(letter) = channel.first_dead() {
            if channel.dead.is_empty() {
                channel.count_lost();
            } else {
                self.bring(&letter, channel)?;
            }
            channel.drop_dead();
        }
        Ok(())
    }
}

impl Run for Undertaker {
    fn run(task: &Task<Self>) {
        let mut all_brought = true;
        let mut last: Option<Shared> = None;
        loop {
            let name = last.as_ref().map_or(&b""[..], |channel| &channel.name);
            let Some(channel) = task.0.next_with_dead(name) else {
                break;
            };
            all_brought &= task.bring_all(&channel).is_ok();
            last = Some(channel);
        }
        if !all_brought {
            task.schedule_after_ms(AGAIN_MS);
        }
    }
}
