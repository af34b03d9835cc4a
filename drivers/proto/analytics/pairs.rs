// SPDX-License-Identifier: GPL-2.0

//! The grammar of the file and of the stream.
//!
//! ```text
//! text    = line *( LF line )
//! line    = [ pair ] *( "," [ pair ] ) | "#" comment
//! pair    = key "=" value
//! key     = 1 to 64 of: letters, digits, "_", ".", "-", ":", "/"
//! value   = up to 4096 bytes of UTF-8 without control characters
//! ```
//!
//! The original's single line `k1=v1,k2=v2` is such a text. A comma inside braces, brackets,
//! parentheses or quotes belongs to the value, as in `fds={'22', '20'}`; they have to be closed in
//! their line. A quote opens only where a value or an item of a list begins, so that an apostrophe
//! within a word is one. Blanks around key and value do not count; those within a value do. A key
//! that comes twice has the last value.

use crate::{config::Fault, scan};

/// Bytes of a key.
pub const MAX_KEY: usize = 64;

/// Bytes of a value.
pub const MAX_VALUE: usize = 4096;

/// Brackets that are open at a time.
const MAX_DEPTH: usize = 16;

/// What does not count around keys and values. Other white space is a control character or part of a
/// value.
const BLANKS: [char; 2] = [' ', '\t'];

/// A key and its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pair<'a> {
    /// The key.
    pub key: &'a str,
    /// The value as it is written; a text may be in quotes, see [`crate::analytics::list::unquoted`].
    pub value: &'a str,
}

/// Hands the line and each pair of `text` to `visit`, in order.
///
/// # Errors
///
/// The first fault, of the grammar or returned by `visit`. Pairs before it have been visited.
pub fn parse<'a>(
    text: &'a [u8],
    mut visit: impl FnMut(u32, Pair<'a>) -> Result<(), &'static str>,
) -> Result<(), Fault> {
    let mut rest = Some(text);
    let mut number: u32 = 0;
    while let Some(bytes) = rest {
        let line;
        (line, rest) = cut(bytes);
        number = number.saturating_add(1);
        parse_line(line, |pair| visit(number, pair)).map_err(|reason| Fault {
            line: number,
            reason,
        })?;
    }
    Ok(())
}

/// The first line of `text`, without its end, and what comes after it.
fn cut(text: &[u8]) -> (&[u8], Option<&[u8]>) {
    let end = scan::find(text, [b'\n']);
    match end.and_then(|end| text.split_at_checked(end)) {
        Some((line, rest)) => (line, rest.get(1..)),
        None => (text, None),
    }
}

/// Hands each pair of a line, which has no LF, to `visit`.
///
/// # Errors
///
/// As for [`parse`].
pub fn parse_line<'a>(
    line: &'a [u8],
    mut visit: impl FnMut(Pair<'a>) -> Result<(), &'static str>,
) -> Result<(), &'static str> {
    let line = core::str::from_utf8(line).map_err(|_| "not UTF-8 text")?;
    let mut rest = line.trim_matches([' ', '\t', '\r']);
    if rest.starts_with('#') {
        return Ok(());
    }
    while !rest.is_empty() {
        let end = pair_end(rest)?;
        let (pair, after) = rest.split_at_checked(end).unwrap_or((rest, ""));
        let pair = pair.trim_matches(BLANKS);
        if !pair.is_empty() {
            visit(read_pair(pair)?)?;
        }
        rest = after.get(1..).unwrap_or_default();
    }
    Ok(())
}

fn read_pair(text: &str) -> Result<Pair<'_>, &'static str> {
    let (key, value) = text
        .split_once('=')
        .ok_or("a key without '='; expected key=value")?;
    let key = key.trim_end_matches(BLANKS);
    let value = value.trim_start_matches(BLANKS);
    check_key(key)?;
    check_value(value)?;
    Ok(Pair { key, value })
}

/// Whether `key` may be one.
///
/// # Errors
///
/// What is wrong with it.
pub fn check_key(key: &str) -> Result<(), &'static str> {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b"_.-:/".contains(&b);
    match key.len() {
        0 => Err("a value without a key; expected key=value"),
        1..=MAX_KEY if key.bytes().all(allowed) => Ok(()),
        1..=MAX_KEY => Err("a key has letters, digits and _ . - : / only"),
        _ => Err("a key of more than 64 bytes"),
    }
}

