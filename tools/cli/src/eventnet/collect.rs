// SPDX-License-Identifier: GPL-2.0
//! Reading the events of nodes: each node's function `eventnet_dump` gives some of one of its rings.

use super::answers;
use crate::{call_error::CallError, options::eventnet::Follow, output::Printer};
use anyhow::{Context, Result, bail};
use std::{thread, time::Duration};
use virgo::{Call, Ended, On, status::Status};
use virgo_eventnet::{Event, read_records};
use virgo_proto::{
    clone::MAX_OUTPUT,
    eventnet::{Dump, ring::Cursor},
};

const DUMP: &str = "eventnet_dump";

/// Most bytes of events that are taken from one node at a time: another node might never come to an end.
const MAX_BYTES: usize = 256 << 20;

/// A reader of one node's events.
struct Reader {
    node: u32,
    /// Where it is in each ring.
    rings: Vec<Cursor>,
    lost: u64,
    /// Records of a later version.
    unknown: usize,
    /// It had more than was taken.
    is_cut: bool,
}

/// The events of several nodes, and what is missing.
pub(super) struct Collected {
    pub(super) events: Vec<Event>,
    pub(super) notes: Vec<String>,
}

/// Runs a function of a node and returns what it has printed.
pub(crate) fn ask(node: u32, function: &str, args: &[String]) -> Result<Vec<u8>> {
    let call = Call::new(function).args(args).max_output(MAX_OUTPUT);
    let outcome = virgo::run(&call.on(On::Node(node)))?;
    match outcome.ended {
        Ended::Returned(_) if !outcome.truncated => Ok(outcome.stdout),
        Ended::Failed(errno) => Err(CallError::new(function, errno, &outcome).into()),
        _ => bail!("the answer of node {node} is not whole"),
    }
}

/// The node, or all nodes.
pub(crate) fn nodes(node: Option<u32>) -> Result<Vec<u32>> {
    Ok(match node {
        Some(node) => vec![node],
        None => {
            let config = Status::default().config()?;
            config.nodes.iter().map(|node| node.number.into()).collect()
        }
    })
}

impl Reader {
    fn new(node: u32) -> Self {
        Reader {
            node,
            rings: vec![Cursor::default()],
            lost: 0,
            unknown: 0,
            is_cut: false,
        }
    }

    /// Reads what is there now. Events that happen meanwhile are read, too, but not for ever.
    fn read(&mut self) -> Result<Vec<Event>> {
        let node = self.node;
        self.read_by(|args| ask(node, DUMP, args))
    }

    /// The same by `ask`, which gives the node's answer to a call.
    fn read_by(&mut self, mut ask: impl FnMut(&[String]) -> Result<Vec<u8>>) -> Result<Vec<Event>> {
        let mut events: Vec<Event> = Vec::new();
        let (mut ring, mut left) = (0, MAX_BYTES);
        while ring < self.rings.len() {
            // A ring is read round once; what is written faster than it is read is lost anyway.
            let mut rounds = 4096;
            loop {
                let from = self.rings[ring];
                let args = [ring as u64, from.at, from.count].map(|number| number.to_string());
                let answer = ask(&args)?;
                let Some(rest) = left.checked_sub(answer.len()) else {
                    self.is_cut = true;
                    events.sort_by_key(|event| event.id);
                    return Ok(events);
                };
                left = rest;
                let dump = Dump::parse(&answer).context("not an answer of eventnet_dump")?;
                let rings = usize::try_from(dump.rings)?.clamp(1, 4096);
                self.rings
                    .resize(rings.max(self.rings.len()), Cursor::default());
                self.rings[ring] = dump.next;
                self.lost += dump.lost;
                let (some, unknown) = read_records(dump.records)?;
                self.unknown += unknown;
                rounds -= 1;
                // A ring that has given less than half of what fits is at its end.
                let is_end = dump.records.len() < MAX_OUTPUT / 2 || rounds == 0;
                events.extend(some);
                if is_end {
                    break;
                }
            }
            ring += 1;
        }
        events.sort_by_key(|event| event.id);
        Ok(events)
    }

