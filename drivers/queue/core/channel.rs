// SPDX-License-Identifier: GPL-2.0

//! A channel: one queue of messages and those who wait at it. Queues and topics that people create
//! are channels, and so is what a subscriber to a topic or a pattern has.
//!
//! All that happens to the messages is [`virgo_proto::queue::state`]'s affair, under a spinlock that
//! any context may take, for a time that does not grow with the number of messages: what concerns many
//! is done in steps, with the lock let go between them. Its task is its clock: it runs when a message
//! is due.

#[path = "channel/channel_log.rs"]
mod channel_log;
#[path = "channel/fencing.rs"]
mod fencing;
#[path = "channel/keeping.rs"]
mod keeping;
#[path = "channel/logged.rs"]
mod logged;
#[path = "channel/news.rs"]
mod news;
#[path = "channel/putting.rs"]
mod putting;
#[path = "channel/room.rs"]
pub(crate) mod room;
#[path = "channel/taking.rs"]
mod taking;

pub(crate) use channel_log::ChannelLog;
pub(crate) use fencing::FenceCheck;

use crate::{
    chunks::Chunks,
    message::Message, //
};
use core::mem::{
    size_of,
    take, //
};
use kernel::{
    prelude::*,
    sync::{
        atomic::Atomic,
        Arc,
        Mutex,
        SpinLockIrq, //
    }, //
};
use linux::{
    bytes::{
        copy,
        memory_of, //
    },
    crypto,
    deadline::now_ms,
    wait::WaitQueue,
    waiters::Waiters,
    work::{
        Task,
        WorkHandle,
        WorkQueue, //
    }, //
};
use virgo_proto::{
    fence::Fence,
    queue::{
        access::{
            Access,
            Right, //
        },
        options::{
            ChannelKind,
            Options, //
        },
        room::Offers,
        shares::Sharing,
        slab::Slab,
        state::{
            MessageCounts,
            OverflowPolicy,
            Push,
            Queue,
            QueueLimits,
            Room,
            Taken, //
        }, //
    }, //
};
use virgo_utils::budget::{
    user_share,
    Account,
    Charge, //
};

type Guard<'a> = kernel::sync::lock::spinlock::SpinLockIrqGuard<'a, State>;

/// So many who wait for a message are told by who publishes it; if there are more the channel's task does it.
const WAKE_AT_ONCE: usize = 8;

/// What is handed out.
pub(crate) type TakenMessage = Taken<Arc<Message>>;

struct State {
    queue: Queue<Slab<Chunks>>,
    /// Which lock guards it.
    fence: Fence,
    /// How far those have been asked who wait for room.
    offers: Offers,
    /// Who wants to know that there is a message; each is told once.
    waiters: KVec<WorkHandle>,
    /// The channel is deleted.
    over: bool,
    /// When the delayed work runs next.
    clock: u64,
    /// Dead letters for which the work that brings them was woken.
    buried: u64,
}

/// See the module.
#[pin_data]
pub(crate) struct Channel {
    pub(crate) name: KVec<u8>,
    pub(crate) kind: ChannelKind,
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
    /// That it is one more of those that are bound to something.
    _bound: Option<Charge>,
    /// Of a subscription: how many use it. It goes with the last one.
    pub(crate) users: Atomic<u32>,
    pub(crate) policy: OverflowPolicy,
    /// Messages are kept for replay.
    pub(crate) keeps: bool,
    /// What is not acknowledged by then comes again, in milliseconds; 0: never.
    pub(crate) ack_ms: u32,
    log: Option<ChannelLog>,
    /// Woken when there are dead letters.
    dead_letters: WorkHandle,
    #[pin]
    state: SpinLockIrq<State>,
    /// Held from the first step to the last of what walks along the messages in steps (replay, what a consumer
    /// leaves, what is kept): one such walk at a time. Taken before the lock of the state.
    #[pin]
    walking: Mutex<()>,
    /// Who waits for a message: one is woken, which wakes the next if there is more. All who wait here
    /// wait exclusively.
    #[pin]
    ready: WaitQueue,
    /// Who polls a descriptor.
    #[pin]
    pub(crate) polled: WaitQueue,
    /// Who waits for room.
    #[pin]
    room: Waiters,
}

