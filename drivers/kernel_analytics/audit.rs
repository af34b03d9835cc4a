// SPDX-License-Identifier: GPL-2.0

//! The audit trail: `/var/log/virgo_analytics/audit`, a line for each change of a variable.
//!
//! Whoever makes a change leaves its line in memory of a fixed size; a work of the module writes what has
//! gathered. The file is opened each time, so that it may be moved away at any moment. One that is as long as
//! it may be is renamed, which replaces the one before it. What could not be written is tried again; what does
//! not fit meanwhile is counted, and a line says how much that was.
//!
//! # Locking
//!
//! A mutex, taken under the registry's, held while a line is copied. The disk is not waited for under it.

use kernel::{
    alloc::AllocError,
    prelude::*,
    str::CString,
    sync::{
        atomic::{
            Atomic,
            Relaxed, //
        },
        Arc,
        Mutex,
        SetOnce, //
    }, //
};
use linux::{
    append::{
        replace,
        AppendFile, //
    },
    deadline,
    work::{
        Run,
        Task,
        WorkHandle,
        WorkQueue, //
    }, //
};
use virgo_config::Node;
use virgo_proto::{
    analytics::audit::AuditLine,
    json::ByteSink, //
};
use virgo_utils::{
    variables::{
        Change,
        Observer, //
    },
    Failure,
    Reply, //
};

const FOLDER: &CStr = c"/var/log/virgo_analytics";
const FILE: &CStr = c"audit";
const FORMER_FILE: &CStr = c"audit.1";

/// Bytes of lines that wait to be written.
const MAX_PENDING: usize = 256 * 1024;

/// Lines are gathered for so long before they are written, in milliseconds.
const DELAY_MS: u32 = 20;

/// What could not be written is tried again after so long, in milliseconds.
const RETRY_MS: u32 = 1000;

/// See the module.
#[pin_data]
pub(crate) struct AuditTrail {
    node: Arc<Node>,
    /// The most bytes that the file has, but for the last lines.
    max_bytes: u64,
    writer: SetOnce<WorkHandle>,
    /// Lines written, lines lost, and whether the disk has refused what was tried last.
    written: Atomic<u64>,
    lost: Atomic<u64>,
    has_failed: Atomic<bool>,
    #[pin]
    pending: Mutex<PendingAudit>,
}

/// What waits to be written.
#[derive(Default)]
struct PendingAudit {
    text: KVVec<u8>,
    lines: u64,
    /// Lines that had no room since these.
    lost: u64,
}

/// Puts bytes at the end of a vector.
struct Sink<'a>(&'a mut KVVec<u8>);

impl ByteSink for Sink<'_> {
    type Error = AllocError;

    fn put(&mut self, bytes: &[u8]) -> Result<(), AllocError> {
        self.0.extend_from_slice(bytes, GFP_KERNEL)
    }
}

impl AuditTrail {
    /// May sleep.
    ///
    /// # Errors
    ///
    /// [`ENOMEM`].
    pub(crate) fn new(node: Arc<Node>, max_bytes: u64) -> Result<Arc<Self>> {
        Arc::pin_init(
            pin_init!(Self {
                node,
                max_bytes,
                writer: SetOnce::new(),
                written: Atomic::new(0),
                lost: Atomic::new(0),
                has_failed: Atomic::new(false),
                pending <- kernel::new_mutex!(PendingAudit::default(), "virgo_analytics_audit"),
            }),
            GFP_KERNEL,
        )
    }

    /// Adds to the reply of the command `stats`.
    pub(crate) fn stats(&self, reply: &mut Reply<'_>) -> Result<(), Failure> {
        reply.field("audit_lines", self.written.load(Relaxed))?;
        reply.field("audit_lost", self.lost.load(Relaxed))?;
        reply.field("audit_failed", self.has_failed.load(Relaxed).into())
    }

