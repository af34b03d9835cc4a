// SPDX-License-Identifier: GPL-2.0
//! `virgo`: uses and watches a VIRGO cluster from the command line.

// They panic if the output does not take what they print; see `output`.
#![deny(clippy::print_stdout, clippy::print_stderr)]

mod analytics;
mod balance;
mod blocks;
mod call_error;
mod clone;
mod config;
mod copy;
mod doctor;
mod ends;
mod eventnet;
mod failure;
mod fence;
mod files;
mod functions;
mod jobs;
mod kingcobra;
mod known;
mod lock;
mod memory;
mod memory_list;
mod net;
mod nodes;
mod opened;
mod options;
mod output;
mod part;
mod places;
mod queue;
mod serve;
mod sessions;
mod stats;
mod stdin;
mod transfer;
mod usb;

use clap::Parser;
use options::{Arguments, Command, ConfigCommand, Copy, List, MemoryCommand};
use output::{Printer, StdoutError};
use std::process::ExitCode;

fn main() -> ExitCode {
    let Arguments { json, command } = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(unusual) => return explain(&unusual),
    };
    let output = Printer { json };
    match run(output, command) {
        Ok(status) => status,
        Err(error) => {
            failure::report(output, &error);
            ExitCode::FAILURE
        }
    }
}

/// Prints what is wrong with the command line; or the help or version that it asks for.
fn explain(unusual: &clap::Error) -> ExitCode {
    let printed = unusual.print();
    match u8::try_from(unusual.exit_code()) {
        Ok(0) => match printed {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                failure::report(Printer { json: false }, &StdoutError::from(error).into());
                ExitCode::FAILURE
            }
        },
        status => status.map_or(ExitCode::FAILURE, ExitCode::from),
    }
}

/// Copies by `copy`, or from standard input, when it is clear which node each file is on.
fn copy_files(
    output: Printer,
    mut options: Copy,
    copy: fn(Printer, &Copy) -> anyhow::Result<ExitCode>,
) -> anyhow::Result<ExitCode> {
    let Some(target) = options.files.pop() else {
        return Ok(ExitCode::FAILURE);
    };
    places::ensure_one(&target)?;
    let all = places::choose(output, &mut options.files);
    let some = !options.files.is_empty();
    options.files.push(target);
    let status = match some {
        true if stdin::is_source(&options) => stdin::copy(output, &options)?,
        true => copy(output, &options)?,
        false => ExitCode::FAILURE,
    };
    Ok(if all { status } else { ExitCode::FAILURE })
}

/// Lists files when it is clear which node each is on.
fn list_files(output: Printer, mut options: List) -> anyhow::Result<ExitCode> {
    let all = places::choose(output, &mut options.files);
    let status = files::ls(output, &options)?;
    Ok(if all { status } else { ExitCode::FAILURE })
}

fn run(output: Printer, command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Malloc(malloc) => memory::malloc(output, &malloc)?,
        Command::Set(set) => memory::set(output, &set)?,
        Command::Get(get) => memory::get(output, &get)?,
        Command::Free(options) => return memory::free(output, &options),
        Command::Memory(MemoryCommand::List(options)) => {
            return memory_list::list(output, &options);
        }
        Command::Clone(options) => return clone::clone(output, &options),
        Command::Functions { on } => functions::show(output, on)?,
        Command::Jobs { uid, node } => jobs::list(output, uid, node)?,
        Command::Wait(options) => return clone::wait(output, &options),
        Command::Cancel { node, jobs } => match node {
            None => return clone::cancel(output, &jobs),
            Some(node) => jobs::cancel_on(node, &jobs)?,
        },
        Command::Queue(command) => return queue::run(output, &command),
        Command::Kingcobra(command) => return kingcobra::run(output, &command),
        Command::Eventnet(command) => return eventnet::run(output, &command),
        Command::Lock(options) => return lock::run(&options),
        Command::Locks { node } => return lock::list(output, node),
        Command::Lb(command) => balance::run(output, &command)?,
        Command::Analytics(command) => analytics::run(output, &command)?,
        Command::Cp(options) => return copy_files(output, options, copy::cp),
        Command::Put(options) => return copy_files(output, options, copy::put),
        Command::Write(options) => files::write(output, &options)?,
        Command::Cat { files } => return files::cat(output, &files),
        Command::Ls(options) => return list_files(output, options),
        Command::Doctor => return doctor::run(output),
        Command::Nodes { ping } => return nodes::show(output, ping),
        Command::Sessions(options) => sessions::run(output, &options)?,
        Command::Stats { service } => stats::show(output, service)?,
        Command::Net(command) => return net::run(output, &command),
        Command::Usb(command) => return usb::run(output, &command),
        Command::Config(ConfigCommand::Check { files }) => return config::check(output, &files),
        Command::Config(ConfigCommand::Reload) => config::reload(output)?,
    }
    Ok(ExitCode::SUCCESS)
}
