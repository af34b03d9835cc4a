// SPDX-License-Identifier: GPL-2.0

//! What a durable channel has in the log.

use super::{
    due,
    news::News,
    room::{
        Offering,
        Turn, //
    },
    Channel,
    Clock,
    FenceCheck,
    PublishOptions, //
};
use crate::{
    log::{
        self,
        LogWriter, //
    },
    message::Message, //
};
use kernel::{
    prelude::*,
    sync::{
        atomic::Relaxed,
        Arc, //
    }, //
};
use linux::{
    deadline::now_ms,
    work::Task, //
};
use virgo_proto::queue::{
    record::{
        Record,
        RecordKind, //
    },
    state::{
        Push,
        STEP, //
    }, //
};

impl Channel {
    /// Whether its messages are on disk.
    pub(crate) fn is_durable(&self) -> bool {
        self.log.is_some()
    }

    /// Message `seq` need not be on disk any more. May sleep if this is durable.
    pub(super) fn done(&self, seq: u64) {
        if let Some(durable) = &self.log {
            let mut writer = durable.log.lock();
            // A deleted one's name may be another's by now.
            if !self.state.lock().over {
                durable.log.done(&mut writer, &self.name, seq);
            }
        }
    }

    /// Puts a message in, with the room of `turn`, and writes it to the log, behind the fence if that is
    /// raised. Returns the LSN that has to be committed before anybody is told. May sleep.
    ///
    /// # Errors
    ///
    /// As for [`Self::push`]; those of the fence, if that is asked; [`ENOSPC`], [`EIO`] and the like: the
    /// fence may be raised then.
    pub(crate) fn push_logged(
        task: &Task<Self>,
        writer: &mut LogWriter,
        (message, how): (&Arc<Message>, PublishOptions),
        check: FenceCheck,
        turn: &mut Option<Turn>,
    ) -> Result<u64> {
        let durable = task.log.as_ref().ok_or(EINVAL)?;
        // Nobody else puts anything in while we may write, so the room and the number stay, and so does the
        // fence.
        let seq = task.reserve(message, check, turn)?;
        let record = Record {
            priority: how.priority,
            seq,
            time: log::now(),
            delay_ms: how.delay_ms,
            from: message.from.octets(),
            uid: message.uid,
            queue: &task.name,
            subject: message.subject(),
            data: message.data(),
            ..Record::new(RecordKind::Publish)
        };
        let raised = match check {
            FenceCheck::Claim(Some(_)) => task.raise_fence_logged(writer, check),
            _ => Ok(0),
        };
        let appended = raised.and_then(|_| durable.log.append(writer, &record));
        let lsn = appended.inspect_err(|_| {
            task.state.lock().queue.give_up_reserved(false);
            task.offer_room();
        })?;
        // A dead letter has been published already.
        if message.position.load(Relaxed) == 0 && message.subject() == task.name.as_slice() {
            message.position.store(seq, Relaxed);
        }
        let now = now_ms();
        let mut state = task.state.lock();
        match state.insert(now, message, how) {
            Ok(_) => {
                task.pushed(state, due(now, how));
                Ok(lsn)
            }
            Err(e) => {
                // Deleted meanwhile. The number is in the log, and never another message's.
                state.queue.give_up_reserved(true);
                drop(state);
                // Not by `done`, which takes the lock that we have.
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

    /// Makes sure that a message may come and that there is room for it, and keeps that. Returns the number
    /// that the next one gets.
    fn reserve(
        &self,
        message: &Message,
        check: FenceCheck,
        turn: &mut Option<Turn>,
    ) -> Result<u64> {
        loop {
            let mut state = self.state.lock();
            Turn::redeem(turn, &mut state);
            state.admit(check)?;
            if state.make_room(message.bytes(), message.publisher)? {
                return match state.queue.reserve() {
                    true => Ok(state.queue.next_seq()),
                    false => Err(ENOMEM),
                };
            }
        }
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
        task.keep_time(&mut state, due);
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
        let state = self.state.lock();
        let (next, fence) = (state.queue.next_seq(), state.fence);
        drop(state);
        put(&Record {
            seq: next,
            ..record(RecordKind::Next)
        })?;
        if let Some(claim) = fence.seen() {
            put(&Record {
                data: claim.to_wire().as_bytes(),
                ..record(RecordKind::Fence)
            })?;
        }
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
                uid: message.uid,
                subject: message.subject(),
                data: message.data(),
                ..*record
            })
        })
}
