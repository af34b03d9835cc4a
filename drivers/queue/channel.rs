// SPDX-License-Identifier: GPL-2.0

//! A channel: one queue of messages and those who wait at it. Queues and topics that people create
//! are channels, and so is what a subscriber to a topic or a pattern has.
//!
//! All that happens to the messages is [`virgo_proto::queue::state`]'s affair, under a spinlock that
//! any context may take, for a time that does not grow with the number of messages: what concerns many
//! is done in steps, with the lock let go between them. Only those messages are dropped under it that
//! make room for another. Its task is its clock: it runs when a message is due.

use crate::{
    chunks::Chunks,
    log::{
        self,
        Log,
        Writer, //
    },
    message::Message, //
};
use core::{
    mem::{
        size_of,
        take, //
    },
    slice, //
};
use kernel::{
    prelude::*,
    sync::{
        atomic::{
            Atomic,
            Relaxed, //
        },
        Arc,
        Mutex,
        SpinLockIrq, //
    }, //
};
use linux::{
    crypto,
    deadline::{
        now_ms,
        Deadline, //
    },
    wait::WaitQueue,
    work::WorkHandle,
    work::{
        yield_now,
        Queue as WorkQueue,
        Run,
        Task, //
    }, //
};
use virgo_proto::queue::{
    access::{
        Access,
        Right, //
    },
    options::{
        Kind,
        Options, //
    },
    record::{
        Kind as RecordKind,
        Record, //
    },
    slab::Slab,
    state::{
        Counts,
        Limits,
        NotHeld,
        Policy,
        Push,
        Queue,
        Room,
        Taken,
        STEP, //
    }, //
};
use virgo_utils::budget::{
    Account,
    Charge, //
};

type Guard<'a> = kernel::sync::lock::spinlock::SpinLockIrqGuard<'a, State>;

/// What makes a channel durable.
pub(crate) struct Durable {
    pub(crate) log: Arc<Log>,
    /// As they were given.
    pub(crate) options: KVec<u8>,
}

impl Durable {
    /// Keeps `options` as they were given. May sleep.
    ///
    /// # Errors
    ///
    /// [`ENOMEM`].
    pub(crate) fn new(log: Arc<Log>, options: &[u8]) -> Result<Self> {
        Ok(Durable {
            log,
            options: copy(options)?,
        })
    }
}

/// So many who wait are told without giving the memory back that they are noted in.
const FEW_WAITERS: usize = 4;

/// What is handed out.
pub(crate) type Delivery = Taken<Arc<Message>>;

struct State {
    queue: Queue<Slab<Chunks>>,
    /// Who wants to know that there is a message; each is told once.
    waiters: KVec<WorkHandle>,
    /// The channel is deleted.
    over: bool,
    /// When the task runs next.
    clock: u64,
    /// Dead letters that the undertaker was woken for.
    buried: u64,
}

/// See the module.
#[pin_data]
pub(crate) struct Channel {
    pub(crate) name: KVec<u8>,
    pub(crate) kind: Kind,
    /// Pattern of names whose messages come here, too; empty for none.
    pub(crate) bound: KVec<u8>,
    /// Where dead letters go; empty for nowhere.
    pub(crate) dead: KVec<u8>,
    /// Who may use it.
    pub(crate) access: Access,
    /// That of its owner.
    account: Account,
    /// What it takes itself, and that it is one more.
    _charges: [Charge; 2],
    /// Of a subscription: how many use it. It goes with the last one.
    pub(crate) users: Atomic<u32>,
    pub(crate) policy: Policy,
    log: Option<Durable>,
    undertaker: WorkHandle,
    #[pin]
    state: SpinLockIrq<State>,
    /// Held from the first step to the last of what is done in steps that walk along a list. Taken
    /// before the lock of the state.
    #[pin]
    walking: Mutex<()>,
    /// Who waits for a message.
    #[pin]
    pub(crate) ready: WaitQueue,
    /// Who waits for room.
    #[pin]
    room: WaitQueue,
}

