// SPDX-License-Identifier: GPL-2.0

//! Merging lists, so that each item stands there once.

use crate::sort::sort_by_key;

/// Brings what differs to the front, in the order in which it was first there. Returns how many
/// items that are. The second value of each is its place, which the caller has numbered.
///
/// Takes time as sorting does, however often an item is there.
pub fn unique<T: Ord + Copy>(items: &mut [(T, u32)]) -> usize {
    sort_by_key(items, |item| *item);
    let mut kept = 0usize;
    for at in 0..items.len() {
        let Some(&item) = items.get(at) else {
            break;
        };
        let last = kept.checked_sub(1).and_then(|last| items.get(last));
        if last.is_none_or(|last| last.0 != item.0) {
            if let Some(to) = items.get_mut(kept) {
                *to = item;
            }
            kept = kept.saturating_add(1);
        }
    }
    if let Some(all) = items.get_mut(..kept) {
        sort_by_key(all, |&(_, place)| place);
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::vec::Vec;

    proptest! {
        #[test]
        fn each_stands_there_once_where_it_was_first(items in prop::collection::vec(0..20u64, 0..60)) {
            let mut numbered: Vec<(u64, u32)> = items.iter().copied().zip(0..).collect();
            let kept = unique(&mut numbered);
            let mut expected = Vec::new();
            for item in items {
                if !expected.contains(&item) {
                    expected.push(item);
                }
            }
            let found: Vec<u64> = numbered[..kept].iter().map(|item| item.0).collect();
            prop_assert_eq!(found, expected);
        }
    }
}
