// SPDX-License-Identifier: GPL-2.0

//! Pulls of other nodes that wait for a message.

use crate::{
    channel::{
        Channel,
        ChannelRef,
        TakenMessage, //
    },
    message::Message, //
};
use core::mem::size_of;
use kernel::{
    prelude::*,
    sync::{
        atomic::Relaxed,
        Arc,
        Mutex,
        SetOnce, //
    }, //
};
use linux::{
    bytes::Fill,
    deadline::Deadline,
    work::WorkHandle,
    work::{
        Run,
        Task,
        WorkQueue, //
    }, //
};
use virgo_proto::queue::wire::{
    PulledMessage,
    REQUEST, //
};
use virgo_utils::{
    budget::Charge,
    Deferred, //
};

/// What a node wants.
pub(crate) struct Pull {
    pub(crate) channel: ChannelRef,
    /// For whom messages are taken, with the number of this pull.
    pub(crate) consumer: u64,
    /// Messages at most.
    pub(crate) count: u32,
    /// Bytes of them at most, with their heads.
    pub(crate) room: usize,
}

impl Pull {
    /// Takes what there is. Has `waker` woken, if one is given, once there may be more. May sleep.
    ///
    /// # Errors
    ///
    /// [`ENOENT`] if the channel is deleted, [`EMSGSIZE`] if there is no room for one message,
    /// [`ENOMEM`]. Nothing is taken then.
    pub(crate) fn take(&self, waker: Option<&WorkHandle>) -> Result<KVVec<u8>> {
        let mut bytes = KVVec::new();
        let taken = self.take_into(&mut bytes, waker);
        match taken {
            Err(e) if bytes.is_empty() => Err(e),
            // What there is until then is there.
            _ => Ok(bytes),
        }
    }

    fn take_into(&self, bytes: &mut KVVec<u8>, waker: Option<&WorkHandle>) -> Result {
        for _ in 0..self.count {
            // One that does not fit is left where it is.
            let room = self.room - bytes.len();
            let fits = |message: &Message| size(message) <= room;
            let Some(taken) = Channel::take_if(&self.channel, self.consumer, fits)? else {
                match waker {
                    // Nothing was taken, so who waits is not told of less than there is.
                    Some(waker) if bytes.is_empty() => self.channel.wake_when_ready(waker)?,
                    _ => (),
                }
                return Ok(());
            };
            if let Err(e) = put(&taken, bytes) {
                Channel::untake(&self.channel, self.consumer, taken.id)?;
                return Err(e);
            }
        }
        Ok(())
    }

    /// What was taken does not reach who wanted it: others may have it, and that was no delivery.
    fn untake(&self) {
        let consumer = self.consumer;
        Channel::give_all_back(&self.channel, false, |other| other == consumer);
    }
}

/// Bytes that a message has in the reply.
fn size(message: &Message) -> usize {
    size_of::<PulledMessage>() + message.subject().len() + message.data().len()
}

/// Appends a message. Nothing is appended if there is no memory.
fn put(taken: &TakenMessage, bytes: &mut KVVec<u8>) -> Result {
    let message = &taken.item;
    bytes.reserve(size(message), GFP_KERNEL)?;
    let entry = PulledMessage {
        id: taken.id.into(),
        position: message.position.load(Relaxed).into(),
        deliveries: taken.deliveries.into(),
        data_len: (message.data().len() as u32).into(),
        name_len: (message.subject().len() as u16).into(),
        flags: if message.reply.is_some() { REQUEST } else { 0 }.into(),
    };
    for part in [entry.as_bytes(), message.subject(), message.data()] {
        bytes.put_bytes(part, GFP_KERNEL)?;
    }
    Ok(())
}

/// A pull whose reply is owed.
struct Waiting {
    pull: Pull,
    until: Deadline,
    reply: Deferred,
    _charge: Charge,
}