/// How a message goes into a channel.
#[derive(Clone, Copy, Default)]
pub(crate) struct How {
    pub(crate) priority: u8,
    pub(crate) delay_ms: u32,
}

impl How {
    /// Nothing special.
    pub(crate) const PLAIN: How = How {
        priority: 4,
        delay_ms: 0,
    };
}

/// A message that is made, and how it goes into channels.
pub(crate) type Outgoing = (Arc<Message>, How);

/// Does something with each message, up to the first for which that fails. Each is told the number
/// that it gets. Returns with how many it went well.
fn put_each(
    messages: &[Outgoing],
    mut put: impl FnMut(&Arc<Message>, How) -> Result<u64>,
) -> (usize, Result) {
    let mut count = 0;
    let result = messages.iter().try_for_each(|(message, how)| {
        let seq = put(message, *how)?;
        message.position.store(seq, Relaxed);
        count += 1;
        Ok(())
    });
    (count, result)
}

/// When a message that is delayed is ready.
fn due(now: u64, how: How) -> Option<u64> {
    (how.delay_ms > 0).then(|| now + u64::from(how.delay_ms))
}

/// Numbers of a channel, at one moment.
pub(crate) struct Figures {
    pub(crate) counts: Counts,
    pub(crate) limits: Limits,
    pub(crate) ready: u32,
    pub(crate) delayed: u32,
    pub(crate) leased: u32,
    pub(crate) kept: u32,
    pub(crate) dead: u32,
    pub(crate) bytes: u64,
    pub(crate) next: u64,
}

fn copy(bytes: &[u8]) -> Result<KVec<u8>> {
    let mut copy = KVec::with_capacity(bytes.len(), GFP_KERNEL_ACCOUNT)?;
    copy.extend_from_slice(bytes, GFP_KERNEL_ACCOUNT)?;
    Ok(copy)
}

/// What a new channel is charged to.
pub(crate) struct Charged {
    /// Bytes of its owner.
    pub(crate) account: Account,
    /// That it is one more.
    pub(crate) count: Charge,
    /// It is not bounded: it was there before.
    pub(crate) is_restored: bool,
}

impl Channel {
    /// An empty channel, whose clock runs on `work`. `undertaker` is woken when there are dead
    /// letters. May sleep.
    ///
    /// # Errors
    ///
    /// [`ENOMEM`]; [`EDQUOT`] if its owner has too much.
    pub(crate) fn new(
        work: Arc<WorkQueue>,
        name: &[u8],
        options: &Options<'_>,
        undertaker: WorkHandle,
        log: Option<Durable>,
        charged: Charged,
    ) -> Result<Arc<Task<Self>>> {
        let Charged {
            account,
            count,
            is_restored,
        } = charged;
        let (name, bound, dead) = (copy(name)?, copy(options.bind)?, copy(options.dead)?);
        let text = log.as_ref().map_or(0, |durable| durable.options.len());
        let bytes = size_of::<Task<Self>>() + name.len() + bound.len() + dead.len() + text;
        let own = match is_restored {
            true => account.charge_unbounded(bytes as u64),
            false => account.charge(bytes as u64)?,
        };
        let places = Slab::new(Chunks::new(account.clone()));
        let state = State {
            queue: Queue::new(places, options.limits, crypto::random_u32()),
            waiters: KVec::new(),
            over: false,
            clock: u64::MAX,
            buried: 0,
        };
        let channel = pin_init!(Self {
            name,
            kind: options.kind,
            bound,
            dead,
            access: options.access(),
            account,
            _charges: [own, count],
            users: Atomic::new(0),
            policy: options.limits.policy,
            log,
            undertaker,
            state <- kernel::new_spinlock_irq!(state, "virgo_channel"),
            walking <- linux::new_mutex!((), "virgo_channel_walk"),
            ready <- linux::new_wait_queue!("virgo_channel_ready"),
            room <- linux::new_wait_queue!("virgo_channel_room"),
        });
        Arc::pin_init(
            linux::new_task!(work, channel, "virgo_channel"),
            GFP_KERNEL_ACCOUNT,
        )
    }

