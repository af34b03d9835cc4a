// SPDX-License-Identifier: GPL-2.0
//! The value block is handed on from who writes it.

use crate::sessions::{PATIENCE, lock, session};
use virgo::lock::{Mode, VALUE};

crate::tests! {
    who_unlocks_hands_a_value_on,
    who_converts_to_a_weaker_mode_writes,
    readers_write_nothing,
}

fn who_unlocks_hands_a_value_on() {
    let [keeper, writer, reader] = [session(), session(), session()];
    // A name that nobody has forgets its value.
    lock(&keeper, "c.value", Mode::Nl);
    lock(&writer, "c.value", Mode::Ex);
    writer
        .unlock_with("c.value", 0, Some([7; VALUE]))
        .expect("unlock");
    let held = lock(&reader, "c.value", Mode::Pr);
    assert!(held.is_valid);
    assert_eq!(held.value, [7; VALUE]);
}

fn who_converts_to_a_weaker_mode_writes() {
    let [writer, reader] = [session(), session()];
    lock(&writer, "c.downwards", Mode::Pw);
    writer
        .convert("c.downwards", Mode::Nl, PATIENCE, [8; VALUE])
        .expect("convert");
    assert_eq!(lock(&reader, "c.downwards", Mode::Cr).value, [8; VALUE]);
}

fn readers_write_nothing() {
    let [keeper, first, second] = [session(), session(), session()];
    lock(&keeper, "c.readers", Mode::Nl);
    let before = lock(&first, "c.readers", Mode::Pr).value;
    first
        .unlock_with("c.readers", 0, Some([9; VALUE]))
        .expect("unlock");
    assert_eq!(lock(&second, "c.readers", Mode::Pr).value, before);
}
