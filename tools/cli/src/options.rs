// SPDX-License-Identifier: GPL-2.0
//! The command line.

use crate::memory_list::MemoryList;
use clap::{Args, Parser, Subcommand, ValueEnum};
use std::{ffi::OsString, path::PathBuf, time::Duration};
use virgo::{Id, On, Place, abi::MAX_CALLS, queue::Queue};
use virgo_proto::config::MAX_DEADLINE_MS;

/// Use and watch a VIRGO cluster
///
/// Memory of all nodes is allocated, set, got and freed by its id, which is the same on every node.
/// Functions and programs run on any node, and files of all nodes are used by name.
#[derive(Debug, Parser)]
#[command(
    name = "virgo",
    version,
    after_help = "Exit status: 0 if all was done and printed, 1 if something failed, 2 if the \
                  command line is wrong; clone and wait have that of the program they ran, 128 and the \
                  signal's number if one killed it.\n\
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
    /// See what the memory pools hold
    #[command(subcommand)]
    Memory(MemoryCommand),
    /// Run a function or a program on some node
    ///
    /// COMMAND is TARGET [ARG...]. TARGET is the name of a kernel function, the absolute path of a program, or PATH:SYMBOL for
    /// a function of a library. Programs and libraries must be allowed by the configuration of the
    /// node that they run on. Output goes to where this command's goes; the value that a function
    /// returns is printed behind it.
    Clone(Clone),
    /// List the functions of a node: what 'virgo clone' runs by name
    ///
    /// The functions of this node are listed for root only.
    Functions {
        /// The number of the node [default: this one]
        #[arg(long, value_name = "NODE", value_parser = clap::value_parser!(u32).range(1..))]
        on: Option<u32>,
    },
    /// List your calls made here whose results were not taken, or as root everybody's
    Jobs {
        /// Those of this uid only
        #[arg(long, value_name = "UID")]
        uid: Option<u32>,
        /// Those made on this node instead of here; only root may leave it out
        #[arg(long, value_name = "NODE")]
        node: Option<u32>,
    },
    /// Wait for a job and take its result
    Wait(Wait),
    /// End jobs, wherever they run
    ///
    /// Their results are ECANCELED then, unless they had ended before. Root may end everybody's.
    Cancel {
        /// They were made on this node, not here
        #[arg(long, value_name = "NODE")]
        node: Option<u32>,
        /// Jobs, as clone --async prints them
        #[arg(required = true, value_name = "JOB")]
        jobs: Vec<u64>,
    },
    /// Publish and take messages
    #[command(subcommand)]
    Queue(QueueCommand),
    /// Have requests done, and see the record of them
    #[command(subcommand)]
    Kingcobra(KingcobraCommand),
    /// How calls are spread over the nodes
    #[command(subcommand)]
    Lb(Balance),
    /// Copy files from node to node
    ///
    /// A file is NODE:/PATH on a node (2:/a, node2:/a), or a path of this machine. As a source,
    /// NODE,NODE:/PATH is a copy on either, POLICY:/PATH on a node that least-used, random or
    /// two-choices chooses; the target is on one node.
    /// As SOURCE, - is standard input (a file of that name is ./-).
    /// Nodes have only what their configuration exports. A file comes to be under its name when
    /// it is whole, and on the disk; until then it is .virgo-part-… beside it.
    Cp(Copy),
    /// Copy files of this machine to a node: like cp, but they must be here, and the target there
    Put(Copy),
    /// Write files to standard output
    Cat {
        /// NODE:/PATH, or /PATH in an export of this node
        #[arg(required = true, value_name = "FILE")]
        files: Vec<OsString>,
    },
    /// List files and directories of nodes
    ///
    /// Of NODE,NODE:/PATH what one of the nodes has, of POLICY:/PATH what the node has that least-used,
    /// random or two-choices chooses.
    Ls(List),
    /// Show the nodes, and how the services of this one reach them (as root)
    ///
    /// A service is connected to a node from the first use on: 'up', 'down', or '-' if it was not
    /// used yet.
    Nodes {
        /// Ask the memory pool of every node whether it answers; status 1 if one does not
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
    /// See what the USB devices of this node say, and decide which may be used (as root)
    #[command(subcommand)]
    Usb(crate::usb::UsbCommand),
    /// Show who is connected to the services of this node, or end a session (as root)
    ///
    /// Kinds are 'text' (people who type, and the uid that they act as), 'node', and 'unproven' for
    /// the first seconds.
    Sessions(Sessions),
    /// Check or reload the configuration
    #[command(subcommand)]
    Config(ConfigCommand),
}