impl Waiting {
    /// The reply, if it is to be given now.
    fn attempt(&self, waker: &WorkHandle) -> Option<Result<KVVec<u8>>> {
        // Nothing is taken for who does not wait any more.
        if self.until.passed() || !self.reply.is_wanted() {
            return Some(Ok(KVVec::new()));
        }
        let taken = self.pull.take(Some(waker));
        match &taken {
            Ok(bytes) if bytes.is_empty() => None,
            _ => Some(taken),
        }
    }

    fn finish(self, result: Result<KVVec<u8>>) {
        match result {
            Ok(bytes) => {
                if self.reply.answer(&bytes).is_err() {
                    self.pull.untake();
                }
            }
            Err(e) => self.reply.fail(e),
        }
    }
}

/// All pulls that wait. Its work tries them again: when there may be a message, and when the time of
/// one is over.
#[pin_data]
pub(crate) struct Pulls {
    #[pin]
    waiting: Mutex<KVec<Waiting>>,
    alarm: Pin<KBox<Task<Alarm>>>,
}

/// Runs the work of [`Pulls`] later. A timer of that itself would keep it from being woken before.
struct Alarm(SetOnce<WorkHandle>);

impl Pulls {
    /// None yet.
    ///
    /// # Errors
    ///
    /// [`ENOMEM`].
    pub(crate) fn new(queue: &Arc<WorkQueue>) -> Result<Arc<Task<Self>>> {
        let alarm = Alarm(SetOnce::new());
        let alarm = KBox::pin_init(
            linux::new_task!(queue.clone(), alarm, "virgo_pull_alarm"),
            GFP_KERNEL,
        )?;
        let pulls = pin_init!(Self {
            waiting <- linux::new_mutex!(KVec::new(), "virgo_pulls"),
            alarm,
        });
        let this = Arc::pin_init(
            linux::new_task!(queue.clone(), pulls, "virgo_pulls"),
            GFP_KERNEL,
        )?;
        this.alarm.0.populate(this.handle()?);
        Ok(this)
    }

    /// Has `reply` given when there is something to pull, or empty when `until` is over. May sleep.
    ///
    /// # Errors
    ///
    /// [`ENOMEM`].
    pub(crate) fn add(
        task: &Task<Self>,
        pull: Pull,
        until: Deadline,
        reply: Deferred,
        charge: Charge,
    ) -> Result {
        let waiting = Waiting {
            pull,
            until,
            reply,
            _charge: charge,
        };
        task.waiting.lock().push(waiting, GFP_KERNEL)?;
        task.schedule();
        Ok(())
    }

    /// Nobody waits for the pull of `channel` by `consumer` any more. When this returns nothing is taken
    /// for it, and what was taken is where it was. May sleep.
    pub(crate) fn forget(&self, channel: &ChannelRef, consumer: u64) {
        let mut waiting = self.waiting.lock();
        waiting.retain(|waiting| waiting.pull.consumer != consumer);
        drop(waiting);
        Channel::give_all_back(channel, false, |other| other == consumer);
    }

    /// An incarnation of a peer is over: it does not wait any more. When this returns nothing is taken for
    /// it. May sleep.
    pub(crate) fn forget_gone(&self) {
        let mut waiting = self.waiting.lock();
        waiting.retain(|waiting| waiting.reply.is_wanted());
    }
}

impl Run for Pulls {
    fn run(task: &Task<Self>) {
        let Ok(waker) = task.handle() else {
            return;
        };
        let mut waiting = task.waiting.lock();
        let (mut at, mut next) = (0, None);
        while let Some(pull) = waiting.get(at) {
            let _serving = pull.reply.serve();
            match pull.attempt(&waker) {
                None => {
                    next = Some(next.map_or(pull.until, |next: Deadline| next.min(pull.until)));
                    at += 1;
                }
                Some(result) => {
                    if let Ok(pull) = waiting.remove(at) {
                        pull.finish(result);
                    }
                }
            }
        }
        drop(waiting);
        if let Some(next) = next {
            task.alarm.reschedule_after_ms(next.left_ms());
        }
    }
}

impl Run for Alarm {
    fn run(task: &Task<Self>) {
        if let Some(waker) = task.0.as_ref() {
            waker.wake();
        }
    }
}
