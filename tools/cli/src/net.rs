// SPDX-License-Identifier: GPL-2.0
//! What lies in the queues of sockets, and which packets are dropped.

mod drop_trace;
mod drops;
mod error;
mod listed;
mod process;
mod selection;
mod view;

pub(crate) use error::NetError;

use crate::{
    failure,
    options::{NetCommand, SocketNames, WatchOptions},
    output::{self, Printer},
};
use anyhow::Result;
use selection::{LookedAt, Selection};
use serde::Serialize;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use std::{
    io::{self, IsTerminal},
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};
use virgo::sockets::{SocketReader, Stamping};

/// How long a signal may have to wait.
const TICK: Duration = Duration::from_millis(50);

/// A look, for programs.
#[derive(Serialize)]
struct Line<'a> {
    /// Since 1970.
    time_ms: u64,
    sockets: &'a [LookedAt],
    /// Inodes of those that are closed since the look before.
    closed: &'a [u64],
}

pub(crate) fn run(output: Printer, command: &NetCommand) -> Result<ExitCode> {
    match command {
        NetCommand::Queues(names) => queues(output, names),
        NetCommand::Watch(options) => watch(output, options),
        NetCommand::Drops { time } => drops::run(output, *time),
    }
}

/// Finds the sockets that are named, and tells of those that are not found. The status says whether
/// all were.
fn select(output: Printer, names: &SocketNames) -> Result<(Selection, ExitCode)> {
    let reader = SocketReader::open().map_err(NetError::Open)?;
    let (selection, missing) = Selection::find(reader, &names.names)?;
    let mut status = ExitCode::SUCCESS;
    for error in missing {
        failure::report(output, &error.into());
        status = ExitCode::FAILURE;
    }
    Ok((selection, status))
}

fn queues(output: Printer, names: &SocketNames) -> Result<ExitCode> {
    let (mut selection, mut status) = select(output, names)?;
    if selection.is_empty() {
        return Ok(ExitCode::FAILURE);
    }
    let look = selection.look()?;
    for gone in &look.closed {
        failure::report(output, &NetError::Closed(*gone).into());
        status = ExitCode::FAILURE;
    }
    output.print(&look.sockets, || match names.names.is_empty() {
        true => view::table(&look.sockets),
        false => view::details(&look.sockets),
    })?;
    Ok(status)
}

/// Is set when a signal comes.
fn until_signal() -> Result<Arc<AtomicBool>> {
    let ended = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        signal_hook::flag::register(signal, ended.clone())?;
    }
    Ok(ended)
}

/// Sleeps until then; false if a signal has come.
fn sleep_until(end: Instant, ended: &AtomicBool) -> bool {
    while !ended.load(Ordering::Relaxed) {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return true;
        }
        thread::sleep(left.min(TICK));
    }
    false
}

fn watch(output: Printer, options: &WatchOptions) -> Result<ExitCode> {
    let (mut selection, mut status) = select(output, &options.sockets)?;
    if selection.is_empty() {
        return Ok(ExitCode::FAILURE);
    }
    let ended = until_signal()?;
    let _stamping = options.stamp.then(Stamping::begin).transpose()?;
    let redraws = io::stdout().is_terminal();
    let mut next = Instant::now();
    for looked in 1.. {
        let look = selection.look()?;
        if output.json {
            let time = SystemTime::now().duration_since(UNIX_EPOCH);
            let time = time.map_or(0, |time| time.as_millis() as u64);
            let line = Line {
                time_ms: time,
                sockets: &look.sockets,
                closed: &look.closed,
            };
            output.print(&line, String::new)?;
        } else {
            let table = view::table(&look.sockets);
            let table = match redraws {
                true => format!("\x1b[H\x1b[2J{table}\n"),
                false => format!("{table}\n\n"),
            };
            output::bytes(table.as_bytes())?;
        }
        for gone in &look.closed {
            output::note(format_args!("virgo: {}", NetError::Closed(*gone)));
        }
        if selection.is_empty() || options.count.is_some_and(|count| looked >= count) {
            break;
        }
        // A look that took too long does not make the next ones follow at once.
        next = (next + options.interval).max(Instant::now());
        if !sleep_until(next, &ended) {
            break;
        }
    }
    if ended.load(Ordering::Relaxed) && options.count.is_some() {
        status = ExitCode::FAILURE;
    }
    Ok(status)
}
