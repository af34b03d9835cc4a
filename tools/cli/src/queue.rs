// SPDX-License-Identifier: GPL-2.0
//! `virgo queue`: queues and topics.

use crate::{
    options::{Named, QueueCommand},
    output::{Output, bytes, json_bytes, table},
};
use anyhow::Result;
use libc::{ECONNRESET, EIO, EPROTO, ESHUTDOWN, ETIMEDOUT};
use serde_json::{Map, Value, json};
use std::{
    ffi::{OsStr, OsString},
    io::{self, Read, Write, stdin},
    os::unix::ffi::OsStrExt,
    process::{Command, Stdio},
    time::{Duration, Instant},
};
use virgo::{
    queue::{How, Message, Queue, Subscription},
    status::Status,
};

pub(crate) fn run(output: Output, command: &QueueCommand) -> Result<()> {
    match command {
        QueueCommand::Create { queue, options } => {
            open(queue).create(&options.join(" "))?;
            output.print(&json!({ "created": queue.name }), String::new)
        }
        QueueCommand::Delete { queue } => {
            open(queue).delete()?;
            output.print(&json!({ "deleted": queue.name }), String::new)
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
            publish(output, queue, data.as_deref(), how, *lines)
        }
        QueueCommand::Take { queue, count, keep } => take(output, queue, *count as usize, *keep),
        QueueCommand::Ack { queue, messages } => {
            for &message in messages {
                open(queue).ack(message)?;
            }
            output.print(&json!({ "acknowledged": messages }), String::new)
        }
        QueueCommand::Sub {
            pattern,
            options,
            count,
            timeout,
        } => subscribe(output, pattern, options, *count, *timeout),
        QueueCommand::Req { queue, data } => {
            let reply = open(queue).request(data.as_bytes())?;
            let (kind, value) = json_bytes(&reply);
            match output.json {
                true => output.print(
                    &Value::Object(Map::from_iter([(kind.into(), value)])),
                    String::new,
                ),
                false => bytes(&[&reply[..], b"\n"].concat()),
            }
        }
        QueueCommand::Serve { name, command } => {
            Ok(virgo::queue::serve(name, answer_with(command))?)
        }
        QueueCommand::List => list(output),
    }
}

fn open(named: &Named) -> Queue {
    let queue = Queue::new(&named.name).on(named.node.unwrap_or(0));
    match named.timeout {
        Some(timeout) => queue.within(timeout),
        None => queue,
    }
}

fn publish(
    output: Output,
    queue: &Named,
    data: Option<&OsStr>,
    how: How,
    lines: bool,
) -> Result<()> {
    let mut input = Vec::new();
    let data = match data {
        Some(data) => data.as_bytes(),
        None => {
            stdin().read_to_end(&mut input)?;
            &input
        }
    };
    let messages: Vec<&[u8]> = match lines {
        true => data
            .strip_suffix(b"\n")
            .unwrap_or(data)
            .split(|&byte| byte == b'\n')
            .collect(),
        false => vec![data],
    };
    let to = open(queue);
    let mut rest = &messages[..];
    while !rest.is_empty() {
        let some = &rest[..rest.len().min(virgo::abi::MAX_MESSAGES)];
        let accepted = to.publish_all(some, how).map_err(|error| {
            let unknown = match error.errno() {
                EIO => true,
                ETIMEDOUT | ECONNRESET | ESHUTDOWN | EPROTO => queue.node.is_some(),
                _ => false,
            };
            let error = anyhow::Error::from(error);
            let (count, all) = (messages.len() - rest.len(), messages.len());
            match (all, count, unknown) {
                (1, ..) | (_, 0, false) => error,
                (.., false) => error.context(format!("published {count} of {all}")),
                (.., true) => error.context(format!("published {count} or more of {all}")),
            }
        })?;
        rest = &rest[accepted..];
    }
    output.print(&json!({ "published": messages.len() }), String::new)
}

fn show(output: Output, message: &Message) -> Result<()> {
    if !output.json {
        return bytes(&[&message.data[..], b"\n"].concat());
    }
    let (kind, data) = json_bytes(&message.data);
    let mut value = json!({
        "id": message.id,
        "subject": message.subject,
        "position": message.position,
        "deliveries": message.deliveries,
        "request": message.is_request,
    });
    value[kind] = data;
    output.print(&value, String::new)
}

fn take(output: Output, queue: &Named, count: usize, keep: bool) -> Result<()> {
    let from = open(queue);
    for message in from.take(count)? {
        show(output, &message)?;
        if !keep {
            from.ack(message.id)?;
        }
    }
    Ok(())
}

fn subscribe(
    output: Output,
    pattern: &str,
    options: &[String],
    count: Option<usize>,
    timeout: Option<Duration>,
) -> Result<()> {
    const LONG: Duration = Duration::from_secs(60);
    let subscription = Subscription::open(pattern, &options.join(" "))?;
    let end = timeout.map(|timeout| Instant::now() + timeout);
    let mut left = count.unwrap_or(usize::MAX);
    while left > 0 {
        let wait = end.map_or(LONG, |end| end.saturating_duration_since(Instant::now()));
        let messages = match subscription.take(left.min(64), Some(wait)) {
            Err(error) if error.errno() == libc::ETIMEDOUT && end.is_none() => continue,
            messages => messages?,
        };
        left -= messages.len();
        for message in messages {
            show(output, &message)?;
            // Those that need none are not there any more.
            let _ = subscription.ack(message.id);
        }
    }
    Ok(())
}

/// Each request is the input of a command, and its output the reply.
pub(crate) fn answer_with(command: &[OsString]) -> impl Fn(&Message) -> Vec<u8> {
    let answer = |request: &Message| -> io::Result<Vec<u8>> {
        let mut child = Command::new(&command[0])
            .args(&command[1..])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        if let Some(mut input) = child.stdin.take() {
            // A command that does not read its input is none the worse.
            let _ = input.write_all(&request.data);
        }
        Ok(child.wait_with_output()?.stdout)
    };
    move |request| {
        answer(request).unwrap_or_else(|error| {
            eprintln!("virgo: {}: {error}", command[0].to_string_lossy());
            Vec::new()
        })
    }
}

fn list(output: Output) -> Result<()> {
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
