// SPDX-License-Identifier: GPL-2.0
//! Cluster memory: malloc, set, get, free.

use crate::{
    blocks::{self, BLOCK},
    failure, fence,
    options::{Free, Get, Malloc, Set},
    output::{self, Printer},
};
use anyhow::Result;
use serde_json::json;
use std::{
    io::{self, Read},
    os::unix::ffi::OsStrExt,
    process::ExitCode,
};
use virgo::{Allocation, Within};

pub(crate) fn malloc(output: Printer, options: &Malloc) -> Result<()> {
    let mut allocation = Allocation::new(options.size).place(options.place.unwrap_or_default());
    if options.shared {
        allocation = allocation.shared();
    }
    if let Some(timeout) = options.timeout {
        allocation = allocation.timeout(timeout);
    }
    let id = allocation.allocate()?;
    let printed = output.print(&json!({ "id": id }), || id.to_string());
    printed.inspect_err(|_| {
        // Nobody knows the id, so nobody else can free it.
        if let Err(error) = virgo::free(id) {
            failure::report(output, &error.into());
        }
    })
}

pub(crate) fn set(output: Printer, options: &Set) -> Result<()> {
    let lock = options.fence.as_deref().map(fence::parse).transpose()?;
    let calls = fence::within(lock.as_ref());
    let bytes = match &options.data {
        Some(data) => copy_in(options, calls, data.as_bytes())?,
        None => copy_in(options, calls, io::stdin().lock())?,
    };
    let result = json!({ "id": options.id, "offset": options.offset, "bytes": bytes });
    output.print(&result, String::new)
}

/// Copies all that is in `from` into the allocation; returns how many bytes that is.
fn copy_in(options: &Set, calls: Within<'_>, from: impl Read) -> Result<u64> {
    blocks::each(from, |before, block| {
        Ok(calls.set(options.id, options.offset.saturating_add(before), block)?)
    })
}

pub(crate) fn get(output: Printer, options: &Get) -> Result<()> {
    if !output.json {
        return copy_out(options, output::bytes);
    }
    let mut data = Vec::new();
    copy_out(options, |bytes| {
        data.extend_from_slice(bytes);
        Ok(())
    })?;
    let mut result = json!({ "id": options.id, "offset": options.offset, "bytes": data.len() });
    let (name, value) = output::json_bytes(&data);
    result[name] = value;
    output.print(&result, String::new)
}

/// Hands bytes of the allocation to `to`, block by block.
fn copy_out(options: &Get, mut to: impl FnMut(&[u8]) -> Result<()>) -> Result<()> {
    let mut left = options.length.unwrap_or(u64::MAX);
    let mut offset = options.offset;
    let mut block = vec![0; usize::try_from(left).map_or(BLOCK, |left| left.min(BLOCK))];
    loop {
        let wanted = usize::try_from(left).map_or(BLOCK, |left| left.min(BLOCK));
        let n = virgo::get(options.id, offset, &mut block[..wanted])?;
        to(&block[..n])?;
        left -= n as u64;
        offset += n as u64;
        if n < wanted || left == 0 {
            return Ok(());
        }
    }
}

/// Frees all that can be freed.
pub(crate) fn free(output: Printer, options: &Free) -> Result<ExitCode> {
    let lock = options.fence.as_deref().map(fence::parse).transpose()?;
    let calls = fence::within(lock.as_ref());
    let mut freed = Vec::new();
    for &id in &options.ids {
        match calls.free(id) {
            Ok(()) => freed.push(id),
            Err(error) => failure::report(output, &error.into()),
        }
    }
    output.print(&json!({ "freed": freed }), String::new)?;
    Ok(if freed.len() == options.ids.len() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