    /// Writes what waits behind what could not be written before, which is in `unwritten`. Kernel threads
    /// only.
    ///
    /// # Errors
    ///
    /// Those of the disk; then it is all in `unwritten`.
    fn write(&self, unwritten: &mut PendingAudit) -> Result {
        if unwritten.text.is_empty() {
            *unwritten = core::mem::take(&mut *self.pending.lock());
        }
        if unwritten.lost > 0 {
            let (seconds, nanos) = deadline::wall();
            let ms = seconds.saturating_mul(1000) + u64::from(nanos / 1_000_000);
            let (node, lost) = (self.node.config().me, unwritten.lost);
            let line =
                CString::try_from_fmt(fmt!("{{\"ms\":{ms},\"node\":{node},\"lost\":{lost}}}\n"))?;
            Sink(&mut unwritten.text).put(line.to_bytes())?;
            unwritten.lost = 0;
        }
        if unwritten.text.is_empty() {
            return Ok(());
        }
        let mut file = AppendFile::open_in(FOLDER, FILE, 0o600)?;
        if file.size()? >= self.max_bytes {
            file.sync()?;
            replace(FOLDER, FILE, FORMER_FILE)?;
            file = AppendFile::open_in(FOLDER, FILE, 0o600)?;
        }
        file.append(&unwritten.text)?;
        let lines = core::mem::take(unwritten).lines;
        self.written.fetch_add(lines, Relaxed);
        file.sync()
    }

    fn waits(&self) -> bool {
        let pending = self.pending.lock();
        !pending.text.is_empty() || pending.lost > 0
    }
}

impl Observer for AuditTrail {
    fn changed(&self, change: &Change<'_>) {
        let (seconds, nanos) = deadline::wall();
        let line = AuditLine {
            ms: seconds.saturating_mul(1000) + u64::from(nanos / 1_000_000),
            node: self.node.config().me,
            uid: change.by.uid,
            source: change.by.source.name(),
            rollout: change.by.rollout,
            key: change.named.key(),
            old: change.old.map(|old| old.text()),
            new: change.value.map(|value| value.text()),
        };
        let mut pending = self.pending.lock();
        let before = pending.text.len();
        let has_room = before + line.max_len() <= MAX_PENDING;
        match has_room.then(|| line.write(&mut Sink(&mut pending.text))) {
            Some(Ok(())) => pending.lines += 1,
            _ => {
                // Without a part of the line.
                pending.text.truncate(before);
                pending.lost += 1;
                self.lost.fetch_add(1, Relaxed);
            }
        }
        drop(pending);
        if let Some(writer) = self.writer.as_ref() {
            writer.wake_after_ms(DELAY_MS);
        }
    }
}

/// The work that writes, the only one that touches the files.
struct Writer {
    trail: Arc<AuditTrail>,
    /// Only the work uses it: the lock proves that.
    unwritten: Pin<KBox<Mutex<PendingAudit>>>,
}

impl Run for Writer {
    fn run(task: &Task<Self>) {
        let written = task.trail.write(&mut task.unwritten.lock());
        let had_failed = task.trail.has_failed.xchg(written.is_err(), Relaxed);
        match written {
            Ok(()) if task.trail.waits() => task.schedule_after_ms(DELAY_MS),
            Ok(()) => (),
            Err(e) => {
                if !had_failed {
                    pr_warn!("/var/log/virgo_analytics/audit cannot be written to: {e:?}; it is tried again\n");
                }
                task.schedule_after_ms(RETRY_MS);
            }
        }
    }
}

/// Ends the work when dropped, after one more attempt to write what waits.
pub(crate) struct AuditWriter(Arc<Task<Writer>>);

impl AuditWriter {
    /// May sleep.
    ///
    /// # Errors
    ///
    /// [`ENOMEM`].
    pub(crate) fn new(trail: &Arc<AuditTrail>) -> Result<Self> {
        let unwritten = kernel::new_mutex!(PendingAudit::default(), "virgo_analytics_unwritten");
        let writer = Writer {
            trail: trail.clone(),
            unwritten: KBox::pin_init(unwritten, GFP_KERNEL)?,
        };
        let queue = WorkQueue::unbound(c"virgo_analytics_audit", 1)?;
        let task = Arc::pin_init(
            linux::new_task!(queue, writer, "virgo_analytics_audit"),
            GFP_KERNEL,
        )?;
        trail.writer.populate(task.handle()?);
        Ok(AuditWriter(task))
    }
}

impl Drop for AuditWriter {
    fn drop(&mut self) {
        // What is tried again, and what has come meanwhile.
        for _ in 0..2 {
            self.0.schedule_now();
            self.0.wait_for_run();
        }
        self.0.stop();
    }
}
