// SPDX-License-Identifier: GPL-2.0

//! Log-scaled histogram of durations.

/// Buckets of a histogram. Bucket 0 counts durations below 256 ns, bucket `i` those from
/// 2^(7+i) ns up to twice that, the last one everything longer (from about 2.1 s).
pub const BUCKETS: usize = 25;

/// The bucket for a duration in nanoseconds.
pub const fn bucket(nanos: u64) -> usize {
    let bits = (u64::BITS.saturating_sub(nanos.leading_zeros())) as usize;
    let index = bits.saturating_sub(8);
    if index < BUCKETS {
        index
    } else {
        BUCKETS.saturating_sub(1)
    }
}

/// The lower bound of bucket `index` in nanoseconds.
pub fn lower_bound(index: usize) -> u64 {
    match index {
        0 => 0,
        _ => 1u64 << (index as u32).saturating_add(7).min(63),
    }
}

/// The lower bound of the bucket that holds the given share (in percent) of all counts, in
/// nanoseconds; `None` when nothing was counted.
pub fn percentile(counts: &[u64; BUCKETS], percent: u8) -> Option<u64> {
    let total = counts.iter().fold(0u64, |sum, &n| sum.saturating_add(n));
    let wanted = total.saturating_mul(percent.into()).div_ceil(100);
    let mut seen = 0u64;
    for (index, &count) in counts.iter().enumerate() {
        seen = seen.saturating_add(count);
        if seen >= wanted && count > 0 {
            return Some(lower_bound(index));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn each_duration_is_within_its_bucket(nanos in any::<u64>()) {
            let i = bucket(nanos);
            prop_assert!(lower_bound(i) <= nanos);
            prop_assert!(i == BUCKETS - 1 || nanos < lower_bound(i + 1));
        }
    }

    #[test]
    fn percentiles_come_from_the_counts() {
        let mut counts = [0; BUCKETS];
        assert_eq!(percentile(&counts, 50), None);
        counts[2] = 90;
        counts[5] = 10;
        assert_eq!(percentile(&counts, 50), Some(lower_bound(2)));
        assert_eq!(percentile(&counts, 90), Some(lower_bound(2)));
        assert_eq!(percentile(&counts, 99), Some(lower_bound(5)));
    }
}
