// SPDX-License-Identifier: GPL-2.0
//! `virgo queue pub`.

use crate::{
    options::Changed,
    output::{Printer, note},
};
use anyhow::{Context, Result, bail};
use libc::{ECONNRESET, EIO, EPROTO, ESHUTDOWN, ETIMEDOUT};
use serde_json::json;
use std::{
    ffi::OsStr,
    io::{BufRead, BufReader, Read, stdin},
    os::unix::ffi::OsStrExt,
};
use virgo::{
    Error,
    abi::MAX_MESSAGES,
    queue::{How, MAX_MESSAGE, Published},
};

/// Publishes `data`, or standard input if there is none: as one message, or as one for each line.
pub(crate) fn publish(
    output: Printer,
    queue: &Changed,
    data: Option<&OsStr>,
    how: How,
    lines: bool,
) -> Result<()> {
    let from: Box<dyn Read> = match data {
        Some(data) => Box::new(data.as_bytes()),
        None => Box::new(stdin()),
    };
    let to = super::open(queue)?;
    let published = match lines {
        true => {
            let from = BufReader::new(from);
            publish_lines(from, queue.queue.node.is_some(), |some| {
                to.publish_counted(some, how)
            })?
        }
        false => to.publish_counted(&[&read_message(from)?], how)?,
    };
    let Published { accepted, lost } = published;
    if lost > 0 && !output.json {
        note(format_args!(
            "lost={lost}: copies for which a queue or subscription had no room"
        ));
    }
    output.print(&json!({ "published": accepted, "lost": lost }), String::new)
}

/// Reads a message, but no more than one may have: the input may be endless.
fn read_message(from: impl Read) -> Result<Vec<u8>> {
    let mut message = Vec::new();
    from.take(MAX_MESSAGE as u64 + 1)
        .read_to_end(&mut message)
        .context("cannot read standard input")?;
    if message.len() > MAX_MESSAGE {
        bail!(
            "a message has at most {MAX_MESSAGE} bytes (EMSGSIZE); with --lines each line is one"
        );
    }
    Ok(message)
}

/// Publishes each line of `from`, as many in one call as there may be, here or to another node.
/// Returns how many there were, and how many copies of them found no room.
fn publish_lines(
    mut from: impl BufRead,
    is_other: bool,
    mut publish: impl FnMut(&[&[u8]]) -> virgo::Result<Published>,
) -> Result<Published> {
    let mut total = Published::default();
    loop {
        let (lines, end) = read_lines(&mut from, MAX_MESSAGES);
        let lines_as_slices: Vec<&[u8]> = lines.iter().map(Vec::as_slice).collect();
        let mut rest = &lines_as_slices[..];
        while !rest.is_empty() {
            let some =
                publish(rest).map_err(|error| failed_after(total.accepted, is_other, error))?;
            total.accepted += some.accepted;
            total.lost += some.lost;
            rest = rest.get(some.accepted..).unwrap_or_default();
        }
        match end {
            Ok(false) => (),
            Ok(true) => return Ok(total),
            Err(error) => {
                let published = total.accepted;
                let line = published + 1;
                return Err(error.context(format!("published {published} lines, not line {line}")));
            }
        }
    }
}

/// Reads up to `most` lines, without their ends. Says also whether these are the last, or why
/// there are no more.
fn read_lines(mut from: impl BufRead, most: usize) -> (Vec<Vec<u8>>, Result<bool>) {
    let mut lines = Vec::new();
    while lines.len() < most {
        let mut line = Vec::new();
        // Room for the end of the line, and no more: the line may be endless.
        let limit = MAX_MESSAGE as u64 + 1;
        match from.by_ref().take(limit).read_until(b'\n', &mut line) {
            Ok(0) => return (lines, Ok(true)),
            Ok(_) if line.last() == Some(&b'\n') => drop(line.pop()),
            Ok(n) if n > MAX_MESSAGE => {
                let reason = format!("a message has at most {MAX_MESSAGE} bytes (EMSGSIZE)");
                return (lines, Err(anyhow::Error::msg(reason)));
            }
            Ok(_) => (),
            Err(error) => {
                let error = anyhow::Error::from(error).context("cannot read standard input");
                return (lines, Err(error));
            }
        }
        lines.push(line);
    }
    (lines, Ok(false))
}