#[derive(Debug, Subcommand)]
pub(crate) enum MemoryCommand {
    /// List the allocations of all users on all nodes (as root)
    ///
    /// KIND is 'whole', 'split' for an allocation in pieces, of which SIZE is the sum, or 'piece' for
    /// such a piece. Root can free each with 'virgo free'.
    List(MemoryList),
}

#[derive(Debug, Args)]
pub(crate) struct Sessions {
    /// One service, such as mempool [default: all]
    pub(crate) service: Option<String>,
    /// End the session with this number
    #[arg(long, value_name = "NUMBER", requires = "service")]
    pub(crate) end: Option<u64>,
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
    #[arg(long, value_name = "TIME", value_parser = deadline)]
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

#[derive(Debug, Args)]
pub(crate) struct Clone {
    /// Where: least (loaded), random, two (the less loaded of two random nodes), the number of a
    /// node, or all [default: as configured]. What all nodes print comes as they answer (with
    /// --json at the end), and the status is that of the first node, by number, with another than 0
    #[arg(long, value_name = "NODE|least|random|two|all", value_parser = place)]
    pub(crate) on: Option<Where>,
    /// When it is ended at the latest, such as 2s [default: as configured]
    #[arg(long, value_name = "TIME", value_parser = deadline)]
    pub(crate) timeout: Option<Duration>,
    /// Do not wait: print the job, for wait and cancel
    #[arg(long = "async")]
    pub(crate) asynchronous: bool,
    /// Say on standard error which node it ran on, and how it ended
    #[arg(long, short)]
    pub(crate) verbose: bool,
    /// What to run, and its arguments
    #[arg(required = true, trailing_var_arg = true, value_name = "COMMAND")]
    pub(crate) command: Vec<OsString>,
}

/// Where to run a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Where {
    /// On one node.
    On(On),
    /// On each.
    All,
}

#[derive(Debug, Args)]
pub(crate) struct Wait {
    /// The job, as clone --async prints it
    pub(crate) job: u64,
    /// How long to wait, such as 2s [default: as configured]
    #[arg(long, value_name = "TIME", value_parser = deadline)]
    pub(crate) timeout: Option<Duration>,
    /// Say on standard error which node it ran on, and how it ended
    #[arg(long, short)]
    pub(crate) verbose: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Copy {
    /// What to copy, and last where to: a file, or a directory for any number of files
    #[arg(required = true, num_args = 2.., value_name = "SOURCE... TARGET")]
    pub(crate) files: Vec<OsString>,
    /// Directories and what is in them, too
    #[arg(long, short)]
    pub(crate) recursive: bool,
    /// Go on with what an earlier copy of the same, unchanged source has left
    #[arg(long)]
    pub(crate) resume: bool,
    /// Read both files again afterwards and compare their SHA-256
    #[arg(long)]
    pub(crate) verify: bool,
}

#[derive(Debug, Args)]
pub(crate) struct List {
    /// Permissions, size and time, too
    #[arg(long, short)]
    pub(crate) long: bool,
    /// NODE:/PATH, or /PATH in an export of this node
    #[arg(required = true, value_name = "FILE")]
    pub(crate) files: Vec<OsString>,
}

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
        queue: Named,
    },
    /// Publish a message
    Pub {
        #[command(flatten)]
        queue: Named,
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
        queue: Named,
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

#[derive(Debug, Subcommand)]
pub(crate) enum KingcobraCommand {
    /// Show requests and replies, a line each: when, from whom, which of the two, what (as root)
    Log {
        /// A log [default: this node's, /var/log/kingcobra/REQUEST_REPLY.queue]
        file: Option<PathBuf>,
    },
    /// Send a request, wait for the reply, and print it
    ///
    /// A request that begins with 'problem:' or 'suggestion:' is of that type. If what was replied
    /// begins with 'ERR' and the name of an error the status is 1.
    Ask {
        /// The number of the node that is to do it [default: this node]
        #[arg(long, value_name = "NODE", value_parser = clap::value_parser!(u32).range(1..))]
        node: Option<u32>,
        /// How long to wait, such as 2s [default: as configured]
        #[arg(long, value_name = "TIME", value_parser = deadline)]
        timeout: Option<Duration>,
        /// The request
        request: OsString,
    },
    /// Answer the requests of this node's KingCobra with what a command prints
    ///
    /// The request is the command's input. If the command fails, or prints more than 65536 bytes,
    /// who has asked is told so.
    Serve {
        /// Requests of which type
        #[arg(long = "type", value_enum, default_value = "service")]
        kind: RequestType,
        /// The command
        #[arg(required = true, trailing_var_arg = true, value_name = "COMMAND")]
        command: Vec<OsString>,
    },
}

/// Types of requests.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum RequestType {
    Service,
    Problem,
    Suggestion,
}

