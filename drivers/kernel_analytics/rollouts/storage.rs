// SPDX-License-Identifier: GPL-2.0

//! What this node has decided, on disk: numbers and a checksum, written before anybody is told.

use kernel::prelude::*;
use linux::{
    append::{
        replace,
        sync_dir,
        AppendFile, //
    },
    crypto::crc32c, //
};
use virgo_proto::analytics::rollout::node::{
    DecidedRollouts,
    MAX_OUTCOMES, //
};

const FOLDER: &CStr = c"/var/log/virgo_analytics";
const FILE: &CStr = c"decided";
const NEW_FILE: &CStr = c"decided.new";
/// Bytes of the numbers, and with the checksum.
const NUMBERS: usize = MAX_OUTCOMES * 8;
const SIZE: usize = NUMBERS + 4;

fn encode(decided: &DecidedRollouts) -> [u8; SIZE] {
    let mut bytes = [0; SIZE];
    for (to, from) in bytes.chunks_exact_mut(8).zip(decided) {
        to.copy_from_slice(&from.to_le_bytes());
    }
    let sum = crc32c(0, bytes.get(..NUMBERS).unwrap_or_default());
    if let Some(to) = bytes.get_mut(NUMBERS..) {
        to.copy_from_slice(&sum.to_le_bytes());
    }
    bytes
}

/// Reads what was written last; nothing if this node has never decided anything. May sleep. Kernel threads
/// only.
///
/// # Errors
///
/// [`EINVAL`] if the file is damaged; those of the disk.
pub(super) fn read() -> Result<DecidedRollouts> {
    let file = AppendFile::open_in(FOLDER, FILE, 0o600)?;
    let mut bytes = [0; SIZE];
    let n = file.read_at(&mut bytes, 0)?;
    let mut decided = [0; MAX_OUTCOMES];
    if n == 0 {
        return Ok(decided);
    }
    for (to, from) in decided.iter_mut().zip(bytes.chunks_exact(8)) {
        *to = u64::from_le_bytes(from.try_into().map_err(|_| EINVAL)?);
    }
    match n == SIZE && encode(&decided) == bytes {
        true => Ok(decided),
        false => Err(EINVAL),
    }
}

/// Writes it; it is on disk when this returns, under its name too. May sleep. Kernel threads only.
///
/// # Errors
///
/// Those of the disk.
pub(super) fn write(decided: &DecidedRollouts) -> Result {
    let file = AppendFile::open_in(FOLDER, NEW_FILE, 0o600)?;
    file.truncate(0)?;
    file.append(&encode(decided))?;
    file.sync()?;
    replace(FOLDER, NEW_FILE, FILE)?;
    sync_dir(FOLDER)
}
