// SPDX-License-Identifier: GPL-2.0
//! Messages of EventNet by text session, and sets of the memory pool by one.

use crate::{Measurement, session::Session};
use anyhow::{Context, Result};
use std::fs;

pub const MEASUREMENTS: &[(&str, Measurement)] = &[("edge", edge), ("text_set", text_set)];

fn open(address: &str, port: u16) -> Result<Session> {
    let key = fs::read_to_string("/etc/virgo_text.key").context("/etc/virgo_text.key")?;
    let mut session = Session::new(address, port)?;
    session.check(format!("auth {}\n", key.trim()).as_bytes(), b"OK\n")?;
    Ok(session)
}

fn edge(address: &str) -> Result<()> {
    let mut session = open(address, 20000)?;
    session.measure("edge", b"eventnet_edgemsg#1#2#\n", b"EventNet updated\n")
}

fn text_set(address: &str) -> Result<()> {
    let mut session = open(address, 30000)?;
    let mut reply = [0; 17];
    session.ask(b"virgo_cloud_malloc(32)\n", &mut reply)?;
    let id = std::str::from_utf8(&reply)?.trim().to_owned();
    let set = format!("virgo_cloud_set({id},one value)\n");
    session.measure("set", set.as_bytes(), format!("{id}\n").as_bytes())?;
    session.check(
        format!("virgo_cloud_free({id})\n").as_bytes(),
        b"kernel memory freed\n",
    )
}
