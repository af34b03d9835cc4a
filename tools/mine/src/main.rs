// SPDX-License-Identifier: GPL-2.0
//! `virgo-mine`: learns from logs, and writes what it has learnt as kernel variables.

use anyhow::{Context, Result};
use clap::Parser;
use std::{
    fs::File,
    io::{self, Read, Write},
    path::{Path, PathBuf},
    thread::sleep,
    time::{Duration, Instant},
};
use virgo_mine::{
    Miner,
    follow::{Follower, News},
    serve::Server,
    told::Told,
};
use virgo_proto::analytics::STREAM_PORT;

/// Learn from logs what kernel variables are to be
///
/// Reads kern.log with lines of UFW, and records 'exec US PID PROGRAM' and 'exit US PID'. Memory is
/// bounded, however long the log is. What was learnt is printed as key=value lines, which
/// /etc/virgo_kernel_analytics.conf takes, or sent to nodes that fetch it; after the first time what differs.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// Logs; standard input if there is none, or for '-'
    files: Vec<PathBuf>,
    /// Go on with the last file as it grows, also when it is put aside for another of its name
    #[arg(long)]
    follow: bool,
    /// Send what was learnt to nodes that connect to port 64000
    #[arg(long)]
    stream: bool,
    /// Address to listen at for --stream
    #[arg(long, default_value = "127.0.0.1", value_name = "ADDRESS")]
    listen: String,
    /// Seconds between two reports of --follow and --stream
    #[arg(long, default_value_t = 1.0, value_name = "SECONDS")]
    every: f64,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let mut miner = Miner::default();
    let (last, files) = match arguments.files.split_last() {
        Some((last, files)) if arguments.follow => (Some(last), files),
        _ => (None, &arguments.files[..]),
    };
    if arguments.files.is_empty() {
        read(&mut miner, Path::new("-"))?;
    }
    for file in files {
        read(&mut miner, file)?;
    }
    let mut server = match arguments.stream {
        true => {
            Some(Server::new((arguments.listen.as_str(), STREAM_PORT)).context("cannot listen")?)
        }
        false => None,
    };
    let mut follower = last.map(|path| Follower::new(path.clone()));
    let every = Duration::try_from_secs_f64(arguments.every).context("--every")?;
    let mut reported = Instant::now();
    if follower.is_none() && server.is_none() {
        return print(&miner.pairs());
    }
    let (mut printed, mut failed) = (Told::default(), false);
    loop {
        let caught_up = match &mut follower {
            Some(follower) => catch_up(&mut miner, follower),
            None => Ok(true),
        };
        let idle = match caught_up {
            Ok(idle) => {
                failed = false;
                idle
            }
            // A log that is put aside may not be there, or not be ours, for a while.
            Err(error) => {
                if !std::mem::replace(&mut failed, true) {
                    eprintln!("virgo-mine: {error:#}; it is tried again");
                }
                true
            }
        };
        if reported.elapsed() >= every {
            reported = Instant::now();
            match &mut server {
                Some(server) => {
                    server.send(miner.pairs());
                }
                None => print(&printed.differing(miner.pairs()))?,
            }
        } else if let Some(server) = &mut server {
            server.poll();
        }
        if idle {
            sleep(Duration::from_millis(50).min(every));
        }
    }
}

fn read(miner: &mut Miner, path: &Path) -> Result<()> {
    let mut input: Box<dyn Read> = match path == Path::new("-") {
        true => Box::new(io::stdin().lock()),
        false => {
            Box::new(File::open(path).with_context(|| format!("cannot read {}", path.display()))?)
        }
    };
    let mut buffer = vec![0; 1 << 18];
    loop {
        match input.read(&mut buffer)? {
            0 => break,
            n => miner.feed(&buffer[..n]),
        }
    }
    miner.end();
    Ok(())
}

/// Takes what is new; true if that is nothing.
fn catch_up(miner: &mut Miner, follower: &mut Follower) -> Result<bool> {
    match follower.poll()? {
        News::Bytes(bytes) => miner.feed(bytes),
        News::Restart => miner.end(),
        News::Nothing => return Ok(true),
    }
    Ok(false)
}

fn print(pairs: &[(String, String)]) -> Result<()> {
    let mut text = String::new();
    for (key, value) in pairs {
        text += &format!("{key}={value}\n");
    }
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    Ok(out.flush()?)
}
