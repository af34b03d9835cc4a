// SPDX-License-Identifier: GPL-2.0

//! What a queue or topic is to be like, as people write it and as it crosses the wire: words
//! `name=value` with blanks between them.

use super::{
    access::{Access, AccessMode},
    state::{OverflowPolicy, QueueLimits},
    subject,
};
use crate::command::parse_u64;

/// What a channel is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChannelKind {
    /// Each message goes to one of those who take from it.
    Queue,
    /// Each message goes to all who have subscribed.
    Topic,
    /// What a subscriber has: a queue that goes with its last user.
    Subscription,
}

/// Most messages in a queue.
pub const MAX_MESSAGES: u32 = 1 << 20;

/// The largest uid: the number behind it stands for none.
const MAX_UID: u64 = 0xffff_fffe;

/// What a queue or topic is to be like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options<'a> {
    /// Queue or topic.
    pub kind: ChannelKind,
    /// Bounds.
    pub limits: QueueLimits,
    /// Messages are kept on disk.
    pub durable: bool,
    /// Pattern of names whose messages come here, too; empty for none.
    pub bind: &'a [u8],
    /// Where dead letters go; empty for nowhere.
    pub dead: &'a [u8],
    /// The uid that owns it, if it is said: otherwise who makes it.
    pub owner: Option<u32>,
    /// Who may do what with it.
    pub mode: AccessMode,
}

impl<'a> Options<'a> {
    /// A queue with the usual bounds.
    pub const DEFAULT: Options<'static> = Options {
        kind: ChannelKind::Queue,
        limits: QueueLimits::DEFAULT,
        durable: false,
        bind: b"",
        dead: b"",
        owner: None,
        mode: AccessMode::PRIVATE,
    };

    /// Who may use it. If nobody owns it, as what was written before there were owners, root does.
    pub fn access(&self) -> Access {
        Access {
            owner: self.owner.unwrap_or(0),
            mode: self.mode,
        }
    }

    /// Reads words; what they do not say is as in `self`.
    ///
    /// # Errors
    ///
    /// What was expected.
    pub fn parse(mut self, text: &'a [u8]) -> Result<Self, &'static str> {
        let mut words = text
            .split(u8::is_ascii_whitespace)
            .filter(|word| !word.is_empty());
        words.try_for_each(|word| self.set(word))?;
        if self.kind == ChannelKind::Topic && (self.durable || !self.bind.is_empty()) {
            return Err("a topic is neither durable nor bound; bind a durable queue to it");
        }
        if self.durable && self.limits.policy == OverflowPolicy::DropOldest {
            return Err("a durable queue drops nothing: policy=block or policy=reject");
        }
        Ok(self)
    }

    /// Takes one word.
    ///
    /// # Errors
    ///
    /// What was expected.
    pub fn set(&mut self, word: &'a [u8]) -> Result<(), &'static str> {
        let equals = word.iter().position(|&byte| byte == b'=');
        let (name, value) = match equals.and_then(|at| word.split_at_checked(at)) {
            Some((name, value)) => (name, value.get(1..).unwrap_or_default()),
            None => (word, &b""[..]),
        };
        let number =
            |least: u64, most: u64| parse_u64(value).filter(|n| (least..=most).contains(n));
        let count = |least, most| number(least, most).map(|n| n as u32);
        let limits = &mut self.limits;
        match name {
            b"topic" if value.is_empty() => self.kind = ChannelKind::Topic,
            b"durable" if value.is_empty() => self.durable = true,
            b"messages" => {
                limits.messages =
                    count(1, MAX_MESSAGES.into()).ok_or("messages: expected 1 to 1048576")?;
            }
            b"bytes" => {
                limits.bytes = number(1, 1 << 40).ok_or("bytes: expected 1 to 1099511627776")?;
            }
            b"policy" => {
                limits.policy = OverflowPolicy::parse(value)
                    .ok_or("policy: expected block, reject or drop-oldest")?;
            }
            b"ack" => {
                limits.ack_ms = count(0, 86_400_000).ok_or(
                    "ack: expected milliseconds until redelivery, at most 86400000; 0 for never",
                )?;
            }
            b"unacked" => {
                limits.leased = count(1, 65536).ok_or("unacked: expected 1 to 65536")?;
            }
            b"deliveries" => {
                limits.deliveries =
                    count(0, 1 << 20).ok_or("deliveries: expected 0 (no limit) to 1048576")?;
            }
            b"keep" => {
                limits.keep = count(0, MAX_MESSAGES.into()).ok_or("keep: expected 0 to 1048576")?;
            }
            b"bind" if subject::is_pattern(value) => self.bind = value,
            b"bind" => return Err("bind: expected a name or a pattern such as orders.>"),
            b"dead" if subject::is_name(value) => self.dead = value,
            b"dead" => return Err("dead: expected the name of a queue"),
            b"owner" => {
                let owner = number(0, MAX_UID).ok_or("owner: expected a uid")?;
                self.owner = Some(owner as u32);
            }
            b"mode" => {
                self.mode = AccessMode::parse(value).ok_or(
                    "mode: expected two octal digits, for the owner and for others: \
                     4 to take, 2 to publish, 1 to delete",
                )?;
            }
            _ => {
                return Err(
                    "expected topic, durable, messages=, bytes=, policy=, ack=, unacked=, \
                     deliveries=, keep=, bind=, dead=, owner= or mode=",
                )
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_words_are_read() {
        let text = b"durable messages=5 bytes=1000 policy=block ack=100 unacked=7 \
            deliveries=3 keep=9 bind=a.> dead=d owner=7 mode=64";
        let expected = Options {
            kind: ChannelKind::Queue,
            durable: true,
            bind: b"a.>",
            dead: b"d",
            owner: Some(7),
            mode: AccessMode::parse(b"64").unwrap(),
            limits: QueueLimits {
                messages: 5,
                bytes: 1000,
                policy: OverflowPolicy::Block,
                ack_ms: 100,
                leased: 7,
                deliveries: 3,
                keep: 9,
            },
        };
        assert_eq!(Options::DEFAULT.parse(text), Ok(expected));
        assert_eq!(Options::DEFAULT.parse(b"  "), Ok(Options::DEFAULT));
        let topic = Options::DEFAULT.parse(b"topic keep=1").unwrap();
        assert_eq!((topic.kind, topic.limits.keep), (ChannelKind::Topic, 1));
    }

    #[test]
    fn the_last_word_counts() {
        // What the kernel appends to the words of a durable queue holds.
        let text = b"durable mode=77 owner=5 owner=1000 mode=72";
        let access = Options::DEFAULT.parse(text).unwrap().access();
        assert_eq!(access.owner, 1000);
        assert_eq!(access.mode, AccessMode::DROP_BOX);
        let before = Options::DEFAULT.parse(b"durable").unwrap().access();
        assert_eq!((before.owner, before.mode), (0, AccessMode::PRIVATE));
    }

    #[test]
    fn others_are_refused() {
        for text in [
            "x",
            "messages",
            "messages=0",
            "messages=1048577",
            "policy=x",
            "ack=-1",
            "bind=",
            "bind=a*",
            "dead=*",
            "durable=1",
            "topic=1",
            "topic durable",
            "topic bind=a",
            "durable policy=drop-oldest",
            "keep=99999999999",
            "owner=",
            "owner=root",
            "owner=4294967295",
            "mode=7",
            "mode=0700",
        ] {
            assert!(Options::DEFAULT.parse(text.as_bytes()).is_err(), "{text}");
        }
    }
}