    /// Whether `uid` may do this with it.
    ///
    /// # Errors
    ///
    /// [`EACCES`].
    pub(crate) fn check(&self, uid: u32, right: Right) -> Result {
        match self.access.allows(uid, right) {
            true => Ok(()),
            false => Err(EACCES),
        }
    }

    /// Puts a message in. Returns its number. Any context.
    ///
    /// # Errors
    ///
    /// [`EAGAIN`] if there is no room and the sender may wait for some; [`ENOBUFS`] if it is refused;
    /// [`ENOENT`] if the channel is deleted; [`ENOMEM`].
    pub(crate) fn push(task: &Task<Self>, message: &Arc<Message>, how: How) -> Result<u64> {
        let now = now_ms();
        let mut state = task.state.lock();
        let seq = state.push(now, message, how)?;
        task.pushed(state, due(now, how));
        Ok(seq)
    }

    /// Puts messages in that were published to this channel's name, in order, up to the first for
    /// which that fails, as [`Self::push`] does. Returns how many went in. Any context.
    pub(crate) fn push_all(task: &Task<Self>, messages: &[Outgoing]) -> (usize, Result) {
        let now = now_ms();
        let mut first = None;
        let mut state = task.state.lock();
        let pushed = put_each(messages, |message, how| {
            let seq = state.push(now, message, how)?;
            first = [first, due(now, how)].into_iter().flatten().min();
            Ok(seq)
        });
        if pushed.0 > 0 {
            task.pushed(state, first);
        }
        pushed
    }

    /// Puts a message in that was published to this channel's name, and waits for room until
    /// `deadline`. Sleeps.
    ///
    /// # Errors
    ///
    /// As for [`Self::push`], but [`ETIMEDOUT`] at the deadline; [`EINTR`] if the task is being
    /// killed.
    pub(crate) fn push_wait(task: &Task<Self>, message: &Outgoing, deadline: Deadline) -> Result {
        let pushed = task.room.wait(deadline, || {
            match Self::push_all(task, slice::from_ref(message)) {
                (_, Err(EAGAIN)) => None,
                (_, result) => Some(result),
            }
        })?;
        pushed.unwrap_or_else(|| {
            task.state.lock().queue.count_refused();
            Err(ETIMEDOUT)
        })
    }

    /// Hands the next message out to `holder`; for good if `acked`. Any context.
    ///
    /// # Errors
    ///
    /// [`ENOENT`] if the channel is deleted.
    pub(crate) fn take(task: &Task<Self>, holder: u64, acked: bool) -> Result<Option<Delivery>> {
        Self::take_or(task, holder, acked, |_| true, |_| Ok(()))
    }

    /// The same, to be acknowledged, if the message is one that `fits`. Leaves it where it is
    /// otherwise; that is no delivery.
    ///
    /// # Errors
    ///
    /// [`ENOENT`] if the channel is deleted, [`EMSGSIZE`] if the next message does not fit.
    pub(crate) fn take_if(
        task: &Task<Self>,
        holder: u64,
        fits: impl FnOnce(&Message) -> bool,
    ) -> Result<Option<Delivery>> {
        Self::take_or(task, holder, false, fits, |_| Ok(()))
    }

    /// Has `waker` woken once when there may be a message; at once if there is one.
    ///
    /// # Errors
    ///
    /// [`ENOENT`] if the channel is deleted, [`ENOMEM`].
    pub(crate) fn wake_when_ready(&self, waker: &WorkHandle) -> Result {
        let mut state = self.state.lock();
        if state.over {
            return Err(ENOENT);
        }
        if !state.queue.has_next() {
            return state.add_waiter(waker);
        }
        drop(state);
        waker.wake();
        Ok(())
    }

