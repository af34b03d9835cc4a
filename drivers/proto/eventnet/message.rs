// SPDX-License-Identifier: GPL-2.0

//! Messages about events, as text: all spellings that the design notes, the original's code and its
//! comments use.
//!
//! ```text
//! edge    = edge-word "#" [ id "#" ] from "#" to [ "#" ]
//! edge-word   = "eventnet_edgmsg" | "eventnet_edgemsg"
//!
//! vertex  = vertex-word "#" id separator partakers separator conversations [ "#" ]
//! vertex-word = "eventnet_vertxtmsg" | "eventnet_vertexmsg" | "eventnet_vertextmsg"
//! separator   = "#" | "-"          the same in both places
//! partakers   = number { "," number }
//! conversations = number { "," number }            two and two make a conversation
//!               | "(" number "," number ")" { ( "#" | "," ) "(" number "," number ")" }
//! ```
//!
//! In `eventnet_vertexmsg#id#a#b` the last two are single numbers: `a` and `b` talk with each other.
//! Who talks partakes. Numbers are below 2⁶⁴; blanks around them do not matter.

use crate::command::parse_u64;

/// Something to be recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GraphMessage<'a> {
    /// Event `from` led to event `to`.
    Edge {
        /// Event that led to the other.
        from: u64,
        /// The other event.
        to: u64,
    },
    /// Who took part in an event, and who talked with whom.
    Vertex {
        /// The event.
        id: u64,
        /// Who took part.
        partakers: Ids<'a>,
        /// Who talked with whom.
        conversations: Conversations<'a>,
    },
}

/// Why a text is no message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MessageError {
    /// The first word is none of the spellings.
    Word,
    /// There are not as many fields as there should be.
    Fields,
    /// Something that should be a number is none, or is too large.
    Number,
    /// Conversations are not pairs.
    Pairs,
    /// An event leads to itself.
    SelfEdge,
}

impl MessageError {
    /// What is wrong and what is expected, for people.
    pub const fn reason(self) -> &'static str {
        match self {
            MessageError::Word => "expected eventnet_edgemsg#FROM#TO or eventnet_vertexmsg#ID#A#B",
            MessageError::Fields => {
                "expected eventnet_edgemsg#FROM#TO, eventnet_edgmsg#ID#FROM#TO, \
                 eventnet_vertexmsg#ID#A#B, eventnet_vertextmsg#ID#PARTAKERS#CONVERSATIONS or \
                 eventnet_vertxtmsg#ID-PARTAKERS-CONVERSATIONS"
            }
            MessageError::Number => {
                "events and partakers are numbers from 0 to 18446744073709551615"
            }
            MessageError::Pairs => "conversations are pairs: A,B,C,D or (A,B)#(C,D)",
            MessageError::SelfEdge => "an event does not lead to itself",
        }
    }
}

/// Numbers with commas between them. All were checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ids<'a>(&'a [u8]);

/// Pairs of numbers. All were checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conversations<'a>(Pairs<'a>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pairs<'a> {
    /// Of partakers `a` and `b`, with one conversation.
    One(u64, u64),
    /// `a,b,c,d`
    Plain(&'a [u8]),
    /// `(a,b)#(c,d)`
    Bracketed(&'a [u8]),
}

impl<'a> Ids<'a> {
    /// Checks numbers with commas between them; there may be none.
    pub(super) fn parse(text: &'a [u8]) -> Result<Self, MessageError> {
        let text = text.trim_ascii();
        let ids = Ids(text);
        let good = text.is_empty() || ids.fields().all(|field| parse_u64(field).is_some());
        good.then_some(ids).ok_or(MessageError::Number)
    }

    fn fields(self) -> impl Iterator<Item = &'a [u8]> {
        self.0.split(|&byte| byte == b',')
    }

    /// The numbers, in the order in which they were written.
    pub fn iter(self) -> impl Iterator<Item = u64> + 'a {
        self.fields().filter_map(parse_u64)
    }
}

impl<'a> Conversations<'a> {
    /// Checks conversations; there may be none.
    pub(super) fn parse(text: &'a [u8]) -> Result<Self, MessageError> {
        let text = text.trim_ascii();
        if text.first() != Some(&b'(') {
            let ids = Ids::parse(text)?;
            let even = ids.iter().count() % 2 == 0;
            return even
                .then_some(Conversations(Pairs::Plain(text)))
                .ok_or(MessageError::Pairs);
        }
        let mut rest = text;
        while !rest.is_empty() {
            let (pair, after) = next_pair(rest).ok_or(MessageError::Pairs)?;
            pair.ok_or(MessageError::Number)?;
            rest = after;
        }
        Ok(Conversations(Pairs::Bracketed(text)))
    }

