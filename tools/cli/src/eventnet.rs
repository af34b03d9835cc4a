// SPDX-License-Identifier: GPL-2.0
//! `virgo eventnet`: what happened before what.

mod answers;
pub(crate) mod collect;
mod export;
mod switch;

use crate::{
    options::eventnet::{EventNet, Source},
    output::{self, Printer},
};
use anyhow::{Context, Result};
use collect::Collected;
use std::{fs::File, io::BufReader, process::ExitCode};
use virgo_eventnet::{Event, Graph, read_json};

pub(crate) fn run(output: Printer, command: &EventNet) -> Result<ExitCode> {
    match command {
        EventNet::On(options) => switch::on(options)?,
        EventNet::Off(nodes) => switch::off(nodes)?,
        EventNet::Status(nodes) => switch::status(output, nodes)?,
        EventNet::Loss(nodes) => switch::loss(output, nodes)?,
        EventNet::Dump(source) => dump(output, source)?,
        EventNet::Follow(options) => collect::follow(output, options)?,
        EventNet::Order(source) => return answers::order(output, &graph(source)?),
        EventNet::Before { a, b, source } => {
            return answers::before(output, &graph(source)?, *a, *b);
        }
        EventNet::Path { a, b, source } => return answers::path(output, &graph(source)?, *a, *b),
        EventNet::Why { id, source } => answers::why(output, &graph(source)?, *id)?,
        EventNet::Export(options) => export::export(&graph(&options.source)?, options)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// The events of a file, or of the nodes. What is missing is told.
fn events(source: &Source) -> Result<Vec<Event>> {
    if let Some(path) = &source.input {
        let at = || format!("{}", path.display());
        let file = File::open(path).with_context(at)?;
        return read_json(BufReader::new(file)).with_context(at);
    }
    let Collected { events, notes } = collect::all(source.node)?;
    for note in notes {
        output::note(format_args!("virgo: {note}"));
    }
    Ok(events)
}

fn graph(source: &Source) -> Result<Graph> {
    Ok(Graph::new(events(source)?))
}

fn dump(output: Printer, source: &Source) -> Result<()> {
    let graph = graph(source)?;
    if output.json {
        return answers::json_lines(graph.events());
    }
    answers::table(graph.events().iter())
}