/// A channel, shared.
pub(crate) type ChannelRef = Arc<Task<Channel>>;

/// How a message goes into a channel.
#[derive(Clone, Copy, Default)]
pub(crate) struct PublishOptions {
    pub(crate) priority: u8,
    pub(crate) delay_ms: u32,
}

impl PublishOptions {
    /// Nothing special.
    pub(crate) const PLAIN: PublishOptions = PublishOptions {
        priority: 4,
        delay_ms: 0,
    };

    /// Whether it goes into channels at once, and not before others.
    pub(crate) fn is_plain(self) -> bool {
        self.delay_ms == 0 && self.priority <= Self::PLAIN.priority
    }
}

/// A message that is made, and how it goes into channels.
pub(crate) type Publication = (Arc<Message>, PublishOptions);

/// When a message that is delayed is ready.
fn due(now: u64, how: PublishOptions) -> Option<u64> {
    (how.delay_ms > 0).then(|| now + u64::from(how.delay_ms))
}

/// Numbers of a channel, at one moment.
pub(crate) struct ChannelStats {
    pub(crate) counts: MessageCounts,
    pub(crate) limits: QueueLimits,
    pub(crate) ready: u32,
    pub(crate) delayed: u32,
    pub(crate) leased: u32,
    pub(crate) kept: u32,
    pub(crate) dead: u32,
    pub(crate) bytes: u64,
    pub(crate) next: u64,
}

/// What a new channel is charged to.
pub(crate) struct Charged {
    /// Bytes of its owner.
    pub(crate) account: Account,
    /// That it is one more.
    pub(crate) count: Charge,
    /// The same of those that are bound to something.
    pub(crate) bound: Option<Charge>,
    /// It is not bounded: it was there before.
    pub(crate) is_restored: bool,
}