    /// The same; `waker` is woken once when there may be a message, if there is none now.
    ///
    /// # Errors
    ///
    /// [`ENOENT`] if the channel is deleted, [`ENOMEM`].
    pub(crate) fn take_or_wake(
        task: &Task<Self>,
        holder: u64,
        acked: bool,
        waker: &WorkHandle,
    ) -> Result<Option<Delivery>> {
        Self::take_or(
            task,
            holder,
            acked,
            |_| true,
            |state| state.add_waiter(waker),
        )
    }

    fn take_or(
        task: &Task<Self>,
        holder: u64,
        acked: bool,
        fits: impl FnOnce(&Message) -> bool,
        otherwise: impl FnOnce(&mut State) -> Result,
    ) -> Result<Option<Delivery>> {
        let now = now_ms();
        let mut state = task.state.lock();
        if state.over {
            return Err(ENOENT);
        }
        let mut due = state.queue.tick(now);
        let result = match state.queue.peek() {
            Some(next) if !fits(next) => Err(EMSGSIZE),
            _ if acked => Ok(state.queue.take_acked()),
            _ => Ok(state.queue.take(now, holder)),
        };
        match &result {
            Ok(None) => otherwise(&mut state)?,
            Ok(Some(_)) if !acked => due = state.queue.next_due(),
            _ => (),
        }
        let has_died = state.has_died();
        task.set_clock(state, due);
        if has_died {
            task.undertaker.wake();
        }
        if let (true, Ok(Some(taken))) = (acked, &result) {
            task.done(taken.seq);
            task.left();
        }
        result
    }

    /// Whether [`Self::take`] would hand one out now, or fail. Any context.
    pub(crate) fn has_next(&self) -> bool {
        let state = self.state.lock();
        state.over || state.queue.has_next()
    }

    /// `holder` has done with delivery `id`. May sleep if this is durable.
    ///
    /// # Errors
    ///
    /// [`ESTALE`] if it does not have it (any more).
    pub(crate) fn ack(task: &Task<Self>, holder: u64, id: u64) -> Result {
        let mut state = task.state.lock();
        let done = state.queue.ack(holder, id);
        // There may have been as many out as may be.
        match state.queue.has_next() {
            true => task.tell_waiters(state),
            false => drop(state),
        }
        let (seq, message) = done.map_err(|NotHeld| ESTALE)?;
        drop(message);
        task.done(seq);
        task.left();
        Ok(())
    }

    /// What `holder` has by delivery `id`. Any context.
    ///
    /// # Errors
    ///
    /// [`ESTALE`] if it does not have it (any more).
    pub(crate) fn held(&self, holder: u64, id: u64) -> Result<Arc<Message>> {
        let state = self.state.lock();
        state.queue.held(holder, id).cloned().ok_or(ESTALE)
    }

    /// Waits until there is a message to be taken. False at the deadline. Sleeps, killably.
    ///
    /// # Errors
    ///
    /// [`EINTR`].
    pub(crate) fn wait(&self, deadline: Deadline) -> Result<bool> {
        let ready = || self.has_next().then_some(());
        Ok(self.ready.wait(deadline, ready)?.is_some())
    }

    /// `holder` does not want delivery `id`: others may have the message in `delay_ms`.
    ///
    /// # Errors
    ///
    /// [`ESTALE`] if it does not have it (any more).
    pub(crate) fn give_back(task: &Task<Self>, holder: u64, id: u64, delay_ms: u32) -> Result {
        let now = now_ms();
        let mut state = task.state.lock();
        let delay = u64::from(delay_ms);
        let result = state.queue.give_back(now, holder, id, delay);
        task.came_back(state, now);
        result.map_err(|NotHeld| ESTALE)
    }

