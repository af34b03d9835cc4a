// SPDX-License-Identifier: GPL-2.0
//! Arguments that make no sense, and addresses that are not the caller's.

use crate::rounds::Rounds;
use crate::{
    pool,
    raw::{self, One, Sized},
    region::{Address, KERNEL, NULL, PAGE, Region},
};
use rustix::io::Errno;
use std::thread;
use virgo::abi::{self, CancelArgs, CloneArgs};

crate::tests![
    structures_too_small,
    structures_too_large,
    structures_of_a_newer_version,
    structures_at_bad_addresses,
    counts,
    unknown_flags,
    sizes_of_calls,
    places,
    timeouts,
    lengths_of_words,
    words_at_bad_addresses,
    calls_at_bad_addresses,
    results_at_bad_addresses,
    output_at_bad_addresses,
    a_result_that_cannot_be_given_is_kept,
    a_result_whose_call_cannot_be_written_is_kept,
    a_result_that_cannot_be_given_is_others_to_take,
    the_call_of_2017_with_bad_strings,
];

const NOOP: &str = "noop\0";

fn structures_too_small() {
    let region = Region::new(PAGE);
    for call in Sized::ALL {
        for size in [0, 1, 8, call.size() - 1] {
            let outcome = call.call(region.at(0), size);
            assert_eq!(outcome, Err(Errno::INVAL), "{call:?} {size}");
        }
    }
}

fn structures_too_large() {
    let region = Region::new(2 * PAGE);
    for call in Sized::ALL {
        for size in [PAGE + 1, 2 * PAGE, 1 << 32, usize::MAX] {
            let outcome = call.call(region.at(0), size);
            assert_eq!(outcome, Err(Errno::TOOBIG), "{call:?} {size}");
        }
    }
}

/// A good call stays good if there are zeros behind the structure, and fails if there is anything
/// else.
fn structures_of_a_newer_version() {
    let one = One::new(NOOP);
    for size in [Sized::Clone.size() + 1, Sized::Clone.size() + 8, PAGE] {
        let region = Region::new(PAGE);
        region.put(0, one.args());
        for at in [Sized::Clone.size(), size - 1] {
            region.put(at, 1u8);
            let outcome = Sized::Clone.call(region.at(0), size);
            assert_eq!(outcome, Err(Errno::TOOBIG), "{size}");
            region.put(at, 0u8);
        }
        assert_eq!(Sized::Clone.call(region.at(0), size), Ok(1), "{size}");
    }
}

fn structures_at_bad_addresses() {
    let region = Region::new(PAGE);
    for call in Sized::ALL {
        for at in inaccessible(&region) {
            let outcome = call.call(at, call.size());
            assert_eq!(outcome, Err(Errno::FAULT), "{call:?} {at:x?}");
        }
        let outcome = call.call(region.last(call.size() - 1), call.size());
        assert_eq!(outcome, Err(Errno::FAULT), "{call:?}");
    }
}

/// Addresses where the kernel can neither read nor write.
fn inaccessible(region: &Region) -> Vec<Address> {
    let mut bad = vec![NULL, region.end()];
    bad.extend(KERNEL);
    bad
}

fn counts() {
    let one = One::new(NOOP);
    for count in [0, 1001, 1 << 31, u32::MAX] {
        let args = CloneArgs {
            count,
            ..one.args()
        };
        for call in [Sized::Clone, Sized::Wait] {
            assert_eq!(call.with(args), Err(Errno::INVAL), "{call:?} {count}");
        }
    }
    // So many calls are not there.
    let args = CloneArgs {
        count: 1000,
        ..one.args()
    };
    assert!(Sized::Clone.with(args).is_err());
}

fn unknown_flags() {
    let one = One::new(NOOP);
    for bit in 0..32 {
        let flags = 1 << bit;
        let args = CloneArgs {
            flags,
            ..one.args()
        };
        if flags != abi::CLONE_ASYNC {
            assert_eq!(Sized::Clone.with(args), Err(Errno::INVAL), "{flags:#x}");
        }
        assert_eq!(Sized::Wait.with(args), Err(Errno::INVAL), "{flags:#x}");
        let args = CancelArgs {
            flags,
            ..CancelArgs::default()
        };
        assert_eq!(Sized::Cancel.with(args), Err(Errno::INVAL), "{flags:#x}");
        let mut one = One::new(NOOP);
        one.call.flags = flags;
        assert_eq!(one.run(), Err(Errno::INVAL), "{flags:#x} of a call");
    }
}

