// SPDX-License-Identifier: GPL-2.0
//! The command line: queues and topics.

use super::values::deadline;
use clap::{Args, Subcommand};
use std::{ffi::OsString, time::Duration};
use virgo::queue::Queue;

/// A queue or topic.
#[derive(Debug, Args)]
pub(crate) struct Named {
    /// Its name, such as orders.eu
    pub(crate) name: String,
    /// The number of the node that has it [default: this node]
    #[arg(long, value_name = "NODE", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) node: Option<u32>,
    /// How long to wait, such as 2s [default: as configured]
    #[arg(long, value_name = "TIME", value_parser = deadline)]
    pub(crate) timeout: Option<Duration>,
}

impl Named {
    /// It, for the library.
    pub(crate) fn open(&self) -> Queue {
        let queue = Queue::new(&self.name).on(self.node.unwrap_or(0));
        match self.timeout {
            Some(timeout) => queue.within(timeout),
            None => queue,
        }
    }
}

/// A queue or topic that is changed.
#[derive(Debug, Args)]
pub(crate) struct Changed {
    #[command(flatten)]
    pub(crate) queue: Named,
    /// The lock that guards it, and the token: what 'virgo lock' gives its command as VIRGO_LOCK_FENCE
    ///
    /// A queue or topic that was told a token refuses smaller ones of the same lock, other locks and none.
    /// Its owner can delete it without. Who says a token needs the right to delete.
    #[arg(long, value_name = "LOCK:TOKEN")]
    pub(crate) fence: Option<OsString>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum QueueCommand {
    /// Make a queue or topic
    ///
    /// Options: topic, messages=N, bytes=N, policy=block|reject|drop-oldest, ack=MS, unacked=N,
    /// deliveries=N, dead=NAME, keep=N, bind=PATTERN, durable (docs/queue.md).
    Create {
        #[command(flatten)]
        queue: Named,
        /// Words such as ack=5000 policy=block
        #[arg(value_name = "OPTION")]
        options: Vec<String>,
    },
    /// Delete a queue or topic, with its messages
    Delete {
        #[command(flatten)]
        queue: Changed,
    },
    /// Drop all messages of a queue or topic, also those that are handed out or kept
    ///
    /// Who may delete it may do so.
    Purge {
        #[command(flatten)]
        queue: Changed,
    },
    /// Publish a message
    Pub {
        #[command(flatten)]
        queue: Changed,
        /// The message, of 65536 bytes at most [default: standard input]
        data: Option<OsString>,
        /// 0 to 9, larger is sooner
        #[arg(long, default_value = "4", value_parser = clap::value_parser!(u8).range(..10))]
        priority: u8,
        /// When it can be taken, such as 2s from now
        #[arg(long, value_name = "TIME", value_parser = delay)]
        delay: Option<Duration>,
        /// Each line is a message; up to 1024 of them are published at a time
        #[arg(long)]
        lines: bool,
    },
    /// Take messages and print them, a line each
    ///
    /// What was printed is acknowledged; what cannot be printed others get.
    Take {
        #[command(flatten)]
        queue: Named,
        /// How many at most; it waits for the first
        #[arg(long, default_value = "1", value_parser = clap::value_parser!(u32).range(1..=1024))]
        count: u32,
        /// Do not acknowledge them: ack does, or others get them when their time is over
        #[arg(long)]
        keep: bool,
    },
    /// Acknowledge messages that were taken with --keep
    Ack {
        #[command(flatten)]
        queue: Named,
        /// Their ids, as take --json prints them
        #[arg(required = true, value_name = "ID")]
        messages: Vec<u64>,
    },
    /// Print what comes to a queue, topic or pattern of this node
    ///
    /// Options: ack, group=NAME, from=POSITION, messages=N, bytes=N, policy=P (docs/queue.md).
    Sub {
        /// A name, or a pattern such as 'orders.*' or 'orders.>'
        pattern: String,
        /// Words such as group=workers
        #[arg(value_name = "OPTION")]
        options: Vec<String>,
        /// End after so many messages
        #[arg(long)]
        count: Option<usize>,
        /// End after so long, with status 0
        #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
        timeout: Option<Duration>,
    },
    /// Publish a request, wait for the reply, and print it
    ///
    /// A reply that begins with 'ERR' and the name of an error is one: the status is 1.
    Req {
        #[command(flatten)]
        queue: Changed,
        /// The request
        data: OsString,
    },
    /// Answer the requests that come to a queue of this node with what a command prints
    ///
    /// The request is the command's input. If the command fails, or prints more than 65536 bytes,
    /// who has asked is told so.
    Serve {
        /// The queue; it is made if it is not there
        name: String,
        /// The command
        #[arg(required = true, trailing_var_arg = true, value_name = "COMMAND")]
        command: Vec<OsString>,
    },
    /// List the queues, topics and subscriptions of this node (as root)
    List,
    /// Show how the log of the durable queues is (as root)
    ///
    /// Says whether the disk works, what was found damaged when the log was read, and which files
    /// were moved aside since they were not understood whole.
    Status,
}

/// How long a message may be delayed.
fn delay(text: &str) -> Result<Duration, String> {
    let time = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    match u32::try_from(time.as_millis()) {
        Ok(_) => Ok(time),
        _ => Err(format!("at most {}ms", u32::MAX)),
    }
}