    /// The pairs, in the order in which they were written.
    pub fn iter(self) -> impl Iterator<Item = (u64, u64)> + 'a {
        let (mut one, mut plain, mut bracketed) = (None, Ids(b""), &b""[..]);
        match self.0 {
            Pairs::One(a, b) => one = Some((a, b)),
            Pairs::Plain(text) => plain = Ids(text),
            Pairs::Bracketed(text) => bracketed = text,
        }
        let mut ids = plain.iter();
        let plain = core::iter::from_fn(move || Some((ids.next()?, ids.next()?)));
        let bracketed = core::iter::from_fn(move || {
            let (pair, rest) = next_pair(bracketed)?;
            bracketed = rest;
            pair
        });
        one.into_iter().chain(plain).chain(bracketed)
    }
}

/// Takes `(a,b)` and what separates it from the next pair off the front of `text`. The inner value is
/// `None` if `a` or `b` is no number.
#[expect(
    clippy::type_complexity,
    reason = "a pair and the rest, either may be missing"
)]
fn next_pair(text: &[u8]) -> Option<(Option<(u64, u64)>, &[u8])> {
    let inner = text.trim_ascii_start().strip_prefix(b"(")?;
    let (pair, rest) = split_at_byte(inner, b')')?;
    let (a, b) = split_at_byte(pair, b',')?;
    let numbers = parse_u64(a).zip(parse_u64(b));
    let rest = rest.trim_ascii();
    let rest = match rest.split_first() {
        None => rest,
        // Something has to follow.
        Some((b'#' | b',', rest)) if !rest.is_empty() => rest,
        Some(_) => return None,
    };
    Some((numbers, rest))
}

pub(super) fn split_at_byte(text: &[u8], byte: u8) -> Option<(&[u8], &[u8])> {
    let at = text.iter().position(|&b| b == byte)?;
    let (before, after) = text.split_at_checked(at)?;
    Some((before, after.get(1..)?))
}

impl<'a> GraphMessage<'a> {
    /// Reads a line, without its line end.
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    pub fn parse(line: &'a [u8]) -> Result<Self, MessageError> {
        let line = line.trim_ascii();
        let line = line.strip_suffix(b"#").unwrap_or(line);
        let (word, rest) = match split_at_byte(line, b'#') {
            Some(parts) => parts,
            None => (line, &b""[..]),
        };
        match word.trim_ascii() {
            b"eventnet_edgmsg" | b"eventnet_edgemsg" => Self::edge(rest),
            b"eventnet_vertxtmsg" | b"eventnet_vertexmsg" | b"eventnet_vertextmsg" => {
                Self::vertex(rest)
            }
            _ => Err(MessageError::Word),
        }
    }

    /// `from#to` or `id#from#to`. The id is checked, and stands nowhere in the original's files.
    fn edge(fields: &'a [u8]) -> Result<Self, MessageError> {
        let mut fields = fields.split(|&byte| byte == b'#');
        let mut next = || fields.next();
        let (first, second, third) = (next(), next(), next());
        let (from, to) = match (first, second, third, next()) {
            (Some(from), Some(to), None, None) => (from, to),
            (Some(id), Some(from), Some(to), None) => {
                number(id)?;
                (from, to)
            }
            _ => return Err(MessageError::Fields),
        };
        let (from, to) = (number(from)?, number(to)?);
        match from == to {
            true => Err(MessageError::SelfEdge),
            false => Ok(GraphMessage::Edge { from, to }),
        }
    }

    /// `id#partakers#conversations`, or the same with `-`.
    fn vertex(fields: &'a [u8]) -> Result<Self, MessageError> {
        let separator = match fields.iter().find(|byte| matches!(byte, b'#' | b'-')) {
            Some(&byte) => byte,
            None => return Err(MessageError::Fields),
        };
        let (id, rest) = split_at_byte(fields, separator).ok_or(MessageError::Fields)?;
        let (partakers, conversations) =
            split_at_byte(rest, separator).ok_or(MessageError::Fields)?;
        let id = number(id)?;
        if let (Some(a), Some(b)) = (parse_u64(partakers), parse_u64(conversations)) {
            // Who talks takes part: that `b` partakes, too, the conversation says.
            return Ok(GraphMessage::Vertex {
                id,
                partakers: Ids(partakers.trim_ascii()),
                conversations: Conversations(Pairs::One(a, b)),
            });
        }
        Ok(GraphMessage::Vertex {
            id,
            partakers: Ids::parse(partakers)?,
            conversations: Conversations::parse(conversations)?,
        })
    }
}