    /// Says what is missing, since this was asked last.
    fn notes(&mut self) -> Vec<String> {
        let mut notes = Vec::new();
        let node = self.node;
        match std::mem::take(&mut self.lost) {
            0 => (),
            lost => notes.push(format!(
                "node {node}: {lost} events were replaced by later ones"
            )),
        }
        match std::mem::take(&mut self.unknown) {
            0 => (),
            unknown => notes.push(format!(
                "node {node}: {unknown} events are of a later version"
            )),
        }
        if std::mem::take(&mut self.is_cut) {
            notes.push(format!(
                "node {node}: only the first {} MiB of its events were read",
                MAX_BYTES >> 20
            ));
        }
        notes
    }
}

/// Reads the events of a node, or of all that answer: what those have that do not is missing.
pub(super) fn all(node: Option<u32>) -> Result<Collected> {
    let mut collected = Collected {
        events: Vec::new(),
        notes: Vec::new(),
    };
    let nodes = nodes(node)?;
    let (mut failed, mut last) = (0, None);
    for &node in &nodes {
        let mut reader = Reader::new(node);
        match reader.read() {
            Ok(events) => collected.events.extend(events),
            Err(error) => {
                failed += 1;
                let note = format!("node {node}: its events are missing: {error:#}");
                collected.notes.push(note);
                last = Some(error);
            }
        }
        collected.notes.extend(reader.notes());
    }
    match last {
        Some(error) if failed == nodes.len() => Err(error),
        _ => Ok(collected),
    }
}

/// Prints events as they happen, from now on.
pub(super) fn follow(output: Printer, options: &Follow) -> Result<()> {
    let mut readers: Vec<_> = nodes(options.nodes.node)?
        .into_iter()
        .map(Reader::new)
        .collect();
    for reader in &mut readers {
        reader.read()?;
        reader.notes();
    }
    let mut left = options.count.unwrap_or(usize::MAX);
    while left > 0 {
        let mut events = Vec::new();
        for reader in &mut readers {
            match reader.read() {
                Ok(some) => events.extend(some),
                Err(error) => {
                    let node = reader.node;
                    crate::output::note(format_args!("virgo: node {node}: {error:#}"));
                }
            }
            for note in reader.notes() {
                crate::output::note(format_args!("virgo: {note}"));
            }
        }
        events.sort_by_key(|event| (event.stamp, event.id));
        events.truncate(left);
        left -= events.len();
        match output.json {
            true => answers::json_lines(&events)?,
            false => answers::lines(events.iter())?,
        }
        if left > 0 {
            thread::sleep(options.every.max(Duration::from_millis(10)));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use virgo_proto::eventnet::{DUMP_HEAD, ring::Read};

    /// One record that fills it, of a version that is not known.
    fn full_answer() -> Vec<u8> {
        let read = Read {
            next: Cursor::default(),
            bytes: MAX_OUTPUT - DUMP_HEAD,
            lost: 0,
        };
        let mut answer = Dump::head(u32::MAX, &read).to_vec();
        let size = u16::try_from(read.bytes).expect("the size of a record");
        answer.extend(size.to_le_bytes());
        answer.resize(MAX_OUTPUT, 0xff);
        answer
    }

    /// A node with as many rings as may be, each of which gives a full answer each time.
    #[test]
    fn events_without_an_end_are_given_up() {
        let mut reader = Reader::new(1);
        let mut bytes = 0;
        let answer = full_answer();
        let read = reader.read_by(|_| {
            bytes += answer.len();
            // The test ends also if that does not.
            match bytes < 2 * MAX_BYTES {
                true => Ok(answer.clone()),
                false => bail!("it goes on"),
            }
        });
        read.expect("what was read");
        assert!(bytes <= MAX_BYTES + answer.len(), "{bytes} bytes");
        assert_eq!(reader.notes().len(), 2);
        assert!(reader.notes().is_empty());
    }
}
