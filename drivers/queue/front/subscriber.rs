// SPDX-License-Identifier: GPL-2.0

//! What a text session has subscribed to, and the messages that it has got and not acknowledged.

use crate::{
    channel::{
        Channel,
        ChannelRef,
        TakenMessage, //
    },
    message::ReplyTo,
    queues::Queues, //
};
use core::mem::size_of;
use kernel::{
    prelude::*,
    sync::{
        atomic::{
            Atomic,
            Relaxed, //
        },
        Arc,
        Mutex, //
    }, //
};
use linux::{
    bytes::copy,
    deadline::Deadline,
    work::WorkHandle, //
};
use virgo_utils::{
    budget::{
        Account,
        Charge, //
    },
    to_wire,
    Attachment,
    Failure,
    Reply, //
};

/// Subscriptions of a session.
const MAX_SUBSCRIPTIONS: usize = 64;

/// Messages that a session has got and has not acknowledged or answered.
const MAX_OPEN: usize = 4096;

/// So many are noted in memory that is not given back when none are left.
const SMALL_LIST: usize = 16;

struct Subscription {
    channel: ChannelRef,
    /// As it was asked for.
    pattern: KVec<u8>,
    /// Messages are acknowledged by being sent.
    acked: bool,
    /// Messages that were lost before the session was told.
    lost: u64,
}

/// A message that the session has.
struct Open {
    id: u64,
    channel: ChannelRef,
    /// By what it is acknowledged.
    delivery: u64,
    acked: bool,
    reply: Option<ReplyTo>,
}

struct Inner {
    subscriptions: KVec<Subscription>,
    /// Which one is asked next, so that none waits for another.
    turn: usize,
    open: KVec<Open>,
    /// Bytes of what is open.
    charge: Charge,
    last: u64,
}

/// See the module.
#[pin_data(PinnedDrop)]
pub(crate) struct Subscriber {
    queues: Arc<Queues>,
    /// Who takes messages out.
    consumer: u64,
    waker: WorkHandle,
    /// LSN up to which the log has to be on disk before answers are sent.
    lsn: Atomic<u64>,
    #[pin]
    inner: Mutex<Inner>,
}

impl Subscriber {
    /// Charged to `account`. May sleep.
    ///
    /// # Errors
    ///
    /// [`ENOMEM`], [`EDQUOT`].
    pub(crate) fn new(
        queues: Arc<Queues>,
        account: &Account,
        waker: WorkHandle,
    ) -> Result<Arc<Self>> {
        let inner = Inner {
            subscriptions: KVec::new(),
            turn: 0,
            open: KVec::new(),
            charge: account.charge(size_of::<Self>() as u64)?,
            last: 0,
        };
        Arc::pin_init(
            pin_init!(Self {
                consumer: queues.next_consumer(),
                queues,
                waker,
                lsn: Atomic::new(0),
                inner <- kernel::new_mutex!(inner, "virgo_subscriber"),
            }),
            GFP_KERNEL,
        )
    }

    /// Answers are not sent before all up to `lsn` is on disk.
    pub(crate) fn settle_at(&self, lsn: u64) {
        self.lsn.store(lsn, Relaxed);
    }

    /// Subscribes to what comes to `channel`, of which the session is a user now. May sleep.
    ///
    /// # Errors
    ///
    /// [`EUSERS`] for one too many, [`EALREADY`], [`ENOMEM`].
    pub(crate) fn add(&self, channel: ChannelRef, pattern: &[u8], acked: bool) -> Result {
        let copied = copy(pattern, GFP_KERNEL)?;
        let mut inner = self.inner.lock();
        if inner.subscriptions.len() >= MAX_SUBSCRIPTIONS {
            return Err(EUSERS);
        }
        if inner
            .subscriptions
            .iter()
            .any(|s| s.pattern.as_slice() == pattern)
        {
            return Err(EALREADY);
        }
        let subscription = Subscription {
            lost: channel.lost(),
            channel,
            pattern: copied,
            acked,
        };
        Ok(inner.subscriptions.push(subscription, GFP_KERNEL)?)
    }

    /// Ends a subscription. Others may have what it has got and not acknowledged. May sleep.
    ///
    /// # Errors
    ///
    /// [`ENOENT`].
    pub(crate) fn remove(&self, pattern: &[u8]) -> Result {
        let mut inner = self.inner.lock();
        let mut subscriptions = inner.subscriptions.iter();
        let at = subscriptions.position(|s| s.pattern.as_slice() == pattern);
        let at = at.ok_or(ENOENT)?;
        let channel = inner.subscriptions.get(at).map(|s| s.channel.clone());
        let removed = inner.end(at, &channel.ok_or(ENOENT)?).ok_or(ENOENT)?;
        drop(inner);
        self.leave(&removed);
        Ok(())
    }

    fn leave(&self, subscription: &Subscription) {
        let channel = &subscription.channel;
        channel.forget_waker(&self.waker);
        // What is acknowledged by being sent is not out.
        if !subscription.acked {
            Channel::give_all_back(channel, true, |consumer| consumer == self.consumer);
        }
        self.queues.leave(channel);
    }

    fn close(&self, id: u64) -> Result<Open> {
        let mut inner = self.inner.lock();
        let at = inner
            .open
            .iter()
            .position(|open| open.id == id)
            .ok_or(ESTALE)?;
        let open = inner.open.remove(at).map_err(|_| ESTALE)?;
        if inner.open.is_empty() && inner.open.capacity() > SMALL_LIST {
            inner.open = KVec::new();
            let _ = inner.charge.resize(size_of::<Self>() as u64);
        }
        Ok(open)
    }

