// SPDX-License-Identifier: GPL-2.0
//! An allocation that is spread over several chunks is like a vector of bytes.

use crate::rounds::Rounds;
use proptest::{
    collection,
    prelude::*,
    test_runner::{Config, TestCaseError, TestRunner},
};
use std::ffi::CString;
use virgo::{Allocation, Place};

crate::tests![
    behaves_like_a_vector,
    behaves_like_a_vector_if_placed_by_room
];

/// How many stories are told.
const CASES: Rounds = Rounds {
    debug: 1,
    slim: 6,
    soak: 20,
};

/// Largest allocation: several chunks of the usual size.
const MAX: usize = 400_000;

/// Something done to an allocation. Ranges may go beyond its end.
#[derive(Clone, Debug)]
enum Step {
    Set {
        offset: usize,
        len: usize,
        seed: u64,
    },
    Get {
        offset: usize,
        len: usize,
    },
    SetString {
        len: usize,
    },
    GetString,
}

fn step() -> impl Strategy<Value = Step> {
    // Offsets near multiples of 64 KiB, where chunks meet, are as likely as all others together.
    let offset = prop_oneof![
        0..MAX + 10,
        (0..=MAX >> 16, -3..=3isize)
            .prop_map(|(chunk, by)| (chunk << 16).saturating_add_signed(by)),
    ];
    let len = prop_oneof![0..10usize, 0..MAX / 2];
    let seed = any::<u64>();
    prop_oneof![
        4 => (offset.clone(), len.clone(), seed)
            .prop_map(|(offset, len, seed)| Step::Set { offset, len, seed }),
        4 => (offset, len).prop_map(|(offset, len)| Step::Get { offset, len }),
        1 => (0..65535usize).prop_map(|len| Step::SetString { len }),
        1 => Just(Step::GetString),
    ]
}

fn behaves_like_a_vector() {
    check(Place::Configured);
}

fn behaves_like_a_vector_if_placed_by_room() {
    check(Place::LeastUsed);
}

fn check(place: Place) {
    let config = Config {
        cases: CASES.count() as u32,
        max_shrink_iters: 300,
        failure_persistence: None,
        ..Config::default()
    };
    let story = (1..MAX, collection::vec(step(), 40));
    let result = TestRunner::new(config).run(&story, |(size, steps)| {
        let id = Allocation::new(size as u64).place(place).allocate()?;
        let mut model = vec![0; size];
        let told = steps.iter().try_for_each(|step| take(step, id, &mut model));
        virgo::free(id)?;
        told
    });
    if let Err(failure) = result {
        panic!("{failure}");
    }
}

/// Takes a step with the allocation and its model; both must do the same.
fn take(step: &Step, id: virgo::Id, model: &mut [u8]) -> Result<(), TestCaseError> {
    match *step {
        Step::Set { offset, len, seed } => {
            let data = bytes(seed, len);
            let outcome = virgo::set(id, offset as u64, &data);
            if let Some(range) = model.get_mut(offset..offset + len) {
                range.copy_from_slice(&data);
                prop_assert_eq!(outcome, Ok(()));
            } else {
                prop_assert_eq!(outcome.map_err(|e| e.errno()), Err(libc::EFBIG));
            }
        }
        Step::Get { offset, len } => {
            let mut data = vec![0xee; len];
            let n = virgo::get(id, offset as u64, &mut data)?;
            let end = model.len().min(offset + len);
            let expected = model.get(offset..end).unwrap_or_default();
            prop_assert_eq!(n, expected.len());
            prop_assert!(data[..n] == *expected, "other bytes than were set");
        }
        Step::SetString { len } => {
            let text = CString::new(vec![b'x'; len]).expect("has no NUL");
            let outcome = virgo::set_string(id, &text);
            if len <= model.len() {
                let with_nul = text.as_bytes_with_nul();
                let n = with_nul.len().min(model.len());
                model[..n].copy_from_slice(&with_nul[..n]);
                prop_assert_eq!(outcome, Ok(()));
            } else {
                prop_assert_eq!(outcome.map_err(|e| e.errno()), Err(libc::EFBIG));
            }
        }
        Step::GetString => {
            let text = virgo::get_string(id)?;
            let expected = model.split(|&byte| byte == 0).next().unwrap_or_default();
            prop_assert!(text.as_bytes() == expected, "another string than is there");
        }
    }
    Ok(())
}

/// Bytes that tell where they belong.
fn bytes(seed: u64, len: usize) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(seed);
    std::iter::repeat_with(|| random.u8(..)).take(len).collect()
}
