// SPDX-License-Identifier: GPL-2.0
//! The queues and topics of this node.

use super::{FormatError, lines, number};
use std::str::FromStr;

/// The queues, topics and subscriptions of this node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Queues {
    /// They, by name.
    pub queues: Vec<Queue>,
}

/// A queue, topic or subscription of this node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Queue {
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

impl Queue {
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
            queues.push(Queue {
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
        Ok(Self { queues })
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
}
