// SPDX-License-Identifier: GPL-2.0

//! Sorting without memory and without a panic, which the standard library's sorts have for orders that
//! are none.

/// Sorts by `key`, in place and in O(n log n), by heapsort (Williams 1964). Items of equal keys come
/// to lie in any order.
pub fn sort_by_key<T, K: Ord>(items: &mut [T], key: impl Fn(&T) -> K) {
    let len = items.len();
    for start in (0..len / 2).rev() {
        sift_down(items, start, &key);
    }
    for end in (1..len).rev() {
        let Some(heap) = items.get_mut(..=end) else {
            return;
        };
        heap.swap(0, end);
        if let Some(rest) = heap.get_mut(..end) {
            sift_down(rest, 0, &key);
        }
    }
}

/// Moves the item at `at` down, until none below it is larger.
fn sift_down<T, K: Ord>(heap: &mut [T], mut at: usize, key: &impl Fn(&T) -> K) {
    loop {
        let left = at.saturating_mul(2).saturating_add(1);
        let right = left.saturating_add(1);
        let larger = match (heap.get(left), heap.get(right)) {
            (None, _) => return,
            (Some(one), Some(other)) if key(one) < key(other) => right,
            _ => left,
        };
        match (heap.get(at), heap.get(larger)) {
            (Some(above), Some(below)) if key(above) < key(below) => heap.swap(at, larger),
            _ => return,
        }
        at = larger;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::vec::Vec;

    proptest! {
        #[test]
        fn is_what_the_standard_library_makes(mut items in prop::collection::vec(0..30u32, 0..100)) {
            let mut expected: Vec<u32> = items.clone();
            expected.sort();
            sort_by_key(&mut items, |item| *item);
            prop_assert_eq!(items, expected);
        }
    }
}
