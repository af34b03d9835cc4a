// SPDX-License-Identifier: GPL-2.0

//! Recording events: each gets its number, its stamp and its vector clock under one lock, which is held
//! for that only, and goes to the ring of its processor.
//!
//! Any context but NMI, unless said otherwise.

use super::{
    rings::Rings,
    switch, //
};
use crate::{
    clock,
    params, //
};
use core::mem::size_of;
use kernel::{
    prelude::*,
    sync::{
        atomic::{
            Atomic,
            Relaxed, //
        },
        Arc, //
    }, //
};
use linux::deadline;
use virgo_proto::{
    clock::Vector,
    config::MAX_NODES,
    eventnet::{
        event::{
            EventId,
            EventKind,
            EventRecord,
            Point,
            MAX_TEXT, //
        },
        ring::{
            Cursor,
            Read, //
        },
        TraceContext, //
    },
    vuid::NodeId, //
};
use zerocopy::little_endian::U64;

/// Clocks of so many nodes are copied to a small buffer.
const FEW: usize = 8;

/// What is known of an event before it is recorded.
#[derive(Clone, Copy)]
pub(super) struct EventDraft<'a> {
    pub(super) kind: EventKind,
    pub(super) point: Point,
    pub(super) op: u16,
    pub(super) status: u32,
    pub(super) bytes: u32,
    pub(super) peer: NodeId,
    pub(super) about: u64,
    /// The number of the event whose end this is; 0 if it is no end.
    pub(super) begin: u64,
    pub(super) cause: Option<EventId>,
    pub(super) text: &'a [u8],
}

impl EventDraft<'_> {
    pub(super) const fn new(kind: EventKind, point: Point) -> Self {
        EventDraft {
            kind,
            point,
            op: 0,
            status: 0,
            bytes: 0,
            peer: 0,
            about: 0,
            begin: 0,
            cause: None,
            text: b"",
        }
    }
}

struct State {
    /// This node; 0 before anything is recorded.
    me: NodeId,
    /// What has happened before the next event of this node.
    known: Vector,
    rings: Option<Arc<Rings>>,
}

kernel::sync::global_lock! {
    // SAFETY: Initialised by `init`, before any other module can use it: they load after this one.
    unsafe(uninit) static STATE: SpinLockIrq<State> = State {
        me: 0,
        known: Vector::ZERO,
        rings: None,
    };
}

/// Nodes in the clocks of events. Grows only, under the lock: no count that is known is left out of a
/// later clock.
static NODES: Atomic<u32> = Atomic::new(0);

/// Makes this usable. Called once, in the module's initialisation.
pub(super) fn init() {
    // SAFETY: Called once in the life of the module.
    unsafe { STATE.init() };
}

/// Ends recording and gives the memory back. Called once, when no other module uses this one any more.
pub(super) fn exit() {
    switch::set(core::iter::empty(), 1);
    let rings = STATE.lock().rings.take();
    drop(rings);
}

/// Records these kinds of events and no others from now on, and one call of `one_in`. May sleep.
///
/// # Errors
///
/// [`ENOMEM`] if there is no memory for the rings, [`ENODEV`].
pub fn record_kinds(kinds: impl Iterator<Item = EventKind>, one_in: u32) -> Result {
    let config = virgo_config::node()?.config();
    let nodes = u8::try_from(config.nodes.len().min(MAX_NODES))?;
    if STATE.lock().rings.is_none() {
        let new = Arc::new(Rings::new(params::event_ring_bytes())?, GFP_KERNEL)?;
        let mut state = STATE.lock();
        let useless = match state.rings {
            None => state.rings.replace(new),
            Some(_) => Some(new),
        };
        drop(state);
        drop(useless);
    }
    let mut state = STATE.lock();
    raise_nodes(nodes.max(config.me).into());
    if state.me != config.me {
        // Numbers go on from the time, which grows faster than events are recorded: those of another
        // incarnation of this node are smaller.
        let (seconds, _) = deadline::wall();
        state.me = config.me;
        state.known.raise(config.me, seconds << 20);
    }
    drop(state);
    switch::set(kinds, one_in);
    Ok(())
}

fn nodes() -> usize {
    (NODES.load(Relaxed) as usize).min(MAX_NODES)
}

/// From now on clocks have so many nodes at least. Under the lock.
fn raise_nodes(nodes: u32) {
    if nodes > NODES.load(Relaxed) {
        NODES.store(nodes, Relaxed);
    }
}

/// Numbers before the clock of a trace context.
const START: usize = TraceContext::size(0) / size_of::<U64>();

/// The trace context of the frames that an event will send.
pub(super) struct ContextBytes {
    numbers: Numbers,
    /// In its clock.
    nodes: u8,
}

enum Numbers {
    /// Of [`FEW`] nodes at most.
    Few([U64; START + FEW]),
    Many(KVVec<U64>),
}

