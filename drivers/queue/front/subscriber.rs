// SPDX-License-Identifier: GPL-2.0

//! What a text session has subscribed to, and the messages that it has got and not acknowledged.

use crate::{
    channel::{
        Channel,
        ChannelRef,
        TakenMessage, //
    },
    message::ReplyTo,
    open_messages::{
        OpenMessage,
        OpenMessages, //
    },
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
    bytes::{
        copy,
        memory_of, //
    },
    deadline::{
        now_ms,
        Deadline, //
    },
    work::WorkHandle, //
};
use virgo_proto::config::MAX_DEADLINE_MS;
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

struct Subscription {
    channel: ChannelRef,
    /// As it was asked for.
    pattern: KVec<u8>,
    /// For that.
    _charge: Charge,
    /// Messages are acknowledged by being sent.
    acked: bool,
    /// Messages that were lost before the session was told.
    lost: u64,
}

struct Inner {
    subscriptions: KVec<Subscription>,
    /// Which one is asked next, so that none waits for another.
    turn: usize,
    open: OpenMessages,
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
    account: Account,
    /// What it takes itself.
    _charge: Charge,
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
            open: OpenMessages::new(account)?,
        };
        let charge = account.charge(memory_of(size_of::<Self>()) as u64)?;
        Arc::pin_init(
            pin_init!(Self {
                consumer: queues.next_consumer(),
                queues,
                waker,
                lsn: Atomic::new(0),
                account: account.clone(),
                _charge: charge,
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
    /// [`EUSERS`] for one too many, [`EALREADY`], [`ENOMEM`], [`EDQUOT`].
    pub(crate) fn add(&self, channel: ChannelRef, pattern: &[u8], acked: bool) -> Result {
        let charge = self.account.charge(memory_of(pattern.len()) as u64)?;
        let copied = copy(pattern, GFP_KERNEL_ACCOUNT)?;
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
            _charge: charge,
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
        let were_many = inner.open.are_many();
        let removed = inner.end(at, &channel.ok_or(ENOENT)?).ok_or(ENOENT)?;
        drop(inner);
        if were_many {
            self.waker.wake();
        }
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

    fn close(&self, id: u64) -> Result<OpenMessage> {
        let mut inner = self.inner.lock();
        let were_many = inner.open.are_many();
        let closed = inner.open.close(id);
        drop(inner);
        if were_many {
            self.waker.wake();
        }
        closed
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
        self.open.forget(channel);
        Some(ended)
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
        // Before anything is taken: it comes again no earlier than is noted.
        let now = now_ms();
        let are_too_many = inner.open.are_too_many(now);
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
            let taken = match are_too_many {
                // It is told when one comes again, too.
                true => channel.watch(&self.waker).map(|()| None),
                // Room first: what is taken without would be lost.
                false => inner.open.reserve().and_then(|()| {
                    Channel::take_or_wake(&channel, self.consumer, acked, &self.waker)
                }),
            };
            match taken {
                Ok(None) => (),
                Ok(Some(delivery)) => {
                    let id = inner.open.note(&channel, &delivery, acked, now);
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
        // Who has waited for so long learns by the session's end that nobody knows.
        let deadline = Deadline::after_ms(MAX_DEADLINE_MS);
        self.queues.commit(self.lsn.load(Relaxed), deadline)
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
