// SPDX-License-Identifier: GPL-2.0

//! What somebody wants to subscribe to.

use super::{
    options::Options,
    reasons,
    state::{OverflowPolicy, QueueLimits},
};
use crate::command::parse_u64;

/// A name or pattern, and how its messages are to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SubscribeArgs<'a> {
    /// The name or pattern.
    pub pattern: &'a [u8],
    /// Bounds of the subscription, which drops the oldest messages unless told otherwise.
    pub options: Options<'a>,
    /// The group that shares the messages; empty for none.
    pub group: &'a [u8],
    /// The first message of those that are kept; `None` for new ones only.
    pub from: Option<u64>,
    /// Messages are acknowledged by being handed out.
    pub acked: bool,
}

impl<'a> SubscribeArgs<'a> {
    /// Reads the words that stand behind a name or pattern.
    ///
    /// # Errors
    ///
    /// What was expected.
    pub fn parse(pattern: &'a [u8], words: &'a [u8]) -> Result<Self, &'static str> {
        if let Some(reason) = reasons::of_pattern(pattern) {
            return Err(reason);
        }
        let limits = QueueLimits {
            policy: OverflowPolicy::DropOldest,
            ..QueueLimits::DEFAULT
        };
        let mut args = SubscribeArgs {
            pattern,
            options: Options {
                limits,
                ..Options::DEFAULT
            },
            group: b"",
            from: None,
            acked: true,
        };
        let words = words.split(u8::is_ascii_whitespace);
        for word in words.filter(|word| !word.is_empty()) {
            if word == b"ack" {
                args.acked = false;
            } else if let Some(value) = word.strip_prefix(b"group=") {
                if let Some(reason) = reasons::of_name(value) {
                    return Err(reason);
                }
                args.group = value;
            } else if let Some(value) = word.strip_prefix(b"from=") {
                args.from = Some(parse_u64(value).ok_or("from: expected a position")?);
            } else if word.starts_with(b"owner=") || word.starts_with(b"mode=") {
                return Err("a subscription is its subscriber's: it has no owner= and mode=");
            } else {
                args.options.set(word)?;
            }
        }
        Ok(args)
    }

    /// What is wrong with the words of a subscription; `None` if nothing is, as far as this version knows.
    pub fn fault(words: &[u8]) -> Option<&'static str> {
        match words.len() {
            0..=reasons::MAX_OPTIONS => SubscribeArgs::parse(b">", words).err(),
            _ => Some(reasons::OPTIONS_TOO_LONG),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_words_are_read() {
        let args = SubscribeArgs::parse(b"a.>", b" ack group=g.h  from=7 messages=5").unwrap();
        assert_eq!((args.pattern, args.group), (&b"a.>"[..], &b"g.h"[..]));
        assert_eq!((args.from, args.acked), (Some(7), false));
        assert_eq!(args.options.limits.messages, 5);
        assert_eq!(args.options.limits.policy, OverflowPolicy::DropOldest);
        let plain = SubscribeArgs::parse(b"a", b"").unwrap();
        assert_eq!(
            (plain.group, plain.from, plain.acked),
            (&b""[..], None, true)
        );
    }

    #[test]
    fn others_are_refused_with_a_reason() {
        for (pattern, words, reason) in [
            ("a..b", "", reasons::PATTERN),
            ("a", "group=*", reasons::NAME),
            ("a", "from=x", "from: expected a position"),
            ("a", "messages=0", "messages: expected 1 to 1048576"),
        ] {
            let args = SubscribeArgs::parse(pattern.as_bytes(), words.as_bytes());
            assert_eq!(args, Err(reason), "{pattern} {words}");
        }
    }
}
