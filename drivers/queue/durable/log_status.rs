// SPDX-License-Identifier: GPL-2.0

//! What people are told of the log.

use crate::{
    disk::{
        FOLDER_NAME,
        PATHS, //
    },
    log::{
        Log,
        LogState,
        Numbers, //
    }, //
};
use kernel::{
    fmt,
    prelude::*,
    str::CString, //
};
use virgo_utils::{
    to_wire,
    Failure,
    Reply, //
};

/// Whether there are durable queues: in a word, why not, and what to do.
fn words(state: LogState) -> (&'static str, Option<Error>, &'static str) {
    match state {
        LogState::Opening => ("opening", None, "the log is being read"),
        LogState::Ready => ("ready", None, ""),
        LogState::Failed(e) => (
            "failed",
            Some(e),
            "the disk has refused a write; it is tried again until it works",
        ),
        LogState::Unusable(e, reason) => ("unusable", Some(e), reason),
    }
}

/// Numbers of the files that were moved aside.
fn kept(numbers: &Numbers) -> impl Iterator<Item = u32> {
    let kept = numbers.kept;
    (1..=u64::BITS).filter(move |number| kept >> (number - 1) & 1 == 1)
}

fn figures(numbers: &Numbers) -> [(&'static str, u64); 8] {
    [
        ("bytes", numbers.bytes),
        ("max_bytes", numbers.max_bytes),
        ("generation", numbers.generation),
        ("failures", numbers.failures),
        ("torn", numbers.found.torn),
        ("damaged", numbers.found.damaged),
        ("unknown", numbers.found.unknown),
        ("orphans", numbers.orphans),
    ]
}

fn path(numbers: &Numbers) -> &'static str {
    let path = PATHS.get(numbers.file).and_then(|path| path.to_str().ok());
    path.unwrap_or_default()
}

/// Answers the text command `status`. May sleep.
///
/// # Errors
///
/// `ENOMEM`.
pub(crate) fn reply(log: &Log, reply: &mut Reply<'_>) -> Result<(), Failure> {
    let (state, error, reason) = words(log.lock().state);
    let numbers = *log.numbers();
    reply.bytes("durable", state.as_bytes())?;
    if let Some(e) = error {
        reply.bytes("error", to_wire(e).name().as_bytes())?;
    }
    if !reason.is_empty() {
        reply.bytes("reason", reason.as_bytes())?;
    }
    reply.bytes("log", path(&numbers).as_bytes())?;
    for (name, value) in figures(&numbers) {
        reply.field(name, value)?;
    }
    let mut all = KVec::new();
    for number in kept(&numbers) {
        let path = CString::try_from_fmt(fmt!("{FOLDER_NAME}/kept.{number} "))?;
        all.extend_from_slice(path.to_bytes(), GFP_KERNEL)?;
    }
    reply.bytes("kept", all.trim_ascii_end())
}

/// The same as a line of the file of debugfs. May sleep.
pub(crate) fn show(log: &Log, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let (state, error, reason) = words(log.lock().state);
    let numbers = *log.numbers();
    write!(f, "# durable state={state} log={}", path(&numbers))?;
    if let Some(e) = error {
        write!(f, " error={}", to_wire(e).name())?;
    }
    for (name, value) in figures(&numbers) {
        write!(f, " {name}={value}")?;
    }
    for number in kept(&numbers) {
        write!(f, " kept={FOLDER_NAME}/kept.{number}")?;
    }
    // To the end of the line.
    writeln!(f, " reason={reason}")
}
