// SPDX-License-Identifier: GPL-2.0

//! What this node has promised, on disk: three numbers and a checksum, written before anybody is told.

use kernel::prelude::*;
use linux::{
    append::{
        replace,
        sync_dir,
        AppendFile, //
    },
    crypto::crc32c, //
};
use virgo_proto::cloudsync::membership::Durable;

const FOLDER: &CStr = c"/var/log/virgo_cloudsync";
const FILE: &CStr = c"view";
const NEW_FILE: &CStr = c"view.new";
/// Bytes of the numbers, and with the checksum.
const NUMBERS: usize = 20;
const SIZE: usize = NUMBERS + 4;

fn encode(durable: Durable) -> [u8; SIZE] {
    let mut bytes = [0; SIZE];
    let numbers = [durable.promised, durable.view];
    for (to, from) in bytes.chunks_exact_mut(8).zip(numbers) {
        to.copy_from_slice(&from.to_le_bytes());
    }
    if let Some(to) = bytes.get_mut(16..NUMBERS) {
        to.copy_from_slice(&durable.wait_ms.to_le_bytes());
    }
    let sum = crc32c(0, bytes.get(..NUMBERS).unwrap_or_default());
    if let Some(to) = bytes.get_mut(NUMBERS..) {
        to.copy_from_slice(&sum.to_le_bytes());
    }
    bytes
}

/// Reads what was written last; nothing if this node has never promised anything. May sleep. Kernel threads
/// only.
///
/// # Errors
///
/// [`EINVAL`] if the file is damaged: somebody has to say what this node has promised.
pub(crate) fn read() -> Result<Durable> {
    let file = AppendFile::open_in(FOLDER, FILE, 0o600)?;
    let mut bytes = [0; SIZE];
    let n = file.read_at(&mut bytes, 0)?;
    if n == 0 {
        return Ok(Durable::default());
    }
    let mut numbers = bytes.chunks_exact(8);
    let mut number = || {
        let bytes = numbers.next().and_then(|bytes| bytes.try_into().ok());
        bytes.map_or(0, u64::from_le_bytes)
    };
    let durable = Durable {
        promised: number(),
        view: number(),
        wait_ms: {
            let bytes = bytes
                .get(16..NUMBERS)
                .and_then(|bytes| bytes.try_into().ok());
            bytes.map_or(0, u32::from_le_bytes)
        },
    };
    match n == SIZE && encode(durable) == bytes {
        true => Ok(durable),
        false => Err(EINVAL),
    }
}

/// Writes it; it is on disk when this returns, under its name too: views change when machines lose power. May sleep. Kernel threads only.
///
/// # Errors
///
/// Those of the disk.
pub(crate) fn write(durable: Durable) -> Result {
    let file = AppendFile::open_in(FOLDER, NEW_FILE, 0o600)?;
    file.truncate(0)?;
    file.append(&encode(durable))?;
    file.sync()?;
    replace(FOLDER, NEW_FILE, FILE)?;
    sync_dir(FOLDER)
}
