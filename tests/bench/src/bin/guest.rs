// SPDX-License-Identifier: GPL-2.0
//! Runs inside a guest: times operations, and prints a line `name nanoseconds` for each.
//!
//! Under `-icount shift=0` the guest's clock counts instructions, so the numbers are instructions
//! an operation, of all that runs: client, kernel, server.
//!
//! Usage: `virgo-bench-guest memcached ADDRESS | get [NODE] | text ADDRESS | live COUNT`

use anyhow::{Context, Result, bail, ensure};
use std::{
    env, fs,
    io::{Read, Write},
    net::TcpStream,
    time::Instant,
};
use virgo::{Allocation, Id, Place};

/// Bytes of a value.
const VALUE: usize = 32;

/// Requests in one segment.
const BATCH: usize = 16;

fn main() -> Result<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["memcached", address] => memcached(address),
        ["get"] => get("get", Place::default()),
        ["get", node] => get("get", Place::Node(node.parse()?)),
        ["text", address] => text(address),
        ["live", count] => live(count.parse()?),
        _ => bail!("usage: virgo-bench-guest memcached ADDRESS|get [NODE]|text ADDRESS|live COUNT"),
    }
}

/// Times `operation`: after a warm-up the mean of `rounds`.
fn measure(name: &str, rounds: u32, mut operation: impl FnMut() -> Result<()>) -> Result<()> {
    for _ in 0..rounds / 5 {
        operation()?;
    }
    let start = Instant::now();
    for _ in 0..rounds {
        operation()?;
    }
    println!("{name} {}", start.elapsed().as_nanos() / u128::from(rounds));
    Ok(())
}

/// A connection on which every request is answered by a number of bytes that is known.
struct Session(TcpStream);

impl Session {
    fn new(address: &str, port: u16) -> Result<Self> {
        let stream = TcpStream::connect((address, port))?;
        stream.set_nodelay(true)?;
        Ok(Session(stream))
    }

    fn ask(&mut self, request: &[u8], reply: &mut [u8]) -> Result<()> {
        self.0.write_all(request)?;
        Ok(self.0.read_exact(reply)?)
    }

    /// Asks, and checks the reply once.
    fn check(&mut self, request: &[u8], expected: &[u8]) -> Result<()> {
        let mut reply = vec![0; expected.len()];
        self.ask(request, &mut reply)?;
        ensure!(
            reply == expected,
            "{:?}: {:?}",
            String::from_utf8_lossy(request),
            String::from_utf8_lossy(&reply)
        );
        Ok(())
    }

    fn measure(&mut self, name: &str, request: &[u8], expected: &[u8]) -> Result<()> {
        self.check(request, expected)?;
        let mut reply = vec![0; expected.len()];
        measure(name, 2000, || self.ask(request, &mut reply))
    }
}

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

fn get(name: &str, place: Place) -> Result<()> {
    let id = allocate(place)?;
    let mut data = [0; VALUE];
    measure(name, 2000, || {
        ensure!(virgo::get(id, 0, &mut data)? == VALUE);
        Ok(())
    })?;
    ensure!(data == [b'v'; VALUE]);
    Ok(virgo::free(id)?)
}

fn text(address: &str) -> Result<()> {
    let key = fs::read_to_string("/etc/virgo.key").context("/etc/virgo.key")?;
    let mut session = Session::new(address, 30000)?;
    session.check(format!("auth {}\n", key.trim()).as_bytes(), b"OK\n")?;
    let mut reply = [0; 17];
    session.ask(
        format!("virgo_cloud_malloc({VALUE})\n").as_bytes(),
        &mut reply,
    )?;
    let id = str::from_utf8(&reply)?.trim().to_owned();
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
fn live(count: usize) -> Result<()> {
    let ids = (0..count)
        .map(|_| allocate(Place::default()))
        .collect::<Result<Vec<_>>>()?;
    let mut data = [0; VALUE];
    // Over the whole table, in steps that do not follow its order.
    let mut at = 0;
    measure(&format!("live{count}"), 2000, || {
        at = (at + 7919) % ids.len();
        ensure!(virgo::get(ids[at], 0, &mut data)? == VALUE);
        Ok(())
    })?;
    for id in ids {
        virgo::free(id)?;
    }
    Ok(())
}
