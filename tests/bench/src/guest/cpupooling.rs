// SPDX-License-Identifier: GPL-2.0
//! Having another machine do something.

use crate::{Measurement, measure, measure_slow};
use anyhow::{Context, Result, ensure};
use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    process::Command,
    thread,
};
use virgo::{Call, Ended, On};

pub const MEASUREMENTS: &[(&str, Measurement)] = &[
    ("noop", noop),
    ("program", program),
    ("rpc", rpc),
    ("rpc-bare", rpc_bare),
    ("nats", nats),
    ("ssh", ssh),
];

/// Calls in a batch.
const BATCH: usize = 1000;

/// A function that does nothing, on the node of a number: one at a time, and many at once.
fn noop(node: &str) -> Result<()> {
    let call = Call::new("noop").on(On::Node(node.parse()?)).max_output(0);
    measure("noop", || {
        ensure!(virgo::run(&call)?.ended == Ended::Returned(0));
        Ok(())
    })?;
    let calls = vec![call; BATCH];
    measure_slow("noop1000", BATCH, || {
        let outcomes = virgo::run_all(&calls)?;
        ensure!(outcomes.iter().all(|o| o.ended == Ended::Returned(0)));
        Ok(())
    })
}

/// A program that prints its arguments, on the node of a number.
fn program(node: &str) -> Result<()> {
    let call = Call::new("/usr/lib/virgo/test/virgo_cloud_test_main")
        .args(["print", "hello"])
        .on(On::Node(node.parse()?));
    measure_slow("program", 1, || {
        let outcome = virgo::run(&call)?;
        ensure!(outcome.ended == Ended::Exited(0), "{outcome:?}");
        Ok(())
    })
}

/// `ssh ADDRESS true`, by dropbear's client.
fn ssh(address: &str) -> Result<()> {
    measure_slow("ssh", 1, || {
        let status = Command::new("dbclient")
            .args(["-y", "-y", "-i", "/root/.ssh/id", address, "true"])
            .status()?;
        ensure!(status.success(), "dbclient: {status}");
        Ok(())
    })
}

/// The NULL call of rpcbind, by a program that uses libtirpc: tests/bench/null.c.
fn rpc(address: &str) -> Result<()> {
    let status = Command::new("virgo_bench_null").arg(address).status()?;
    ensure!(status.success(), "virgo_bench_null: {status}");
    Ok(())
}

/// The same (RFC 5531) by a client that does no more than send and receive: no arguments, no
/// result.
fn rpc_bare(address: &str) -> Result<()> {
    let (call, version, rpcbind, null) = (0u32, 2u32, [100_000, 2], 0);
    let no_credentials = [0, 0, 0, 0];
    let words: Vec<u32> = [&[7, call, version], &rpcbind[..], &[null], &no_credentials].concat();
    let body: Vec<u8> = words.iter().flat_map(|word| word.to_be_bytes()).collect();
    // The last fragment of a record has the highest bit set.
    let mark = (0x8000_0000 | body.len() as u32).to_be_bytes();
    let request = [&mark[..], &body].concat();
    let mut stream = TcpStream::connect((address, 111))?;
    stream.set_nodelay(true)?;
    // Mark, number, reply, accepted, no verifier, success.
    let mut reply = [0; 28];
    measure("bare", || {
        stream.write_all(&request)?;
        Ok(stream.read_exact(&mut reply)?)
    })?;
    ensure!(reply[8..] == [0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    Ok(())
}

/// A request of 64 bytes and its reply, of which a thread here takes care.
fn nats(address: &str) -> Result<()> {
    let service = nats_service(address)?;
    thread::spawn(service);
    nats_request(address)
}

/// Somebody who takes care of requests, for good.
pub fn nats_service(address: &str) -> Result<impl FnOnce() -> Result<()> + use<>> {
    let (mut service, mut requests) = nats_session(address)?;
    write!(service, "SUB service 1\r\nPING\r\n")?;
    expect(&mut requests, "PONG")?;
    Ok(move || {
        let mut line = String::new();
        loop {
            next_line(&mut requests, &mut line)?;
            // MSG service 1 INBOX 64
            let inbox = line
                .split(' ')
                .nth(3)
                .context("no reply wanted")?
                .to_owned();
            next_line(&mut requests, &mut line)?;
            write!(service, "PUB {inbox} 64\r\n{line}")?;
        }
    })
}

/// A request of 64 bytes and its reply, of which somebody takes care.
pub fn nats_request(address: &str) -> Result<()> {
    let payload = "p".repeat(64);
    let (mut client, mut replies) = nats_session(address)?;
    write!(client, "SUB inbox 1\r\nPING\r\n")?;
    expect(&mut replies, "PONG")?;
    let request = format!("PUB service inbox 64\r\n{payload}\r\n");
    measure("nats", || {
        client.write_all(request.as_bytes())?;
        expect(&mut replies, "MSG inbox 1 64")?;
        expect(&mut replies, &payload)
    })
}

pub fn nats_session(address: &str) -> Result<(TcpStream, BufReader<TcpStream>)> {
    let mut stream = TcpStream::connect((address, 4222))?;
    stream.set_nodelay(true)?;
    let mut lines = BufReader::new(stream.try_clone()?);
    let mut info = String::new();
    lines.read_line(&mut info)?;
    ensure!(info.starts_with("INFO "), "{info}");
    write!(stream, "CONNECT {{\"verbose\":false}}\r\n")?;
    Ok((stream, lines))
}

/// Reads a line that is not the server's PING, which need not be answered for minutes.
pub fn next_line(lines: &mut impl BufRead, line: &mut String) -> Result<()> {
    loop {
        line.clear();
        ensure!(lines.read_line(line)? > 0, "the server has hung up");
        if line != "PING\r\n" {
            return Ok(());
        }
    }
}

pub fn expect(lines: &mut impl BufRead, expected: &str) -> Result<()> {
    let mut line = String::new();
    next_line(lines, &mut line)?;
    ensure!(
        line.trim_end() == expected,
        "'{line}' instead of '{expected}'"
    );
    Ok(())
}
