// SPDX-License-Identifier: GPL-2.0

//! Durable queues from the log.
//!
//! Nothing of a log is given up because it is not understood: a file with damaged or unknown records
//! is moved aside when all that was understood is safe in another one, and a log of a later format is
//! not touched at all. Messages whose queue's own record is missing come into a queue of that name
//! which only root may use; options that are not known stay in the queue's record, for a version
//! that knows them.
//!
//! Runs in the log's worker, which reads the files in pieces. Memory is taken for the messages that
//! there are, as for those that are published, and for a number for each that is done.

use crate::{
    channel::{
        Channel,
        ChannelRef, //
    },
    disk::{
        Disk,
        PATHS, //
    },
    log::{
        self,
        Log, //
    },
    message::{
        Message,
        Parts, //
    },
    queues::Queues, //
};
use kernel::{
    prelude::*,
    rbtree::RBTree,
    str::BStr,
    sync::{
        atomic::Relaxed,
        Arc, //
    }, //
};
use linux::{
    append::AppendFile,
    bytes::{
        copy,
        Fill, //
    },
    crypto::crc32c, //
};
use virgo_proto::{
    fence::Fence,
    queue::{
        options::{
            ChannelKind,
            Options, //
        },
        record::{
            delay_left,
            Choice,
            Cookie,
            Record,
            RecordKind,
            RecordSource,
            Scan,
            Scanned,
            Survey,
            MAX_RECORD, //
        },
        rewrite::Files,
        state::{
            OverflowPolicy,
            Push, //
        }, //
    }, //
};

/// Bytes of a file that are read at a time.
const WINDOW: usize = 4 * MAX_RECORD;

/// Damaged places that are told one by one.
const MAX_TOLD: u64 = 16;

/// Options of a queue whose own record is missing.
const ORPHAN: &[u8] = b"durable";

/// Why there are no durable queues, for programs and for people.
type Unusable = (Error, &'static str);

/// A file, of which a part is in memory.
struct Window<'a> {
    file: &'a AppendFile,
    len: u64,
    /// The part, and where it begins.
    bytes: KVVec<u8>,
    at: u64,
}

impl<'a> Window<'a> {
    fn new(file: &'a AppendFile) -> Result<Self> {
        Ok(Window {
            len: file.size()?,
            file,
            bytes: KVVec::with_capacity(WINDOW, GFP_KERNEL)?,
            at: 0,
        })
    }

    /// Where `at` is in the part, if `len` bytes from there on are.
    fn find(&self, at: u64, len: usize) -> Option<usize> {
        let offset = usize::try_from(at.checked_sub(self.at)?).ok()?;
        let end = offset.checked_add(len)?;
        (end <= self.bytes.len()).then_some(offset)
    }
}

impl RecordSource for Window<'_> {
    type Error = Error;

    fn len(&self) -> u64 {
        self.len
    }

    fn read(&mut self, at: u64, len: usize) -> Result<&[u8]> {
        let left = self.len.saturating_sub(at);
        let len = len.min(usize::try_from(left).unwrap_or(usize::MAX));
        if self.find(at, len).is_none() {
            let fill = WINDOW.min(usize::try_from(left).unwrap_or(usize::MAX));
            self.bytes.clear();
            self.bytes.put_zeros(fill, GFP_KERNEL)?;
            self.at = at;
            if self.file.read_at(&mut self.bytes, at)? < fill {
                return Err(EIO);
            }
        }
        let offset = self.find(at, len).ok_or(EIO)?;
        self.bytes.get(offset..offset + len).ok_or(EIO)
    }
}

