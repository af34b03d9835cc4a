// SPDX-License-Identifier: GPL-2.0
//! The command line.

mod analytics;
mod balance;
mod clone;
pub(crate) mod eventnet;
mod files;
mod kingcobra;
mod lock;
mod memory;
mod net;
mod node;
mod queue;
mod socket_name;
mod usb;
mod values;

pub(crate) use analytics::{AnalyticsCommand, Apply};
pub(crate) use balance::{Balance, Model};
pub(crate) use clone::{Clone, WaitOptions, Where};
pub(crate) use files::{Copy, List};
pub(crate) use kingcobra::KingcobraCommand;
pub(crate) use lock::Lock;
pub(crate) use memory::{Free, Get, Malloc, MemoryCommand, MemoryList, Set};
pub(crate) use net::{NetCommand, SocketNames, WatchOptions};
pub(crate) use node::{ConfigCommand, SessionsOptions};
pub(crate) use queue::{Named, QueueCommand};
pub(crate) use socket_name::SocketName;
pub(crate) use usb::{Capture, UsbCommand};

use clap::{Parser, Subcommand};
use eventnet::EventNet;
use std::ffi::OsString;

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
    Free(Free),
    /// See what is wrong with this machine as a node, and what to do about it
    ///
    /// Looks at the kernel, the modules, the device, ports, files and keys, memory, the clock, and
    /// whether the other nodes are reached and reach this one. As root it sees all of that. Exit
    /// status 1 if there is a problem; warnings are none.
    Doctor,
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
    Wait(WaitOptions),
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
    /// See what happened before what (as root)
    #[command(subcommand)]
    Eventnet(EventNet),
    /// Run a command while holding a cluster lock
    ///
    /// Nobody else in the cluster has it meanwhile, or with --shared only others with --shared. The
    /// command finds the fencing token in VIRGO_LOCK_TOKEN, and in VIRGO_LOCK_FENCE what 'virgo set
    /// --fence' takes. The lock is held until the command and what it has started have ended, however
    /// they end.
    Lock(Lock),
    /// Show who has cluster locks and who waits for them; users other than root see their own
    Locks {
        /// Those of one node [default: of all]
        #[arg(long, value_name = "NODE", value_parser = clap::value_parser!(u32).range(1..))]
        node: Option<u32>,
    },
    /// How calls are spread over the nodes
    #[command(subcommand)]
    Lb(Balance),
    /// The variables that steer the kernel modules of this node (as root)
    #[command(subcommand)]
    Analytics(AnalyticsCommand),
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
    /// See what lies in the queues of sockets, and which packets are dropped (as root)
    #[command(subcommand)]
    Net(NetCommand),
    /// See what the USB devices of this node say, and decide which may be used (as root)
    #[command(subcommand)]
    Usb(UsbCommand),
    /// Show who is connected to the services of this node, or end a session (as root)
    ///
    /// Kinds are 'text' (people who type, and the uid that they act as), 'node', and 'unproven' for
    /// the first seconds.
    Sessions(SessionsOptions),
    /// Check or reload the configuration
    #[command(subcommand)]
    Config(ConfigCommand),
}

#[cfg(test)]
mod tests {
    use super::{clone::place, *};
    use clap::CommandFactory;
    use std::time::Duration;
    use virgo::{On, Place};

    #[test]
    fn the_definition_is_consistent() {
        Arguments::command().debug_assert();
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
