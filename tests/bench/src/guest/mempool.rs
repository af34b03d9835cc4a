// SPDX-License-Identifier: GPL-2.0
//! Gets of 32 bytes, of the memory pool and of memcached.

use crate::{Measurement, measure, session::Session};
use anyhow::{Context, Result, ensure};
use std::fs;
use virgo::{Allocation, Id, Place};

pub const MEASUREMENTS: &[(&str, Measurement)] = &[
    ("memcached", memcached),
    ("get", get),
    ("text", text),
    ("live", live),
];

/// Bytes of a value.
const VALUE: usize = 32;

/// Requests in one segment.
const BATCH: usize = 16;

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
