// SPDX-License-Identifier: GPL-2.0

//! The contents of the file of vertices: a line each, and new lines that are merged with them.

use kernel::prelude::*;
use linux::{
    bytes::Fill,
    work::yield_now, //
};
use virgo_proto::{
    eventnet::{
        line::{
            write_vertex_of,
            Vertex, //
        },
        unique, //
    },
    sort::sort_by_key, //
};

/// Lines that are looked at before other tasks get their turn.
const BUDGET: usize = 1024;

/// A line that is a vertex: its id, which line it is, and itself.
type Known<'a> = (u64, usize, &'a [u8]);

/// Lines that are there, and lines that are added to them.
pub(crate) struct Vertices<'a> {
    present: &'a [u8],
    /// Of those that are there, by id.
    known: KVVec<Known<'a>>,
    /// Of those that are added, by id.
    added: KVVec<Known<'a>>,
}

fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split(|&byte| byte == b'\n')
        .filter(|line| !line.is_empty())
}

fn index(text: &[u8]) -> Result<KVVec<Known<'_>>> {
    let mut count = 0;
    for (at, _) in lines(text).enumerate() {
        count = at + 1;
        if count % BUDGET == 0 {
            yield_now();
        }
    }
    // At once: growing would need twice the memory.
    let mut known = KVVec::with_capacity(count, GFP_KERNEL)?;
    for (at, line) in lines(text).enumerate() {
        if let Some(vertex) = Vertex::parse(line) {
            known.push((vertex.id, at, line), GFP_KERNEL)?;
        }
        if at % BUDGET == BUDGET - 1 {
            yield_now();
        }
    }
    sort_by_key(&mut known, |&(id, at, _)| (id, at));
    Ok(known)
}

/// Those of one id.
fn of<'a, 'b>(known: &'b [Known<'a>], id: u64) -> &'b [Known<'a>] {
    let start = known.partition_point(|one| one.0 < id);
    let end = known.partition_point(|one| one.0 <= id);
    known.get(start..end).unwrap_or_default()
}

/// Writes one line of all lines of one id.
fn write_one<'a>(
    out: &mut KVVec<u8>,
    id: u64,
    all: impl Iterator<Item = &'a Known<'a>> + Clone,
) -> Result {
    let parsed = all.filter_map(|(_, _, line)| Vertex::parse(line));
    let (mut partakers, mut pairs) = (KVVec::new(), KVVec::new());
    for vertex in parsed {
        for (at, partaker) in (partakers.len() as u32..).zip(vertex.partakers.iter()) {
            partakers.push((partaker, at), GFP_KERNEL)?;
        }
        for (at, pair) in (pairs.len() as u32..).zip(vertex.conversations.iter()) {
            pairs.push((pair, at), GFP_KERNEL)?;
        }
    }
    // Who talks takes part.
    for index in 0..pairs.len() {
        if let Some(&((a, b), _)) = pairs.get(index) {
            for one in [a, b] {
                partakers.push((one, partakers.len() as u32), GFP_KERNEL)?;
            }
        }
    }
    let kept = unique(&mut partakers);
    partakers.truncate(kept);
    let kept = unique(&mut pairs);
    pairs.truncate(kept);
    let mut result = Ok(());
    write_vertex_of(
        id,
        partakers.iter().map(|item| item.0),
        pairs.iter().map(|item| item.0),
        |part| result = result.and_then(|()| out.put_bytes(part, GFP_KERNEL)),
    );
    Ok(result?)
}

impl<'a> Vertices<'a> {
    /// Looks at what is there, and at lines of vertices that are added.
    ///
    /// # Errors
    ///
    /// [`ENOMEM`].
    pub(crate) fn new(present: &'a [u8], added: &'a [u8]) -> Result<Self> {
        Ok(Vertices {
            present,
            known: index(present)?,
            added: index(added)?,
        })
    }

    /// Whether none of those that are added is there.
    pub(crate) fn are_new(&self) -> bool {
        self.added
            .iter()
            .all(|one| of(&self.known, one.0).is_empty())
    }

    /// The lines of those that are added and not there, each id once, in the order of the ids' first
    /// lines.
    ///
    /// # Errors
    ///
    /// [`ENOMEM`].
    pub(crate) fn added(&self) -> Result<KVVec<u8>> {
        let mut firsts = KVVec::new();
        for one in &self.added {
            let is_first = of(&self.added, one.0)
                .first()
                .is_some_and(|first| first.1 == one.1);
            if is_first && of(&self.known, one.0).is_empty() {
                firsts.push((one.1, one.0), GFP_KERNEL)?;
            }
        }
        sort_by_key(&mut firsts, |&first| first);
        let mut out = KVVec::new();
        for &(_, id) in &firsts {
            write_one(&mut out, id, of(&self.added, id).iter())?;
        }
        Ok(out)
    }

    /// All lines: of an id that is added to all its lines are one, where the first was; all others
    /// are as they were.
    ///
    /// # Errors
    ///
    /// [`ENOMEM`].
    pub(crate) fn merged(&self) -> Result<KVVec<u8>> {
        let mut out = KVVec::new();
        for (at, line) in lines(self.present).enumerate() {
            if at % BUDGET == BUDGET - 1 {
                yield_now();
            }
            let id = Vertex::parse(line).map(|vertex| vertex.id);
            let (here, added) = match id {
                Some(id) => (of(&self.known, id), of(&self.added, id)),
                None => (&[][..], &[][..]),
            };
            match (id, here.first()) {
                (Some(id), Some(first)) if !added.is_empty() => {
                    if first.1 == at {
                        write_one(&mut out, id, Iterator::chain(here.iter(), added))?;
                    }
                }
                _ => {
                    out.put_bytes(line, GFP_KERNEL)?;
                    out.put_bytes(b"\n", GFP_KERNEL)?;
                }
            }
        }
        let added = self.added()?;
        out.put_bytes(&added, GFP_KERNEL)?;
        Ok(out)
    }
}