/// Adds how many lines are there, if that is not clear from the error. Of those that were on their
/// way to another node, or to the disk, nobody knows.
fn failed_after(published: usize, is_other: bool, error: Error) -> anyhow::Error {
    let is_unknown = match error.errno() {
        EIO => true,
        ETIMEDOUT | ECONNRESET | ESHUTDOWN | EPROTO => is_other,
        _ => false,
    };
    let error = anyhow::Error::from(error);
    match (published, is_unknown) {
        (0, false) => error,
        (_, false) => error.context(format!("published {published} lines")),
        (_, true) => error.context(format!("published {published} or more lines")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Publishes lines; each call accepts `at_a_time` of them.
    fn published(input: &[u8], at_a_time: usize) -> (Vec<Vec<u8>>, Result<Published>) {
        let mut there = Vec::new();
        let result = publish_lines(input, false, |lines| {
            assert!((1..=MAX_MESSAGES).contains(&lines.len()));
            let some = &lines[..lines.len().min(at_a_time)];
            there.extend(some.iter().map(|line| line.to_vec()));
            Ok(Published {
                accepted: some.len(),
                lost: 1,
            })
        });
        (there, result)
    }

    #[test]
    fn each_line_is_a_message() {
        for (input, expected) in [
            (&b""[..], &[][..]),
            (b"\n", &[&b""[..]]),
            (b"a", &[b"a"]),
            (b"a\n", &[b"a"]),
            (b"a\n\nb\xff", &[b"a", b"", b"b\xff"]),
        ] {
            let (there, result) = published(input, 1);
            assert_eq!(there, expected, "{}", input.escape_ascii());
            assert_eq!(result.unwrap().accepted, expected.len());
        }
    }

    #[test]
    fn many_lines_go_in_calls_of_the_most() {
        let count = 2 * MAX_MESSAGES + 3;
        let input: String = (0..count).map(|i| format!("{i}\n")).collect();
        let (there, result) = published(input.as_bytes(), 1000);
        let result = result.unwrap();
        // In five calls: of 1000 and 24 lines, of as many again, and of the last three.
        assert_eq!((result.accepted, result.lost), (count, 5));
        assert_eq!(there.last().unwrap(), (count - 1).to_string().as_bytes());
    }

    #[test]
    fn a_line_that_is_too_long_ends_it() {
        let mut input = b"first\n".to_vec();
        input.extend([b'x'; MAX_MESSAGE]);
        let (there, result) = published(&input, MAX_MESSAGES);
        assert_eq!((there.len(), result.unwrap().accepted), (2, 2));
        input.extend(b"y\nlast\n");
        let (there, result) = published(&input, MAX_MESSAGES);
        assert_eq!(there.len(), 1);
        assert_eq!(
            format!("{:#}", result.unwrap_err()),
            "published 1 lines, not line 2: a message has at most 65536 bytes (EMSGSIZE)"
        );
    }

    /// Whoever pipes an endless input here is told so, and its machine lives.
    #[test]
    fn endless_input_is_not_read_to_its_end() {
        let error = read_message(std::io::repeat(0)).unwrap_err().to_string();
        assert!(error.contains("at most 65536 bytes"), "{error}");
        let endless = BufReader::new(std::io::repeat(b'x'));
        let (_, end) = read_lines(endless, 10);
        assert!(end.is_err());
        assert_eq!(
            read_message(&[7; MAX_MESSAGE][..]).unwrap().len(),
            MAX_MESSAGE
        );
    }
}