/// The array says how large its elements are, so that these may grow.
fn sizes_of_calls() {
    let one = One::new(NOOP);
    let good = size_of::<abi::CallArgs>() as u32;
    for call_size in [0, 1, good - 8, good + 8, u32::MAX] {
        let args = CloneArgs {
            call_size,
            ..one.args()
        };
        for call in [Sized::Clone, Sized::Wait] {
            assert_eq!(call.with(args), Err(Errno::INVAL), "{call:?} {call_size}");
        }
    }
}

fn places() {
    let run = |place, node| {
        let mut one = One::new(NOOP);
        (one.call.place, one.call.node) = (place, node);
        one.run()
    };
    let this = pool::this_node();
    for place in [
        abi::RUN_DEFAULT,
        abi::RUN_LEAST,
        abi::RUN_RANDOM,
        abi::RUN_TWO,
    ] {
        assert_eq!(run(place, 0), Ok(1), "{place}");
        assert_eq!(run(place, this), Err(Errno::INVAL), "{place}");
    }
    assert_eq!(run(abi::RUN_NODE, this), Ok(1));
    assert_eq!(run(abi::RUN_NODE, 0), Err(Errno::INVAL));
    for place in [abi::RUN_NODE + 1, 256, u32::MAX] {
        assert_eq!(run(place, 0), Err(Errno::INVAL), "{place}");
    }
}

fn timeouts() {
    let one = One::new(NOOP);
    for (timeout_ms, expected) in [
        (300_000, Ok(1)),
        (300_001, Err(Errno::INVAL)),
        (u32::MAX, Err(Errno::INVAL)),
    ] {
        let args = CloneArgs {
            timeout_ms,
            ..one.args()
        };
        assert_eq!(Sized::Clone.with(args), expected, "{timeout_ms}");
        if expected.is_err() {
            assert_eq!(Sized::Wait.with(args), expected, "{timeout_ms}");
            let args = CancelArgs {
                timeout_ms,
                ..CancelArgs::default()
            };
            assert_eq!(Sized::Cancel.with(args), expected, "{timeout_ms}");
        }
    }
}

fn lengths_of_words() {
    // Without a NUL at the end it is no name.
    for words in ["", "noop", "noop\0x", "\0", "\0noop\0"] {
        let one = One::new(words);
        assert_eq!(one.run(), Ok(1), "{words:?}");
        let expected = (abi::CALL_FAILED, libc::EINVAL.into());
        assert_eq!(one.ended(), expected, "{words:?}");
    }
    for len in [32 * 1024 + 1, 1 << 20, 1 << 31, u32::MAX] {
        let mut one = One::new(NOOP);
        one.call.argv_len = len;
        assert_eq!(one.run(), Err(Errno::TOOBIG), "{len}");
    }
}

fn words_at_bad_addresses() {
    let region = Region::new(PAGE);
    let mut bad = inaccessible(&region);
    bad.push(region.last(NOOP.len() - 1));
    for at in bad {
        let mut one = One::new(NOOP);
        one.call.argv = at.number();
        assert_eq!(one.run(), Err(Errno::FAULT), "{at:x?}");
    }
    // No byte is read there.
    let mut one = One::new("");
    one.call.argv = 0;
    assert_eq!(one.run(), Ok(1));
}

fn calls_at_bad_addresses() {
    let region = Region::new(PAGE);
    let one = One::new(NOOP);
    let mut bad = inaccessible(&region);
    bad.push(region.last(size_of::<abi::CallArgs>() - 1));
    for at in bad {
        let args = CloneArgs {
            calls: at.number(),
            ..one.args()
        };
        for call in [Sized::Clone, Sized::Wait] {
            assert_eq!(call.with(args), Err(Errno::FAULT), "{call:?} {at:x?}");
        }
    }
    // The second of two.
    let at = region.put_last(one.call);
    let args = CloneArgs {
        calls: at.number(),
        count: 2,
        ..one.args()
    };
    assert_eq!(Sized::Clone.with(args), Err(Errno::FAULT));
}

/// The calls can be read, but not written: they are made, and leave nothing behind.
fn results_at_bad_addresses() {
    let one = One::new(NOOP);
    let region = Region::new(PAGE);
    region.put(0, one.call);
    let region = region.read_only();
    for flags in [0, abi::CLONE_ASYNC] {
        let args = CloneArgs {
            calls: region.at(0).number(),
            count: 1,
            flags,
            call_size: size_of::<abi::CallArgs>() as u32,
            ..CloneArgs::default()
        };
        assert_eq!(Sized::Clone.with(args), Err(Errno::FAULT));
    }
}