/// Whether `value` may be one, apart from its brackets and quotes.
///
/// # Errors
///
/// What is wrong with it.
fn check_value(value: &str) -> Result<(), &'static str> {
    if value.len() > MAX_VALUE {
        return Err("a value of more than 4096 bytes");
    }
    match value.chars().any(char::is_control) {
        true => Err("a value with control characters"),
        false => Ok(()),
    }
}

/// Where the pair ends that `text` begins with: at a comma outside of brackets and quotes, or at the
/// end of the text.
fn pair_end(text: &str) -> Result<usize, &'static str> {
    // The brackets that have to close what is open, the innermost last.
    let mut open = [0; MAX_DEPTH];
    let mut depth = 0usize;
    let mut quote = None;
    // Whether a value or an item may begin here: only there a quote opens.
    let mut begins = false;
    let mut in_value = false;
    for (at, byte) in text.bytes().enumerate() {
        if let Some(end) = quote {
            if byte == end {
                quote = None;
            }
            continue;
        }
        if !in_value {
            match byte {
                b',' => return Ok(at),
                b'=' => (in_value, begins) = (true, true),
                _ => (),
            }
            continue;
        }
        let innermost = depth.checked_sub(1).and_then(|top| open.get(top)).copied();
        match byte {
            b',' if depth == 0 => return Ok(at),
            b'"' | b'\'' if begins => quote = Some(byte),
            b'{' | b'[' | b'(' => {
                let slot = open.get_mut(depth).ok_or("brackets more than 16 deep")?;
                *slot = match byte {
                    b'{' => b'}',
                    b'[' => b']',
                    _ => b')',
                };
                depth = depth.saturating_add(1);
            }
            b'}' | b']' | b')' if innermost == Some(byte) => depth = depth.saturating_sub(1),
            b'}' | b']' | b')' if depth > 0 => return Err("brackets that do not match"),
            _ => (),
        }
        begins = match byte {
            b'{' | b'[' | b'(' | b',' => true,
            b' ' | b'\t' => begins || depth > 0,
            // As in {'a': 'b'}.
            b':' => depth > 0,
            _ => false,
        };
    }
    if quote.is_some() {
        return Err("a quote that is not closed in its line");
    }
    match depth {
        0 => Ok(text.len()),
        _ => Err("a bracket that is not closed in its line"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::{format, string::String, vec, vec::Vec};

    fn pairs(text: &str) -> Result<Vec<(u32, &str, &str)>, Fault> {
        let mut found = vec![];
        parse(text.as_bytes(), |line, pair| {
            found.push((line, pair.key, pair.value));
            Ok(())
        })?;
        Ok(found)
    }

    #[test]
    fn the_original_samples_are_read() {
        assert_eq!(
            pairs("kernel_analytics1=v1,kernel_analytics2=v2\n").unwrap(),
            [
                (1, "kernel_analytics1", "v1"),
                (1, "kernel_analytics2", "v2")
            ]
        );
        assert_eq!(
            pairs(
                "SRC=111.123.180.44,match=True,\
                 frequently_read_filedescriptors={'22', '20', '48', '3'},\
                 localhost_load=[1.31 3.68 4.47 2/935 7677]"
            )
            .unwrap(),
            [
                (1, "SRC", "111.123.180.44"),
                (1, "match", "True"),
                (
                    1,
                    "frequently_read_filedescriptors",
                    "{'22', '20', '48', '3'}"
                ),
                (1, "localhost_load", "[1.31 3.68 4.47 2/935 7677]"),
            ]
        );
    }

    #[test]
    fn lines_comments_and_blanks() {
        assert_eq!(
            pairs("# learnt\r\n\r\n a = 1 , b=two words,\n,,c=x=y\n d=").unwrap(),
            [
                (3, "a", "1"),
                (3, "b", "two words"),
                (4, "c", "x=y"),
                (5, "d", "")
            ]
        );
        assert_eq!(pairs("").unwrap(), []);
        assert_eq!(pairs("a=1").unwrap(), [(1, "a", "1")]);
    }

    #[test]
    fn commas_in_brackets_and_quotes_belong_to_the_value() {
        assert_eq!(
            pairs("a={x,[y,(z,w)]},b=\"p,q}\",c='r,s',d={'a': 'b,c', \"}\": 1},e=it's,f=)")
                .unwrap(),
            [
                (1, "a", "{x,[y,(z,w)]}"),
                (1, "b", "\"p,q}\""),
                (1, "c", "'r,s'"),
                (1, "d", "{'a': 'b,c', \"}\": 1}"),
                (1, "e", "it's"),
                (1, "f", ")"),
            ]
        );
    }

    #[test]
    fn faults_name_line_and_reason() {
        let deep = format!("a={}", "[".repeat(17));
        let long_key = format!("{}=1", "k".repeat(65));
        let long_value = format!("k={}", "v".repeat(4097));
        for (text, line, reason) in [
            ("a=1\nkey\n", 2, "without '='"),
            ("=1", 1, "without a key"),
            ("a=1\n\nb={1,2\nc=3}", 3, "not closed"),
            ("a='1", 1, "quote"),
            ("a=[1}", 1, "do not match"),
            ("a b=1", 1, "letters"),
            ("a=\u{1b}c", 1, "control"),
            ("a=\u{b}'", 1, "control"),
            (&deep, 1, "deep"),
            (&long_key, 1, "64"),
            (&long_value, 1, "4096"),
        ] {
            let fault = pairs(text).unwrap_err();
            assert_eq!(fault.line, line, "{text}");
            assert!(fault.reason.contains(reason), "{text}: {}", fault.reason);
        }
        let fault = parse(b"a=1\nb=\xff\n", |_, _| Ok(())).unwrap_err();
        assert_eq!((fault.line, fault.reason), (2, "not UTF-8 text"));
    }

    #[test]
    fn a_fault_of_the_visitor_is_told_with_its_line() {
        let fault = parse(b"a=1\nb=2", |_, pair| match pair.key {
            "b" => Err("no"),
            _ => Ok(()),
        });
        assert_eq!(
            fault.unwrap_err(),
            Fault {
                line: 2,
                reason: "no"
            }
        );
    }

    /// Values whose brackets and quotes are closed.
    fn value() -> impl Strategy<Value = String> {
        let leaf = prop_oneof![
            "[a-z0-9./=#]{0,6}",
            "[a-z0-9,(){}\\[\\] ]{0,6}".prop_map(|text| format!("'{text}'")),
        ];
        leaf.prop_recursive(4, 16, 4, |inner| {
            (
                prop::sample::select(&[("{", "}"), ("[", "]"), ("(", ")")][..]),
                prop::collection::vec(inner, 0..4),
            )
                .prop_map(|((open, close), items)| format!("{open}{}{close}", items.join(", ")))
        })
    }

    proptest! {
        #[test]
        fn what_is_joined_is_taken_apart(
            values in prop::collection::vec(("[A-Za-z_][A-Za-z0-9_.:/-]{0,8}", value()), 0..8),
            ends in prop::collection::vec(prop::sample::select(&[",", "\n", " , ", "\r\n"][..]), 8),
        ) {
            let text: String = values
                .iter()
                .zip(&ends)
                .map(|((key, value), end)| format!("{key}={value}{end}"))
                .collect();
            let read = pairs(&text).unwrap();
            let read: Vec<_> = read.iter().map(|&(_, key, value)| (key, value)).collect();
            let expected: Vec<_> = values.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
            prop_assert_eq!(read, expected);
        }

        #[test]
        fn any_bytes_are_taken_or_refused(text in prop::collection::vec(any::<u8>(), 0..200)) {
            let lines = text.iter().filter(|&&b| b == b'\n').count() + 1;
            if let Err(fault) = parse(&text, |_, pair| check_key(pair.key)) {
                prop_assert!((1..=lines).contains(&(fault.line as usize)));
            }
        }

        #[test]
        fn special_characters_in_any_order(text in "[a=,'\"(){}\\[\\] \n]{0,40}") {
            let _ = pairs(&text);
        }
    }
}
