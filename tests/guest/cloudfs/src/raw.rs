// SPDX-License-Identifier: GPL-2.0
//! System calls with any arguments at all.
//!
//! The addresses among them come from [`crate::region`], where nothing of Rust's can be hurt.

use crate::region::{Address, PAGE, Region};
use virgo::abi::{
    FileArgs, FsyncArgs, MkdirArgs, OpenArgs, ReaddirArgs, RenameArgs, StatArgs, TruncateArgs,
    UnlinkArgs, nr,
};
pub(crate) use virgo_test_support::invoke::{Outcome, as_uid};
use virgo_test_support::invoke::{invoke, invoke4};

/// `virgo_open`, the call of 2017.
pub(crate) fn open(path: Address) -> Outcome {
    invoke(nr::OPEN, path.number(), 0)
}

/// `virgo_open` of a name.
pub(crate) fn open_name(name: &str) -> Outcome {
    let region = Region::new(name.len() + 1);
    open(region.put_bytes(0, name.as_bytes()))
}

/// `virgo_close`, the call of 2017.
pub(crate) fn close(fd: i64) -> Outcome {
    invoke(nr::CLOSE, fd as u64, 0)
}

/// `virgo_read`, the call of 2017.
pub(crate) fn read(fd: i64, data: Address, size: i32, pos: i32) -> Outcome {
    let [size, pos] = [size, pos].map(|number| i64::from(number) as u64);
    invoke4(nr::READ, fd as u64, data.number(), size, pos)
}

/// `virgo_write`, the call of 2017.
pub(crate) fn write(fd: i64, data: Address, size: i32, pos: i32) -> Outcome {
    let [size, pos] = [size, pos].map(|number| i64::from(number) as u64);
    invoke4(nr::WRITE, fd as u64, data.number(), size, pos)
}

/// A call that takes a structure: its number, the sizes of that, and where its flags are and which
/// of them are known.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sized {
    pub(crate) name: &'static str,
    pub(crate) number: libc::c_long,
    /// Of the first version of the structure, and of the present one.
    pub(crate) first_size: usize,
    pub(crate) size: usize,
    pub(crate) flags: usize,
    pub(crate) known: u32,
}

macro_rules! sized {
    ($name:ident, $args:ty, $known:expr) => {
        sized!($name, $args, size_of::<$args>(), $known)
    };
    ($name:ident, $args:ty, $first_size:expr, $known:expr) => {
        Sized {
            name: stringify!($name),
            number: nr::$name,
            first_size: $first_size,
            size: size_of::<$args>(),
            flags: std::mem::offset_of!($args, flags),
            known: $known,
        }
    };
}

pub(crate) const SIZED: [Sized; 10] = [
    // All that open(2) has and makes sense for a file of another node.
    sized!(OPEN2, OpenArgs, 24, {
        let with = libc::O_CREAT | libc::O_EXCL | libc::O_TRUNC | libc::O_APPEND;
        let how = libc::O_DIRECTORY | libc::O_NOFOLLOW | libc::O_SYNC | libc::O_CLOEXEC;
        // O_LARGEFILE, which libc gives as 0.
        (libc::O_ACCMODE | with | how | 0o100000) as u32
    }),
    sized!(READ2, FileArgs, 0),
    sized!(WRITE2, FileArgs, 0),
    sized!(FSYNC, FsyncArgs, 1),
    sized!(STAT, StatArgs, 1),
    sized!(TRUNCATE, TruncateArgs, 0),
    sized!(UNLINK, UnlinkArgs, 1),
    sized!(RENAME, RenameArgs, 1),
    sized!(MKDIR, MkdirArgs, 0),
    sized!(READDIR, ReaddirArgs, 1),
];

impl Sized {
    pub(crate) fn call(&self, args: Address, size: usize) -> Outcome {
        invoke(self.number, args.number(), size as u64)
    }
}

/// Makes a call with these arguments.
pub(crate) fn with<T: Copy>(number: libc::c_long, args: T) -> Outcome {
    let region = Region::new(PAGE);
    let args = region.put(0, args);
    invoke(number, args.number(), size_of::<T>() as u64)
}
