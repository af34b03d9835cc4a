// SPDX-License-Identifier: GPL-2.0

//! Which node gets the next piece of work.

/// How a node is chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    /// Uniformly at random, as the original did.
    Random,
    /// The one with most room; among equals a random one.
    LeastUsed,
    /// The one with more room of two random ones (Mitzenmacher, 2001): nearly as even as the
    /// best, and many who choose at once by old figures do not all choose the same.
    TwoChoices,
}

impl Policy {
    const ALL: [Policy; 3] = [Policy::Random, Policy::LeastUsed, Policy::TwoChoices];

    /// As it is configured and shown.
    pub const fn name(self) -> &'static str {
        match self {
            Policy::Random => "random",
            Policy::LeastUsed => "least-used",
            Policy::TwoChoices => "two-choices",
        }
    }

    /// The policy of this name.
    pub fn parse(name: &str) -> Option<Policy> {
        Policy::ALL.into_iter().find(|policy| policy.name() == name)
    }

    /// The number that it crosses the wire as.
    pub fn to_wire(self) -> u32 {
        self as u32
    }

    /// The policy of this number.
    pub fn from_wire(number: u32) -> Option<Policy> {
        Policy::ALL.get(usize::try_from(number).ok()?).copied()
    }
}

/// Chooses among candidates whose free room is given.
///
/// `random` is a uniform random number. Returns an index into `free`, `None` if that is empty.
pub fn choose(policy: Policy, free: &[u64], random: u32) -> Option<usize> {
    let count = u32::try_from(free.len()).ok()?;
    let (first, rest) = below(random, count)?;
    let room = |index: usize| free.get(index).copied();
    match policy {
        Policy::Random => Some(first),
        Policy::LeastUsed => {
            let most = free.iter().max()?;
            let best = || (0..).zip(free).filter(|&(_, room)| room == most);
            let (nth, _) = below(random, u32::try_from(best().count()).ok()?)?;
            best().nth(nth).map(|(index, _)| index)
        }
        Policy::TwoChoices => {
            let Some((step, _)) = below(rest, count.saturating_sub(1)) else {
                return Some(first);
            };
            let second = first
                .checked_add(step)?
                .checked_add(1)?
                .checked_rem(free.len())?;
            Some(if room(second) > room(first) {
                second
            } else {
                first
            })
        }
    }
}

/// The room that a candidate is taken to have of which nothing is known, where `known` are those of the
/// others: as much as the best of them. So it has its turn and becomes known, but one that never answers
/// is not preferred to those that do.
pub fn unknown_room(known: impl Iterator<Item = u64>) -> u64 {
    known.max().unwrap_or(u64::MAX)
}

/// A number below `count` out of a random one, and what is left of that; `None` if there is none.
///
/// Multiply-shift instead of a remainder (Lemire, 2019): without division, and the bias of at most
/// `count` in 2^32 is far below what placement could notice.
fn below(random: u32, count: u32) -> Option<(usize, u32)> {
    let scaled = u64::from(random).checked_mul(count.into())?;
    let [a, b, c, d, e, f, g, h] = scaled.to_le_bytes();
    let index = u32::from_le_bytes([e, f, g, h]);
    (count > 0).then_some((
        usize::try_from(index).ok()?,
        u32::from_le_bytes([a, b, c, d]),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::vec::Vec;

    proptest! {
        #[test]
        fn random_covers_exactly_the_candidates(n in 1..10usize, random in any::<u32>()) {
            let free = &[0; 10][..n];
            prop_assert!(choose(Policy::Random, free, random).unwrap() < n);
        }

        #[test]
        fn two_choices_are_two_and_the_better_wins(
            free in prop::collection::vec(0..4u64, 2..10),
            random in any::<u32>(),
        ) {
            let i = choose(Policy::TwoChoices, &free, random).unwrap();
            // There is another one that has no more room.
            prop_assert!((0..free.len()).any(|other| other != i && free[other] <= free[i]));
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

    /// A node that took requests and answered none stayed unknown, and all went there.
    #[test]
    fn an_unknown_candidate_is_not_above_the_best_known() {
        let rooms = |known: &[u64]| [known, &[unknown_room(known.iter().copied())]].concat();
        let chosen = |room: &[u64], random| choose(Policy::LeastUsed, room, random);
        for known in [&[7, 3][..], &[0, 0], &[u64::MAX]] {
            let room = rooms(known);
            let all: Vec<_> = [0, u32::MAX / 2, u32::MAX]
                .map(|random| chosen(&room, random).unwrap())
                .into();
            assert!(all.iter().any(|&at| at < known.len()), "{known:?}: {all:?}");
            assert!(all.contains(&known.len()), "{known:?}: {all:?}");
        }
        assert_eq!(chosen(&rooms(&[]), 0), Some(0));
    }

    #[test]
    fn nobody_is_chosen_from_nobody() {
        assert_eq!(choose(Policy::Random, &[], 7), None);
        assert_eq!(choose(Policy::LeastUsed, &[], 7), None);
    }

    #[test]
    fn ties_are_spread() {
        let chosen = |random| choose(Policy::LeastUsed, &[5, 1, 5], random);
        // Evenly, whoever stands between them.
        let half = u32::MAX / 2;
        for (random, index) in [(0, 0), (half, 0), (half + 1, 2), (u32::MAX, 2)] {
            assert_eq!(chosen(random), Some(index), "{random}");
        }
        assert_eq!(choose(Policy::Random, &[0; 3], 0), Some(0));
        assert_eq!(choose(Policy::Random, &[0; 3], u32::MAX), Some(2));
    }
}
