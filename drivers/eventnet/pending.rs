// SPDX-License-Identifier: GPL-2.0

//! Messages that wait to be written to the files, as lines of these.
//!
//! Whoever has something to say puts it here and goes on. What there is no room for is refused, and
//! counted.

use kernel::{
    fmt,
    prelude::*,
    sync::{
        Arc,
        SetOnce,
        SpinLockIrq, //
    }, //
};
use linux::{
    bytes::Fill,
    work::WorkHandle, //
};
use virgo_proto::eventnet::{
    line::{
        write_edge,
        write_vertex_of, //
    },
    Message, //
};
use virgo_utils::{
    budget::{
        Budget,
        Charge, //
    },
    eventnet::MessageSink, //
};

/// Messages that can wait in so many bytes: each has a charge.
fn max_messages(bytes: usize) -> usize {
    bytes / 64
}

/// Lines that were taken out.
#[derive(Default)]
pub(crate) struct Lines {
    /// Of the file of edges.
    pub(crate) edges: KVVec<u8>,
    /// Of the file of vertices.
    pub(crate) vertices: KVVec<u8>,
    /// Whose they are; given back when they are written.
    pub(crate) charges: KVVec<Charge>,
}

impl Lines {
    pub(crate) fn with_capacity(bytes: usize) -> Result<Self> {
        Ok(Lines {
            edges: KVVec::with_capacity(bytes, GFP_KERNEL)?,
            vertices: KVVec::with_capacity(bytes, GFP_KERNEL)?,
            charges: KVVec::with_capacity(max_messages(bytes), GFP_KERNEL)?,
        })
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.edges.is_empty() && self.vertices.is_empty()
    }
}

struct State {
    lines: Lines,
    accepted: u64,
    refused: u64,
    /// What the files have refused last; 0 if they take everything.
    failure: c_int,
}

/// See the module's documentation.
#[pin_data]
pub(crate) struct Pending {
    bytes: usize,
    budget: Pin<KBox<Budget>>,
    writer: SetOnce<WorkHandle>,
    #[pin]
    state: SpinLockIrq<State>,
}

impl Pending {
    /// Room for lines of so many bytes. May sleep.
    pub(crate) fn new(bytes: usize) -> Result<Arc<Self>> {
        let state = State {
            lines: Lines::with_capacity(bytes)?,
            accepted: 0,
            refused: 0,
            failure: 0,
        };
        Arc::pin_init(
            try_pin_init!(Self {
                bytes,
                budget: Budget::new(*bytes as u64)?,
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
    /// [`EDQUOT`], [`ENOSPC`] or what the files have refused, if there is no room; [`ENOMEM`].
    pub(crate) fn add(&self, message: &Message<'_>, uid: u32) -> Result {
        let charge = self.budget.charge(uid, size(message));
        self.put(message, charge)
    }

    /// Any context.
    fn put(&self, message: &Message<'_>, charge: Result<Charge>) -> Result {
        let mut state = self.state.lock();
        let result = charge.and_then(|charge| state.put(message, charge, self.bytes));
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
            writer.wake();
        }
        result
    }

    /// Takes what waits, for these empty lines.
    pub(crate) fn take(&self, empty: &mut Lines) {
        core::mem::swap(&mut self.state.lock().lines, empty);
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

impl MessageSink for Pending {
    fn log(&self, message: &Message<'_>) -> bool {
        let charge = self.budget.root().charge(size(message));
        self.put(message, charge).is_ok()
    }
}

/// Bytes of the line of a message.
fn size(message: &Message<'_>) -> u64 {
    let mut size = 0;
    write(message, |part| size += part.len() as u64);
    size
}

fn write(message: &Message<'_>, out: impl FnMut(&[u8])) {
    match *message {
        Message::Edge { from, to } => write_edge(from, to, out),
        Message::Vertex {
            id,
            partakers,
            conversations,
        } => write_vertex_of(id, partakers.iter(), conversations.iter(), out),
    }
}

impl State {
    fn put(&mut self, message: &Message<'_>, charge: Charge, bytes: usize) -> Result {
        let lines = &mut self.lines;
        let to = match message {
            Message::Edge { .. } => &mut lines.edges,
            Message::Vertex { .. } => &mut lines.vertices,
        };
        // No memory is taken: lines and charges have their room.
        let size = usize::try_from(charge.amount())?;
        let has_room = to.len() + size <= bytes && lines.charges.len() < max_messages(bytes);
        if !has_room {
            return Err(ENOSPC);
        }
        let before = to.len();
        let mut result = Ok(());
        write(message, |part| {
            result = result.and_then(|()| to.put_bytes(part, GFP_NOWAIT));
        });
        if result.is_err() {
            to.truncate(before);
            return Err(ENOSPC);
        }
        let _ = lines.charges.push_within_capacity(charge);
        Ok(())
    }
}
