// SPDX-License-Identifier: GPL-2.0

//! What waits for a worker: while a disk or node hangs, more and more of it is given up.

use kernel::prelude::*;

/// Takes those that are `given_up` out of `waiting`, for the caller to drop without a lock: that frees
/// memory, and gives replies. The others stay in order. May sleep.
///
/// Without memory all stay, those that are given up last.
pub fn take_given_up<T>(waiting: &mut KVVec<T>, given_up: impl Fn(&T) -> bool) -> KVVec<T> {
    let mut kept = 0;
    for at in 0..waiting.len() {
        if waiting.get(at).is_some_and(|one| !given_up(one)) {
            waiting.swap(kept, at);
            kept += 1;
        }
    }
    let mut taken = KVVec::new();
    let count = waiting.len() - kept;
    if count > 0 && taken.reserve(count, GFP_KERNEL).is_ok() {
        for one in core::iter::from_fn(|| waiting.pop()).take(count) {
            // There is room.
            let _ = taken.push_within_capacity(one);
        }
    }
    taken
}
