// SPDX-License-Identifier: GPL-2.0
//! KingCobra: requests, replies, and the record of them.
//!
//! A service for requests of any node is three lines:
//!
//! ```no_run
//! # fn main() -> Result<(), virgo::Error> {
//! virgo::kingcobra::serve(virgo::kingcobra::Type::Service, |request| {
//!     format!("{} bytes", request.data.len()).into_bytes()
//! })
//! # }
//! ```

use crate::{
    Result,
    queue::{self, Message, Queue},
};
use std::{
    io::{self, BufRead, Read},
    net::Ipv4Addr,
    time::Duration,
};
use virgo_proto::kingcobra as proto;
pub use virgo_proto::kingcobra::{RequestRecordKind, Type};

/// Where a node keeps its record.
pub const LOG: &str = "/var/log/kingcobra/REQUEST_REPLY.queue";

/// A request or a reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestRecord {
    /// Which of the two.
    pub kind: RequestRecordKind,
    /// Who has asked.
    pub address: Ipv4Addr,
    /// When that was, since 1970.
    pub time: Duration,
    /// What was wanted, or what came of it.
    pub payload: Vec<u8>,
}

impl RequestRecord {
    fn new(record: &proto::RequestRecord<'_>, payload: Vec<u8>) -> Self {
        Self {
            kind: record.kind,
            address: Ipv4Addr::from_bits(record.address),
            time: Duration::new(record.seconds, record.nanos),
            payload,
        }
    }

    /// Reads a record as a reply has it; `None` if it is none.
    pub fn parse(text: &[u8]) -> Option<Self> {
        let record = proto::RequestRecord::parse(text)?;
        Some(Self::new(&record, record.payload.to_vec()))
    }

    /// Reads a line of the log, without its end; `None` if it is none.
    pub fn parse_line(line: &[u8]) -> Option<Self> {
        let record = proto::RequestRecord::parse_line(line)?;
        let mut payload = Vec::new();
        let push = |byte| {
            payload.push(byte);
            Ok::<_, std::convert::Infallible>(())
        };
        let Ok(()) = proto::unescape(record.payload, push);
        Some(Self::new(&record, payload))
    }
}

/// Most bytes of a line of the log: a request or reply of which each byte is escaped, and what
/// stands around it.
const MAX_LINE: u64 = 4 * queue::MAX_MESSAGE as u64 + 256;

/// Reads a log, line by line. A line that is no record is given as it is; so is one that is too
/// long, in pieces. Errors are those of reading.
pub fn read_log(
    mut log: impl BufRead,
) -> impl Iterator<Item = io::Result<std::result::Result<RequestRecord, Vec<u8>>>> {
    std::iter::from_fn(move || {
        let mut line = Vec::new();
        match log.by_ref().take(MAX_LINE).read_until(b'\n', &mut line) {
            Ok(0) => return None,
            Ok(_) => (),
            Err(error) => return Some(Err(error)),
        }
        if line.last() == Some(&b'\n') {
            line.pop();
        }
        Some(Ok(RequestRecord::parse_line(&line).ok_or(line)))
    })
}

/// Sends a request to the queue of a node, 0 for this one, and returns the reply.
///
/// # Errors
///
/// `ETIMEDOUT` if there is none in time, for instance because virgo_kingcobra is not loaded there;
/// those of [`Queue::request`].
pub fn ask(node: u32, request: &[u8], timeout: Option<Duration>) -> Result<Vec<u8>> {
    let requests = Queue::new("requests").on(node);
    match timeout {
        Some(timeout) => requests.within(timeout).request(request),
        None => requests.request(request),
    }
}

/// Answers requests of one type with what `answer` makes of them, for ever.
///
/// # Errors
///
/// As for [`queue::serve`].
pub fn serve(kind: Type, answer: impl FnMut(&Message) -> Vec<u8>) -> Result<()> {
    // Only KingCobra puts requests there, which are on record then.
    queue::serve_queue(kind.queue(), "", answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logs_are_read_line_by_line() {
        let log = b"REQUEST#a090001#1439827527:3717956#one\\x0a#two $$\nrubbish\n";
        let records: Vec<_> = read_log(&log[..]).map(Result::unwrap).collect();
        let first = RequestRecord {
            kind: RequestRecordKind::Request,
            address: Ipv4Addr::new(10, 9, 0, 1),
            time: Duration::new(1_439_827_527, 3_717_956),
            payload: b"one\n#two".to_vec(),
        };
        assert_eq!(records, [Ok(first), Err(b"rubbish".to_vec())]);
    }

    #[test]
    fn an_endless_line_is_given_in_pieces() {
        let mut pieces = read_log(io::BufReader::new(io::repeat(b'x')));
        for _ in 0..2 {
            let piece = pieces.next().unwrap().unwrap();
            assert_eq!(piece.unwrap_err().len() as u64, MAX_LINE);
        }
    }
}