/// Shows all that a file has to `see`. Returns its cookie, if it has any records. May sleep.
fn scan(
    file: &AppendFile,
    mut see: impl FnMut(&Scanned<'_>, u64) -> Result,
) -> Result<Option<Cookie>> {
    let mut scan = Scan::new(Window::new(file)?, crc32c);
    loop {
        let at = scan.at();
        match scan.find_next()? {
            Some(found) => see(&found, at)?,
            None => return Ok(scan.cookie()),
        }
    }
}

/// Tells what a file has that is not understood.
fn tell(path: &CStr, found: &Scanned<'_>, at: u64) {
    let path = path.to_str().unwrap_or_default();
    match found {
        Scanned::Damaged {
            bytes,
            head: Some((RecordKind::Publish, seq)),
        } => pr_warn!(
            "durable queues: {path}: {bytes} bytes from {at} on are damaged: message {seq} of some \
             queue\n"
        ),
        Scanned::Damaged {
            bytes,
            head: Some((kind, seq)),
        } => pr_warn!(
            "durable queues: {path}: {bytes} bytes from {at} on are damaged: {kind:?} {seq}\n"
        ),
        Scanned::Damaged { bytes, head: None } => {
            pr_warn!("durable queues: {path}: {bytes} bytes from {at} on are damaged\n");
        }
        Scanned::Unknown { kind, bytes } => pr_warn!(
            "durable queues: {path}: a record of {bytes} bytes from {at} on is of the unknown kind \
             {kind}\n"
        ),
        Scanned::Torn(bytes) => pr_warn!(
            "durable queues: {path}: {bytes} bytes at the end were not whole and are cut\n"
        ),
        Scanned::Record { .. } => (),
    }
}

fn survey(file: &AppendFile, path: &CStr) -> Result<Survey> {
    let (mut survey, mut told) = (Survey::default(), 0);
    scan(file, |found, at| {
        survey.count(found);
        if !matches!(found, Scanned::Record { .. }) {
            told += 1;
            if told <= MAX_TOLD {
                tell(path, found, at);
            }
        }
        Ok(())
    })?;
    if survey.is_suspect() {
        let path = path.to_str().unwrap_or_default();
        pr_warn!(
            "durable queues: {path}: {} bytes are damaged and lost, {} records are not known\n",
            survey.damaged,
            survey.unknown
        );
    }
    Ok(survey)
}

/// A message in the log; `None` once it is done.
type Entry = Option<Push<Arc<Message>>>;

/// A queue in the log.
struct Queue {
    name: KVec<u8>,
    /// `None` if there was no record that it was made.
    options: Option<KVec<u8>>,
    next: u64,
    fence: Fence,
    /// By number. A snapshot has them in no order.
    entries: RBTree<u64, Entry>,
}

/// Queues by name. What was applied may be applied once more: see [`virgo_proto::queue::rewrite`].
struct All(KVVec<Queue>);

impl All {
    fn search(&self, name: &[u8]) -> Result<usize, usize> {
        self.0
            .binary_search_by(|queue| queue.name.as_slice().cmp(name))
    }

    /// The queue of this name, which is made if there is none.
    fn find_or_make(&mut self, name: &[u8]) -> Result<&mut Queue> {
        let at = match self.search(name) {
            Ok(at) => at,
            Err(at) => {
                let queue = Queue {
                    name: copy(name, GFP_KERNEL)?,
                    options: None,
                    next: 1,
                    fence: Fence::OPEN,
                    entries: RBTree::new(),
                };
                self.0.reserve(1, GFP_KERNEL)?;
                let _ = self.0.insert_within_capacity(at, queue);
                at
            }
        };
        self.0.get_mut(at).ok_or(EINVAL)
    }

    fn apply(&mut self, queues: &Queues, record: &Record<'_>) -> Result {
        match record.kind {
            RecordKind::Create => {
                let queue = self.find_or_make(record.queue)?;
                if queue.options.is_none() {
                    queue.options = Some(copy(record.data, GFP_KERNEL)?);
                }
            }
            RecordKind::Delete => {
                if let Ok(at) = self.search(record.queue) {
                    let _ = self.0.remove(at);
                }
            }
            RecordKind::Next => {
                let queue = self.find_or_make(record.queue)?;
                queue.next = queue.next.max(record.seq);
            }
            RecordKind::Fence => {
                // What is behind what is known changes nothing, nor does what is no lock: a fence that is
                // there refuses that. A queue is there before its fence.
                if let Ok(at) = self.search(record.queue) {
                    if let Some(queue) = self.0.get_mut(at) {
                        let _ = queue.fence.admit(record.claim());
                    }
                }
            }
            RecordKind::Publish => self.publish(queues, record)?,
            RecordKind::Done => {
                if let Ok(at) = self.search(record.queue) {
                    if let Some(queue) = self.0.get_mut(at) {
                        queue.done(record.seq);
                    }
                }
            }
            RecordKind::Begin | RecordKind::Whole => (),
        }
        Ok(())
    }

    fn publish(&mut self, queues: &Queues, record: &Record<'_>) -> Result {
        let queue = self.find_or_make(record.queue)?;
        if queue.entries.get(&record.seq).is_some() {
            return Ok(());
        }
        let parts = Parts {
            subject: record.subject,
            data: record.data,
            reply: None,
            from: record.from.into(),
            uid: record.uid,
        };
        let message = Message::restored(&queues.budget, &parts)?;
        message.position.store(record.seq, Relaxed);
        let push = Push {
            bytes: message.bytes(),
            item: message,
            priority: record.priority,
            delay_ms: delay_left(record.time, log::now(), record.delay_ms).into(),
        };
        let entries = &mut queue.entries;
        entries.try_create_and_insert(record.seq, Some(push), GFP_KERNEL)?;
        queue.next = queue.next.max(record.seq.saturating_add(1));
        Ok(())
    }
}

impl Queue {
    fn done(&mut self, seq: u64) {
        if let Some(entry) = self.entries.get_mut(&seq) {
            *entry = None;
        }
    }
}

/// What can be understood of a queue's options; whether that is all.
fn options(text: &[u8]) -> (Options<'_>, bool) {
    if let Ok(options) = Options::DEFAULT.parse(text) {
        return (options, true);
    }
    let mut options = Options::DEFAULT;
    let words = text.split(u8::is_ascii_whitespace);
    for word in words.filter(|word| !word.is_empty()) {
        // What is not known changes nothing.
        let _ = options.set(word);
    }
    (options.kind, options.durable) = (ChannelKind::Queue, true);
    if options.limits.policy == OverflowPolicy::DropOldest {
        options.limits.policy = OverflowPolicy::Reject;
    }
    (options, false)
}

/// What was made of a log.
#[derive(Default)]
struct Made {
    channels: KVVec<ChannelRef>,
    messages: u64,
    /// Messages of queues whose own record is missing.
    orphans: u64,
    /// There are queues that could not be made.
    missing: bool,
}

/// Opens the files, makes the queues that the log has, with their messages, and says how it goes on,
/// and whether records may be appended to the log before it is written anew. May sleep.
///
/// # Errors
///
/// Why that cannot be done: the files are as they were then, and there are no durable queues.
pub(crate) fn open(
    queues: &Queues,
    log: &Arc<Log>,
    max_bytes: u64,
) -> Result<(Disk, bool), Unusable> {
    Recovery { queues, log }.open(max_bytes)
}

/// What the queues of the log are made of.
struct Recovery<'a> {
    queues: &'a Queues,
    log: &'a Arc<Log>,
}