impl Channel {
    /// An empty channel, whose clock runs on `work`. `dead_letters` is woken when there are
    /// some. May sleep.
    ///
    /// # Errors
    ///
    /// [`ENOMEM`]; [`EDQUOT`] if its owner has too much.
    pub(crate) fn new(
        work: Arc<WorkQueue>,
        name: &[u8],
        options: &Options<'_>,
        dead_letters: WorkHandle,
        log: Option<ChannelLog>,
        charged: Charged,
    ) -> Result<Arc<Task<Self>>> {
        let Charged {
            account,
            count,
            bound: one_bound,
            is_restored,
        } = charged;
        let copied = |bytes| copy(bytes, GFP_KERNEL_ACCOUNT);
        let (name, bound, dead) = (copied(name)?, copied(options.bind)?, copied(options.dead)?);
        let text = log.as_ref().map_or(0, |durable| durable.options.len());
        let texts = [name.len(), bound.len(), dead.len(), text];
        let bytes = memory_of(size_of::<Task<Self>>()) + texts.map(memory_of).iter().sum::<usize>();
        let own = match is_restored {
            true => account.charge_unbounded(bytes as u64),
            false => account.charge(bytes as u64)?,
        };
        let places = Slab::new(Chunks::new(account.clone()));
        let access = options.access();
        let sharing = Sharing {
            owner: access.owner,
            percent: user_share(),
            key: crypto::random_u32(),
        };
        let delivery = crypto::random_u32();
        let state = State {
            queue: Queue::new(places, options.limits, delivery, sharing),
            fence: Fence::OPEN,
            offers: Offers::new(),
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
            access,
            account,
            _charges: [own, count],
            _bound: one_bound,
            users: Atomic::new(0),
            policy: options.limits.policy,
            keeps: options.limits.keep > 0,
            ack_ms: options.limits.ack_ms,
            log,
            dead_letters,
            state <- kernel::new_spinlock_irq!(state, "virgo_channel"),
            walking <- linux::new_mutex!((), "virgo_channel_walk"),
            ready <- linux::new_wait_queue!("virgo_channel_ready"),
            polled <- linux::new_wait_queue!("virgo_channel_polled"),
            room <- Waiters::new(),
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

    pub(crate) fn stats(&self) -> ChannelStats {
        let state = self.state.lock();
        let queue = &state.queue;
        ChannelStats {
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

    /// Counts a message that is lost though it was in here, or might have been.
    pub(crate) fn count_lost(&self) {
        self.state.lock().queue.count_refused();
    }

    /// Wakes those who want to know that there may be a message, however many they are, without the lock.
    /// May sleep.
    fn wake_waiters(&self, mut state: Guard<'_>) {
        let waiters = take(&mut state.waiters);
        drop(state);
        waiters.iter().for_each(WorkHandle::wake);
    }

    /// The same in any context, if there are not more than [`WAKE_AT_ONCE`].
    fn wake_few_waiters(&self, mut state: Guard<'_>) {
        let mut few = [const { None }; WAKE_AT_ONCE];
        for place in &mut few {
            *place = state.waiters.pop();
            if place.is_none() {
                break;
            }
        }
        drop(state);
        few.iter().flatten().for_each(WorkHandle::wake);
    }
}

/// When a channel's task runs.
trait Clock {
    fn keep_time(&self, state: &mut Guard<'_>, due: Option<u64>);
    fn run_now(&self, state: &mut Guard<'_>);
}

impl Clock for Task<Channel> {
    /// Sees to it that the task runs at `due`.
    fn keep_time(&self, state: &mut Guard<'_>, due: Option<u64>) {
        let Some(due) = due.filter(|&due| due < state.clock) else {
            return;
        };
        state.clock = due;
        let wait = due.saturating_sub(now_ms());
        // Under the lock, so that the last one to set it is the one that is earliest.
        self.reschedule_after_ms(u32::try_from(wait).unwrap_or(u32::MAX / 2));
    }

    /// Has the task run as soon as may be; a later due time does not put that off.
    fn run_now(&self, state: &mut Guard<'_>) {
        state.clock = 0;
        self.schedule_now();
    }
}

impl State {
    /// See [`Channel::push`]. `None` if the lock is to be let go, and this called again.
    fn push(
        &mut self,
        now: u64,
        message: &Arc<Message>,
        how: PublishOptions,
        check: FenceCheck,
    ) -> Result<Option<u64>> {
        // Nothing is dropped for a message that is refused, and none that finds no room raises the fence.
        let fence = self.admit(check)?;
        if !self.make_room(message.bytes(), message.publisher)? {
            return Ok(None);
        }
        let seq = self.insert(now, message, how)?;
        self.fence = fence;
        Ok(Some(seq))
    }

    /// Puts a message in for which there is room.
    fn insert(&mut self, now: u64, message: &Arc<Message>, how: PublishOptions) -> Result<u64> {
        if self.over {
            return Err(ENOENT);
        }
        let push = Push {
            item: message.clone(),
            bytes: message.bytes(),
            priority: how.priority,
            delay_ms: how.delay_ms.into(),
        };
        // The caller has the message, so this is not its end.
        self.queue
            .push(now, push)
            .map_err(|_| self.queue.places_mut().pieces_mut().refusal())
    }

    /// Makes room for so many bytes of user `uid`. False if the lock is to be let go, and this called
    /// again.
    fn make_room(&mut self, bytes: u32, uid: u32) -> Result<bool> {
        if self.over {
            return Err(ENOENT);
        }
        match self.queue.make_room(bytes, uid, drop) {
            Room::Yes => Ok(true),
            Room::More => Ok(false),
            Room::Later => Err(EAGAIN),
            Room::No => Err(ENOBUFS),
            Room::Share => Err(EDQUOT),
        }
    }

    /// See [`Channel::record`]. `None` if the lock is to be let go, and this called again.
    fn record(
        &mut self,
        now: u64,
        message: &Arc<Message>,
        check: FenceCheck,
    ) -> Result<Option<u64>> {
        if self.queue.limits().keep == 0 && !self.over {
            self.fence = self.admit(check)?;
            return Ok(Some(self.queue.pass()));
        }
        let seq = self.push(now, message, PublishOptions::PLAIN, check)?;
        if seq.is_some() {
            // The caller has it, too.
            drop(self.queue.take_acked());
        }
        Ok(seq)
    }

    /// Whether there are dead letters for which the work that brings them has not been woken. It comes
    /// to the others by itself.
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
