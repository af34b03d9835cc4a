// SPDX-License-Identifier: GPL-2.0

//! The work that writes messages to the files, the only one that touches these.
//!
//! The files belong to people as much as to this module: they may be edited, cut, removed or put
//! elsewhere at any moment. So nothing of them is kept: they are opened for each batch, edges are
//! appended to what is there, and the vertices that are there are read before others are merged
//! with them. A line that means nothing stays as it is.
//!
//! A batch that could not be written is tried again; what comes for its file meanwhile waits in
//! [`PendingLines`], which is bounded. What belongs into the other file is written. Adding vertices takes the
//! longer the more the file has, so the next ones wait for a multiple of that time: many become one batch,
//! and whoever says one after the other has the disk for a small part of the time only.

use crate::{
    pending::{
        LineBatch,
        Of,
        PendingLines,
        DELAY_MS, //
    },
    vertices::Vertices, //
};
use kernel::{
    prelude::*,
    sync::{
        atomic::{
            Atomic,
            Relaxed, //
        },
        Arc,
        Mutex, //
    },
    time::{
        Instant,
        Monotonic, //
    }, //
};
use linux::{
    append::{
        replace,
        AppendFile, //
    },
    bytes::Fill,
    deadline::Deadline,
    work::{
        Run,
        Task, //
    }, //
};

const FOLDER: &CStr = c"/var/log/eventnet";
const EDGES: &CStr = c"EventNetEdges.txt";
const VERTICES: &CStr = c"EventNetVertices.txt";
const NEW_VERTICES: &CStr = c"EventNetVertices.txt.new";

/// As the original's, less what nobody needs.
const MODE: u16 = 0o644;

/// The file of edges may have so many times the bytes of the other one, since it is not read.
pub(crate) const EDGES_TIMES: u64 = 64;

/// What could not be written is tried again after so long, in milliseconds.
const RETRY_MS: u32 = 1000;

/// After vertices have been added the next ones wait for so many times as long as that took.
const REST_TIMES: i64 = 10;

/// But for so many milliseconds at most.
const MAX_REST_MS: i64 = 60_000;

/// And for so many at least if the file had to be written anew.
const MIN_REST_MS: i64 = 1000;

/// See the module's documentation.
#[pin_data]
pub(crate) struct GraphWriter {
    pending: Arc<PendingLines>,
    /// The most bytes of the file of vertices.
    max: u64,
    /// The module is about to go: nothing waits any more.
    ending: Atomic<bool>,
    /// Only the work uses it: the lock proves that.
    #[pin]
    state: Mutex<State>,
}

struct State {
    /// What was taken and is not written yet.
    edges: LineBatch,
    vertices: LineBatch,
    /// When vertices may be written.
    rested: Deadline,
    /// What came of that last.
    of_vertices: Result,
    /// What was said in the log to be wrong with the files; nothing if they took everything since.
    said: Result,
}

impl GraphWriter {
    /// May sleep.
    pub(crate) fn new(
        pending: Arc<PendingLines>,
        bytes: usize,
        max: u64,
    ) -> Result<impl PinInit<Self, Error>> {
        let state = State {
            edges: LineBatch::with_capacity(bytes)?,
            vertices: LineBatch::with_capacity(bytes)?,
            rested: Deadline::after_ms(0),
            of_vertices: Ok(()),
            said: Ok(()),
        };
        Ok(try_pin_init!(Self {
            pending,
            max,
            ending: Atomic::new(false),
            state <- kernel::new_mutex!(state, "virgo_eventnet_writer"),
        }? Error))
    }

    /// Writes what waits. Returns after how many milliseconds to go on, if there is more by now, or not all
    /// could be written. Kernel threads only.
    ///
    /// What comes meanwhile is left to the next run: somebody who says one thing after the other so has a
    /// batch written every few milliseconds, not one for each few messages.
    fn write(&self) -> Option<u32> {
        let mut state = self.state.lock();
        let has_rested = state.rested.passed() || self.ending.load(Relaxed);
        self.pending.take(Of::Edges, &mut state.edges);
        if has_rested {
            self.pending.take(Of::Vertices, &mut state.vertices);
        }
        if !state.edges.is_empty() || !state.vertices.is_empty() {
            let result = self.write_batches(&mut state, has_rested);
            self.pending.wrote(result);
            if let (Err(e), true) = (result, state.said != result) {
                pr_warn!("/var/log/eventnet cannot be written to: {e:?}; it is tried again\n");
            }
            state.said = result;
            if result.is_err() {
                return Some(RETRY_MS);
            }
        }
        let edges = self.pending.waits(Of::Edges).then_some(DELAY_MS);
        let rest = || state.rested.left_ms().clamp(DELAY_MS, RETRY_MS);
        // Edges that come while vertices rest do not wait for longer than that.
        let vertices = self.pending.waits(Of::Vertices).then(rest);
        [edges, vertices].into_iter().flatten().min()
    }

