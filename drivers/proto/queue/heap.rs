// SPDX-License-Identifier: GPL-2.0

//! Messages that are due later, the one that is due first on top.
//!
//! A leftist heap: each node's way to the nearest missing child is longest on its left side, so the
//! way along right children has at most as many nodes as the number of all has binary digits.

use super::slab::{Places, NONE};

/// Nodes on the ways along right children of two heaps: numbers of places have 32 digits.
const DEPTH: usize = 66;

fn rank(places: &impl Places, at: u32) -> u8 {
    places.get(at).map_or(0, |slot| slot.rank)
}

/// When it is due; of those due at once the older message is first.
fn key(places: &impl Places, at: u32) -> (u64, u64) {
    places
        .get(at)
        .map_or((u64::MAX, u64::MAX), |slot| (slot.due, slot.seq))
}

/// Joins two heaps. Returns the top of the result.
fn merge(places: &mut impl Places, mut a: u32, mut b: u32) -> u32 {
    // Down along the right children of both, the smaller one each time.
    let mut way = [NONE; DEPTH];
    let mut len = 0;
    while a != NONE && b != NONE {
        if key(places, b) < key(places, a) {
            (a, b) = (b, a);
        }
        let Some(step) = way.get_mut(len) else {
            // Cannot be: both ways together are no longer.
            break;
        };
        *step = a;
        len = len.saturating_add(1);
        a = places.get(a).map_or(NONE, |slot| slot.next);
    }
    // And up again, with the longer way to the left.
    let mut top = if a == NONE { b } else { a };
    for &at in way.get(..len).unwrap_or_default().iter().rev() {
        let left = places.get(at).map_or(NONE, |slot| slot.prev);
        let (left, right) = match rank(places, left) < rank(places, top) {
            true => (top, left),
            false => (left, top),
        };
        let rank = rank(places, right).saturating_add(1);
        if let Some(slot) = places.get_mut(at) {
            (slot.prev, slot.next, slot.rank) = (left, right, rank);
        }
        top = at;
    }
    top
}

/// Adds place `at`, which is on no list, to the heap with top `top`. Returns the new top.
pub fn push(places: &mut impl Places, top: u32, at: u32) -> u32 {
    if let Some(slot) = places.get_mut(at) {
        (slot.prev, slot.next, slot.rank) = (NONE, NONE, 1);
    }
    merge(places, top, at)
}

/// Takes the top off. Returns the new one.
pub fn pop(places: &mut impl Places, top: u32) -> u32 {
    let Some(slot) = places.get_mut(top) else {
        return NONE;
    };
    let (left, right) = (slot.prev, slot.next);
    (slot.prev, slot.next, slot.rank) = (NONE, NONE, 0);
    merge(places, left, right)
}

#[cfg(test)]
mod tests {
    use super::{
        super::slab::{Plain, Slot},
        *,
    };
    use proptest::prelude::*;
    use std::collections::BinaryHeap;

    proptest! {
        #[test]
        fn comes_out_in_order(steps in prop::collection::vec(prop::option::of(0..50u64), 0..300)) {
            let mut places = Plain::<()>::slab();
            let mut model = BinaryHeap::new();
            let mut top = NONE;
            for (seq, step) in (0..).zip(steps) {
                match step {
                    Some(due) => {
                        let at = places.add(Slot { due, seq, ..Slot::free() }).unwrap();
                        top = push(&mut places, top, at);
                        model.push(core::cmp::Reverse((due, seq)));
                    }
                    None => {
                        let expected = model.pop().map(|r| r.0);
                        let found = places.get(top).map(|s| (s.due, s.seq));
                        prop_assert_eq!(found, expected);
                        top = pop(&mut places, top);
                    }
                }
            }
        }
    }

    #[test]
    fn the_way_down_stays_short() {
        let mut places = Plain::<()>::slab();
        let mut top = NONE;
        for due in 0..100_000u64 {
            let at = places
                .add(Slot {
                    due,
                    ..Slot::free()
                })
                .unwrap();
            top = push(&mut places, top, at);
        }
        assert!(rank(&places, top) <= 17);
        for due in 0..100_000u64 {
            assert_eq!(places.get(top).unwrap().due, due);
            top = pop(&mut places, top);
        }
        assert_eq!(top, NONE);
    }
}
