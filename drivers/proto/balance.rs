// SPDX-License-Identifier: GPL-2.0

//! Which node gets the next piece of work.

/// How a node is chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    /// Uniformly at random, as the original did.
    Random,
    /// The one with most room; among equals a random one.
    LeastUsed,
}

/// Chooses among candidates whose free room is given.
///
/// `random` is a uniform random number. Returns an index into `free`, `None` if that is empty.
pub fn choose(policy: Policy, free: &[u64], random: u32) -> Option<usize> {
    // Multiply-shift instead of a remainder (Lemire, 2019): without division, and the bias of
    // at most free.len() in 2^32 is far below what placement could notice.
    let scaled = u64::from(random).checked_mul(u64::try_from(free.len()).ok()?)? >> 32;
    let start = usize::try_from(scaled).ok()?;
    match policy {
        Policy::Random => (start < free.len()).then_some(start),
        Policy::LeastUsed => {
            let from_start = free.iter().enumerate().skip(start);
            let wrapped = free.iter().enumerate().take(start);
            // `reduce` keeps the first of equals, and the first one looked at is random.
            from_start
                .chain(wrapped)
                .reduce(|best, next| if next.1 > best.1 { next } else { best })
                .map(|(index, _)| index)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn random_covers_exactly_the_candidates(n in 1..10usize, random in any::<u32>()) {
            let free = &[0; 10][..n];
            prop_assert!(choose(Policy::Random, free, random).unwrap() < n);
        }

        #[test]
        fn least_used_has_most_room(
            free in prop::collection::vec(0..4u64, 1..10),
            random in any::<u32>(),
        ) {
            let i = choose(Policy::LeastUsed, &free, random).unwrap();
            prop_assert_eq!(free[i], *free.iter().max().unwrap());
        }
    }

    #[test]
    fn nobody_is_chosen_from_nobody() {
        assert_eq!(choose(Policy::Random, &[], 7), None);
        assert_eq!(choose(Policy::LeastUsed, &[], 7), None);
    }

    #[test]
    fn ties_are_spread() {
        let chosen = |random| choose(Policy::LeastUsed, &[5, 1, 5], random);
        assert_eq!(chosen(0), Some(0));
        assert_eq!(chosen(u32::MAX), Some(2));
        assert_eq!(choose(Policy::Random, &[0; 3], 0), Some(0));
        assert_eq!(choose(Policy::Random, &[0; 3], u32::MAX), Some(2));
    }
}
