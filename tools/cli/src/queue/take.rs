// SPDX-License-Identifier: GPL-2.0
//! `virgo queue take` and `virgo queue sub`.

use crate::{
    failure,
    output::{Printer, bytes, json_bytes, note},
};
use anyhow::Result;
use libc::ETIMEDOUT;
use serde_json::{Value, json};
use std::{
    process::ExitCode,
    time::{Duration, Instant},
};
use virgo::queue::{Message, Queue, Subscription};

/// Takes messages and prints them. What was printed is acknowledged, unless `keep`; what cannot be
/// printed others get at once.
pub(crate) fn take(output: Printer, from: &Queue, count: usize, keep: bool) -> Result<ExitCode> {
    let messages = from.take(count)?;
    let mut status = ExitCode::SUCCESS;
    for (at, message) in messages.iter().enumerate() {
        if let Err(error) = show(output, message) {
            for unseen in &messages[at..] {
                if let Err(error) = from.give_back(unseen.id, Duration::ZERO) {
                    failure::report(output, &error.into());
                }
            }
            return Err(error);
        }
        if keep {
            continue;
        }
        if let Err(error) = from.ack(message.id) {
            failure::report(output, &error.into());
            status = ExitCode::FAILURE;
        }
    }
    Ok(status)
}

/// Prints messages as they come: `count` of them, or until `timeout` is over, which is no error.
pub(crate) fn subscribe(
    output: Printer,
    pattern: &str,
    options: &[String],
    count: Option<usize>,
    timeout: Option<Duration>,
) -> Result<ExitCode> {
    /// The kernel waits no longer at a time than 300 s.
    const LONG: Duration = Duration::from_secs(60);
    let options = options.join(" ");
    let to_acknowledge = options.split_whitespace().any(|word| word == "ack");
    let subscription = Subscription::open(pattern, &options)?;
    // A time that the clock cannot show does not come.
    let end = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
    let mut status = ExitCode::SUCCESS;
    let mut left = count.unwrap_or(usize::MAX);
    while left > 0 {
        let wait = end.map_or(LONG, |end| end.saturating_duration_since(Instant::now()));
        let messages = match subscription.take(left.min(64), Some(wait.min(LONG))) {
            Err(error) if error.errno() == ETIMEDOUT => {
                if end.is_some_and(|end| end <= Instant::now()) {
                    break;
                }
                continue;
            }
            messages => messages?,
        };
        show_lost(output, subscription.lost())?;
        left -= messages.len();
        for message in messages {
            show(output, &message)?;
            if !to_acknowledge {
                continue;
            }
            if let Err(error) = subscription.ack(message.id) {
                failure::report(output, &error.into());
                status = ExitCode::FAILURE;
            }
        }
    }
    Ok(status)
}

/// Tells how many messages found no room, because they were not taken as fast as they came.
fn show_lost(output: Printer, lost: u64) -> Result<()> {
    match (lost, output.json) {
        (0, _) => Ok(()),
        (_, true) => output.print(&json!({ "lost": lost }), String::new),
        (_, false) => {
            note(format_args!("lost={lost}"));
            Ok(())
        }
    }
}

fn show(output: Printer, message: &Message) -> Result<()> {
    match output.json {
        true => output.print(&to_json(message), String::new),
        false => bytes(&[&message.data[..], b"\n"].concat()),
    }
}

fn to_json(message: &Message) -> Value {
    let (kind, data) = json_bytes(&message.data);
    let mut value = json!({
        // As text: JSON's numbers lose digits of 64 bits.
        "id": message.id.to_string(),
        "subject": message.subject,
        "position": message.position,
        "deliveries": message.deliveries,
        "request": message.is_request,
    });
    value[kind] = data;
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_keep_their_digits() {
        let message = Message {
            id: u64::MAX,
            position: 1,
            subject: "a".to_owned(),
            data: b"x".to_vec(),
            deliveries: 2,
            is_request: false,
        };
        let expected = json!({
            "id": "18446744073709551615", "subject": "a", "position": 1, "deliveries": 2,
            "request": false, "text": "x",
        });
        assert_eq!(to_json(&message), expected);
    }
}
