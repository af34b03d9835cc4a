// SPDX-License-Identifier: GPL-2.0
//! Ids that are not the caller's to use: freed, forged, somebody else's.

use crate::{
    raw::{self, Call, Outcome},
    region::{PAGE, Region},
    rounds::Rounds,
};
use rustix::io::Errno;
use virgo::{
    Allocation,
    abi::{DataArgs, FreeArgs},
};

crate::tests![
    freed_ids,
    freed_ids_whose_place_is_used_again,
    forged_ids,
    invented_ids,
    ids_of_another_user,
    root_frees_what_belongs_to_others,
    roots_ids_by_another_user,
    shared_ids,
];

/// On either side of a chunk, so that both one object and several are used.
const SIZES: [u64; 2] = [100, 200_000];

/// Somebody without rights.
const NOBODY: u32 = 65534;

/// Somebody else without rights.
const SOMEBODY: u32 = 1000;

fn new(size: u64) -> u64 {
    Allocation::new(size)
        .allocate()
        .expect("an allocation")
        .into()
}

/// Makes every call that takes an id, those that free last.
fn every_call(id: u64) -> [(&'static str, Outcome); 6] {
    let region = Region::new(PAGE);
    let data = Region::new(PAGE);
    let range = DataArgs {
        id,
        len: 10,
        data: data.at(0).number(),
        ..DataArgs::default()
    };
    let free = FreeArgs {
        id,
        ..FreeArgs::default()
    };
    let sized = |call: Call| {
        region.put(0, range);
        if call == Call::Free {
            region.put(0, free);
        }
        call.call(region.at(0), call.size())
    };
    [
        ("set", raw::set(id, data.at(0))),
        ("get", raw::get(id, data.at(0))),
        ("set2", sized(Call::Set)),
        ("get2", sized(Call::Get)),
        ("free2", sized(Call::Free)),
        ("free", raw::free(id)),
    ]
}

fn assert_refused(id: u64, errno: Errno, what: &str) {
    for (call, outcome) in every_call(id) {
        assert_eq!(outcome, Err(errno), "{call} of {what} {id:016x}");
    }
}

fn freed_ids() {
    for size in SIZES {
        let id = new(size);
        assert_eq!(raw::free(id), Ok(0));
        assert_refused(id, Errno::STALE, "the freed");
    }
}

fn freed_ids_whose_place_is_used_again() {
    let others = Rounds {
        debug: 20,
        slim: 100,
        soak: 100,
    };
    for size in SIZES {
        let old = new(size);
        assert_eq!(raw::free(old), Ok(0));
        let ids: Vec<_> = (0..others.count()).map(|_| new(100)).collect();
        assert!(!ids.contains(&old), "{old:016x} was given twice");
        assert_refused(old, Errno::STALE, "the freed");
        for id in ids {
            assert_eq!(raw::free(id), Ok(0));
        }
    }
}

/// The check value has 16 bits: one in 65536 forgeries gets past it. It is refused then too, as
/// the id of something that is not there.
fn forged_ids() {
    for size in SIZES {
        let id = new(size);
        let mut passed = 0;
        for bit in 0..64 {
            for (call, outcome) in every_call(id ^ (1 << bit)) {
                match outcome {
                    Err(Errno::INVAL) => (),
                    Err(Errno::STALE | Errno::NODEV) if bit >= 16 => passed += 1,
                    other => panic!("{call} with bit {bit} of {id:016x} flipped: {other:?}"),
                }
            }
        }
        assert!(
            passed <= 6,
            "the check value lets {} of 64 forgeries pass",
            passed / 6
        );
        assert_eq!(raw::free(id), Ok(0));
    }
}

fn invented_ids() {
    assert_refused(0, Errno::INVAL, "the invented");
    for _ in 0..100 {
        let id = fastrand::u64(..);
        for (call, outcome) in every_call(id) {
            assert!(
                outcome.is_err(),
                "{call} of the invented {id:016x}: {outcome:?}"
            );
        }
    }
}

fn ids_of_another_user() {
    for size in SIZES {
        let id = raw::as_uid(NOBODY, || new(size));
        raw::as_uid(SOMEBODY, || {
            assert_refused(id, Errno::PERM, "another user's")
        });
        let outcome = raw::as_uid(NOBODY, || raw::free(id));
        assert_eq!(outcome, Ok(0), "its owner frees it");
    }
}

/// But does not read or write it, unless by becoming its owner.
fn root_frees_what_belongs_to_others() {
    for size in SIZES {
        let id = raw::as_uid(NOBODY, || new(size));
        for (call, outcome) in &every_call(id)[..4] {
            assert_eq!(*outcome, Err(Errno::PERM), "{call} by root of {id:016x}");
        }
        // The first of the calls that free.
        raw::as_uid(NOBODY, || {
            assert_refused(id, Errno::STALE, "what root has freed")
        });

        let id = raw::as_uid(NOBODY, || new(size));
        assert_eq!(raw::free(id), Ok(0), "root frees it");
        raw::as_uid(NOBODY, || {
            assert_refused(id, Errno::STALE, "what root has freed")
        });
    }
}

fn roots_ids_by_another_user() {
    for size in SIZES {
        let id = new(size);
        virgo::set(id.into(), 0, b"secret").expect("set");
        raw::as_uid(NOBODY, || assert_refused(id, Errno::PERM, "root's"));
        let mut data = [0; 6];
        assert_eq!(virgo::get(id.into(), 0, &mut data), Ok(6));
        assert_eq!(&data, b"secret");
        assert_eq!(raw::free(id), Ok(0));
    }
}

fn shared_ids() {
    for size in SIZES {
        let id = Allocation::new(size)
            .shared()
            .allocate()
            .expect("an allocation");
        raw::as_uid(NOBODY, || {
            virgo::set(id, 0, b"for all").expect("another user sets");
        });
        let mut data = [0; 7];
        assert_eq!(virgo::get(id, 0, &mut data), Ok(7));
        assert_eq!(&data, b"for all");
        let freed = raw::as_uid(NOBODY, || virgo::free(id));
        assert_eq!(freed, Ok(()), "another user frees");
        assert_refused(id.into(), Errno::STALE, "the freed");
    }
}
