// SPDX-License-Identifier: GPL-2.0

//! Messages that wait to be written to the files, as lines of these.
//!
//! Whoever has something to say puts it here and goes on. What there is no room for is refused, and
//! counted: each file has its own room here, and of each file a user may fill a share only.
//!
//! # Locking
//!
//! A spinlock, under which lines are copied only: they are made before it is taken. Who has filled the
//! files is under a mutex, which is taken before it.

use core::mem::swap;
use kernel::{
    fmt,
    prelude::*,
    sync::{
        Arc,
        Mutex,
        SetOnce,
        SpinLockIrq, //
    }, //
};
use linux::{
    bytes::Fill,
    work::WorkHandle, //
};
use virgo_proto::eventnet::{
    event::MAX_TEXT,
    line::{
        write_edge,
        write_vertex_of,
        MAX_EDGE, //
    },
    shares::{
        added,
        FileShare,
        FileShares,
        MAX_USERS, //
    },
    GraphMessage, //
};
use virgo_utils::{
    budget::{
        user_share,
        Budget,
        Charge, //
    },
    eventnet::MessageSink, //
};

/// A message is charged so many bytes at least. The budget so bounds the charges, too, which need
/// room as the lines do.
const MIN_CHARGE: usize = 64;

/// Bytes of the longest line of a message of [`MAX_TEXT`] bytes, and some: a conversation `1,2,` becomes
/// `(1,2)#`.
const MAX_LINE: usize = 2 * MAX_TEXT;

/// What waits is written after so many milliseconds, so that what is said meanwhile is written with it.
pub(crate) const DELAY_MS: u32 = 10;

/// A batch is written at once when it has one of so many parts of its room.
const PART: usize = 4;

/// Lines of one of the files that were taken out together.
pub(crate) struct LineBatch {
    /// The lines.
    pub(crate) text: KVVec<u8>,
    /// Whose they are; given back when they are written.
    charges: KVVec<Charge>,
}

impl LineBatch {
    /// Without lines, with room for so many bytes. May sleep.
    ///
    /// # Errors
    ///
    /// [`ENOMEM`].
    pub(crate) fn with_capacity(bytes: usize) -> Result<Self> {
        Ok(LineBatch {
            text: KVVec::with_capacity(bytes, GFP_KERNEL)?,
            charges: KVVec::with_capacity(bytes / MIN_CHARGE, GFP_KERNEL)?,
        })
    }

    /// What its users are charged.
    fn charged(&self) -> u64 {
        self.charges.iter().map(Charge::amount).sum()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.text.is_empty()
    }

    /// They are written.
    pub(crate) fn clear(&mut self) {
        self.text.clear();
        self.charges.clear();
    }

    /// Whether it has a good part of the lines for which there is room.
    fn is_large(&self) -> bool {
        self.text.len() >= self.text.capacity() / PART
            || self.charges.len() >= self.charges.capacity() / PART
    }

    /// Adds a line. No memory is taken: what is charged has its room. Any context.
    fn add(&mut self, line: &[u8], charge: Charge) -> Result {
        let before = self.text.len();
        self.text.put_bytes(line, GFP_NOWAIT)?;
        if self.charges.push_within_capacity(charge).is_err() {
            self.text.truncate(before);
            return Err(ENOMEM);
        }
        Ok(())
    }
}

/// When a batch is to be written, after a line was added.
enum Wake {
    /// It was to be written already.
    No,
    Soon,
    Now,
}

/// A file of EventNet.
#[derive(Clone, Copy)]
pub(crate) enum Of {
    Edges,
    Vertices,
}

/// What holds for the messages of one file.
#[pin_data]
struct Lane {
    /// Bytes that wait.
    budget: Pin<KBox<Budget>>,
    /// The most that one user other than root may fill of the file.
    share: u64,
    #[pin]
    filled: Mutex<FileShares<KVec<FileShare>>>,
}

