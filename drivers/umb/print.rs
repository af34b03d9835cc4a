// SPDX-License-Identifier: GPL-2.0

//! The kernel log as the first USBmd wrote it, for programs that read that: `print_buffer()`.
//!
//! | form | from | looks like |
//! |------|------|------------|
//! | 1 | December 2015 | `print_buffer() byte: e6`, a line a byte |
//! | 2 | August 2016 | `e6 5c ` in one line |
//!
//! Both stand between `begin print_buffer(): ` and `end print_buffer(): `. A byte is two digits at most,
//! also above 7f, which the original printed as `ffffffe6`. At most [`MOST`] bytes of a buffer are
//! logged, and a few buffers a second.

use kernel::{
    fmt,
    prelude::*,
    sync::atomic::{
        Atomic,
        Relaxed, //
    }, //
};
use linux::deadline::now_ms;

/// Bytes of a buffer that are logged.
const MOST: usize = 256;

/// Buffers that are logged in a second.
const BURST: u64 = 10;

/// The second that is counted in, above the count.
static LOGGED: Atomic<u64> = Atomic::new(0);

/// Bits of the count.
const COUNT_BITS: u32 = 8;

/// Whether one more buffer may be logged in this second.
fn may_log() -> bool {
    let second = now_ms() / 1000;
    let before = LOGGED.load(Relaxed);
    let count = match before >> COUNT_BITS == second {
        true => before & ((1 << COUNT_BITS) - 1),
        false => 0,
    };
    if count >= BURST {
        return false;
    }
    // Another task that counts at the same time may be overlooked: then one more is logged.
    LOGGED.store(second << COUNT_BITS | (count + 1), Relaxed);
    true
}

struct Bytes<'a>(&'a [u8]);

impl fmt::Display for Bytes<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:x} "))
    }
}

/// Logs `data` in the form, if that is 1 or 2.
pub(crate) fn print_buffer(form: u32, data: &[u8]) {
    if !matches!(form, 1 | 2) || data.is_empty() || !may_log() {
        return;
    }
    let data = data.get(..MOST).unwrap_or(data);
    pr_info!("begin print_buffer(): \n");
    if form == 1 {
        for byte in data {
            pr_info!("print_buffer() byte: {byte:x}\n");
        }
    } else {
        for line in data.chunks(64) {
            pr_info!("{}\n", Bytes(line));
        }
    }
    pr_info!("end print_buffer(): \n");
}
