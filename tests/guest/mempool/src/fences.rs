// SPDX-License-Identifier: GPL-2.0
//! Allocations that a lock guards refuse who had the lock before, who has another one, and who has none.

use crate::{
    pool,
    raw::{Call, Outcome},
    region::{PAGE, Region},
};
use rustix::io::Errno;
use virgo::{
    Allocation, Id,
    abi::{DataArgs, FenceArgs as Args, FreeArgs},
    lock::Fence,
};
use virgo_test_support::invoke::as_uid;

crate::tests![
    late_writers_are_refused,
    a_set_of_no_bytes_raises_all_pieces,
    a_set_that_does_not_fit_raises_nothing,
    free_asks_for_the_lock_unless_it_is_the_owner,
    a_fence_is_of_one_lock,
    text_sessions_have_locks_too,
    bad_fences,
];

/// A few bytes, and several pieces on all nodes.
const SIZES: [u64; 2] = [100, 300_000];

fn fence(token: u64) -> Fence {
    Fence::new("ledger", token)
}

/// The errno of a set of one byte, or 0.
fn set(id: Id, offset: u64, lock: Option<&Fence>) -> i32 {
    let calls = lock.map(virgo::fenced).unwrap_or_default();
    let result = calls.set(id, offset, b"x");
    result.err().map_or(0, |error| error.errno())
}

/// An allocation of `size` bytes for all users on each node, or spread over all.
fn each(size: u64, test: impl Fn(Id)) {
    for node in pool::nodes() {
        let new = Allocation::new(size).shared();
        let new = match size {
            100 => new.place(virgo::Place::Node(node)),
            _ => new,
        };
        let id = new.allocate().expect("an allocation");
        test(id);
        virgo::free(id).expect("the owner needs no lock");
    }
}

fn late_writers_are_refused() {
    for size in SIZES {
        each(size, |id| {
            assert_eq!(set(id, 0, None), 0);
            assert_eq!(set(id, 0, Some(&fence(7))), 0);
            assert_eq!(set(id, 0, Some(&fence(7))), 0, "the same holder again");
            assert_eq!(set(id, 0, Some(&fence(8))), 0, "the next one");
            assert_eq!(set(id, 0, Some(&fence(7))), libc::ESTALE);
            assert_eq!(set(id, 0, None), libc::ENOLCK);
            assert_eq!(virgo::get(id, 0, &mut [0]), Ok(1), "everybody may look");
            let error = virgo::fenced(&fence(7)).set(id, 0, b"x").unwrap_err();
            assert!(error.to_string().contains("has had the lock"), "{error}");
        });
    }
}

fn a_set_of_no_bytes_raises_all_pieces() {
    for size in SIZES {
        each(size, |id| {
            assert_eq!(virgo::fenced(&fence(5)).set(id, 0, b""), Ok(()));
            for offset in (0..size).step_by(65536) {
                assert_eq!(set(id, offset, Some(&fence(4))), libc::ESTALE, "{offset}");
                assert_eq!(set(id, offset, None), libc::ENOLCK, "{offset}");
                assert_eq!(set(id, offset, Some(&fence(5))), 0, "{offset}");
            }
            let raise = virgo::fenced(&fence(4)).set(id, 0, b"");
            assert_eq!(raise.unwrap_err().errno(), libc::ESTALE);
        });
    }
}

fn a_set_that_does_not_fit_raises_nothing() {
    for size in SIZES {
        each(size, |id| {
            assert_eq!(set(id, size, Some(&fence(9))), libc::EFBIG);
            assert_eq!(set(id, 0, None), 0);
        });
    }
}

