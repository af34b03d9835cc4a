// SPDX-License-Identifier: GPL-2.0

//! Pulls of other nodes that wait for a message.

use crate::{
    channel::Channel,
    queues::Shared, //
};
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
    waker::Waker,
    work::{
        Queue as WorkQueue,
        Run,
        Task, //
    }, //
};
use virgo_proto::queue::wire::{
    Entry,
    REQUEST, //
};
use virgo_utils::Deferred;

/// What a node wants.
pub(crate) struct Pull {
    pub(crate) channel: Shared,
    /// For whom messages are taken.
    pub(crate) holder: u64,
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
    /// [`ENOMEM`].
    pub(crate) fn take(&self, waker: Option<&Waker>) -> Result<KVVec<u8>> {
        let mut bytes = KVVec::new();
        for _ in 0..self.count {
            let taken = match waker {
                None => Channel::take(&self.channel, self.holder, false),
                Some(waker) => Channel::take_or_wake(&self.channel, self.holder, false, waker),
            };
            let Some(taken) = taken? else {
                break;
            };
            let message = &taken.item;
            let entry = Entry {
                seq: taken.seq.into(),
                position: message.position.load(Relaxed).into(),
                deliveries: taken.deliveries.into(),
                data_len: (message.data().len() as u32).into(),
                name_len: (message.subject().len() as u16).into(),
                flags: if message.reply.is_some() { REQUEST } else { 0 }.into(),
            };
            let parts = [entry.as_bytes(), message.subject(), message.data()];
            let size = parts.iter().map(|part| part.len()).sum();
            let fits = match bytes.len() + size <= self.room {
                true => bytes.reserve(size, GFP_KERNEL).map_err(Error::from),
                false => Err(EMSGSIZE),
            };
            if let Err(e) = fits {
                Channel::give_back(&self.channel, self.holder, taken.seq, 0)?;
                match bytes.is_empty() {
                    true => return Err(e),
                    false => break,
                }
            }
            for part in parts {
                bytes.put_bytes(part, GFP_KERNEL)?;
            }
        }
        Ok(bytes)
    }
}

/// A pull whose reply is owed.
struct Waiting {
    pull: Pull,
    until: Deadline,
    reply: Deferred,
}

impl Waiting {
    /// The reply, if it is to be given now.
    fn attempt(&self, waker: &Waker) -> Option<Result<KVVec<u8>>> {
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
            // Without memory for that, the messages come again when their time is over.
            Ok(bytes) => drop(self.reply.answer(&bytes)),
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
struct Alarm(SetOnce<Waker>);

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
        this.alarm.0.populate(this.waker()?);
        Ok(this)
    }

    /// Has `reply` given when there is something to pull, or empty when `until` is over. May sleep.
    ///
    /// # Errors
    ///
    /// [`ENOMEM`].
    pub(crate) fn add(task: &Task<Self>, pull: Pull, until: Deadline, reply: Deferred) -> Result {
        let waiting = Waiting { pull, until, reply };
        task.waiting.lock().push(waiting, GFP_KERNEL)?;
        task.schedule();
        Ok(())
    }

    /// A peer has begun another life: its former one does not wait any more. When this returns
    /// nothing is taken for that. May sleep.
    pub(crate) fn forget_former(&self) {
        let mut waiting = self.waiting.lock();
        waiting.retain(|waiting| waiting.reply.is_wanted());
    }
}

impl Run for Pulls {
    fn run(task: &Task<Self>) {
        let Ok(waker) = task.waker() else {
            return;
        };
        let mut waiting = task.waiting.lock();
        let (mut at, mut next) = (0, None);
        while let Some(pull) = waiting.get(at) {
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