    /// Delivery `id` did not reach `holder`: the message is where it was, and that was no delivery.
    ///
    /// # Errors
    ///
    /// [`ESTALE`] if it does not have it (any more).
    pub(crate) fn untake(task: &Task<Self>, holder: u64, id: u64) -> Result {
        let mut state = task.state.lock();
        let result = state.queue.untake(holder, id);
        task.came_back(state, now_ms());
        result.map_err(|NotHeld| ESTALE)
    }

    /// Those holders are `gone`: others may have what they had. If it was not handed out, that was
    /// no delivery. Sleeps.
    pub(crate) fn give_all_back(task: &Task<Self>, handed_out: bool, gone: impl Fn(u64) -> bool) {
        let _walking = task.walking.lock();
        task.state.lock().queue.begin_to_give_back();
        loop {
            let now = now_ms();
            let mut state = task.state.lock();
            let more = state.queue.give_back_some(now, handed_out, &gone);
            task.came_back(state, now);
            if !more {
                return;
            }
            yield_now();
        }
    }

    /// `waker` is not to be woken any more.
    pub(crate) fn forget_waker(&self, waker: &WorkHandle) {
        let mut state = self.state.lock();
        state.waiters.retain(|known| !known.is(waker));
    }

    /// Keeps messages that were published to this channel's name for replay, without handing them
    /// out, up to the first for which that fails: what a topic does. Returns how many.
    ///
    /// # Errors
    ///
    /// [`ENOBUFS`] if some are kept and it is larger than all of these may be; [`ENOENT`],
    /// [`ENOMEM`].
    pub(crate) fn record(task: &Task<Self>, messages: &[Outgoing]) -> (usize, Result) {
        let now = now_ms();
        let mut state = task.state.lock();
        let recorded = put_each(messages, |message, _| state.record(now, message));
        drop(state);
        task.left();
        recorded
    }

    /// Has messages that were kept, from number `from` on, handed out once more. Returns how many.
    /// Sleeps.
    pub(crate) fn replay(task: &Task<Self>, from: u64) -> u32 {
        let _walking = task.walking.lock();
        task.state.lock().queue.begin_with_kept();
        let mut all = 0u32;
        loop {
            let mut state = task.state.lock();
            let (count, more) = state.queue.replay_some(from);
            task.tell_waiters(state);
            task.ready.wake_all();
            all = all.saturating_add(count);
            if !more {
                return all;
            }
            yield_now();
        }
    }

    /// The messages that were kept, from number `from` on. Sleeps.
    ///
    /// # Errors
    ///
    /// [`ENOMEM`].
    pub(crate) fn kept(&self, from: u64) -> Result<KVVec<Arc<Message>>> {
        let mut kept = KVVec::new();
        let _walking = self.walking.lock();
        self.state.lock().queue.begin_with_kept();
        loop {
            kept.reserve(STEP as usize, GFP_KERNEL_ACCOUNT)?;
            let mut state = self.state.lock();
            let more = state.queue.show_some_kept(from, |_, message| {
                // There is room for a step.
                let _ = kept.push_within_capacity(message.clone());
            });
            drop(state);
            if !more {
                return Ok(kept);
            }
        }
    }

    /// The next dead letter.
    pub(crate) fn first_dead(&self) -> Option<Arc<Message>> {
        self.state.lock().queue.first_dead().cloned()
    }

    pub(crate) fn has_dead(&self) -> bool {
        self.state.lock().queue.has_dead()
    }

    /// The next dead letter is where it belongs, or nowhere. May sleep.
    pub(crate) fn drop_dead(&self) {
        let dead = self.state.lock().queue.take_dead();
        if let Some((seq, letter)) = dead {
            drop(letter);
            self.done(seq);
            self.left();
        }
    }

    /// Nobody can use it any more; who waits is told. Its messages are gone. May sleep.
    pub(crate) fn close(&self) {
        let mut state = self.state.lock();
        state.over = true;
        self.tell_waiters(state);
        self.ready.wake_all();
        self.room.wake_all();
        loop {
            let message = self.state.lock().queue.remove_any();
            if message.is_none() {
                return;
            }
        }
    }

