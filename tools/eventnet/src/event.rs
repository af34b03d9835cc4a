// SPDX-License-Identifier: GPL-2.0
//! Events, as programs have them.

use serde::{Deserialize, Serialize};
use std::{fmt, io, str::FromStr};
use virgo_proto::{
    config::MAX_NODES,
    eventnet::event::{self as wire, EventKind, Point},
};

/// Which event: `NODE:NUMBER`.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(try_from = "String", into = "String")]
pub struct EventId {
    /// The node, from 1.
    pub node: u8,
    /// Grows with the events of the node.
    pub seq: u64,
}

/// An event that a node has recorded. See [`wire::EventRecord`] for its fields.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// Which one.
    pub id: EventId,
    /// The event that caused it, if that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<EventId>,
    /// The event whose end this is, on the same node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub begin: Option<EventId>,
    /// A word of [`EventKind`].
    pub kind: String,
    /// A word of [`Point`].
    pub point: String,
    /// Operation of the service.
    #[serde(default)]
    pub op: u16,
    /// Error number, 0 for success.
    #[serde(default)]
    pub status: u32,
    /// Bytes of data that were moved.
    #[serde(default)]
    pub bytes: u32,
    /// The other node, 0 if there is none.
    #[serde(default)]
    pub peer: u8,
    /// Nanoseconds since 1970, from the hybrid stamp: to 15 µs, and by the node's wall clock.
    pub wall_ns: u64,
    /// The hybrid stamp itself.
    pub stamp: u64,
    /// Nanoseconds of the node's monotonic clock.
    pub mono_ns: u64,
    /// An id of the service's own.
    #[serde(default)]
    pub about: u64,
    /// The vector clock: counts of node 1 and so on.
    pub clock: Vec<u64>,
    /// What was said.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub text: String,
}

impl Event {
    /// The events of `node` that happened before this one, this included, are those up to this number.
    pub fn knows(&self, node: u8) -> u64 {
        let index = usize::from(node).checked_sub(1);
        index
            .and_then(|at| self.clock.get(at))
            .copied()
            .unwrap_or(0)
    }

    /// Whether it happened before `other`.
    pub fn is_before(&self, other: &Event) -> bool {
        self.id != other.id && other.knows(self.id.node) >= self.id.seq
    }

    /// What it is, in a few words.
    pub fn label(&self) -> String {
        let mut label = format!("{} {}", self.kind, self.point);
        if self.peer != 0 {
            let way = match self.point.as_str() {
                "send" | "reply" => "to",
                _ => "from",
            };
            label += &format!(" {way} node{}", self.peer);
        }
        if self.status != 0 {
            label += &format!(
                " ({})",
                virgo_proto::errno::Errno::from_wire(self.status).name()
            );
        }
        if !self.text.is_empty() {
            label += &format!(": {}", self.text);
        }
        label
    }
}

impl From<&wire::EventRecord<'_>> for Event {
    fn from(event: &wire::EventRecord<'_>) -> Self {
        Event {
            id: event.id.into(),
            cause: event.cause.map(EventId::from),
            begin: (event.begin != 0).then_some(EventId {
                node: event.id.node,
                seq: event.begin,
            }),
            kind: event.kind.name().to_owned(),
            point: event.point.name().to_owned(),
            op: event.op,
            status: event.status,
            bytes: event.bytes,
            peer: event.peer,
            wall_ns: event.stamp.wall_nanos(),
            stamp: event.stamp.to_wire(),
            mono_ns: event.nanos,
            about: event.about,
            clock: event.clock.iter().map(|count| count.get()).collect(),
            text: String::from_utf8_lossy(event.text).into_owned(),
        }
    }
}

impl From<wire::EventId> for EventId {
    fn from(wire::EventId { node, seq }: wire::EventId) -> Self {
        EventId { node, seq }
    }
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.node, self.seq)
    }
}

impl FromStr for EventId {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts = text.split_once(':');
        let id = parts.and_then(|(node, seq)| {
            let (node, seq) = (node.parse().ok()?, seq.parse().ok()?);
            (1..=MAX_NODES)
                .contains(&usize::from(node))
                .then_some(EventId { node, seq })
        });
        id.ok_or_else(|| format!("'{text}' is no event: expected NODE:NUMBER, like 2:1187"))
    }
}

impl TryFrom<String> for EventId {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<EventId> for String {
    fn from(id: EventId) -> String {
        id.to_string()
    }
}

/// Reads the records of a node, one behind the other. Returns the events, and how many records were
/// passed over because they are of a later version.
///
/// # Errors
///
/// `InvalidData` if something is there that is no record.
pub fn read_records(mut bytes: &[u8]) -> io::Result<(Vec<Event>, usize)> {
    let (mut events, mut unknown) = (Vec::new(), 0);
    while !bytes.is_empty() {
        let (size, event) = wire::EventRecord::parse(bytes).ok_or_else(|| {
            io::Error::new(io::ErrorKind::InvalidData, "not the record of an event")
        })?;
        match event {
            Some(event) => events.push(Event::from(&event)),
            None => unknown += 1,
        }
        bytes = &bytes[size..];
    }
    Ok((events, unknown))
}

/// Reads events from lines of JSON, one a line.
///
/// # Errors
///
/// `InvalidData` with the number of the line that is no event, or knows of words that there are not.
pub fn read_json(input: impl io::BufRead) -> io::Result<Vec<Event>> {
    let mut events = Vec::new();
    for (number, line) in (1..).zip(input.lines()) {
        let line = line?;
        if line.trim().is_empty() {
            continue;
        }
        let bad = |what: String| {
            io::Error::new(io::ErrorKind::InvalidData, format!("line {number}: {what}"))
        };
        let event: Event = serde_json::from_str(&line).map_err(|e| bad(e.to_string()))?;
        if EventKind::parse(event.kind.as_bytes()).is_none() {
            return Err(bad(format!("no kind of event is called '{}'", event.kind)));
        }
        if Point::parse(event.point.as_bytes()).is_none() {
            return Err(bad(format!(
                "no point of a message is called '{}'",
                event.point
            )));
        }
        events.push(event);
    }
    Ok(events)
}

/// Writes events as lines of JSON, as [`read_json`] reads them.
///
/// # Errors
///
/// Those of `output`.
pub fn write_json(events: &[Event], mut output: impl io::Write) -> io::Result<()> {
    for event in events {
        serde_json::to_writer(&mut output, event)?;
        writeln!(output)?;
    }
    Ok(())
}
