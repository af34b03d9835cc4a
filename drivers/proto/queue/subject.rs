// SPDX-License-Identifier: GPL-2.0

//! Names of queues and topics, and patterns of names.
//!
//! A name is words with dots between them: `orders.eu.new`. In a pattern `*` stands for any one
//! word, and `>` at the end for one or more: `orders.*.new`, `orders.>`.

use super::MAX_NAME;

fn is_word(word: &[u8]) -> bool {
    let is_plain = |&byte: &u8| {
        let is_special = matches!(
            byte,
            b'*' | b'>' | b',' | b'(' | b')' | b'"' | b'\'' | b'/' | b'\\' | b'='
        );
        byte.is_ascii_graphic() && !is_special
    };
    !word.is_empty() && word.iter().all(is_plain)
}

/// Whether `name` can be the name of a queue or topic: printable ASCII without blanks, commas,
/// parentheses, quotes, slashes and wildcards; no empty words.
pub fn is_name(name: &[u8]) -> bool {
    name.len() <= MAX_NAME && name.split(|&byte| byte == b'.').all(is_word)
}

/// Whether `pattern` can be subscribed to. Every name is a pattern, too.
pub fn is_pattern(pattern: &[u8]) -> bool {
    let mut words = pattern.split(|&byte| byte == b'.').peekable();
    while let Some(word) = words.next() {
        let ok = match word {
            b"*" => true,
            b">" => words.peek().is_none(),
            word => is_word(word),
        };
        if !ok {
            return false;
        }
    }
    pattern.len() <= MAX_NAME
}

/// The words of a pattern before its first wildcard, without the dot behind them.
pub fn literal(pattern: &[u8]) -> &[u8] {
    let Some(at) = pattern.iter().position(|byte| matches!(byte, b'*' | b'>')) else {
        return pattern;
    };
    pattern.get(..at.saturating_sub(1)).unwrap_or_default()
}

/// All that [`literal`] may say of a pattern that stands for `name`: no words, the first one, the
/// first two, and so on to all.
pub fn prefixes(name: &[u8]) -> impl Iterator<Item = &[u8]> {
    let dots = name.iter().enumerate().filter(|(_, &byte)| byte == b'.');
    let ends = dots.map(|(at, _)| at).chain([name.len()]);
    core::iter::once(&b""[..]).chain(ends.filter_map(|end| name.get(..end)))
}

/// Whether `name` is one that `pattern` stands for.
pub fn matches(pattern: &[u8], name: &[u8]) -> bool {
    // The usual one, without a look at each byte.
    if pattern == name {
        return true;
    }
    let mut names = name.split(|&byte| byte == b'.');
    for word in pattern.split(|&byte| byte == b'.') {
        match names.next() {
            None => return false,
            Some(_) if word == b">" => return true,
            Some(name) if word != b"*" && word != name => return false,
            Some(_) => (),
        }
    }
    names.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::{string::String, vec::Vec};

    #[test]
    fn a_pattern_is_found_by_its_first_words() {
        for (pattern, expected) in [
            ("a.b", "a.b"),
            ("a.*.b", "a"),
            ("a.b.>", "a.b"),
            ("*.a", ""),
            (">", ""),
        ] {
            assert_eq!(
                literal(pattern.as_bytes()),
                expected.as_bytes(),
                "{pattern}"
            );
        }
        let all: std::vec::Vec<_> = prefixes(b"a.bc.d").collect();
        assert_eq!(all, [&b""[..], b"a", b"a.bc", b"a.bc.d"]);
    }

    #[test]
    fn names_and_patterns() {
        for name in ["a", "orders.eu.new", "A-1_x:y#z"] {
            assert!(is_name(name.as_bytes()), "{name}");
        }
        for name in [
            "", ".", "a.", ".a", "a..b", "a b", "a,b", "a(b", "a\nb", "a*", "*", ">", "a.>", "ü",
            "../x", "a/b",
        ] {
            assert!(!is_name(name.as_bytes()), "{name}");
        }
        assert!(is_name(&[b'a'; MAX_NAME]) && !is_name(&[b'a'; MAX_NAME + 1]));
        for pattern in ["*", ">", "a.*", "*.b.>", "a.>"] {
            assert!(is_pattern(pattern.as_bytes()), "{pattern}");
        }
        for pattern in [">.a", "a*", "a.>b", "a.>.b", "**"] {
            assert!(!is_pattern(pattern.as_bytes()), "{pattern}");
        }
    }

    #[test]
    fn wildcards() {
        for (pattern, name, expected) in [
            ("a.b", "a.b", true),
            ("a.b", "a.c", false),
            ("a.b", "a", false),
            ("a", "a.b", false),
            ("*", "a", true),
            ("*", "a.b", false),
            ("a.*.c", "a.b.c", true),
            ("a.*.c", "a.b.d", false),
            ("a.>", "a", false),
            ("a.>", "a.b", true),
            ("a.>", "a.b.c.d", true),
            (">", "a.b", true),
        ] {
            let found = matches(pattern.as_bytes(), name.as_bytes());
            assert_eq!(found, expected, "{pattern} {name}");
        }
    }

    proptest! {
        /// The same by recursion over words.
        #[test]
        fn as_the_model(
            pattern in prop::collection::vec(prop::sample::select(&["a", "b", "*"][..]), 1..5),
            rest: bool,
            name in prop::collection::vec(prop::sample::select(&["a", "b"][..]), 1..6),
        ) {
            fn model(pattern: &[&str], name: &[&str]) -> bool {
                match (pattern, name) {
                    ([], []) => true,
                    ([">"], [_, ..]) => true,
                    ([p, ps @ ..], [n, ns @ ..]) => (*p == "*" || p == n) && model(ps, ns),
                    _ => false,
                }
            }
            let mut pattern: Vec<&str> = pattern;
            if rest {
                pattern.push(">");
            }
            let (p, n): (String, String) = (pattern.join("."), name.join("."));
            prop_assert_eq!(matches(p.as_bytes(), n.as_bytes()), model(&pattern, &name));
        }
    }
}
