// SPDX-License-Identifier: GPL-2.0
//! `virgo kingcobra`: requests, replies, and the record of them.

use crate::{
    options::KingcobraCommand,
    output::{Printer, bytes, json_bytes},
    queue::status_of,
    serve::answer_with,
};
use anyhow::{Context, Result};
use serde_json::json;
use std::{fs::File, io::BufReader, os::unix::ffi::OsStrExt, process::ExitCode};
use virgo::kingcobra::{self, LOG, RequestRecord};

pub(crate) fn run(output: Printer, command: &KingcobraCommand) -> Result<ExitCode> {
    match command {
        KingcobraCommand::Log { file } => {
            let path = file.as_deref().unwrap_or(LOG.as_ref());
            let cannot = || format!("cannot read {}", path.display());
            let file = File::open(path).with_context(cannot)?;
            for record in kingcobra::read_log(BufReader::new(file)) {
                show(output, record.with_context(cannot)?)?;
            }
        }
        KingcobraCommand::Ask {
            node,
            timeout,
            request,
        } => {
            let reply = kingcobra::ask(node.unwrap_or(0), request.as_bytes(), *timeout)?;
            let record = RequestRecord::parse(&reply);
            let payload = record.as_ref().map_or(&reply, |record| &record.payload);
            let status = status_of(payload);
            match record {
                Some(record) if output.json => show(output, Ok(record))?,
                _ => bytes(&[&reply[..], b"\n"].concat())?,
            }
            return Ok(status);
        }
        KingcobraCommand::Serve { kind, command } => {
            kingcobra::serve((*kind).into(), answer_with(command))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn show(output: Printer, record: Result<RequestRecord, Vec<u8>>) -> Result<()> {
    let (value, text) = match record {
        Ok(record) => {
            let (name, payload) = json_bytes(&record.payload);
            let kind = record.kind.word().to_lowercase();
            let (seconds, nanos) = (record.time.as_secs(), record.time.subsec_nanos());
            let mut value = json!({
                "kind": kind,
                "address": record.address,
                "seconds": seconds,
                "nanoseconds": nanos,
            });
            value[name] = payload;
            let said = record.payload.escape_ascii();
            let address = record.address;
            (
                value,
                format!("{seconds}.{nanos:09}  {address}  {kind}  {said}"),
            )
        }
        Err(line) => {
            let said = line.escape_ascii().to_string();
            (
                json!({ "kind": "unknown", "line": said }),
                format!("not a record: {said}"),
            )
        }
    };
    output.print(&value, || text)
}
