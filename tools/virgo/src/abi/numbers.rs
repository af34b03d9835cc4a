// SPDX-License-Identifier: GPL-2.0
//! Numbers of the calls.

use libc::c_long;

macro_rules! numbers {
    ($($name:ident = $number:literal, $text:literal;)*) => {
        /// Numbers of the system calls, x86-64.
        #[expect(missing_docs, reason = "docs/syscalls.md describes the calls")]
        pub mod nr {
            use libc::c_long;
            $(pub const $name: c_long = $number;)*
        }

        /// Name and number of every system call.
        pub const CALLS: &[(&str, c_long)] = &[$(($text, $number)),*];
    };
}

numbers! {
    CLONE = 548, "virgo_clone";
    MALLOC = 549, "virgo_malloc";
    SET = 550, "virgo_set";
    GET = 551, "virgo_get";
    FREE = 552, "virgo_free";
    OPEN = 553, "virgo_open";
    CLOSE = 554, "virgo_close";
    READ = 555, "virgo_read";
    WRITE = 556, "virgo_write";
    CLONE2 = 557, "virgo_clone2";
    WAIT = 558, "virgo_wait";
    CANCEL = 559, "virgo_cancel";
    MALLOC2 = 560, "virgo_malloc2";
    SET2 = 561, "virgo_set2";
    GET2 = 562, "virgo_get2";
    FREE2 = 563, "virgo_free2";
    OPEN2 = 564, "virgo_open2";
    READ2 = 565, "virgo_read2";
    WRITE2 = 566, "virgo_write2";
    FSYNC = 567, "virgo_fsync";
    STAT = 568, "virgo_stat";
    TRUNCATE = 569, "virgo_truncate";
    UNLINK = 570, "virgo_unlink";
    RENAME = 571, "virgo_rename";
    MKDIR = 572, "virgo_mkdir";
    READDIR = 573, "virgo_readdir";
    QUEUE = 574, "virgo_queue";
    LOCK = 575, "virgo_lock";
}

/// Type of the device's ioctls.
const IOC_TYPE: u64 = 0xb9;

/// Largest size of a structure that the number of an ioctl has room for.
pub(crate) const IOC_SIZE_MAX: u64 = (1 << 14) - 1;

/// Number of the ioctl on `/dev/virgo` that makes a call: `VIRGO_IOC()` of the header. What does not
/// fit is left out.
pub const fn ioc(number: c_long, size: usize) -> u64 {
    const READ_AND_WRITE: u64 = 3;
    let index = (number - nr::CLONE) as u64 & 0xff;
    (READ_AND_WRITE << 30) | ((size as u64 & IOC_SIZE_MAX) << 16) | (IOC_TYPE << 8) | index
}