impl ContextBytes {
    /// A context that is not filled in yet. May sleep.
    ///
    /// # Errors
    ///
    /// [`ENOMEM`].
    pub(super) fn new() -> Result<Self> {
        let nodes = nodes();
        let numbers = match nodes {
            ..=FEW => Numbers::Few([U64::ZERO; START + FEW]),
            _ => Numbers::Many(KVVec::from_elem(U64::ZERO, START + nodes, GFP_KERNEL)?),
        };
        Ok(ContextBytes {
            numbers,
            nodes: nodes as u8,
        })
    }

    /// How many bytes it has.
    pub(super) fn size(&self) -> usize {
        TraceContext::size(self.nodes)
    }

    /// Its bytes.
    pub(super) fn bytes(&self) -> &[u8] {
        let numbers = match &self.numbers {
            Numbers::Few(numbers) => &numbers[..],
            Numbers::Many(numbers) => numbers,
        };
        numbers.as_bytes().get(..self.size()).unwrap_or_default()
    }

    /// Fills it in. There may be more nodes by now, or fewer.
    fn fill(&mut self, event: EventId, counts: &[U64]) {
        let numbers = match &mut self.numbers {
            Numbers::Few(numbers) => &mut numbers[..],
            Numbers::Many(numbers) => numbers,
        };
        if let Some((start, clock)) = numbers.split_first_chunk_mut() {
            *start = TraceContext::start(event, self.nodes);
            for (to, count) in clock.iter_mut().zip(counts) {
                *to = *count;
            }
        }
    }
}

/// Whatever happens on this node from now on has happened after what `context` tells of.
pub(super) fn join(context: &TraceContext<'_>) {
    let mut state = STATE.lock();
    // What another node says of this one's events it has from this one.
    let me = state.me;
    let nodes = state.known.merge(context.counts(), me);
    // A node that was configured after recording was switched on has its place in clocks, too.
    raise_nodes(nodes.into());
}

/// Records an event, and writes what frames that it sends say of it to `context`. `None` if nothing is
/// recorded.
pub(super) fn record(
    draft: &EventDraft<'_>,
    mut context: Option<&mut ContextBytes>,
) -> Option<EventId> {
    if let Recorded::Yes(id) = record_with::<FEW>(draft, context.as_deref_mut()) {
        return id;
    }
    match record_with::<MAX_NODES>(draft, context) {
        Recorded::Yes(id) => id,
        Recorded::TooManyNodes => None,
    }
}

/// What came of recording an event.
enum Recorded {
    /// It has this id; `None` if nothing is recorded.
    Yes(Option<EventId>),
    /// Nothing: there are more nodes by now than there is room for.
    TooManyNodes,
}

/// As [`record`], with room for the counts of `N` nodes on the stack.
fn record_with<const N: usize>(
    draft: &EventDraft<'_>,
    context: Option<&mut ContextBytes>,
) -> Recorded {
    let nanos = deadline::now_ns();
    let mut counts = [U64::ZERO; N];
    let mut state = STATE.lock();
    // Before anything is recorded for the first time.
    let Some(rings) = state.rings.clone() else {
        return Recorded::Yes(None);
    };
    let nodes = nodes();
    if nodes > N {
        return Recorded::TooManyNodes;
    }
    let me = state.me;
    let id = EventId {
        node: me,
        seq: state.known.tick(me),
    };
    let stamp = clock::now();
    for (count, known) in counts.iter_mut().zip(state.known.to_wire(nodes)) {
        *count = U64::from_bytes(known);
    }
    drop(state);
    let clock = counts.get(..nodes).unwrap_or_default();
    let event = EventRecord {
        id,
        cause: draft.cause,
        kind: draft.kind,
        point: draft.point,
        op: draft.op,
        status: draft.status,
        bytes: draft.bytes,
        peer: draft.peer,
        stamp,
        nanos,
        about: draft.about,
        begin: draft.begin,
        clock,
        text: draft.text.get(..MAX_TEXT).unwrap_or(draft.text),
    };
    rings.push(&event);
    if let Some(context) = context {
        context.fill(id, clock);
    }
    Recorded::Yes(Some(id))
}

fn rings() -> Option<Arc<Rings>> {
    STATE.lock().rings.clone()
}

/// Reads records of the ring with this index; `None` if there is no such ring.
pub fn read(index: usize, from: Cursor, out: &mut [u8]) -> Option<Read> {
    rings()?.read(index, from, out)
}

/// How many rings there are; none before anything is recorded.
pub fn ring_count() -> usize {
    rings().map_or(0, |rings| rings.count())
}

/// Events of the ring with this index that later ones have replaced.
pub fn replaced(index: usize) -> Option<u64> {
    rings()?.replaced(index)
}