impl Recovery<'_> {
    fn open(&self, max_bytes: u64) -> Result<(Disk, bool), Unusable> {
        let unreadable = |e| (e, "the log cannot be read, and is left as it is");
        let [first, second] = PATHS.map(AppendFile::open);
        let handles = match (first, second) {
            (Ok(first), Ok(second)) => [first, second],
            (Err(ENOENT), _) | (_, Err(ENOENT)) => return Err((ENOENT, "there is no such folder")),
            (Err(e), _) | (_, Err(e)) => return Err((e, "the log cannot be opened")),
        };
        let mut surveys = [Survey::default(); 2];
        for ((survey_of, file), path) in surveys.iter_mut().zip(&handles).zip(PATHS) {
            *survey_of = survey(file, path).map_err(unreadable)?;
        }
        let choice = Choice::of(&surveys)
            .ok_or((EPROTO, "the log is of a later format, and is left as it is"))?;
        let (Some(active), Some(found)) = (handles.get(choice.active), surveys.get(choice.active))
        else {
            return Err(unreadable(EIO));
        };
        let mut keep = choice.keep;
        let mut made = Made::default();
        let cookie = self.make(active, &mut made).map_err(|e| {
            for channel in &made.channels {
                let _ = self.queues.take_out(channel);
            }
            unreadable(e)
        })?;
        if let (true, Some(keep)) = (made.missing, keep.get_mut(choice.active)) {
            *keep = true;
        }
        if made.messages > 0 {
            pr_info!("durable queues: {} messages\n", made.messages);
        }
        let mut numbers = self.log.numbers();
        (numbers.found, numbers.orphans) = (*found, made.orphans);
        drop(numbers);
        let size = found.bytes - found.torn;
        if found.torn > 0 && keep.get(choice.active) == Some(&false) {
            active.truncate(size).map_err(unreadable)?;
        }
        let generations = surveys.map(|survey| survey.generation);
        let generation = generations.into_iter().max().unwrap_or(0);
        let files = Files::new(choice.active, size, generation);
        // A file without a known head is written anew before anything is appended: nobody would find
        // records there.
        let may_append = cookie.is_some_and(|cookie| cookie != Cookie::NONE);
        let disk = Disk::new(handles, files, keep, cookie, max_bytes);
        Ok((disk, may_append))
    }

    /// Makes the queues of a file. Returns its cookie.
    fn make(&self, file: &AppendFile, made: &mut Made) -> Result<Option<Cookie>> {
        let mut all = All(KVVec::new());
        let cookie = scan(file, |found, _| match found {
            Scanned::Record { record, .. } => all.apply(self.queues, record),
            _ => Ok(()),
        })?;
        for queue in all.0 {
            self.make_queue(queue, made)?;
        }
        Ok(cookie)
    }

    fn make_queue(&self, mut queue: Queue, made: &mut Made) -> Result {
        let text = queue.options.as_deref().unwrap_or(ORPHAN);
        let shown = BStr::from_bytes(&queue.name);
        let (options, is_known) = options(text);
        if !is_known {
            pr_warn!(
                "durable queues: {shown}: not all of its options are known, and stay as they are: {}\n",
                BStr::from_bytes(text)
            );
        }
        let log: Arc<Log> = self.log.clone();
        let created = self.queues.create_logged(&queue.name, &options, text, log);
        let channel = match created {
            Err(ENOMEM) => return Err(ENOMEM),
            Err(e) => {
                pr_err!("durable queues: {shown} cannot be made: {e:?}\n");
                made.missing = true;
                return Ok(());
            }
            Ok(channel) => channel,
        };
        made.channels.push(channel.clone(), GFP_KERNEL)?;
        let mut count = 0;
        let mut first = queue.entries.cursor_front_mut();
        while let Some(cursor) = first {
            let (next, node) = cursor.remove_current();
            let (seq, entry) = node.to_key_value();
            if let Some(push) = entry {
                Channel::restore(&channel, seq, push)?;
                count += 1;
            }
            first = next;
        }
        channel.skip_to(queue.next);
        channel.restore_fence(queue.fence);
        made.messages += count;
        if queue.options.is_none() {
            made.orphans += count;
            pr_warn!(
                "durable queues: {shown}: the record of its options is missing; its {count} messages are \
                 in a queue of this name with the usual options\n"
            );
        }
        Ok(())
    }
}
