// SPDX-License-Identifier: GPL-2.0
//! The command line.

use clap::{Args, Parser, Subcommand};
use std::{ffi::OsString, path::PathBuf, time::Duration};
use virgo::{Id, Place};

/// Use and watch a VIRGO cluster
///
/// Memory of all nodes is allocated, set, got and freed by its id, which is the same on every node.
#[derive(Debug, Parser)]
#[command(
    name = "virgo",
    version,
    after_help = "Exit status: 0 if all went well, 1 if something failed, 2 if the command line \
                  is wrong.\n\
                  Sizes take K, M and G for 1024, 1024² and 1024³; times are like 200ms or 2s."
)]
pub(crate) struct Arguments {
    /// Print JSON instead of text, errors too
    #[arg(long, global = true)]
    pub(crate) json: bool,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Allocate cluster memory and print its id
    ///
    /// The memory is zero at first and belongs to the caller's uid. It stays until it is freed,
    /// also when this command has ended.
    Malloc(Malloc),
    /// Copy data into an allocation
    ///
    /// Nothing is added to the data: no NUL, no line end. Data that begins with '-' stands behind
    /// '--'.
    Set(Set),
    /// Copy data out of an allocation to standard output
    ///
    /// With --json the data is a string, 'text', or if it is not UTF-8 hexadecimal digits, 'hex'.
    Get(Get),
    /// Free allocations
    ///
    /// One that cannot be freed does not keep the others from being freed.
    Free {
        /// Ids, as malloc prints them
        #[arg(required = true, value_name = "ID")]
        ids: Vec<Id>,
    },
    /// Show the nodes, and how the services of this one reach them (as root)
    ///
    /// A service is connected to a node from the first use on: 'up', 'down', or '-' if it was not
    /// used yet.
    Nodes {
        /// Ask the memory pool of every node whether it answers
        #[arg(long)]
        ping: bool,
    },
    /// Show how often services of this node were used, and how long that took (as root)
    ///
    /// Kinds are 'text' (commands that people type), 'frame' (requests of other nodes) and 'call'
    /// (system calls of this node's programs). P50 and P99 are rounded down to powers of two.
    Stats {
        /// One service, such as mempool [default: all]
        service: Option<String>,
    },
    /// Check or reload the configuration
    #[command(subcommand)]
    Config(ConfigCommand),
}

#[derive(Debug, Args)]
pub(crate) struct Malloc {
    /// Bytes, such as 100 or 1M
    #[arg(value_parser = size)]
    pub(crate) size: u64,
    /// Every uid of the cluster may set, get and free it
    #[arg(long)]
    pub(crate) shared: bool,
    /// Where its chunks go: random, least-used, or the number of a node [default: as configured]
    #[arg(long)]
    pub(crate) place: Option<Place>,
    /// How long it may take, such as 2s [default: as configured]
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    pub(crate) timeout: Option<Duration>,
}

#[derive(Debug, Args)]
pub(crate) struct Set {
    /// The id, as malloc prints it
    pub(crate) id: Id,
    /// What to copy [default: standard input]
    pub(crate) data: Option<OsString>,
    /// First byte of the allocation to copy to
    #[arg(long, value_name = "SIZE", value_parser = size, default_value = "0")]
    pub(crate) offset: u64,
}

#[derive(Debug, Args)]
pub(crate) struct Get {
    /// The id, as malloc prints it
    pub(crate) id: Id,
    /// First byte of the allocation to copy
    #[arg(long, value_name = "SIZE", value_parser = size, default_value = "0")]
    pub(crate) offset: u64,
    /// How many bytes at most [default: to the end of the allocation]
    #[arg(long, value_name = "SIZE", value_parser = size)]
    pub(crate) length: Option<u64>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Say what is wrong with configuration files, without using them
    ///
    /// Without FILE all is checked that a reload would look at, also the key file (as root) and
    /// whether this machine is one of the nodes. A named file may be meant for another machine. If
    /// it is called virgo_client.conf it is checked as such, together with the one named before it;
    /// others are checked as virgo_cloud.conf.
    Check {
        /// Files [default: /etc/virgo_cloud.conf and /etc/virgo_client.conf]
        #[arg(value_name = "FILE")]
        files: Vec<PathBuf>,
    },
    /// Have the modules read the configuration files again (as root)
    ///
    /// If a file is bad, the configuration stays as it was.
    Reload,
}

fn size(text: &str) -> Result<u64, &'static str> {
    parse_size::Config::new()
        .with_binary()
        .parse_size(text)
        .map_err(|_| "expected a number of bytes, perhaps with K, M or G behind it")
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_definition_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn sizes_are_binary() {
        for (text, bytes) in [("0", 0), ("100", 100), ("64K", 65536), ("1.5M", 1572864)] {
            assert_eq!(size(text), Ok(bytes), "{text}");
        }
        assert_eq!(size("2GiB"), Ok(2 << 30));
        for text in ["", "-1", "1X", "99999999999G"] {
            assert!(size(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_whole_line_is_read() {
        let line = "virgo malloc 4K --shared --place 2 --timeout 1500ms --json";
        let arguments = Arguments::try_parse_from(line.split(' ')).unwrap();
        assert!(arguments.json);
        let Command::Malloc(malloc) = arguments.command else {
            panic!("{arguments:?}");
        };
        assert_eq!((malloc.size, malloc.shared), (4096, true));
        assert_eq!(malloc.place, Some(Place::Node(2)));
        assert_eq!(malloc.timeout, Some(Duration::from_millis(1500)));
    }

    #[test]
    fn wrong_lines_are_refused_with_status_2() {
        for line in [
            "virgo",
            "virgo malloc",
            "virgo malloc 1Y",
            "virgo malloc 1 --place node2",
            "virgo malloc 1 --timeout 5",
            "virgo free",
            "virgo get xyz",
        ] {
            let error = Arguments::try_parse_from(line.split(' ')).unwrap_err();
            assert_eq!(error.exit_code(), 2, "{line}");
        }
    }
}