impl Lane {
    /// Lines of `pending` bytes may wait for a file of at most `max`.
    fn new(pending: usize, max: u64) -> Result<impl PinInit<Self>> {
        let budget = Budget::new(pending as u64)?;
        let mut parts = KVec::with_capacity(MAX_USERS, GFP_KERNEL)?;
        for _ in 0..MAX_USERS {
            parts.push(FileShare::default(), GFP_KERNEL)?;
        }
        Ok(pin_init!(Self {
            budget,
            share: max / 100 * u64::from(user_share()),
            filled <- kernel::new_mutex!(FileShares::new(parts), "virgo_eventnet_filled"),
        }))
    }

    /// Charges `uid` for a line of so many bytes. May sleep.
    ///
    /// # Errors
    ///
    /// [`EDQUOT`] if the user has filled a share of the file, too; as for budgets.
    fn charge(&self, uid: u32, size: usize) -> Result<Charge> {
        let has_room = uid == 0 || self.filled.lock().of(uid) < self.share;
        match has_room {
            true => self.budget.charge(uid, cost(size)),
            false => Err(EDQUOT),
        }
    }
}

struct State {
    edges: LineBatch,
    vertices: LineBatch,
    accepted: u64,
    refused: u64,
    /// What the files have refused last; 0 if they take everything.
    failure: c_int,
}

/// See the module's documentation.
#[pin_data]
pub(crate) struct PendingLines {
    #[pin]
    edges: Lane,
    #[pin]
    vertices: Lane,
    writer: SetOnce<WorkHandle>,
    #[pin]
    state: SpinLockIrq<State>,
}

impl PendingLines {
    /// Room for lines of so many bytes for each of the files, which have at most so many. May sleep.
    pub(crate) fn new(bytes: usize, max_edges: u64, max_vertices: u64) -> Result<Arc<Self>> {
        let state = State {
            edges: LineBatch::with_capacity(bytes)?,
            vertices: LineBatch::with_capacity(bytes)?,
            accepted: 0,
            refused: 0,
            failure: 0,
        };
        Arc::pin_init(
            try_pin_init!(Self {
                edges <- Lane::new(bytes, max_edges)?,
                vertices <- Lane::new(bytes, max_vertices)?,
                writer: SetOnce::new(),
                state <- kernel::new_spinlock_irq!(state, "virgo_eventnet_pending"),
            }? Error),
            GFP_KERNEL,
        )
    }

    /// From now on this is woken when there is something to be written.
    pub(crate) fn wake(&self, writer: WorkHandle) {
        self.writer.populate(writer);
    }

    /// Has a message of this user be written. May sleep.
    ///
    /// # Errors
    ///
    /// [`EDQUOT`], [`ENOSPC`] or what the files have refused, if there is no room; [`EDQUOT`] also if the
    /// user has filled a share of the file; [`ENOMEM`].
    pub(crate) fn add(&self, message: &GraphMessage<'_>, uid: u32) -> Result {
        if let GraphMessage::Edge { .. } = message {
            let line = ShortLine::<MAX_EDGE>::new(message).ok_or(EINVAL)?;
            return self.put(Of::Edges, line.bytes(), self.edges.charge(uid, line.size));
        }
        let mut line = KVVec::new();
        let mut result = Ok(());
        write(message, |part| {
            result = result.and_then(|()| line.put_bytes(part, GFP_KERNEL));
        });
        result?;
        self.put(Of::Vertices, &line, self.vertices.charge(uid, line.len()))
    }

    /// Any context.
    fn put(&self, of: Of, line: &[u8], charge: Result<Charge>) -> Result {
        let mut state = self.state.lock();
        let batch = match of {
            Of::Edges => &mut state.edges,
            Of::Vertices => &mut state.vertices,
        };
        let (was_empty, was_large) = (batch.is_empty(), batch.is_large());
        let result = charge.and_then(|charge| batch.add(line, charge));
        let wake = match (was_large, batch.is_large()) {
            (false, true) => Wake::Now,
            _ if was_empty => Wake::Soon,
            _ => Wake::No,
        };
        let result = result.map_err(|e| match (e, state.failure) {
            (EDQUOT, _) => EDQUOT,
            (_, 0) => ENOSPC,
            (_, failure) => Error::from_errno(failure),
        });
        match result {
            Ok(()) => state.accepted += 1,
            Err(_) => state.refused += 1,
        }
        drop(state);
        if let (Ok(()), Some(writer)) = (&result, self.writer.as_ref()) {
            match wake {
                Wake::Now => writer.wake_now(),
                Wake::Soon => writer.wake_after_ms(DELAY_MS),
                Wake::No => (),
            }
        }
        result
    }

