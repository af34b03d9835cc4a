// SPDX-License-Identifier: GPL-2.0
//! The system call with arguments that nobody should give it. What fails leaves no lock behind.

use crate::sessions::{lock, refused, session};
use rustix::io::Errno;
use std::os::fd::{AsFd, AsRawFd};
use virgo::{
    abi::{LOCK_TRY, LockArgs, lock_op, nr},
    lock::{Mode, Session, Wait},
};
use virgo_test_support::{
    invoke::{Outcome, invoke},
    region::{KERNEL, NULL, Region},
};

crate::tests! {
    numbers_without_a_meaning,
    descriptors_of_other_things,
    names_of_all_lengths,
    addresses_that_cannot_be_read,
    a_lock_that_cannot_be_told_is_not_kept,
    sizes_of_the_structure,
}

/// Makes the call.
fn call(args: LockArgs) -> Outcome {
    let region = Region::new(1);
    let at = region.put_last(args);
    invoke(nr::LOCK, at.number(), size_of::<LockArgs>() as u64)
}

/// Asks for the lock whose name is `name`.
fn wanted(session: &Session, name: &Region, len: u32) -> LockArgs {
    LockArgs {
        op: lock_op::LOCK,
        fd: session.as_fd().as_raw_fd(),
        mode: Mode::Ex.to_wire().into(),
        flags: LOCK_TRY,
        name_len: len,
        name: name.at(0).number(),
        ..LockArgs::default()
    }
}

fn named(name: &[u8]) -> Region {
    let region = Region::new(1);
    region.put_bytes(0, name);
    region
}

/// Nobody has the lock.
#[track_caller]
fn is_free(name: &str) {
    let other = session();
    lock(&other, name, Mode::Ex);
}

fn numbers_without_a_meaning() {
    let (mine, name) = (session(), named(b"c.numbers"));
    let good = wanted(&mine, &name, 9);
    for op in [0, 5, u32::MAX] {
        assert_eq!(call(LockArgs { op, ..good }), Err(Errno::INVAL), "op {op}");
    }
    for mode in [0, 7, 256 + 6, u32::MAX] {
        let args = LockArgs { mode, ..good };
        assert_eq!(call(args), Err(Errno::INVAL), "mode {mode}");
    }
    for flags in [1 << 2, 1 << 16, 1 << 31] {
        for op in [lock_op::OPEN, lock_op::LOCK, lock_op::CONVERT] {
            let args = LockArgs { op, flags, ..good };
            assert_eq!(call(args), Err(Errno::INVAL), "flags {flags:x} of {op}");
        }
    }
    let unlock = LockArgs {
        op: lock_op::UNLOCK,
        ..good
    };
    assert_eq!(call(unlock), Err(Errno::INVAL), "unlock takes no flags");
    is_free("c.numbers");
}

fn descriptors_of_other_things() {
    let (mine, name) = (session(), named(b"c.descriptor"));
    let good = wanted(&mine, &name, 12);
    let null = std::fs::File::open("/dev/null").expect("open");
    for op in [lock_op::LOCK, lock_op::CONVERT, lock_op::UNLOCK] {
        for fd in [-1, i32::MIN, i32::MAX, null.as_raw_fd()] {
            let args = LockArgs {
                op,
                fd,
                flags: 0,
                ..good
            };
            let error = call(args).expect_err("no session");
            assert!(
                [Errno::BADF, Errno::INVAL].contains(&error),
                "{fd}: {error}"
            );
        }
    }
    is_free("c.descriptor");
}

fn names_of_all_lengths() {
    let (mine, name) = (session(), named(&[b'n'; 300]));
    for (len, expected) in [
        (0, Err(Errno::INVAL)),
        (1, Ok(0)),
        (255, Ok(0)),
        (256, Err(Errno::NAMETOOLONG)),
        (u32::MAX, Err(Errno::NAMETOOLONG)),
    ] {
        let args = LockArgs {
            flags: 0,
            ..wanted(&mine, &name, len)
        };
        assert_eq!(call(args), expected, "{len}");
    }
    // Any bytes are a name.
    let odd = b"\0\xff\n \"";
    let name = named(odd);
    let args = wanted(&mine, &name, odd.len() as u32);
    assert_eq!(call(LockArgs { flags: 0, ..args }), Ok(0));
    mine.unlock(odd).expect("unlock");
}

fn addresses_that_cannot_be_read() {
    let (mine, name) = (session(), named(b"c.address"));
    let good = wanted(&mine, &name, 9);
    let bad = [
        NULL,
        name.end(),
        name.last(8),
        KERNEL[0],
        KERNEL[1],
        KERNEL[2],
    ];
    for at in bad {
        let args = LockArgs {
            name: at.number(),
            ..good
        };
        assert_eq!(call(args), Err(Errno::FAULT), "{at:?}");
        let size = size_of::<LockArgs>() as u64;
        let whole = invoke(nr::LOCK, at.number(), size);
        assert_eq!(whole, Err(Errno::FAULT), "{at:?}");
    }
    // Without a name of its own nothing was unlocked.
    lock(&mine, "c.address", Mode::Ex);
    let unlock = LockArgs {
        op: lock_op::UNLOCK,
        flags: 0,
        value: name.end().number(),
        ..good
    };
    assert_eq!(call(unlock), Err(Errno::FAULT));
    let tried = session().lock_with("c.address", Mode::Ex, Wait::Try);
    assert_eq!(refused(tried), libc::EAGAIN);
}

fn a_lock_that_cannot_be_told_is_not_kept() {
    let (mine, name) = (session(), named(b"c.untold"));
    let good = LockArgs {
        flags: 0,
        ..wanted(&mine, &name, 8)
    };
    let value = named(b"").read_only();
    for at in [value.at(0), value.end(), KERNEL[0]] {
        let args = LockArgs {
            value: at.number(),
            ..good
        };
        assert_eq!(call(args), Err(Errno::FAULT), "{at:?}");
        is_free("c.untold");
    }
    let region = Region::new(1);
    let at = region.put_last(good);
    let region = region.read_only();
    let told = invoke(nr::LOCK, at.number(), size_of::<LockArgs>() as u64);
    assert_eq!(told, Err(Errno::FAULT));
    drop(region);
    is_free("c.untold");
}

fn sizes_of_the_structure() {
    let (mine, name) = (session(), named(b"c.sizes"));
    let good = wanted(&mine, &name, 7);
    let region = Region::new(8192);
    let at = region.put(0, good).number();
    for size in [0, 1, 47] {
        assert_eq!(invoke(nr::LOCK, at, size), Err(Errno::INVAL), "{size}");
    }
    assert_eq!(invoke(nr::LOCK, at, 1 << 20), Err(Errno::TOOBIG));
    region.put(48, 1u64);
    assert_eq!(invoke(nr::LOCK, at, 56), Err(Errno::TOOBIG), "not known");
    is_free("c.sizes");
    region.put(48, 0u64);
    region.put(0, LockArgs { flags: 0, ..good });
    assert_eq!(invoke(nr::LOCK, at, 56), Ok(0), "of a later program");
    mine.unlock("c.sizes").expect("unlock");
}
