// SPDX-License-Identifier: GPL-2.0
//! Gets of 32 bytes, of the memory pool and of memcached.

use crate::{Measurement, measure, session::Session};
use anyhow::{Context, Result, ensure};
use std::{
    fs,
    sync::{
        Barrier,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};
use virgo::{Allocation, Id, Place};

pub const MEASUREMENTS: &[(&str, Measurement)] = &[
    ("memcached", memcached),
    ("get", get),
    ("text", text),
    ("live", live),
    ("threads", threads),
];

/// Bytes of a value.
const VALUE: usize = 32;

/// Requests in one segment.
const BATCH: usize = 16;

/// For how long many threads get values.
const THREADS_TIME: Duration = Duration::from_secs(8);

/// Bytes of the stack of each of them.
const THREADS_STACK: usize = 64 << 10;

/// At the address.
fn memcached(address: &str) -> Result<()> {
    let value = "v".repeat(VALUE);
    let mut session = Session::new(address, 11211)?;
    session.check(
        format!("set key 0 0 {VALUE}\r\n{value}\r\n").as_bytes(),
        b"STORED\r\n",
    )?;
    let reply = format!("VALUE key 0 {VALUE}\r\n{value}\r\nEND\r\n");
    session.measure("get", b"get key\r\n", reply.as_bytes())?;
    let (requests, replies) = (b"get key\r\n".repeat(BATCH), reply.repeat(BATCH));
    session.measure("get16", &requests, replies.as_bytes())
}

fn allocate(place: Place) -> Result<Id> {
    let id = Allocation::new(VALUE as u64).place(place).allocate()?;
    virgo::set(id, 0, &[b'v'; VALUE])?;
    Ok(id)
}

/// By system call, of memory on the node of a number or where it comes to lie.
fn get(node: &str) -> Result<()> {
    let place = match node {
        "" => Place::default(),
        number => Place::Node(number.parse()?),
    };
    let id = allocate(place)?;
    let mut data = [0; VALUE];
    measure("get", || {
        ensure!(virgo::get(id, 0, &mut data)? == VALUE);
        Ok(())
    })?;
    ensure!(data == [b'v'; VALUE]);
    Ok(virgo::free(id)?)
}

/// By text session with the address.
fn text(address: &str) -> Result<()> {
    let key = fs::read_to_string("/etc/virgo_text.key").context("/etc/virgo_text.key")?;
    let mut session = Session::new(address, 30000)?;
    session.check(format!("auth {}\n", key.trim()).as_bytes(), b"OK\n")?;
    let mut reply = [0; 17];
    session.ask(
        format!("virgo_cloud_malloc({VALUE})\n").as_bytes(),
        &mut reply,
    )?;
    let id = std::str::from_utf8(&reply)?.trim().to_owned();
    let value = "v".repeat(VALUE);
    let stored = format!("{id}\n");
    session.check(
        format!("virgo_cloud_set({id},{value})\n").as_bytes(),
        stored.as_bytes(),
    )?;
    let (request, reply) = (format!("virgo_cloud_get({id})\n"), format!("{value}\n"));
    session.measure("text", request.as_bytes(), reply.as_bytes())?;
    let (requests, replies) = (request.repeat(BATCH), reply.repeat(BATCH));
    session.measure("text16", requests.as_bytes(), replies.as_bytes())?;
    session.check(
        format!("virgo_cloud_free({id})\n").as_bytes(),
        b"kernel memory freed\n",
    )
}

/// The cost of a get while so many allocations are live.
fn live(count: &str) -> Result<()> {
    let count: usize = count.parse()?;
    let ids = (0..count)
        .map(|_| allocate(Place::default()))
        .collect::<Result<Vec<_>>>()?;
    let mut data = [0; VALUE];
    // Over the whole table, in steps that do not follow its order.
    let mut at = 0;
    measure(&format!("live{count}"), || {
        at = (at + 7919) % ids.len();
        ensure!(virgo::get(ids[at], 0, &mut data)? == VALUE);
        Ok(())
    })?;
    for id in ids {
        virgo::free(id)?;
    }
    Ok(())
}

/// Many threads that get a value at the same time: `NODE,COUNT`, of memory on the node of that number.
/// Prints wall-clock nanoseconds an operation, context switches in 100 operations, operations that
/// failed, and how many percent of the operations of the thread that did fewest the mean is.
fn threads(argument: &str) -> Result<()> {
    let (node, count) = argument.split_once(',').context("NODE,COUNT")?;
    let count: usize = count.parse()?;
    let id = allocate(Place::Node(node.parse()?))?;
    let (start, end) = (Barrier::new(count + 1), AtomicBool::new(false));
    let get = || {
        start.wait();
        let before = context_switches().unwrap_or(0);
        let (mut done, mut failed) = (0_u64, 0_u64);
        let mut data = [0; VALUE];
        while !end.load(Relaxed) {
            match virgo::get(id, 0, &mut data) {
                Ok(VALUE) => done += 1,
                _ => failed += 1,
            }
        }
        (done, failed, context_switches().unwrap_or(0) - before)
    };
    let mut counts = Vec::new();
    let mut nanos = 0;
    thread::scope(|scope| -> Result<()> {
        let mut running = Vec::new();
        for _ in 0..count {
            let thread = thread::Builder::new().stack_size(THREADS_STACK);
            running.push(thread.spawn_scoped(scope, get)?);
        }
        let begin = Instant::now();
        start.wait();
        thread::sleep(THREADS_TIME);
        end.store(true, Relaxed);
        for thread in running {
            counts.push(thread.join().expect("a thread that gets values"));
        }
        nanos = begin.elapsed().as_nanos();
        Ok(())
    })?;
    virgo::free(id)?;
    let done: u64 = counts.iter().map(|(done, ..)| done).sum();
    let failed: u64 = counts.iter().map(|(_, failed, _)| failed).sum();
    let switches: u64 = counts.iter().map(|(.., switches)| switches).sum();
    let least = counts.iter().map(|(done, ..)| *done).min().unwrap_or(0);
    ensure!(done > 0, "{failed} operations failed, none succeeded");
    println!("threads{count} {}", nanos / u128::from(done));
    println!("switches{count} {}", switches * 100 / done);
    println!("errors{count} {failed}");
    // One that has done nothing is worse than any ratio.
    let ratio = (done * 100 / count as u64).checked_div(least);
    println!("least{count} {}", ratio.unwrap_or(1_000_000));
    Ok(())
}

/// Those of the calling thread so far.
fn context_switches() -> Result<u64> {
    let status = fs::read_to_string("/proc/thread-self/status")?;
    let counts = status.lines().filter_map(|line| {
        let (name, count) = line.split_once(':')?;
        name.ends_with("voluntary_ctxt_switches")
            .then(|| count.trim().parse::<u64>().ok())?
    });
    Ok(counts.sum())
}