    fn lane(&self, of: Of) -> &Lane {
        match of {
            Of::Edges => &self.edges,
            Of::Vertices => &self.vertices,
        }
    }

    /// Takes what waits for one of the files, if the batch for it is empty.
    pub(crate) fn take(&self, of: Of, batch: &mut LineBatch) {
        if !batch.is_empty() {
            return;
        }
        let mut state = self.state.lock();
        match of {
            Of::Edges => swap(&mut state.edges, batch),
            Of::Vertices => swap(&mut state.vertices, batch),
        }
    }

    /// Whether there is something to take.
    pub(crate) fn waits(&self, of: Of) -> bool {
        let state = self.state.lock();
        match of {
            Of::Edges => !state.edges.is_empty(),
            Of::Vertices => !state.vertices.is_empty(),
        }
    }

    /// A batch is written: the file, which had `size` bytes before, has grown by `growth`.
    pub(crate) fn filled(&self, of: Of, batch: &LineBatch, size: u64, growth: u64) {
        let all = batch.charged();
        let mut filled = self.lane(of).filled.lock();
        filled.found(size);
        for charge in &batch.charges {
            if charge.uid() != 0 {
                filled.add(charge.uid(), added(charge.amount(), all, growth));
            }
        }
    }

    /// What came of writing.
    pub(crate) fn wrote(&self, result: Result) {
        self.state.lock().failure = result.map_or_else(|e| e.to_errno(), |()| 0);
    }

    /// Messages accepted and refused, and what the files have refused last.
    pub(crate) fn counts(&self) -> (u64, u64, c_int) {
        let state = self.state.lock();
        (state.accepted, state.refused, state.failure)
    }

    pub(crate) fn show(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (accepted, refused, failure) = self.counts();
        writeln!(
            f,
            "messages accepted {accepted} refused {refused} errno {}",
            failure.unsigned_abs()
        )
    }
}

impl MessageSink for PendingLines {
    fn log(&self, message: &GraphMessage<'_>) -> bool {
        // No message that modules may log has a line longer than `MAX_LINE`.
        let Some(line) = ShortLine::<MAX_LINE>::new(message) else {
            return false;
        };
        let of = Of::message(message);
        let charge = self.lane(of).budget.root().charge(cost(line.size));
        self.put(of, line.bytes(), charge).is_ok()
    }
}

/// A line of at most `N` bytes that lies on the stack.
struct ShortLine<const N: usize> {
    bytes: [u8; N],
    size: usize,
}

impl<const N: usize> ShortLine<N> {
    /// The line of a message; `None` if it has more than `N` bytes.
    fn new(message: &GraphMessage<'_>) -> Option<Self> {
        let mut line = ShortLine {
            bytes: [0; N],
            size: 0,
        };
        write(message, |part| {
            let end = line.size.saturating_add(part.len());
            if let Some(to) = line.bytes.get_mut(line.size..end) {
                to.copy_from_slice(part);
            }
            line.size = end;
        });
        (line.size <= N).then_some(line)
    }

    fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.size).unwrap_or_default()
    }
}

impl Of {
    fn message(message: &GraphMessage<'_>) -> Self {
        match message {
            GraphMessage::Edge { .. } => Of::Edges,
            GraphMessage::Vertex { .. } => Of::Vertices,
        }
    }
}

/// What a line of so many bytes is charged.
fn cost(size: usize) -> u64 {
    size.max(MIN_CHARGE) as u64
}

/// Writes the line of a message.
fn write(message: &GraphMessage<'_>, out: impl FnMut(&[u8])) {
    match *message {
        GraphMessage::Edge { from, to } => write_edge(from, to, out),
        GraphMessage::Vertex {
            id,
            partakers,
            conversations,
        } => write_vertex_of(id, partakers.iter(), conversations.iter(), out),
    }
}
