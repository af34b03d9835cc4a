// SPDX-License-Identifier: GPL-2.0

//! This node's events: reading them, and what is recorded.

use kernel::{
    fmt,
    prelude::*, //
};
use virgo_proto::{
    command::parse_u64,
    eventnet::{
        event::EventKind,
        ring::{
            Cursor,
            Read, //
        },
        Dump,
        DUMP_HEAD, //
    }, //
};
use virgo_utils::{
    clock,
    eventnet::{
        is_on,
        lost_messages,
        one_in,
        read,
        record_kinds,
        replaced,
        ring_count, //
    }, //
};

/// Reads events of one ring into `out`: a [`Dump`]. Returns its bytes.
///
/// # Errors
///
/// [`ENOENT`] if there is no such ring; [`EINVAL`] if `out` is too small.
pub(crate) fn dump(ring: usize, from: Cursor, out: &mut [u8]) -> Result<usize> {
    let rings = ring_count() as u32;
    let (head, records) = out.split_first_chunk_mut::<DUMP_HEAD>().ok_or(EINVAL)?;
    let read = match read(ring, from, records) {
        Some(read) => read,
        // Nothing was ever recorded.
        None if ring == 0 => Read {
            next: from,
            bytes: 0,
            lost: 0,
        },
        None => return Err(ENOENT),
    };
    *head = Dump::head(rings, &read);
    Ok(DUMP_HEAD + read.bytes)
}

/// Switches recording: `kinds` is `all`, `none`, or names with `+` between them; one call of `one_in` is
/// recorded. May sleep.
///
/// # Errors
///
/// [`EINVAL`] for a kind that there is not; [`ENOMEM`].
pub(crate) fn record(kinds: &[u8], one_in: u32) -> Result {
    let named = |kinds: &[u8], kind: EventKind| {
        let mut names = kinds.split(|&byte| byte == b'+');
        names.any(|name| name.trim_ascii() == kind.name().as_bytes())
    };
    let is_known = |name: &[u8]| EventKind::parse(name.trim_ascii()).is_some();
    let all = EventKind::ALL.iter().copied();
    match kinds.trim_ascii() {
        b"all" => record_kinds(all, one_in),
        b"none" => record_kinds(core::iter::empty(), one_in),
        kinds if kinds.split(|&byte| byte == b'+').all(is_known) => {
            record_kinds(all.filter(|kind| named(kinds, *kind)), one_in)
        }
        _ => Err(EINVAL),
    }
}

/// A rate, as people write it.
///
/// # Errors
///
/// [`EINVAL`] for anything but a number from 1 on.
pub(crate) fn rate(text: &[u8]) -> Result<u32> {
    let rate = parse_u64(text).and_then(|rate| u32::try_from(rate).ok());
    rate.filter(|rate| *rate > 0).ok_or(EINVAL)
}

/// What this node records and has lost.
pub(crate) struct Status;

impl Status {
    /// Shows each kind that is recorded.
    pub(crate) fn kinds() -> impl Iterator<Item = EventKind> {
        EventKind::ALL.iter().copied().filter(|kind| is_on(*kind))
    }

    /// Events that later ones have replaced, and messages that modules have logged and that were lost.
    pub(crate) fn lost() -> (u64, u64) {
        let events = (0..ring_count()).filter_map(replaced);
        (events.fold(0, u64::saturating_add), lost_messages())
    }
}

impl core::fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "kinds=")?;
        let mut separator = "";
        for kind in Self::kinds() {
            write!(f, "{separator}{}", kind.name())?;
            separator = "+";
        }
        if separator.is_empty() {
            write!(f, "none")?;
        }
        let (replaced, messages_lost) = Self::lost();
        write!(
            f,
            " one_in={} rings={} replaced={replaced} messages_lost={messages_lost} clocks_ahead={}",
            one_in(),
            ring_count(),
            clock::ahead()
        )
    }
}

/// For debugfs.
pub(crate) fn show(f: &mut fmt::Formatter<'_>) -> fmt::Result {
    writeln!(f, "events {Status}")
}
