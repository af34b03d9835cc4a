// SPDX-License-Identifier: GPL-2.0
//! Numbers that make no sense: sizes, flags, places, timeouts, ranges.

use crate::{
    pool,
    raw::{self, Call, Outcome},
    region::{PAGE, Region},
};
use rustix::io::Errno;
use virgo::{
    Allocation,
    abi::{self, DataArgs, FreeArgs, MallocArgs},
};

crate::tests![
    malloc_of_no_or_negative_bytes,
    malloc_looks_at_the_lower_half_of_the_size,
    malloc_of_more_than_there_is,
    structures_too_small,
    structures_too_large,
    structures_of_a_newer_version,
    structures_of_an_earlier_version,
    unknown_flags,
    places,
    nodes_that_are_not,
    timeouts,
    ranges_that_overflow,
    ranges_at_and_beyond_the_end,
    set_of_a_long_range_is_all_or_nothing,
    get_stops_at_the_end,
];

/// Bytes of an allocation if it does not matter.
const SIZE: u64 = 100;

fn malloc2(args: MallocArgs) -> Result<u64, Errno> {
    let region = Region::new(PAGE);
    Call::Malloc.call(region.put(0, args), size_of_val(&args))?;
    Ok(region.number(8))
}

fn free2(args: FreeArgs) -> Outcome {
    Call::Free.call(Region::new(PAGE).put(0, args), size_of_val(&args))
}

/// `virgo_set2` from or `virgo_get2` to `data`.
fn data2(call: Call, mut args: DataArgs, data: &Region) -> Outcome {
    args.data = data.at(0).number();
    call.call(Region::new(PAGE).put(0, args), size_of_val(&args))
}

fn new(size: u64) -> u64 {
    Allocation::new(size)
        .allocate()
        .expect("an allocation")
        .into()
}

/// Makes a call that may allocate, and frees what it has allocated.
fn try_malloc2(args: MallocArgs) -> Outcome {
    let id = malloc2(args)?;
    raw::free(id)
}

fn malloc_of_no_or_negative_bytes() {
    let region = Region::new(PAGE);
    for size in [0, -1, i64::from(i32::MIN)] {
        assert_eq!(raw::malloc(size, region.at(0)), Err(Errno::INVAL), "{size}");
    }
    assert_eq!(try_malloc2(MallocArgs::default()), Err(Errno::INVAL));
}

fn malloc_looks_at_the_lower_half_of_the_size() {
    let region = Region::new(PAGE);
    assert_eq!(raw::malloc(0x7777_7777_0000_0064, region.at(0)), Ok(0));
    let id = region.number(0);
    assert_eq!(virgo::get(id.into(), 0, &mut [0; 200]), Ok(100));
    assert_eq!(raw::free(id), Ok(0));
}

fn malloc_of_more_than_there_is() {
    let region = Region::new(PAGE);
    // Filling the whole cluster before there is no more may take longer than the deadline.
    let outcome = raw::malloc(i32::MAX.into(), region.at(0));
    assert!(
        matches!(outcome, Err(Errno::NOMEM | Errno::TIMEDOUT)),
        "{outcome:?}"
    );
    for size in [1 << 40, 1 << 63, u64::MAX - 1, u64::MAX] {
        let args = MallocArgs {
            size,
            ..MallocArgs::default()
        };
        assert_eq!(try_malloc2(args), Err(Errno::NOMEM), "{size}");
    }
}

fn structures_too_small() {
    let region = Region::new(PAGE);
    for call in Call::ALL {
        for size in [0, 1, 8, call.first_size() - 1] {
            assert_eq!(
                call.call(region.at(0), size),
                Err(Errno::INVAL),
                "{call:?} {size}"
            );
        }
    }
}

fn structures_too_large() {
    let region = Region::new(2 * PAGE);
    for call in Call::ALL {
        for size in [PAGE + 1, 2 * PAGE, 1 << 32, usize::MAX] {
            assert_eq!(
                call.call(region.at(0), size),
                Err(Errno::TOOBIG),
                "{call:?} {size}"
            );
        }
    }
}

/// A good call must stay good if there are zeros behind the structure, and fail if there is
/// anything else.
fn structures_of_a_newer_version() {
    let data = Region::new(PAGE);
    let id = new(SIZE);
    for call in Call::ALL {
        for size in [call.size() + 1, call.size() + 8, PAGE] {
            let id = if call == Call::Free { new(SIZE) } else { id };
            let region = Region::new(PAGE);
            put_good(call, &region, id, &data);
            for at in [call.size(), size - 1] {
                region.put(at, 1u8);
                assert_eq!(
                    call.call(region.at(0), size),
                    Err(Errno::TOOBIG),
                    "{call:?} {size}"
                );
                region.put(at, 0u8);
            }
            assert!(call.call(region.at(0), size).is_ok(), "{call:?} {size}");
            if call == Call::Malloc {
                assert_eq!(raw::free(region.number(8)), Ok(0));
            }
        }
    }
    assert_eq!(raw::free(id), Ok(0));
}

