// SPDX-License-Identifier: GPL-2.0
//! The queues and topics of this node.

use super::format::{FormatError, lines, number};
use std::str::FromStr;

/// The queues, topics and subscriptions of this node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Queues {
    /// They, by name.
    pub queues: Vec<QueueStatus>,
    /// The log of the durable ones.
    pub log: Log,
}

/// The log of the durable queues.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Log {
    /// `ready`; `failed` while the disk is tried again; `unusable` if there are no durable queues.
    pub state: String,
    /// Name of the error, if it is not ready.
    pub error: Option<String>,
    /// Why it is not ready.
    pub reason: Option<String>,
    /// The file that is written.
    pub log: String,
    /// Its bytes.
    pub bytes: u64,
    /// The most that it may have.
    pub max_bytes: u64,
    /// How often it was begun anew.
    pub generation: u64,
    /// How often the disk has failed.
    pub failures: u64,
    /// Bytes at its end that were being written when the machine stopped.
    pub torn: u64,
    /// Bytes that were damaged when it was read.
    pub damaged: u64,
    /// Records that were of an unknown kind.
    pub unknown: u64,
    /// Messages whose queue's own record was missing.
    pub orphans: u64,
    /// Files that were moved aside since they were not understood whole.
    pub kept: Vec<String>,
}

impl Log {
    /// Reads the words behind `# durable`.
    fn parse(text: &str) -> Result<Self, &'static str> {
        let (text, reason) = text.split_once(" reason=").unwrap_or((text, ""));
        let mut log = Log {
            reason: (!reason.is_empty()).then(|| reason.to_owned()),
            ..Log::default()
        };
        for word in text.split_whitespace() {
            let (name, value) = word.split_once('=').ok_or("expected NAME=VALUE")?;
            match name {
                "state" => log.state = value.to_owned(),
                "error" => log.error = Some(value.to_owned()),
                "log" => log.log = value.to_owned(),
                "kept" => log.kept.push(value.to_owned()),
                "bytes" => log.bytes = number(value)?,
                "max_bytes" => log.max_bytes = number(value)?,
                "generation" => log.generation = number(value)?,
                "failures" => log.failures = number(value)?,
                "torn" => log.torn = number(value)?,
                "damaged" => log.damaged = number(value)?,
                "unknown" => log.unknown = number(value)?,
                "orphans" => log.orphans = number(value)?,
                _ => (),
            }
        }
        Ok(log)
    }
}

/// A queue, topic or subscription of this node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct QueueStatus {
    /// Its name.
    pub name: String,
    /// Messages that can be taken.
    pub ready: u64,
    /// Messages that can be taken later.
    pub delayed: u64,
    /// Messages that are taken and not acknowledged.
    pub leased: u64,
    /// Acknowledged messages that can be replayed.
    pub kept: u64,
    /// Bytes of all of them.
    pub bytes: u64,
    /// Messages that made room for others.
    pub dropped: u64,
    /// Messages that were not taken in.
    pub refused: u64,
    /// Messages that became dead letters.
    pub dead: u64,
    /// The uid that owns it.
    pub owner: u64,
    /// Who may do what with it: a digit for the owner, and one for others.
    pub mode: String,
}

impl QueueStatus {
    /// The numbers, in the order of the fields.
    pub fn figures(&self) -> [u64; 8] {
        [
            self.ready,
            self.delayed,
            self.leased,
            self.kept,
            self.bytes,
            self.dropped,
            self.refused,
            self.dead,
        ]
    }
}

impl FromStr for Queues {
    type Err = FormatError;

    fn from_str(text: &str) -> Result<Self, FormatError> {
        let mut queues = Vec::new();
        lines(text, |words| {
            let [name, ref figures @ ..] = *words else {
                return Err("expected eleven fields");
            };
            let figures: Vec<u64> = figures
                .iter()
                .map(|n| number(n))
                .collect::<Result<_, _>>()?;
            let [
                ready,
                delayed,
                leased,
                kept,
                bytes,
                dropped,
                refused,
                dead,
                owner,
                ..,
            ] = figures[..]
            else {
                return Err("expected eleven fields");
            };
            queues.push(QueueStatus {
                name: name.to_owned(),
                ready,
                delayed,
                leased,
                kept,
                bytes,
                dropped,
                refused,
                dead,
                owner,
                mode: words.get(10).copied().unwrap_or_default().to_owned(),
            });
            Ok(())
        })?;
        let mut log = Log::default();
        for (line, text) in (1..).zip(text.lines()) {
            if let Some(words) = text.strip_prefix("# durable ") {
                log = Log::parse(words).map_err(|reason| FormatError { line, reason })?;
            }
        }
        Ok(Self { queues, log })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn are_read_as_the_module_writes_them() {
        let text = "# name ready delayed leased kept bytes dropped refused dead owner mode\n\
            a.b 1 2 3 4 5 6 7 8 1000 72\n";
        let queues = text.parse::<Queues>().unwrap().queues;
        assert_eq!(queues[0].name, "a.b");
        assert_eq!(queues[0].figures(), [1, 2, 3, 4, 5, 6, 7, 8]);
        assert_eq!((queues[0].owner, queues[0].mode.as_str()), (1000, "72"));
        assert!("a 1 2".parse::<Queues>().is_err());
    }

    #[test]
    fn the_log_is_read_as_the_module_writes_it() {
        let text = "# durable state=failed log=/l/messages.0 error=EIO bytes=7 orphans=2 \
            kept=/l/kept.1 kept=/l/kept.2 reason=the disk has failed\n";
        let log = text.parse::<Queues>().unwrap().log;
        assert_eq!(
            (log.state.as_str(), log.bytes, log.orphans),
            ("failed", 7, 2)
        );
        assert_eq!(log.error.as_deref(), Some("EIO"));
        assert_eq!(log.reason.as_deref(), Some("the disk has failed"));
        assert_eq!(log.kept, ["/l/kept.1", "/l/kept.2"]);
        assert!("# durable state".parse::<Queues>().is_err());
    }
}
