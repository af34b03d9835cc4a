// SPDX-License-Identifier: GPL-2.0
//! Events for other tools.

use super::answers;
use crate::{
    options::eventnet::{Export, Format},
    output::bytes,
};
use anyhow::{Context, Result, ensure};
use std::{
    io::Write,
    process::{Command, Stdio},
    thread,
};
use virgo_eventnet::{
    Graph,
    export::{dot, otlp, perfetto, shiviz},
};

pub(super) fn export(graph: &Graph, options: &Export) -> Result<()> {
    let text = match options.format {
        Format::Json => return answers::json_lines(graph.events()),
        Format::Svg => return bytes(&svg(&dot(graph))?),
        Format::Dot => dot(graph),
        Format::Shiviz => shiviz(graph),
        Format::Perfetto => perfetto(graph).to_string(),
        Format::Otlp => otlp(graph).to_string(),
    };
    bytes(text.as_bytes())
}

/// Has graphviz lay the graph out.
fn svg(graph: &str) -> Result<Vec<u8>> {
    let mut program = Command::new("dot")
        .arg("-Tsvg")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .context("dot, of graphviz, cannot be run; it takes what --format dot writes")?;
    let mut input = program.stdin.take().context("no pipe to dot")?;
    let graph = graph.to_owned();
    // It may write before it has read everything.
    let writer = thread::spawn(move || input.write_all(graph.as_bytes()));
    let output = program.wait_with_output()?;
    ensure!(output.status.success(), "dot has failed: {}", output.status);
    match writer.join() {
        Ok(written) => written?,
        Err(_) => anyhow::bail!("dot was not told everything"),
    }
    Ok(output.stdout)
}
