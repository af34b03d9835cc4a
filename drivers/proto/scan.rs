// SPDX-License-Identifier: GPL-2.0

//! Finding bytes, eight at a time.

const ONES: u64 = 0x0101_0101_0101_0101;
const HIGHS: u64 = 0x8080_8080_8080_8080;

/// The place of the first byte that is one of `needles`.
///
/// Looks at a word at a time (Mycroft's test for a zero byte, 1987): the lowest bit that it sets
/// belongs to the first zero byte, what it sets above that does not count.
pub fn find<const N: usize>(bytes: &[u8], needles: [u8; N]) -> Option<usize> {
    let mut words = bytes.chunks_exact(8);
    for (at, word) in (0usize..).step_by(8).zip(&mut words) {
        let word = u64::from_le_bytes(word.try_into().unwrap_or_default());
        let hits = needles.iter().fold(0, |hits, &needle| {
            let zero_if_equal = word ^ ONES.wrapping_mul(needle.into());
            hits | (zero_if_equal.wrapping_sub(ONES) & !zero_if_equal & HIGHS)
        });
        if hits != 0 {
            return Some(at.saturating_add(hits.trailing_zeros() as usize / 8));
        }
    }
    let rest = words.remainder();
    let at = rest.iter().position(|byte| needles.contains(byte))?;
    Some(bytes.len().saturating_sub(rest.len()).saturating_add(at))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn finds_what_a_plain_search_finds(
            bytes in prop::collection::vec(
                prop_oneof![0..4u8, 0x7e..0x83u8, any::<u8>()], 0..40),
            needles in any::<[u8; 2]>(),
            small in prop_oneof![Just([0u8, 1]), Just([0x80, 0x7f]), Just([2, 0xff])],
        ) {
            for needles in [needles, small] {
                let plain = bytes.iter().position(|byte| needles.contains(byte));
                prop_assert_eq!(find(&bytes, needles), plain);
            }
        }
    }
}