fn output_at_bad_addresses() {
    let region = Region::new(PAGE);
    let read_only = Region::new(PAGE).read_only();
    let mut bad = inaccessible(&region);
    bad.extend([read_only.at(0), region.last(4)]);
    for at in bad {
        let mut one = One::new("echo\0hello\0");
        one.call.output = at.number();
        assert_eq!(one.run(), Err(Errno::FAULT), "{at:x?}");
        // What is not needed is not touched.
        one.call.output_len = 0;
        assert_eq!(one.run(), Ok(1), "{at:x?}");
        assert_eq!(one.ended(), (abi::CALL_RETURNED, 5));
    }
}

fn a_result_that_cannot_be_given_is_kept() {
    let mut one = One::new("echo\0hello\0");
    let args = CloneArgs {
        flags: abi::CLONE_ASYNC,
        ..one.args()
    };
    assert_eq!(Sized::Clone.with(args), Ok(1));
    one.call.job = one.job();
    let good = one.call.output;
    one.call.output = 0;
    assert_eq!(wait(&one), Err(Errno::FAULT));
    one.call.output = good;
    assert_eq!(wait(&one), Ok(1));
    assert_eq!(one.ended(), (abi::CALL_RETURNED, 5));
    assert_eq!(wait(&one), Err(Errno::SRCH));
}

/// Here it is the structure of the call itself that the kernel cannot write to.
fn a_result_whose_call_cannot_be_written_is_kept() {
    let mut one = One::new("echo\0hello\0");
    let args = CloneArgs {
        flags: abi::CLONE_ASYNC,
        ..one.args()
    };
    assert_eq!(Sized::Clone.with(args), Ok(1));
    one.call.job = one.job();
    let region = Region::new(PAGE);
    region.put(0, one.call);
    let region = region.read_only();
    let args = CloneArgs {
        calls: region.at(0).number(),
        ..one.args()
    };
    assert_eq!(Sized::Wait.with(args), Err(Errno::FAULT));
    assert_eq!(wait(&one), Ok(1));
    assert_eq!(one.ended(), (abi::CALL_RETURNED, 5));
}

fn wait(one: &One) -> raw::Outcome {
    Sized::Wait.with(one.args())
}

/// While one waits in vain, since he has no memory to put the result into, another gets it.
fn a_result_that_cannot_be_given_is_others_to_take() {
    let rounds = Rounds {
        debug: 50,
        slim: 500,
        soak: 5000,
    };
    for _ in 0..rounds.count() {
        let one = One::new("echo\0x\0");
        let args = CloneArgs {
            flags: abi::CLONE_ASYNC,
            ..one.args()
        };
        assert_eq!(Sized::Clone.with(args), Ok(1));
        let call = abi::CallArgs {
            job: one.job(),
            state: abi::CALL_RUNNING,
            ..one.call
        };
        let wait = one.args();
        thread::scope(|scope| {
            let in_vain = scope.spawn(move || {
                let region = Region::new(PAGE);
                let output = abi::CallArgs {
                    output: NULL.number(),
                    ..call
                };
                let args = CloneArgs {
                    calls: region.put(0, output).number(),
                    ..wait
                };
                (0..20).map(|_| Sized::Wait.with(args)).last()
            });
            let region = Region::new(PAGE);
            let args = CloneArgs {
                calls: region.put(0, call).number(),
                ..wait
            };
            assert_eq!(Sized::Wait.with(args), Ok(1));
            let in_vain = in_vain.join().expect("no panic");
            assert!(matches!(in_vain, Some(Err(Errno::FAULT | Errno::SRCH))));
        });
    }
}

fn the_call_of_2017_with_bad_strings() {
    let region = Region::new(PAGE);
    region.put_bytes(0, &[b'x'; PAGE]);
    let mut bad = inaccessible(&region);
    bad.extend([1, 5, PAGE].map(|len| region.last(len)));
    for at in bad {
        assert_eq!(raw::clone(at), Err(Errno::FAULT), "{at:x?}");
    }
    // Right up to the end of the page.
    region.put_bytes(PAGE - NOOP.len(), NOOP.as_bytes());
    assert_eq!(raw::clone(region.last(NOOP.len())), Ok(0));
    // Too long to be anything.
    let outcome = raw::clone_line(&"x".repeat(40_000));
    assert_eq!(outcome, Err(Errno::TOOBIG));
}