fn number(text: &[u8]) -> Result<u64, MessageError> {
    parse_u64(text).ok_or(MessageError::Number)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::{format, string::String, vec::Vec};

    fn vertex(line: &str) -> (u64, Vec<u64>, Vec<(u64, u64)>) {
        match GraphMessage::parse(line.as_bytes()) {
            Ok(GraphMessage::Vertex {
                id,
                partakers,
                conversations,
            }) => (
                id,
                partakers.iter().collect(),
                conversations.iter().collect(),
            ),
            other => panic!("{line}: {other:?}"),
        }
    }

    #[test]
    fn every_spelling_of_an_edge_is_read() {
        let edge = Ok(GraphMessage::Edge { from: 1, to: 2 });
        for line in [
            "eventnet_edgemsg#1#2",
            "eventnet_edgemsg#1#2#",
            "eventnet_edgmsg#7#1#2",
            "eventnet_edgmsg#7#1#2#",
            "eventnet_edgemsg#7#1#2#",
            "  eventnet_edgmsg# 1 # 2 #  ",
        ] {
            assert_eq!(GraphMessage::parse(line.as_bytes()), edge, "{line}");
        }
    }

    #[test]
    fn every_spelling_of_a_vertex_is_read() {
        let pairs = [(15, 16), (11, 12)];
        let expected = (1, [11, 12].to_vec(), pairs.to_vec());
        for line in [
            "eventnet_vertxtmsg#1-11,12-15,16,11,12",
            "eventnet_vertxtmsg#1-11,12-(15,16)#(11,12)#",
            "eventnet_vertextmsg#1#11,12#15,16,11,12#",
            "eventnet_vertextmsg#1#11,12#(15,16),(11,12)",
            "eventnet_vertexmsg#1#11 , 12# ( 15 , 16 ) # (11,12)",
        ] {
            assert_eq!(vertex(line), expected, "{line}");
        }
        let single = (1, [15].to_vec(), [(15, 16)].to_vec());
        assert_eq!(vertex("eventnet_vertexmsg#1#15#16#"), single);
        assert_eq!(
            vertex("eventnet_vertxtmsg#5--"),
            (5, [].to_vec(), [].to_vec())
        );
    }

    #[test]
    fn what_is_wrong_is_said() {
        let digits = String::from_utf8(std::vec![b'9'; 1_000_000]).unwrap();
        for (line, bad) in [
            ("", MessageError::Word),
            ("hello", MessageError::Word),
            ("eventnet_edgemsg", MessageError::Fields),
            ("eventnet_edgemsg#1", MessageError::Fields),
            ("eventnet_edgemsg#1#2#3#4", MessageError::Fields),
            ("eventnet_edgemsg#a#2", MessageError::Number),
            ("eventnet_edgemsg#-1#2", MessageError::Number),
            ("eventnet_edgemsg#3#3", MessageError::SelfEdge),
            ("eventnet_edgmsg#x#1#2", MessageError::Number),
            (
                "eventnet_edgemsg#1#18446744073709551616",
                MessageError::Number,
            ),
            (
                &format!("eventnet_edgemsg#1#{digits}"),
                MessageError::Number,
            ),
            ("eventnet_vertexmsg#1", MessageError::Fields),
            ("eventnet_vertexmsg#1#2", MessageError::Fields),
            ("eventnet_vertextmsg#1#2,x#3,4", MessageError::Number),
            ("eventnet_vertextmsg#1#2,3#3,4,5", MessageError::Pairs),
            ("eventnet_vertxtmsg#1-2,3-(3,4", MessageError::Pairs),
            ("eventnet_vertxtmsg#1-2,3-(3,4)x", MessageError::Pairs),
            ("eventnet_vertxtmsg#1-2,3-(3,4),", MessageError::Pairs),
            ("eventnet_vertxtmsg#1-2,3-(3,x)", MessageError::Number),
        ] {
            assert_eq!(
                GraphMessage::parse(line.as_bytes()),
                Err(bad),
                "{}",
                line.get(..40).unwrap_or(line)
            );
        }
    }

    proptest! {
        #[test]
        fn any_text_is_judged(text in prop_oneof![
            "eventnet_(edgmsg|edgemsg|vertxtmsg|vertexmsg|vertextmsg)[#(),0-9 -]{0,40}",
            ".{0,40}",
        ]) {
            if let Ok(GraphMessage::Vertex { partakers, conversations, .. }) = GraphMessage::parse(text.as_bytes()) {
                let _ = (partakers.iter().count(), conversations.iter().count());
            }
        }

        #[test]
        fn lists_come_back(
            id: u64,
            partakers in prop::collection::vec(any::<u64>(), 2..6),
            pairs in prop::collection::vec(any::<(u64, u64)>(), 1..5),
        ) {
            let list: Vec<_> = partakers.iter().map(|n| format!("{n}")).collect();
            let list = list.join(",");
            let bracketed: Vec<_> = pairs.iter().map(|(a, b)| format!("({a},{b})")).collect();
            let expected = (id, partakers, pairs);
            for line in [
                format!("eventnet_vertxtmsg#{id}-{list}-{}", bracketed.join("#")),
                format!("eventnet_vertextmsg#{id}#{list}#{}#", bracketed.join(",")),
            ] {
                prop_assert_eq!(vertex(&line), expected.clone());
            }
        }
    }
}
