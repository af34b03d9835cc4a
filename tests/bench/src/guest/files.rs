// SPDX-License-Identifier: GPL-2.0
//! Files: of VIRGO by its calls, of NFS and 9P where they are mounted, by the same operations.

use crate::{Measurement, measure, measure_slow};
use anyhow::{Context, Result, ensure};
use std::{
    fs::{self, OpenOptions},
    io::Write,
    os::unix::fs::{FileExt, OpenOptionsExt},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};
use virgo::{File, Open};

pub const MEASUREMENTS: &[(&str, Measurement)] = &[
    ("files", files),
    ("mounted-files", mounted_files),
    ("small-files", small_files),
    ("mounted-small-files", mounted_small_files),
    ("open-files", open_files),
    ("dead-node", dead_node),
    ("dead-mount", dead_mount),
];

/// Time until the node of a file is dead.
const ALIVE: Duration = Duration::from_secs(3);

/// Time in which a read is to end then.
const DEADLINE: Duration = Duration::from_secs(1);

/// Longest time that a mount is waited for.
const PATIENCE: Duration = Duration::from_secs(20);

/// What the large file is called, in the directory that is measured.
const LARGE: &str = "bench.large";
const SIZE: usize = 16 << 20;
const PAGE: usize = 4096;
const MIB: usize = 1 << 20;

/// Small files that are copied, each of a page.
const SMALL: usize = 5000;

/// Files that are open at a time.
const OPEN: usize = 900;

/// Of the directory, as VIRGO calls it: `1:/srv` or `/srv`.
fn files(directory: &str) -> Result<()> {
    let large = format!("{directory}/{LARGE}");
    let file = Open::new().read().write().create().open(&large)?;
    file.write_at(0, &vec![b'x'; SIZE])?;
    reads_and_writes(
        |at, data| Ok(file.read_at(at, data)?),
        |at, data| Ok(file.write_at(at, data)?),
    )
}

/// Of a directory of another file system, past the cache of this end; it holds the large file.
fn mounted_files(directory: &str) -> Result<()> {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(libc::O_DIRECT)
        .open(format!("{directory}/{LARGE}"))
        .context("is the large file there?")?;
    reads_and_writes(
        |at, data| Ok(file.read_at(data, at)?),
        |at, data| Ok(file.write_all_at(data, at)?),
    )
}

/// Of the directory, as VIRGO calls it.
fn small_files(directory: &str) -> Result<()> {
    copies(directory, |name, content| {
        let file = Open::new().write().create().truncate().open(name)?;
        Ok(file.write_at(0, content)?)
    })
}

/// Of a directory of another file system.
fn mounted_small_files(directory: &str) -> Result<()> {
    copies(directory, |name, content| {
        Ok(fs::File::create(name)?.write_all(content)?)
    })
}

/// Random reads of a page; reads and writes of 1 MiB in sequence.
fn reads_and_writes(
    mut read: impl FnMut(u64, &mut [u8]) -> Result<usize>,
    mut write: impl FnMut(u64, &[u8]) -> Result<()>,
) -> Result<()> {
    // O_DIRECT wants memory that starts at a page.
    let mut memory = vec![0; MIB + PAGE];
    let start = memory.as_ptr().align_offset(PAGE);
    let buffer = &mut memory[start..start + MIB];
    let mut at = 0;
    measure("random4k", || {
        at = (at + 7919 * PAGE) % SIZE;
        ensure!(read(at as u64, &mut buffer[..PAGE])? == PAGE);
        Ok(())
    })?;
    ensure!(buffer[..PAGE] == [b'x'; PAGE]);
    measure_slow("sequential1m", SIZE / MIB, || {
        for at in (0..SIZE).step_by(MIB) {
            ensure!(read(at as u64, buffer)? == MIB);
        }
        Ok(())
    })?;
    ensure!(buffer.iter().all(|byte| *byte == b'x'));
    measure_slow("write1m", SIZE / MIB, || {
        for at in (0..SIZE).step_by(MIB) {
            write(at as u64, buffer)?;
        }
        Ok(())
    })
}

/// Small files written to a directory that has none of them, once.
fn copies(directory: &str, copy: impl Fn(&str, &[u8]) -> Result<()>) -> Result<()> {
    let start = Instant::now();
    for number in 0..SMALL {
        copy(&format!("{directory}/{number}"), &[b's'; PAGE])?;
    }
    println!("small {}", start.elapsed().as_nanos() / SMALL as u128);
    Ok(())
}

/// What the kernel needs for an open file, at both ends if the name leads over the network.
fn open_files(name: &str) -> Result<()> {
    drop(Open::new().write().create().open(name)?);
    let first = File::open(name)?;
    let before = kernel_kib()?;
    let files = (0..OPEN)
        .map(|_| Ok(File::open(name)?))
        .collect::<Result<Vec<_>>>()?;
    let after = kernel_kib()?;
    println!("open {}", (after - before) * 1024.0 / OPEN as f64);
    drop((first, files));
    Ok(())
}

/// Milliseconds until a read of a file ends in an error, its node being dead.
fn dead_node(name: &str) -> Result<()> {
    let file = Open::new().timeout(DEADLINE).open(name)?;
    thread::sleep(ALIVE);
    let start = Instant::now();
    let read = file.read_at(0, &mut [0; PAGE]);
    let took = start.elapsed();
    ensure!(read.is_err(), "the node is not dead");
    println!("dead {}", took.as_millis());
    Ok(())
}

/// The same of a mounted file; it is not waited for longer than [`PATIENCE`].
fn dead_mount(path: &str) -> Result<()> {
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_DIRECT)
        .open(path)?;
    thread::sleep(ALIVE);
    let (done, ended) = mpsc::channel();
    let start = Instant::now();
    thread::spawn(move || {
        let mut memory = vec![0; 2 * PAGE];
        let at = memory.as_ptr().align_offset(PAGE);
        let _ = file.read_at(&mut memory[at..at + PAGE], 0);
        let _ = done.send(());
    });
    let _ = ended.recv_timeout(PATIENCE);
    println!("dead {}", start.elapsed().as_millis());
    Ok(())
}

/// What the kernel has taken for itself, in KiB.
fn kernel_kib() -> Result<f64> {
    let text = fs::read_to_string("/proc/meminfo")?;
    let kib = |name: &str| -> Result<f64> {
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        let words = line.with_context(|| format!("no {name} in /proc/meminfo"))?;
        let number = words.trim_end_matches("kB").trim();
        Ok(number.parse()?)
    };
    Ok(kib("Slab:")? + kib("VmallocUsed:")? + kib("Percpu:")? + kib("KernelStack:")?)
}
