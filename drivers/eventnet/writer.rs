// SPDX-License-Identifier: GPL-2.0

//! The work that writes messages to the files, the only one that touches these.
//!
//! The files belong to people as much as to this module: they may be edited, cut, removed or put
//! elsewhere at any moment. So nothing of them is kept: they are opened for each batch, edges are
//! appended to what is there, and the vertices that are there are read before others are merged
//! with them. A line that means nothing stays as it is.
//!
//! A batch that could not be written is tried again; what comes for its file meanwhile waits in
//! [`Pending`], which is bounded. What belongs into the other file is written.

use crate::{
    pending::{
        Batch,
        Pending, //
    },
    vertices::Vertices, //
};
use kernel::{
    prelude::*,
    sync::{
        Arc,
        Mutex, //
    }, //
};
use linux::{
    append::{
        replace,
        AppendFile, //
    },
    bytes::Fill,
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
const EDGES_TIMES: u64 = 64;

/// What could not be written is tried again after so long, in milliseconds.
const RETRY_MS: u32 = 1000;

/// See the module's documentation.
#[pin_data]
pub(crate) struct Writer {
    pending: Arc<Pending>,
    /// The most bytes of the file of vertices.
    max: u64,
    /// Only the work uses it: the lock proves that.
    #[pin]
    state: Mutex<State>,
}

struct State {
    /// What was taken and is not written yet.
    edges: Batch,
    vertices: Batch,
    /// What was said in the log to be wrong with the files; nothing if they took everything since.
    said: Result,
}

impl Writer {
    /// May sleep.
    pub(crate) fn new(
        pending: Arc<Pending>,
        bytes: usize,
        max: u64,
    ) -> Result<impl PinInit<Self, Error>> {
        let state = State {
            edges: Batch::with_capacity(bytes)?,
            vertices: Batch::with_capacity(bytes)?,
            said: Ok(()),
        };
        Ok(try_pin_init!(Self {
            pending,
            max,
            state <- kernel::new_mutex!(state, "virgo_eventnet_writer"),
        }? Error))
    }

    /// Writes what waits. Returns whether all was written. Kernel threads only.
    fn write(&self) -> bool {
        let mut state = self.state.lock();
        let State {
            edges,
            vertices,
            said,
        } = &mut *state;
        loop {
            self.pending.take(edges, vertices);
            if edges.is_empty() && vertices.is_empty() {
                return true;
            }
            let result = self.write_batches(edges, vertices);
            self.pending.wrote(result);
            if let (Err(e), true) = (result, *said != result) {
                pr_warn!("/var/log/eventnet cannot be written to: {e:?}; it is tried again\n");
            }
            *said = result;
            if result.is_err() {
                return false;
            }
        }
    }

    /// A batch that is written is empty then. Neither waits for what is wrong with the other's file.
    fn write_batches(&self, edges: &mut Batch, vertices: &mut Batch) -> Result {
        let of_edges = self.write_edges(&edges.text);
        if of_edges.is_ok() {
            edges.clear();
        }
        let of_vertices = self.write_vertices(&vertices.text);
        if of_vertices.is_ok() {
            vertices.clear();
        }
        of_edges.and(of_vertices)
    }

    fn write_edges(&self, lines: &[u8]) -> Result {
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
        file.sync()
    }

    fn write_vertices(&self, lines: &[u8]) -> Result {
        if lines.is_empty() {
            return Ok(());
        }
        let file = AppendFile::open_in(FOLDER, VERTICES, MODE)?;
        let size = file.size()?;
        if size.saturating_add(lines.len() as u64) > self.max {
            return Err(EFBIG);
        }
        let mut present = KVVec::new();
        present.put_zeros(size as usize, GFP_KERNEL)?;
        let read = file.read_at(&mut present, 0)?;
        present.truncate(read);
        let vertices = Vertices::new(&present, lines)?;
        if vertices.are_new() {
            end_line(&file, file.size()?)?;
            file.append(&vertices.added()?)?;
            return file.sync();
        }
        let merged = vertices.merged()?;
        let new = AppendFile::open_in(FOLDER, NEW_VERTICES, MODE)?;
        new.truncate(0)?;
        new.append(&merged)?;
        // What the name leads to is complete, also after a crash.
        new.sync()?;
        replace(FOLDER, NEW_VERTICES, VERTICES)
    }
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

impl Run for Writer {
    fn run(task: &Task<Self>) {
        if !task.write() {
            task.schedule_after_ms(RETRY_MS);
        }
    }
}

/// Ends the work when dropped, after one more attempt to write what waits.
pub(crate) struct Stop(pub(crate) Arc<Task<Writer>>);

impl Drop for Stop {
    fn drop(&mut self) {
        self.0.schedule_now();
        self.0.wait_for_run();
        self.0.stop();
        let (accepted, refused, failure) = self.0.pending.counts();
        if failure != 0 {
            pr_warn!("messages are lost: {accepted} were accepted, {refused} refused\n");
        }
    }
}
