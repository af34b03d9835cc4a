// SPDX-License-Identifier: GPL-2.0

//! Durable queues from the log, and to it.

use crate::{
    channel::Channel,
    log::{
        self,
        Contents,
        Log,
        Writer, //
    },
    message::{
        Message,
        Parts, //
    },
    queues::Queues, //
};
use kernel::{
    prelude::*,
    sync::{
        atomic::Relaxed,
        Arc, //
    }, //
};
use linux::crypto::crc32c;
use virgo_proto::queue::{
    options::Options,
    record::{
        delay_left,
        Found,
        Kind,
        Record,
        Scan, //
    },
    state::Push, //
};

/// A message in the log that is not done as far as was read.
struct Entry {
    seq: u64,
    /// `None` once it is done.
    push: Option<Push<Arc<Message>>>,
}

/// A queue in the log.
struct Queue<'a> {
    name: &'a [u8],
    options: &'a [u8],
    next: u64,
    /// By number.
    entries: KVVec<Entry>,
}

/// Queues by name.
struct All<'a>(KVVec<Queue<'a>>);

impl<'a> All<'a> {
    fn search(&self, name: &[u8]) -> Result<usize, usize> {
        self.0.binary_search_by(|queue| queue.name.cmp(name))
    }

    fn find(&mut self, name: &[u8]) -> Option<&mut Queue<'a>> {
        let at = self.search(name).ok()?;
        self.0.get_mut(at)
    }

    fn apply(&mut self, queues: &Queues, record: &Record<'a>) -> Result {
        match record.kind {
            Kind::Create => {
                if let Err(at) = self.search(record.queue) {
                    let queue = Queue {
                        name: record.queue,
                        options: record.data,
                        next: 1,
                        entries: KVVec::new(),
                    };
                    self.0.reserve(1, GFP_KERNEL)?;
                    let _ = self.0.insert_within_capacity(at, queue);
                }
            }
            Kind::Delete => {
                if let Ok(at) = self.search(record.queue) {
                    let _ = self.0.remove(at);
                }
            }
            Kind::Next => {
                if let Some(queue) = self.find(record.queue) {
                    queue.next = queue.next.max(record.seq);
                }
            }
            Kind::Publish => self.publish(queues, record)?,
            Kind::Done => {
                if let Some(queue) = self.find(record.queue) {
                    let search = |entry: &Entry| entry.seq.cmp(&record.seq);
                    if let Ok(at) = queue.entries.binary_search_by(search) {
                        if let Some(entry) = queue.entries.get_mut(at) {
                            entry.push = None;
                        }
                    }
                }
            }
            Kind::Begin | Kind::Whole => (),
        }
        Ok(())
    }

    fn publish(&mut self, queues: &Queues, record: &Record<'a>) -> Result {
        let Some(queue) = self.find(record.queue) else {
            return Ok(());
        };
        let Err(at) = queue
            .entries
            .binary_search_by(|entry| entry.seq.cmp(&record.seq))
        else {
            return Ok(());
        };
        let parts = Parts {
            subject: record.subject,
            data: record.data,
            reply: None,
            from: record.from.into(),
            // Whose it was is not in the log.
            uid: 65534,
        };
        let message = Message::restored(&queues.budget, &parts)?;
        message.position.store(record.seq, Relaxed);
        let push = Push {
            bytes: message.bytes(),
            item: message,
            priority: record.priority,
            delay_ms: delay_left(record.time, log::now(), record.delay_ms).into(),
        };
        let entry = Entry {
            seq: record.seq,
            push: Some(push),
        };
        queue.entries.reserve(1, GFP_KERNEL)?;
        let _ = queue.entries.insert_within_capacity(at, entry);
        queue.next = queue.next.max(record.seq.saturating_add(1));
        Ok(())
    }
}

impl Queues {
    /// Makes the queues that the log has, with their messages, and begins the log anew. May sleep.
    ///
    /// # Errors
    ///
    /// [`ENOMEM`], which leaves the log as it was.
    pub(crate) fn recover(&self, log: &Arc<Log>, contents: &Contents) -> Result {
        let mut all = All(KVVec::new());
        for found in Scan::new(&contents.bytes, crc32c) {
            if let Found::Record(record) = found {
                all.apply(self, &record)?;
            }
        }
        let mut messages = 0;
        for queue in all.0 {
            // As it was read when it was made.
            let Ok(options) = Options::DEFAULT.parse(queue.options) else {
                pr_err!("a durable queue has options that are not known\n");
                continue;
            };
            let channel = self.create_logged(queue.name, &options, queue.options, log.clone())?;
            for entry in queue.entries {
                if let Some(push) = entry.push {
                    Channel::restore(&channel, entry.seq, push)?;
                    messages += 1;
                }
            }
            channel.skip_to(queue.next);
        }
        if contents.torn > 0 || contents.damaged > 0 {
            pr_warn!(
                "durable queues: {} bytes at the end were not whole and are cut, {} bytes are damaged \
                 and lost\n",
                contents.torn,
                contents.damaged
            );
        }
        if messages > 0 {
            pr_info!("durable queues: {messages} messages\n");
        }
        if let Err(e) = self.rewrite(log, &mut log.lock()) {
            pr_warn!("durable queues: the log goes on as it is: {e:?}\n");
        }
        Ok(())
    }

    /// Begins the next file of the log with what there is now. May sleep.
    ///
    /// # Errors
    ///
    /// Those of files, [`ENOMEM`]: then all goes on in the old one.
    pub(crate) fn rewrite(&self, log: &Log, writer: &mut Writer) -> Result {
        // The table is not locked while the disk works. No durable queue comes or goes meanwhile, as the
        // writer is locked, so there is room for them here.
        let mut durable = KVVec::with_capacity(self.len(), GFP_KERNEL)?;
        self.for_each(|channel| {
            if channel.is_durable() {
                let _ = durable.push_within_capacity(channel.clone());
            }
            true
        });
        log.begin_next(writer, |put| {
            durable.iter().try_for_each(|channel| channel.write(put))
        })
    }
}