    /// Message `id` is done.
    ///
    /// # Errors
    ///
    /// [`ESTALE`] if the session does not have it (any more).
    pub(crate) fn ack(&self, id: u64) -> Result {
        let open = self.close(id)?;
        match open.acked {
            true => Ok(()),
            false => Channel::ack(&open.channel, self.consumer, open.delivery),
        }
    }

    /// Message `id` is not wanted: others may have it in `delay_ms`.
    ///
    /// # Errors
    ///
    /// [`ESTALE`] if the session does not have it (any more).
    pub(crate) fn give_back(&self, id: u64, delay_ms: u32) -> Result {
        let open = self.close(id)?;
        match open.acked {
            true => Err(ESTALE),
            false => Channel::give_back(&open.channel, self.consumer, open.delivery, delay_ms),
        }
    }

    /// Message `id` is done and wants a reply: where that goes.
    ///
    /// # Errors
    ///
    /// [`ESTALE`] if the session does not have it (any more); [`EINVAL`] if nobody waits for one.
    pub(crate) fn answered(&self, id: u64) -> Result<ReplyTo> {
        let open = self.close(id)?;
        if !open.acked {
            Channel::ack(&open.channel, self.consumer, open.delivery)?;
        }
        open.reply.ok_or(EINVAL)
    }
}

impl Inner {
    /// Ends subscription number `at`, which is to `channel`.
    fn end(&mut self, at: usize, channel: &ChannelRef) -> Option<Subscription> {
        let ended = self.subscriptions.remove(at).ok()?;
        self.open
            .retain(|open| !Arc::ptr_eq(&open.channel, channel));
        Some(ended)
    }

    /// Makes room for one more to be noted.
    fn reserve(&mut self) -> Result {
        if self.open.len() == self.open.capacity() {
            let more = self.open.capacity().max(4);
            let bytes = size_of::<Subscriber>() + (self.open.capacity() + more) * size_of::<Open>();
            self.charge.resize(bytes as u64)?;
            self.open.reserve(more, GFP_KERNEL_ACCOUNT)?;
        }
        Ok(())
    }

    /// Remembers what the session may speak of again, for which there is room. Returns its number.
    fn note(&mut self, channel: &ChannelRef, delivery: &TakenMessage, acked: bool) -> u64 {
        self.last += 1;
        if !acked || delivery.item.reply.is_some() {
            if self.open.len() >= MAX_OPEN {
                // The oldest that needs nothing but a reply; the others are bounded by their queues.
                let at = self.open.iter().position(|open| open.acked);
                let _ = self.open.remove(at.unwrap_or(0));
            }
            let open = Open {
                id: self.last,
                channel: channel.clone(),
                delivery: delivery.id,
                acked,
                reply: delivery.item.reply,
            };
            let _ = self.open.push_within_capacity(open);
        }
        self.last
    }
}

/// A message as a line.
fn write(id: u64, delivery: &TakenMessage, line: &mut Reply<'_>) -> Result<(), Failure> {
    let message = &delivery.item;
    let kind = match message.reply {
        Some(_) => "request",
        None => "message",
    };
    line.field(kind, id)?;
    line.bytes("subject", message.subject())?;
    line.field("position", message.position.load(Relaxed))?;
    if delivery.deliveries > 1 {
        line.field("deliveries", delivery.deliveries.into())?;
    }
    line.bytes("data", message.data())
}

impl Attachment for Subscriber {
    fn next(&self, line: &mut Reply<'_>) -> Result<bool, Failure> {
        let mut inner = self.inner.lock();
        for _ in 0..inner.subscriptions.len() {
            let count = inner.subscriptions.len();
            let turn = inner.turn % count.max(1);
            inner.turn = turn + 1;
            let Some(subscription) = inner.subscriptions.get_mut(turn) else {
                break;
            };
            let (channel, acked) = (subscription.channel.clone(), subscription.acked);
            let lost = channel.lost();
            let before = core::mem::replace(&mut subscription.lost, lost);
            if lost > before {
                line.field("lost", lost - before)?;
                line.bytes("subject", &subscription.pattern)?;
                return Ok(true);
            }
            // Before one is taken, which would be lost without it.
            let taken = inner
                .reserve()
                .and_then(|()| Channel::take_or_wake(&channel, self.consumer, acked, &self.waker));
            match taken {
                Ok(None) => (),
                Ok(Some(delivery)) => {
                    let id = inner.note(&channel, &delivery, acked);
                    write(id, &delivery, line)?;
                    return Ok(true);
                }
                Err(e) => {
                    // Ended, or the session would be told so for ever.
                    let ended = inner.end(turn, &channel);
                    drop(inner);
                    let Some(ended) = ended else {
                        return Err(e.into());
                    };
                    self.leave(&ended);
                    match e {
                        ENOENT => line.bytes("deleted", &ended.pattern)?,
                        e => {
                            line.bytes("ended", &ended.pattern)?;
                            line.bytes("error", to_wire(e).name().as_bytes())?;
                        }
                    }
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    fn settle(&self) -> Result {
        self.queues
            .commit(self.lsn.load(Relaxed), Deadline::never())
    }
}

#[pinned_drop]
impl PinnedDrop for Subscriber {
    /// The session is over: others may have what it has not acknowledged.
    fn drop(self: Pin<&mut Self>) {
        let subscriptions = core::mem::take(&mut self.inner.lock().subscriptions);
        for subscription in &subscriptions {
            self.leave(subscription);
        }
    }
}
