// SPDX-License-Identifier: GPL-2.0
//! `virgo`: uses and watches a VIRGO cluster from the command line.

mod balance;
mod clone;
mod config;
mod copy;
mod ends;
mod failure;
mod files;
mod functions;
mod kingcobra;
mod memory;
mod memory_list;
mod nodes;
mod options;
mod output;
mod queue;
mod stats;

use clap::Parser;
use options::{Arguments, Command, ConfigCommand, MemoryCommand};
use output::Output;
use std::process::ExitCode;

fn main() -> ExitCode {
    let Arguments { json, command } = Arguments::parse();
    let output = Output { json };
    match run(output, command) {
        Ok(status) => status,
        Err(error) => {
            failure::report(output, &error);
            ExitCode::FAILURE
        }
    }
}

fn run(output: Output, command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Malloc(malloc) => memory::malloc(output, &malloc)?,
        Command::Set(set) => memory::set(output, &set)?,
        Command::Get(get) => memory::get(output, &get)?,
        Command::Free { ids } => return memory::free(output, &ids),
        Command::Memory(MemoryCommand::List(options)) => {
            return memory_list::list(output, &options);
        }
        Command::Clone(options) => return clone::clone(output, &options),
        Command::Functions { on } => functions::show(output, on)?,
        Command::Jobs => clone::jobs(output)?,
        Command::Wait(options) => return clone::wait(output, &options),
        Command::Cancel { jobs } => return clone::cancel(output, &jobs),
        Command::Queue(command) => queue::run(output, &command)?,
        Command::Kingcobra(command) => kingcobra::run(output, &command)?,
        Command::Lb(command) => balance::run(output, &command)?,
        Command::Cp(options) => return copy::cp(output, &options),
        Command::Put(options) => return copy::put(output, &options),
        Command::Cat { files } => return files::cat(output, &files),
        Command::Ls(options) => return files::ls(output, &options),
        Command::Nodes { ping } => nodes::show(output, ping)?,
        Command::Stats { service } => stats::show(output, service)?,
        Command::Config(ConfigCommand::Check { files }) => return config::check(output, &files),
        Command::Config(ConfigCommand::Reload) => config::reload(output)?,
    }
    Ok(ExitCode::SUCCESS)
}