    /// A batch that is written is empty then. Neither waits for what is wrong with the other's file.
    fn write_batches(&self, state: &mut State, has_rested: bool) -> Result {
        let of_edges = self.write_edges(&state.edges);
        if of_edges.is_ok() {
            state.edges.clear();
        }
        if has_rested {
            state.of_vertices = self.write_vertices(&state.vertices, &mut state.rested);
            if state.of_vertices.is_ok() {
                state.vertices.clear();
            }
        }
        of_edges.and(state.of_vertices)
    }

    fn write_edges(&self, batch: &LineBatch) -> Result {
        let lines = &batch.text[..];
        if lines.is_empty() {
            return Ok(());
        }
        let file = AppendFile::open_in(FOLDER, EDGES, MODE)?;
        let size = file.size()?;
        if size.saturating_add(lines.len() as u64) > self.max.saturating_mul(EDGES_TIMES) {
            return Err(EFBIG);
        }
        end_line(&file, size)?;
        file.append(lines)?;
        file.sync()?;
        self.pending
            .filled(Of::Edges, batch, size, lines.len() as u64);
        Ok(())
    }

    fn write_vertices(&self, batch: &LineBatch, rested: &mut Deadline) -> Result {
        let lines = &batch.text[..];
        if lines.is_empty() {
            return Ok(());
        }
        let file = AppendFile::open_in(FOLDER, VERTICES, MODE)?;
        let size = file.size()?;
        if size.saturating_add(lines.len() as u64) > self.max {
            return Err(EFBIG);
        }
        let start = Instant::<Monotonic>::now();
        let filled = |growth| self.pending.filled(Of::Vertices, batch, size, growth);
        let mut present = KVVec::new();
        present.put_zeros(size as usize, GFP_KERNEL)?;
        let read = file.read_at(&mut present, 0)?;
        present.truncate(read);
        let vertices = Vertices::new(&present, lines)?;
        if vertices.are_new() {
            end_line(&file, file.size()?)?;
            let added = vertices.added()?;
            file.append(&added)?;
            file.sync()?;
            filled(added.len() as u64);
            *rested = rest(start, 0);
            return Ok(());
        }
        let merged = vertices.merged()?;
        let written = write_anew(&merged);
        *rested = rest(start, MIN_REST_MS);
        written?;
        filled((merged.len() as u64).saturating_sub(size));
        Ok(())
    }
}

/// The end of the rest after vertices that were begun to be added at `start`.
fn rest(start: Instant<Monotonic>, min: i64) -> Deadline {
    let ms = start.elapsed().as_millis().saturating_mul(REST_TIMES);
    // It is within these bounds.
    Deadline::after_ms(ms.clamp(min, MAX_REST_MS) as u32)
}

/// Puts a file with these lines in the place of the file of vertices.
fn write_anew(lines: &[u8]) -> Result {
    let new = AppendFile::open_in(FOLDER, NEW_VERTICES, MODE)?;
    new.truncate(0)?;
    new.append(lines)?;
    // What the name leads to is complete, also after a crash.
    new.sync()?;
    replace(FOLDER, NEW_VERTICES, VERTICES)
}

/// Ends the last line of a file of so many bytes, if somebody has left it without an end.
fn end_line(file: &AppendFile, size: u64) -> Result {
    let mut last = [0];
    let Some(at) = size.checked_sub(1) else {
        return Ok(());
    };
    if file.read_at(&mut last, at)? == 1 && !matches!(last, [b'\n' | 0]) {
        file.append(b"\n")?;
    }
    Ok(())
}

impl Run for GraphWriter {
    fn run(task: &Task<Self>) {
        if let Some(ms) = task.write() {
            task.schedule_after_ms(ms);
        }
    }
}

/// Ends the work when dropped, after one more attempt to write what waits: first what is tried again, then
/// what has come meanwhile.
pub(crate) struct WriterStop(pub(crate) Arc<Task<GraphWriter>>);

impl Drop for WriterStop {
    fn drop(&mut self) {
        self.0.ending.store(true, Relaxed);
        for _ in 0..2 {
            self.0.schedule_now();
            self.0.wait_for_run();
        }
        self.0.stop();
        let (accepted, refused, failure) = self.0.pending.counts();
        if failure != 0 {
            pr_warn!("messages are lost: {accepted} were accepted, {refused} refused\n");
        }
    }
}