/// Puts the arguments of a call that succeeds at the start of `region`.
fn put_good(call: Call, region: &Region, id: u64, data: &Region) {
    match call {
        Call::Malloc => region.put(
            0,
            MallocArgs {
                size: SIZE,
                ..MallocArgs::default()
            },
        ),
        Call::Set | Call::Get => region.put(
            0,
            DataArgs {
                id,
                len: SIZE,
                data: data.at(0).number(),
                ..DataArgs::default()
            },
        ),
        Call::Free => region.put(
            0,
            FreeArgs {
                id,
                ..FreeArgs::default()
            },
        ),
    };
}

/// A program that knows nothing of what was appended makes calls as ever.
fn structures_of_an_earlier_version() {
    let data = Region::new(PAGE);
    let id = new(SIZE);
    for call in Call::ALL {
        let id = if call == Call::Free { new(SIZE) } else { id };
        let region = Region::new(PAGE);
        put_good(call, &region, id, &data);
        // What lies behind the structure is the program's own.
        for at in call.first_size()..PAGE {
            region.put(at, 0xffu8);
        }
        for size in [call.first_size(), call.size()] {
            let result = call.call(region.at(0), size);
            match size == call.first_size() {
                true => assert!(result.is_ok(), "{call:?} {result:?}"),
                // The same bytes are an address where no program has anything.
                false => assert_eq!(result.is_ok(), call == Call::Malloc, "{call:?} {result:?}"),
            }
            if call == Call::Malloc {
                assert_eq!(raw::free(region.number(8)), Ok(0));
            }
        }
    }
    assert_eq!(raw::free(id), Ok(0));
}

fn unknown_flags() {
    let id = new(SIZE);
    let data = Region::new(PAGE);
    for bit in 0..32 {
        let flags = 1 << bit;
        let malloc = MallocArgs {
            size: SIZE,
            flags,
            ..MallocArgs::default()
        };
        if flags != abi::MALLOC_SHARED {
            assert_eq!(try_malloc2(malloc), Err(Errno::INVAL), "malloc2 {flags:#x}");
        }
        let args = DataArgs {
            id,
            len: 1,
            flags,
            ..DataArgs::default()
        };
        assert_eq!(
            data2(Call::Set, args, &data),
            Err(Errno::INVAL),
            "set2 {flags:#x}"
        );
        assert_eq!(
            data2(Call::Get, args, &data),
            Err(Errno::INVAL),
            "get2 {flags:#x}"
        );
        let free = FreeArgs {
            id,
            flags,
            ..FreeArgs::default()
        };
        assert_eq!(free2(free), Err(Errno::INVAL), "free2 {flags:#x}");
    }
    assert_eq!(raw::free(id), Ok(0));
}

fn places() {
    let place = |place, node| MallocArgs {
        size: SIZE,
        place,
        node,
        ..MallocArgs::default()
    };
    for known in [abi::PLACE_DEFAULT, abi::PLACE_RANDOM, abi::PLACE_LEAST_USED] {
        assert_eq!(try_malloc2(place(known, 0)), Ok(0), "place {known}");
        assert_eq!(
            try_malloc2(place(known, 1)),
            Err(Errno::INVAL),
            "place {known}"
        );
    }
    for unknown in [abi::PLACE_NODE + 1, 256, u32::MAX] {
        assert_eq!(
            try_malloc2(place(unknown, 0)),
            Err(Errno::INVAL),
            "place {unknown}"
        );
    }
    for node in pool::nodes() {
        assert_eq!(
            try_malloc2(place(abi::PLACE_NODE, node)),
            Ok(0),
            "node {node}"
        );
    }
}

fn nodes_that_are_not() {
    let node = |node| MallocArgs {
        size: SIZE,
        place: abi::PLACE_NODE,
        node,
        ..MallocArgs::default()
    };
    assert_eq!(try_malloc2(node(0)), Err(Errno::INVAL));
    let beyond = pool::nodes().into_iter().max().unwrap_or(0) + 1;
    for number in [beyond, 64, 65, 255, 256, 257, u32::MAX] {
        assert_eq!(
            try_malloc2(node(number)),
            Err(Errno::NODEV),
            "node {number}"
        );
    }
}