impl From<RequestType> for virgo::kingcobra::Type {
    fn from(kind: RequestType) -> Self {
        match kind {
            RequestType::Service => Self::Service,
            RequestType::Problem => Self::Problem,
            RequestType::Suggestion => Self::Suggestion,
        }
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum Balance {
    /// Compute how many calls a node has to expect, and measure how many it gets
    ///
    /// k/N is what calls at random places give each node on average. Beside it stands the formula
    /// of the original, which is something else (docs/functions.md).
    Model(Model),
    /// Show what this node knows of the others' load (as root)
    ///
    /// '-' is what was not said lately; SENT are the calls that went there since.
    Show,
}

#[derive(Debug, Args)]
pub(crate) struct Model {
    /// Nodes
    #[arg(value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) nodes: u32,
    /// Calls
    #[arg(value_name = "K")]
    pub(crate) calls: u32,
    /// Make this many calls and show how many each node got
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) measure: Option<u32>,
    /// Where these calls go: least, random, two, or the number of a node [default: as configured]
    #[arg(long, value_name = "POLICY")]
    pub(crate) on: Option<On>,
    /// How long each of these calls keeps a processor busy, such as 5ms [default: not at all]
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    pub(crate) spin: Option<Duration>,
    /// How many calls are made at once
    #[arg(long, value_name = "COUNT", default_value = "1000", value_parser = batch)]
    pub(crate) batch: usize,
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

fn place(text: &str) -> Result<Where, &'static str> {
    match text {
        "all" => Ok(Where::All),
        _ => text
            .parse()
            .map(Where::On)
            .map_err(|_| "expected 'least', 'random', 'two', 'all' or the number of a node"),
    }
}

/// How long a system call may take.
fn deadline(text: &str) -> Result<Duration, String> {
    let time = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    match u32::try_from(time.as_millis()) {
        Ok(0..=MAX_DEADLINE_MS) => Ok(time),
        _ => Err("at most 300s".to_owned()),
    }
}

/// How long a message may be delayed.
fn delay(text: &str) -> Result<Duration, String> {
    let time = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    match u32::try_from(time.as_millis()) {
        Ok(_) => Ok(time),
        _ => Err(format!("at most {}ms", u32::MAX)),
    }
}

fn batch(text: &str) -> Result<usize, &'static str> {
    match text.parse() {
        Ok(count @ 1..=MAX_CALLS) => Ok(count),
        _ => Err("expected 1 to 1000"),
    }
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
    fn what_follows_the_target_is_its_own() {
        let line = "virgo clone --on 2 --async echo --on x -v";
        let arguments = Arguments::try_parse_from(line.split(' ')).unwrap();
        let Command::Clone(clone) = arguments.command else {
            panic!("{arguments:?}");
        };
        assert_eq!(clone.on, Some(Where::On(On::Node(2))));
        assert!(clone.asynchronous && !clone.verbose);
        assert_eq!(clone.command, ["echo", "--on", "x", "-v"]);
        assert_eq!(place("all"), Ok(Where::All));
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
            "virgo clone",
            "virgo clone --on most noop",
            "virgo functions --on least",
            "virgo functions --on 0",
            "virgo wait",
            "virgo cancel x",
            "virgo malloc 1 --timeout 301s",
            "virgo queue take q --timeout 1h",
            "virgo queue take q --node 0",
            "virgo queue pub q x --delay 50days",
            "virgo queue pub q x --priority 10",
            "virgo kingcobra ask x --timeout 301s",
            "virgo lb model 0 1",
            "virgo lb model 3 1 --measure 1 --batch 1001",
        ] {
            let error = Arguments::try_parse_from(line.split(' ')).unwrap_err();
            assert_eq!(error.exit_code(), 2, "{line}");
        }
    }
}