    pub(crate) fn figures(&self) -> Figures {
        let state = self.state.lock();
        let queue = &state.queue;
        Figures {
            counts: queue.counts(),
            limits: *queue.limits(),
            ready: queue.ready(),
            delayed: queue.delayed(),
            leased: queue.leased(),
            kept: queue.kept(),
            dead: queue.dead(),
            bytes: queue.bytes(),
            next: queue.next_seq(),
        }
    }

    /// Messages that did not get in, or did not stay until they were handed out.
    pub(crate) fn lost(&self) -> u64 {
        let counts = self.state.lock().queue.counts();
        counts.dropped.saturating_add(counts.refused)
    }

    /// Whether its messages are on disk.
    pub(crate) fn is_durable(&self) -> bool {
        self.log.is_some()
    }

    /// Message `seq` need not be on disk any more. May sleep if this is durable.
    fn done(&self, seq: u64) {
        if let Some(durable) = &self.log {
            let mut writer = durable.log.lock();
            // A deleted one's name may be another's by now.
            if !self.state.lock().over {
                durable.log.done(&mut writer, &self.name, seq);
            }
        }
    }

    /// Puts a message in and writes it to the log. Returns the place of the log that has to be
    /// committed before anybody is told. May sleep.
    ///
    /// # Errors
    ///
    /// As for [`Self::push`]; [`ENOSPC`], [`EIO`] and the like.
    pub(crate) fn push_logged(
        task: &Task<Self>,
        writer: &mut Writer,
        message: &Arc<Message>,
        how: How,
    ) -> Result<u64> {
        let durable = task.log.as_ref().ok_or(EINVAL)?;
        // Nobody else puts anything in while we may write, so the room and the number stay.
        let seq = task.reserve(message)?;
        let record = Record {
            priority: how.priority,
            seq,
            time: log::now(),
            delay_ms: how.delay_ms,
            from: message.from.octets(),
            queue: &task.name,
            subject: message.subject(),
            data: message.data(),
            ..Record::new(RecordKind::Publish)
        };
        let place = durable.log.append(writer, &record)?;
        // A dead letter has been published already.
        if message.position.load(Relaxed) == 0 && message.subject() == task.name.as_slice() {
            message.position.store(seq, Relaxed);
        }
        match Self::push(task, message, how) {
            Ok(_) => Ok(place),
            Err(e) => {
                // Deleted meanwhile. Not under our lock, which `done` takes.
                let undo = Record {
                    seq,
                    queue: &task.name,
                    ..Record::new(RecordKind::Done)
                };
                let _ = durable.log.append(writer, &undo);
                Err(e)
            }
        }
    }

    /// Makes sure that there is room for a message. Returns the number that the next one gets.
    fn reserve(&self, message: &Message) -> Result<u64> {
        let mut state = self.state.lock();
        state.make_room(message.bytes())?;
        match state.queue.reserve() {
            true => Ok(state.queue.next_seq()),
            false => Err(ENOMEM),
        }
    }

    /// Whether there is room for so many bytes.
    ///
    /// # Errors
    ///
    /// As for [`Self::push`].
    pub(crate) fn has_room(&self, bytes: u32) -> Result {
        self.state.lock().make_room(bytes)
    }

    /// Waits until there may be room. False at the deadline. Sleeps, killably.
    ///
    /// # Errors
    ///
    /// [`EINTR`].
    pub(crate) fn wait_for_room(&self, bytes: u32, deadline: Deadline) -> Result<bool> {
        // A queue that blocks drops nothing but what it has kept.
        let room = || (self.has_room(bytes) != Err(EAGAIN)).then_some(());
        let found = self.room.wait(deadline, room)?.is_some();
        if !found {
            self.count_lost();
        }
        Ok(found)
    }