fn timeouts() {
    const MAX: u32 = 300_000;
    let id = new(SIZE);
    let data = Region::new(PAGE);
    for (timeout_ms, fails) in [(MAX, false), (MAX + 1, true), (u32::MAX, true)] {
        let expected = |good| if fails { Err(Errno::INVAL) } else { Ok(good) };
        let malloc = MallocArgs {
            size: SIZE,
            timeout_ms,
            ..MallocArgs::default()
        };
        assert_eq!(try_malloc2(malloc), expected(0), "malloc2 {timeout_ms}");
        let args = DataArgs {
            id,
            len: 1,
            timeout_ms,
            ..DataArgs::default()
        };
        assert_eq!(
            data2(Call::Set, args, &data),
            expected(1),
            "set2 {timeout_ms}"
        );
        assert_eq!(
            data2(Call::Get, args, &data),
            expected(1),
            "get2 {timeout_ms}"
        );
        let id = new(SIZE);
        let free = FreeArgs {
            id,
            timeout_ms,
            ..FreeArgs::default()
        };
        assert_eq!(free2(free), expected(0), "free2 {timeout_ms}");
        if fails {
            assert_eq!(raw::free(id), Ok(0));
        }
    }
    assert_eq!(raw::free(id), Ok(0));
}

fn ranges_that_overflow() {
    let id = new(SIZE);
    let data = Region::new(PAGE);
    for (offset, len) in [(u64::MAX, 1), (1, u64::MAX), (1 << 63, 1 << 63)] {
        let args = DataArgs {
            id,
            offset,
            len,
            ..DataArgs::default()
        };
        for call in [Call::Set, Call::Get] {
            let what = format!("{call:?} of {len} at {offset}");
            assert_eq!(data2(call, args, &data), Err(Errno::INVAL), "{what}");
        }
    }
    assert_eq!(raw::free(id), Ok(0));
}

/// Sizes on either side of a chunk, so that both one object and several are asked.
const SIZES: [u64; 2] = [SIZE, 200_000];

fn ranges_at_and_beyond_the_end() {
    let data = Region::new(PAGE);
    for size in SIZES {
        let id = new(size);
        let cases = [
            (size, 0, Ok(0), Ok(0)),
            (size, 1, Err(Errno::FBIG), Ok(0)),
            (size - 1, 1, Ok(1), Ok(1)),
            (size - 1, 2, Err(Errno::FBIG), Ok(1)),
            (size + 1, 1, Err(Errno::FBIG), Ok(0)),
            (1 << 62, 1, Err(Errno::FBIG), Ok(0)),
            (u64::MAX - 1, 1, Err(Errno::FBIG), Ok(0)),
        ];
        for (offset, len, set, get) in cases {
            let args = DataArgs {
                id,
                offset,
                len,
                ..DataArgs::default()
            };
            let what = format!("{len} at {offset} of {size}");
            assert_eq!(data2(Call::Set, args, &data), set, "set2 {what}");
            assert_eq!(data2(Call::Get, args, &data), get, "get2 {what}");
        }
        assert_eq!(raw::free(id), Ok(0));
    }
}

/// However long it is, a range that ends beyond the allocation changes nothing.
fn set_of_a_long_range_is_all_or_nothing() {
    let data = Region::new(1 << 20);
    data.put_bytes(0, &[0xaa; 1 << 20]);
    for size in SIZES {
        let id = new(size);
        for len in [size + 1, 1 << 20] {
            let args = DataArgs {
                id,
                len,
                ..DataArgs::default()
            };
            assert_eq!(
                data2(Call::Set, args, &data),
                Err(Errno::FBIG),
                "{len} of {size}"
            );
            let mut content = vec![1; usize::try_from(size).expect("is small")];
            assert_eq!(virgo::get(id.into(), 0, &mut content), Ok(content.len()));
            let changed = content.iter().filter(|&&byte| byte != 0).count();
            assert_eq!(changed, 0, "bytes changed by setting {len} of {size}");
        }
        assert_eq!(raw::free(id), Ok(0));
    }
}

fn get_stops_at_the_end() {
    let data = Region::new(1 << 20);
    for size in SIZES {
        let id = new(size);
        data.put_bytes(0, &[0xaa; 1 << 20]);
        for len in [size + 1, 1 << 20, 1 << 40] {
            let args = DataArgs {
                id,
                len,
                ..DataArgs::default()
            };
            let size = usize::try_from(size).expect("is small");
            assert_eq!(data2(Call::Get, args, &data), Ok(size), "{len} of {size}");
            assert_eq!(data.bytes(size, 1), [0xaa], "the byte behind {size}");
        }
        assert_eq!(raw::free(id), Ok(0));
    }
}
