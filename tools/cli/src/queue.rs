// SPDX-License-Identifier: GPL-2.0
//! `virgo queue`: queues and topics.

mod publish;
mod take;

use crate::{
    failure, fence,
    options::{Changed, QueueCommand},
    output::{Printer, bytes, json_bytes, table},
    serve::answer_with,
};
use anyhow::Result;
use serde_json::{Map, Value, json};
use std::{os::unix::ffi::OsStrExt, process::ExitCode};
use virgo::{
    queue::{How, Queue, told_error},
    status::Status,
};

pub(crate) fn run(output: Printer, command: &QueueCommand) -> Result<ExitCode> {
    match command {
        QueueCommand::Create { queue, options } => {
            queue.open().create(&options.join(" "))?;
            output.print(&json!({ "created": queue.name }), String::new)?;
        }
        QueueCommand::Delete { queue } => {
            open(queue)?.delete()?;
            output.print(&json!({ "deleted": queue.queue.name }), String::new)?;
        }
        QueueCommand::Purge { queue } => {
            let purged = open(queue)?.purge()?;
            output.print(&json!({ "purged": purged }), || {
                format!("purged={purged}\n")
            })?;
        }
        QueueCommand::Pub {
            queue,
            data,
            priority,
            delay,
            lines,
        } => {
            let how = How {
                priority: *priority,
                delay: delay.unwrap_or_default(),
            };
            publish::publish(output, queue, data.as_deref(), how, *lines)?;
        }
        QueueCommand::Take { queue, count, keep } => {
            return take::take(output, &queue.open(), *count as usize, *keep);
        }
        QueueCommand::Ack { queue, messages } => {
            return ack(output, &queue.open(), messages);
        }
        QueueCommand::Sub {
            pattern,
            options,
            count,
            timeout,
        } => return take::subscribe(output, pattern, options, *count, *timeout),
        QueueCommand::Req { queue, data } => {
            let reply = open(queue)?.request(data.as_bytes())?;
            show_reply(output, &reply)?;
            return Ok(status_of(&reply));
        }
        QueueCommand::Serve { name, command } => {
            virgo::queue::serve(name, answer_with(command))?;
        }
        QueueCommand::List => list(output)?,
        QueueCommand::Status => status(output)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// A queue or topic that is changed, for the library.
fn open(changed: &Changed) -> Result<Queue> {
    let queue = changed.queue.open();
    Ok(match &changed.fence {
        Some(fence) => queue.fenced(fence::parse(fence)?),
        None => queue,
    })
}

fn show_reply(output: Printer, reply: &[u8]) -> Result<()> {
    if !output.json {
        return bytes(&[reply, b"\n"].concat());
    }
    let (kind, value) = json_bytes(reply);
    let reply = Value::Object(Map::from_iter([(kind.into(), value)]));
    output.print(&reply, String::new)
}

/// That of a command that printed this reply: the service may have failed.
pub(crate) fn status_of(reply: &[u8]) -> ExitCode {
    match told_error(reply) {
        None => ExitCode::SUCCESS,
        Some(_) => ExitCode::FAILURE,
    }
}

/// Acknowledges all that can be acknowledged.
fn ack(output: Printer, queue: &Queue, messages: &[u64]) -> Result<ExitCode> {
    let mut acknowledged = Vec::new();
    for &message in messages {
        match queue.ack(message) {
            Ok(()) => acknowledged.push(message),
            Err(error) => failure::report(output, &error.into()),
        }
    }
    output.print(&json!({ "acknowledged": acknowledged }), String::new)?;
    Ok(match acknowledged.len() == messages.len() {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}

fn status(output: Printer) -> Result<()> {
    let log = Status::default().queues()?.log;
    output.print(&log, || {
        let number = |n: u64| n.to_string();
        let rows = [
            ("durable queues", log.state.clone()),
            ("error", log.error.clone().unwrap_or_default()),
            ("reason", log.reason.clone().unwrap_or_default()),
            ("log", log.log.clone()),
            ("bytes", number(log.bytes)),
            ("at most", number(log.max_bytes)),
            ("generation", number(log.generation)),
            ("disk failures", number(log.failures)),
            ("bytes torn", number(log.torn)),
            ("bytes damaged", number(log.damaged)),
            ("records unknown", number(log.unknown)),
            ("messages without their queue's record", number(log.orphans)),
            ("moved aside", log.kept.join(" ")),
        ];
        let shown = rows.iter().filter(|(_, value)| !value.is_empty());
        shown
            .map(|(name, value)| format!("{name}: {value}\n"))
            .collect()
    })
}

fn list(output: Printer) -> Result<()> {
    let queues = Status::default().queues()?.queues;
    output.print(&queues, || {
        let header = [
            "NAME", "READY", "DELAYED", "LEASED", "KEPT", "BYTES", "DROPPED", "REFUSED", "DEAD",
            "OWNER", "MODE",
        ];
        let rows = queues.iter().map(|queue| {
            let mut row = vec![queue.name.clone()];
            row.extend(queue.figures().iter().map(u64::to_string));
            row.extend([queue.owner.to_string(), queue.mode.clone()]);
            row
        });
        table(header.map(str::to_owned).to_vec(), 1, rows.collect())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_that_is_an_error_is_a_failure() {
        assert_eq!(status_of(b"ERR EIO it failed"), ExitCode::FAILURE);
        for reply in [&b""[..], b"all is well", b"ERR is human"] {
            assert_eq!(status_of(reply), ExitCode::SUCCESS);
        }
    }
}
