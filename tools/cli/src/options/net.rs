// SPDX-License-Identifier: GPL-2.0
//! Options of `virgo net`.

use super::socket_name::SocketName;
use clap::{Args, Subcommand};
use std::time::Duration;

/// A socket is INODE or ADDRESS:PORT, such as 10.9.0.1:30000 or [::1]:80; either end of a connection
/// will do.
#[derive(Debug, Subcommand)]
pub(crate) enum NetCommand {
    /// Show what lies in the queues of sockets
    ///
    /// Of each queue the bytes and buffers, and how long the oldest one has been there. Of sockets that
    /// are named all is shown: sequence numbers, head- and tailroom, windows. Nothing is changed in
    /// them.
    Queues(SocketNames),
    /// Show it again and again, until Ctrl-C
    ///
    /// With --json each look is a line. Sockets of programs that are named are found once; the look ends
    /// when all of them are closed. Programs are not kept from closing theirs.
    Watch(WatchOptions),
    /// Count the packets that this machine drops, by the kernel's reasons and places
    ///
    /// Ends with Ctrl-C, or as --for says, and prints the counts then.
    Drops {
        /// End after so long
        #[arg(long = "for", value_name = "TIME", value_parser = humantime::parse_duration)]
        time: Option<Duration>,
    },
}

#[derive(Debug, Args)]
#[group(skip)]
pub(crate) struct SocketNames {
    /// Sockets, of any program [default: VIRGO's own, all of them]
    #[arg(value_name = "INODE|ADDRESS:PORT")]
    pub(crate) names: Vec<SocketName>,
}

#[derive(Debug, Args)]
#[group(skip)]
pub(crate) struct WatchOptions {
    #[command(flatten)]
    pub(crate) sockets: SocketNames,
    /// Time from one look to the next: 10ms or more
    #[arg(long, value_name = "TIME", default_value = "100ms", value_parser = interval)]
    pub(crate) interval: Duration,
    /// End after so many looks
    #[arg(long)]
    pub(crate) count: Option<u64>,
    /// Have the kernel stamp every packet that arrives, so that the age of what was not read is known
    ///
    /// That costs all of the machine's traffic a look at the clock.
    #[arg(long)]
    pub(crate) stamp: bool,
}

fn interval(text: &str) -> Result<Duration, String> {
    let time = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    match time >= Duration::from_millis(10) {
        true => Ok(time),
        false => Err("at least 10ms".to_owned()),
    }
}