fn free_asks_for_the_lock_unless_it_is_the_owner() {
    for size in SIZES {
        let new = || {
            let new = Allocation::new(size).shared().allocate();
            new.expect("an allocation")
        };
        let id = new();
        virgo::fenced(&fence(3)).set(id, 0, b"").expect("raise");
        let late = virgo::fenced(&fence(2)).free(id);
        assert_eq!(late.unwrap_err().errno(), libc::ESTALE);
        let stranger = as_uid(1000, || virgo::free(id));
        assert_eq!(stranger.unwrap_err().errno(), libc::ENOLCK);
        let holder = as_uid(1000, || virgo::fenced(&fence(3)).free(id));
        assert_eq!(holder, Ok(()));
        assert_eq!(virgo::free(id).unwrap_err().errno(), libc::ESTALE);
        let id = new();
        virgo::fenced(&fence(3)).set(id, 0, b"").expect("raise");
        assert_eq!(virgo::free(id), Ok(()), "the owner");
    }
}

fn a_fence_is_of_one_lock() {
    each(100, |id| {
        assert_eq!(set(id, 0, Some(&fence(7))), 0);
        let other = Fence::new("another", 9);
        assert_eq!(set(id, 0, Some(&other)), libc::ENOLCK);
        assert_eq!(set(id, 0, Some(&fence(7))), 0);
    });
}

fn text_sessions_have_locks_too() {
    each(100, |id| {
        let say = |token: u64| {
            let command = format!("virgo_cloud_set_fenced({id},ledger,{token},of {token})");
            pool::say(&command)
        };
        assert!(say(6).contains(&id.to_string()));
        assert!(say(5).contains("ERR ESTALE"));
        assert!(pool::say(&format!("virgo_cloud_set({id},x)")).contains("ERR ENOLCK"));
        assert!(say(0).contains("ERR EINVAL"));
        assert_eq!(set(id, 50, Some(&fence(6))), 0, "the same lock");
        assert_eq!(virgo::get_string(id).expect("get").to_bytes(), b"of 6");
    });
}

/// A set of no bytes with this fence.
fn raw_set(id: Id, fence: u64) -> Outcome {
    let args = DataArgs {
        id: id.into(),
        fence,
        ..DataArgs::default()
    };
    Call::Set.call(Region::new(PAGE).put(0, args), size_of_val(&args))
}

fn bad_fences() {
    let id = Allocation::new(100).allocate().expect("an allocation");
    let region = Region::new(PAGE);
    let name = region.put_bytes(512, &[b'n'; 256]).number();
    let good = Args {
        name,
        token: 1,
        name_len: 255,
        flags: 0,
    };
    let bad = [
        (Args { token: 0, ..good }, Errno::INVAL),
        (Args { flags: 1, ..good }, Errno::INVAL),
        (
            Args {
                name_len: 0,
                ..good
            },
            Errno::INVAL,
        ),
        (
            Args {
                name_len: 256,
                ..good
            },
            Errno::NAMETOOLONG,
        ),
        (
            Args {
                name_len: u32::MAX,
                ..good
            },
            Errno::NAMETOOLONG,
        ),
        (Args { name: 0, ..good }, Errno::FAULT),
        (
            Args {
                name: u64::MAX,
                ..good
            },
            Errno::FAULT,
        ),
    ];
    for (args, errno) in bad {
        let at = region.put(0, args).number();
        assert_eq!(raw_set(id, at), Err(errno), "{args:?}");
    }
    for address in [1, region.end().number(), 0xffff_8000_0000_0000] {
        assert_eq!(raw_set(id, address), Err(Errno::FAULT), "{address:#x}");
        let free = FreeArgs {
            id: id.into(),
            fence: address,
            ..FreeArgs::default()
        };
        let place = Region::new(PAGE);
        assert_eq!(
            Call::Free.call(place.put(0, free), size_of_val(&free)),
            Err(Errno::FAULT),
            "{address:#x}"
        );
    }
    let place = Region::new(PAGE);
    let at = region.put(0, good).number();
    let get = DataArgs {
        id: id.into(),
        fence: at,
        ..DataArgs::default()
    };
    assert_eq!(
        Call::Get.call(place.put(0, get), size_of_val(&get)),
        Err(Errno::INVAL),
        "what is only read needs no lock"
    );
    assert_eq!(raw_set(id, at), Ok(0));
    virgo::free(id).expect("free");
}