    /// Puts in a message from the log.
    ///
    /// # Errors
    ///
    /// [`ENOMEM`].
    pub(crate) fn restore(task: &Task<Self>, seq: u64, mut push: Push<Arc<Message>>) -> Result {
        push.item = Message::charged_to(push.item, &task.account).ok_or(EBUSY)?;
        let now = now_ms();
        let mut state = task.state.lock();
        state.queue.places_mut().pieces_mut().set_restoring(true);
        let restored = state.queue.restore(now, seq, push);
        state.queue.places_mut().pieces_mut().set_restoring(false);
        let due = state.queue.tick(now);
        task.set_clock(state, due);
        restored.map_err(|_| ENOMEM)
    }

    /// The next message gets the number `seq` at least.
    pub(crate) fn skip_to(&self, seq: u64) {
        self.state.lock().queue.skip_to(seq);
    }

    /// Shows what it is and has as records. It is used meanwhile; what is there all the time is shown.
    /// May sleep.
    ///
    /// # Errors
    ///
    /// Those of `put`, [`ENOMEM`].
    pub(crate) fn write(&self, put: &mut dyn FnMut(&Record<'_>) -> Result) -> Result {
        let durable = self.log.as_ref().ok_or(EINVAL)?;
        let record = |kind| Record {
            queue: &self.name,
            ..Record::new(kind)
        };
        put(&Record {
            data: &durable.options,
            ..record(RecordKind::Create)
        })?;
        let (now, time) = (now_ms(), log::now());
        let next = self.state.lock().queue.next_seq();
        put(&Record {
            seq: next,
            ..record(RecordKind::Next)
        })?;
        let mut some = KVec::with_capacity(STEP as usize, GFP_KERNEL)?;
        let mut from = Some(0);
        while let Some(at) = from {
            some.clear();
            let state = self.state.lock();
            from = state
                .queue
                .show_some(at, now, |seq, priority, delay, message| {
                    // There is room for a step.
                    let _ = some.push_within_capacity((seq, priority, delay, message.clone()));
                });
            drop(state);
            write_some(&some, time, &record(RecordKind::Publish), put)?;
        }
        Ok(())
    }

    /// Counts a message that is lost though it was in here, or might have been.
    pub(crate) fn count_lost(&self) {
        self.state.lock().queue.count_refused();
    }

    /// Wakes those who want to know that there may be a message, without the lock.
    fn tell_waiters(&self, mut state: Guard<'_>) {
        // Usually there are none, or few.
        if state.waiters.len() > FEW_WAITERS {
            let waiters = take(&mut state.waiters);
            drop(state);
            waiters.iter().for_each(WorkHandle::wake);
            return;
        }
        let mut few = [const { None }; FEW_WAITERS];
        for place in &mut few {
            *place = state.waiters.pop();
            if place.is_none() {
                break;
            }
        }
        drop(state);
        few.iter().flatten().for_each(WorkHandle::wake);
    }

    /// A message has left: others may have room, and too many may be kept.
    fn left(&self) {
        if self.policy == Policy::Block {
            self.room.wake_all();
        }
        while let Some(message) = {
            let mut state = self.state.lock();
            state.queue.forget()
        } {
            drop(message);
        }
    }
}

/// What a channel's task is needed for.
trait Clock {
    fn set_clock(&self, state: Guard<'_>, due: Option<u64>);
    fn keep_time(&self, state: &mut Guard<'_>, due: Option<u64>);
    fn pushed(&self, state: Guard<'_>, due: Option<u64>);
    fn came_back(&self, state: Guard<'_>, now: u64);
}

impl Clock for Task<Channel> {
    /// Sees to it that the task runs at `due`.
    fn set_clock(&self, mut state: Guard<'_>, due: Option<u64>) {
        self.keep_time(&mut state, due);
    }

    fn keep_time(&self, state: &mut Guard<'_>, due: Option<u64>) {
        let Some(due) = due.filter(|&due| due < state.clock) else {
            return;
        };
        state.clock = due;
        let wait = due.saturating_sub(now_ms());
        // Under the lock, so that the last one to set it is the one that is earliest.
        self.reschedule_after_ms(u32::try_from(wait).unwrap_or(u32::MAX / 2));
    }

    /// Messages have come, the first of those that are delayed for `due`.
    fn pushed(&self, mut state: Guard<'_>, due: Option<u64>) {
        // Who takes for good may also if too many are out.
        let is_ready = state.queue.ready() > 0;
        self.keep_time(&mut state, due);
        match is_ready {
            true => self.tell_waiters(state),
            false => drop(state),
        }
        self.ready.wake_all();
    }

    /// Messages may have come back.
    fn came_back(&self, mut state: Guard<'_>, now: u64) {
        // What is left is due at once, and then the task runs.
        let due = state.queue.tick(now);
        let has_died = state.has_died();
        let is_ready = state.queue.ready() > 0;
        self.keep_time(&mut state, due);
        match is_ready {
            true => self.tell_waiters(state),
            false => drop(state),
        }
        self.ready.wake_all();
        if has_died {
            self.undertaker.wake();
        }
    }
}

impl State {
    /// See [`Channel::push`].
    fn push(&mut self, now: u64, message: &Arc<Message>, how: How) -> Result<u64> {
        let bytes = message.bytes();
        self.make_room(bytes)?;
        let push = Push {
            item: message.clone(),
            bytes,
            priority: how.priority,
            delay_ms: how.delay_ms.into(),
        };
        // The caller has the message, so this is not its end.
        self.queue.push(now, push).map_err(|_| ENOMEM)
    }

    /// Drops some hundred messages at most, as many as one can be larger than others.
    fn make_room(&mut self, bytes: u32) -> Result {
        if self.over {
            return Err(ENOENT);
        }
        match self.queue.make_room(bytes, drop) {
            Room::Yes => Ok(()),
            Room::Later => Err(EAGAIN),
            Room::No => Err(ENOBUFS),
        }
    }

    /// See [`Channel::record`].
    fn record(&mut self, now: u64, message: &Arc<Message>) -> Result<u64> {
        if self.queue.limits().keep == 0 && !self.over {
            return Ok(self.queue.pass());
        }
        let seq = self.push(now, message, How::PLAIN)?;
        // The caller has it, too.
        drop(self.queue.take_acked());
        Ok(seq)
    }

    /// Whether there are dead letters that the undertaker has not been woken for. It comes to the
    /// others by itself.
    fn has_died(&mut self) -> bool {
        let dead = self.queue.counts().dead;
        core::mem::replace(&mut self.buried, dead) != dead
    }

    /// Has `waker` woken once when there may be a message.
    fn add_waiter(&mut self, waker: &WorkHandle) -> Result {
        if !self.waiters.iter().any(|known| known.is(waker)) {
            self.waiters.push(waker.clone(), GFP_ATOMIC)?;
        }
        Ok(())
    }
}

/// Writes records, which are like `record`, of messages: number, priority, delay in milliseconds.
fn write_some(
    messages: &[(u64, u8, u64, Arc<Message>)],
    time: u64,
    record: &Record<'_>,
    put: &mut dyn FnMut(&Record<'_>) -> Result,
) -> Result {
    messages
        .iter()
        .try_for_each(|(seq, priority, delay, message)| {
            put(&Record {
                priority: *priority,
                seq: *seq,
                time,
                delay_ms: u32::try_from(*delay).unwrap_or(u32::MAX),
                from: message.from.octets(),
                subject: message.subject(),
                data: message.data(),
                ..*record
            })
        })
}

impl Run for Channel {
    /// Something is due.
    fn run(task: &Task<Self>) {
        let mut state = task.state.lock();
        state.clock = u64::MAX;
        task.came_back(state, now_ms());
    }
}
