// SPDX-License-Identifier: GPL-2.0

//! Which datagrams have come: each is accepted once, in any order within a window (RFC 6479).

/// Words of the ring of bits.
const WORDS: usize = 32;

/// Counters that a datagram may be behind the highest that has come: one word of the ring is always being
/// reused.
const SIZE: u64 = (WORDS as u64 - 1) * 64;

/// The counters that were accepted.
pub struct Window {
    /// The highest, and one more; 0 if none was.
    next: u64,
    /// A bit for each of those below, in a ring.
    bits: [u64; WORDS],
}

impl Window {
    /// Nothing has come.
    pub const fn new() -> Self {
        Window {
            next: 0,
            bits: [0; WORDS],
        }
    }

    /// Whether a datagram with this counter is the first, and not too old: then another with the same
    /// counter is not. To be asked once its tag was found good.
    pub fn accept(&mut self, counter: u64) -> bool {
        // The highest counter of all is not used, so that there is always a next one.
        let Some(next) = counter.checked_add(1) else {
            return false;
        };
        let word = counter / 64;
        if counter >= self.next {
            // Words that come into the window have what was there before it.
            let last = self.next.saturating_sub(1) / 64;
            let new = word.saturating_sub(last).min(WORDS as u64);
            for at in 0..new {
                if let Some(bits) = self.word(word.saturating_sub(at)) {
                    *bits = 0;
                }
            }
            self.next = next;
        } else if self.next.saturating_sub(counter) > SIZE {
            return false;
        }
        let bit = 1u64.wrapping_shl((counter % 64) as u32);
        let Some(bits) = self.word(word) else {
            return false;
        };
        let is_first = *bits & bit == 0;
        *bits |= bit;
        is_first
    }

    fn word(&mut self, number: u64) -> Option<&mut u64> {
        const RING: u64 = WORDS as u64;
        self.bits.get_mut((number % RING) as usize)
    }
}

impl Default for Window {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::{collections::HashSet, vec::Vec};

    #[test]
    fn each_is_accepted_once() {
        let mut window = Window::new();
        for counter in [0, 1, 5, 3, 2, 4, 64, 63, 5000, 5000 - SIZE + 1] {
            assert!(window.accept(counter), "{counter}");
            assert!(!window.accept(counter), "{counter}");
        }
        assert!(!window.accept(5000 - SIZE));
        assert!(!window.accept(6));
        assert!(!window.accept(u64::MAX));
        assert!(window.accept(u64::MAX - 1));
        assert!(!window.accept(u64::MAX - 1));
        assert!(!window.accept(5001));
    }

    #[test]
    fn one_that_is_refused_changes_nothing() {
        let mut window = Window::new();
        assert!(window.accept(5));
        assert!(!window.accept(u64::MAX));
        assert!(!window.accept(5));
    }

    #[test]
    fn a_word_that_is_reused_is_empty() {
        let mut window = Window::new();
        for counter in 0..64 * WORDS as u64 {
            assert!(window.accept(counter));
        }
        for counter in (64 * WORDS as u64..3 * 64 * WORDS as u64).step_by(3) {
            assert!(window.accept(counter), "{counter}");
        }
    }

    fn counters() -> impl Strategy<Value = Vec<u64>> {
        let step = prop_oneof![-3..6i64, -3000..3000i64, 0..100_000i64];
        prop::collection::vec(step, 1..500).prop_map(|steps| {
            let mut at = 0i64;
            steps
                .iter()
                .map(|step| {
                    at = (at + step).max(0);
                    at as u64
                })
                .collect()
        })
    }

    proptest! {
        /// Against a set of all that have come.
        #[test]
        fn none_is_accepted_twice_and_none_that_is_new_refused(counters in counters()) {
            let mut window = Window::new();
            let (mut seen, mut highest) = (HashSet::new(), 0);
            for counter in counters {
                let is_old = counter + SIZE <= highest && !seen.is_empty();
                let expected = !is_old && !seen.contains(&counter);
                prop_assert_eq!(window.accept(counter), expected, "{} {}", counter, highest);
                if expected {
                    seen.insert(counter);
                    highest = highest.max(counter);
                }
            }
        }
    }
}
