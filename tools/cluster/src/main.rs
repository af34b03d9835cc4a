// SPDX-License-Identifier: GPL-2.0
//! The command line of the cluster tool; people call it as `qemu/cluster.sh`.

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};
use std::{
    fs,
    io::{self, IsTerminal, Read, Write},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::ExitCode,
    time::Instant,
};
use virgo_cluster::{Cluster, Lane, MAX_NODES, Node, Options, RunDir};

/// Exit status of `run` when it is not the command that failed, as with ssh.
const RUN_FAILED: u8 = 255;

/// A cluster of virtual machines, each a node of VIRGO.
///
/// The nodes are called node1, node2 and so on, and have the addresses 10.9.0.1, 10.9.0.2 and so
/// on in a network that reaches nothing else. VIRGO_RUN_DIR names another directory for everything
/// about the cluster, so that there can be two.
#[derive(Parser)]
#[command(bin_name = "qemu/cluster.sh")]
struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Boot the nodes; return when all of them answer
    Up(Up),
    /// Show name, address and state of the nodes
    Status,
    /// Run a command on a node: its input (unless that is a terminal), output and exit status
    ///
    /// 255 is the exit status if the command could not be run to its end.
    Run {
        node: String,
        #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
        command: Vec<String>,
    },
    /// Copy a file to a node
    Put {
        node: String,
        source: PathBuf,
        destination: String,
    },
    /// Copy a file from a node
    Get {
        node: String,
        source: String,
        destination: PathBuf,
    },
    /// Have a node gone at once, as by a power failure; its disk stays
    Kill { node: String },
    /// Stop a node's processors
    Pause { node: String },
    /// Let a paused node go on
    Resume { node: String },
    /// Kill a node if it runs, and boot it again with the same disk
    Restart { node: String },
    /// Cut two nodes off from each other: packets between them are lost
    Cut { a: String, b: String },
    /// End all cuts
    Heal,
    /// Print what a node has written on its console
    Log { node: String },
    /// Stop everything that was started and remove it
    Down,
}

#[derive(clap::Args)]
struct Up {
    /// How many nodes
    #[arg(short, default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=i64::from(MAX_NODES)))]
    n: u8,
    /// Use the kernel with KASAN, lockdep and kmemleak
    #[arg(long)]
    debug: bool,
    /// Use Debian's own kernel, which has no system calls of VIRGO
    #[arg(long, conflicts_with_all = ["debug", "icount"])]
    stock: bool,
    /// For measuring: one node with one processor, whose clock counts instructions
    #[arg(long, conflicts_with_all = ["n", "smp"])]
    icount: bool,
    /// Processors of a node
    #[arg(long, value_name = "PROCESSORS")]
    smp: Option<u8>,
    /// Memory of a node [default: 256, or 512 with --icount or --stock, or 1024 with --debug]
    #[arg(long, value_name = "MIB")]
    memory: Option<u32>,
    /// Give the nodes a USB controller with a serial adapter
    #[arg(long)]
    usb: bool,
}

impl Up {
    fn options(&self) -> Options {
        let base = if self.icount {
            Options::measuring()
        } else {
            Options {
                nodes: self.n,
                ..Options::default()
            }
        };
        Options {
            lane: match (self.debug, self.stock) {
                (true, _) => Lane::Debug,
                (_, true) => Lane::Stock,
                _ => base.lane,
            },
            smp: self.smp.unwrap_or(base.smp),
            memory: self.memory,
            usb: self.usb,
            ..base
        }
    }
}

fn main() -> ExitCode {
    let verb = Arguments::parse().verb;
    let failed = if matches!(verb, Verb::Run { .. }) {
        RUN_FAILED
    } else {
        1
    };
    execute(verb).unwrap_or_else(|error| {
        eprintln!("virgo: {error:#}");
        failed.into()
    })
}

fn execute(verb: Verb) -> Result<ExitCode> {
    let node = |name: String| Cluster::attach()?.find(&name);
    match verb {
        Verb::Up(up) => return bring_up(&up.options()),
        Verb::Status => print_status(&Cluster::attach()?)?,
        Verb::Run {
            node: name,
            command,
        } => return run(&node(name)?, command),
        Verb::Put {
            node: name,
            source,
            destination,
        } => put(&node(name)?, &source, destination)?,
        Verb::Get {
            node: name,
            source,
            destination,
        } => get(&node(name)?, &source, destination)?,
        Verb::Kill { node: name } => node(name)?.kill()?,
        Verb::Pause { node: name } => node(name)?.pause()?,
        Verb::Resume { node: name } => node(name)?.resume()?,
        Verb::Restart { node: name } => node(name)?.restart()?,
        Verb::Cut { a, b } => {
            let cluster = Cluster::attach()?;
            cluster.cut(cluster.find(&a)?.number(), cluster.find(&b)?.number())?;
        }
        Verb::Heal => Cluster::attach()?.heal()?,
        Verb::Log { node: name } => io::stdout().write_all(node(name)?.console()?.as_bytes())?,
        Verb::Down => {
            if !RunDir::find()?.down()? {
                eprintln!("virgo: no cluster is up");
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn bring_up(options: &Options) -> Result<ExitCode> {
    let start = Instant::now();
    let plural = if options.nodes == 1 { "" } else { "s" };
    eprintln!(
        "booting {} node{plural}, {} kernel",
        options.nodes, options.lane
    );
    let cluster = Cluster::up(options)?;
    print_status(&cluster)?;
    eprintln!(
        "up in {:.1} s {}",
        start.elapsed().as_secs_f32(),
        cluster.accel()
    );
    cluster.detach();
    Ok(ExitCode::SUCCESS)
}

fn print_status(cluster: &Cluster) -> Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{:<6} {:<9} STATE", "NAME", "ADDRESS")?;
    for node in cluster.nodes() {
        writeln!(
            out,
            "{:<6} {:<9} {}",
            node.name(),
            node.address(),
            node.state()?
        )?;
    }
    Ok(())
}

fn run(node: &Node, command: Vec<String>) -> Result<ExitCode> {
    let mut input = Vec::new();
    if !io::stdin().is_terminal() {
        io::stdin()
            .read_to_end(&mut input)
            .context("cannot read standard input")?;
    }
    let output = node.spawn_with_input(command, input)?.wait()?;
    io::stdout().write_all(&output.stdout)?;
    io::stderr().write_all(&output.stderr)?;
    // At most 255: a status is a byte, and there are 64 signals.
    Ok(u8::try_from(output.status).map_or(ExitCode::FAILURE, ExitCode::from))
}

fn put(node: &Node, source: &Path, mut destination: String) -> Result<()> {
    let cannot = || format!("cannot read {}", source.display());
    let content = fs::read(source).with_context(cannot)?;
    let mode = fs::metadata(source)
        .with_context(cannot)?
        .permissions()
        .mode();
    if destination.ends_with('/') {
        destination += &source.file_name().unwrap_or_default().to_string_lossy();
    }
    node.put_bytes(&destination, &content, mode)
}

fn get(node: &Node, source: &str, mut destination: PathBuf) -> Result<()> {
    if destination.is_dir() {
        destination.push(Path::new(source).file_name().unwrap_or_default());
    }
    let content = node.get_bytes(source)?;
    fs::write(&destination, content)
        .with_context(|| format!("cannot write {}", destination.display()))
}
