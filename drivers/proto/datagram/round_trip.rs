// SPDX-License-Identifier: GPL-2.0

//! After which time a datagram counts as lost: from the measured round trips (RFC 6298), in microseconds.

/// No sooner than this: timers of the kernel are no finer, and a reply may be that late for other reasons.
const MIN_US: u32 = 4_000;

/// No later than this, however often a datagram was lost.
const MAX_US: u32 = 200_000;

/// When nothing was measured yet.
const FIRST_US: u32 = 20_000;

/// Longer ones are counted as this.
const MAX_SAMPLE_US: u32 = 10_000_000;

/// The smoothed round trip and its variation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RoundTrip {
    /// 0 if nothing was measured.
    smoothed: u32,
    variation: u32,
}

impl RoundTrip {
    /// Nothing was measured.
    pub const fn unknown() -> Self {
        RoundTrip {
            smoothed: 0,
            variation: 0,
        }
    }

    /// Takes another round trip into account. Not of a datagram that was repeated: nobody knows to which of
    /// the two the reply belongs.
    pub fn measured(self, us: u32) -> Self {
        let us = us.clamp(1, MAX_SAMPLE_US);
        if self.smoothed == 0 {
            return RoundTrip {
                smoothed: us,
                variation: us / 2,
            };
        }
        let difference = self.smoothed.abs_diff(us);
        // 3/4 and 1/4 of it, 7/8 and 1/8 of the round trip. None of these is above the longest sample.
        let variation = (self.variation / 4)
            .saturating_mul(3)
            .saturating_add(difference / 4);
        let smoothed = (self.smoothed.saturating_mul(7)).saturating_add(us) / 8;
        RoundTrip {
            smoothed: smoothed.max(1),
            variation,
        }
    }

    /// How long to wait for the reply to a datagram that was sent for the `repeats`-th time again.
    pub fn timeout_us(self, repeats: u32) -> u32 {
        let once = match self.smoothed {
            0 => FIRST_US,
            smoothed => smoothed.saturating_add(self.variation.saturating_mul(4)),
        };
        let factor = 1u32.checked_shl(repeats).unwrap_or(u32::MAX);
        once.clamp(MIN_US, MAX_US)
            .saturating_mul(factor)
            .min(MAX_US)
    }

    /// Both numbers in one, for an atomic variable.
    pub fn to_bits(self) -> u64 {
        (u64::from(self.smoothed) << 32) | u64::from(self.variation)
    }

    /// The reverse of [`Self::to_bits`].
    pub fn from_bits(bits: u64) -> Self {
        RoundTrip {
            smoothed: (bits >> 32) as u32,
            variation: bits as u32,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::vec::Vec;

    #[test]
    fn timeout_follows_the_round_trip() {
        let mut trip = RoundTrip::unknown();
        assert_eq!(trip.timeout_us(0), FIRST_US);
        trip = trip.measured(50_000);
        assert_eq!(trip.timeout_us(0), 150_000);
        for _ in 0..100 {
            trip = trip.measured(50_000);
        }
        assert!((50_000..51_000).contains(&trip.timeout_us(0)));
        for _ in 0..100 {
            trip = trip.measured(100);
        }
        assert_eq!(trip.timeout_us(0), MIN_US);
        assert_eq!(trip.timeout_us(3), 8 * MIN_US);
        assert_eq!(trip.timeout_us(40), MAX_US);
    }

    proptest! {
        #[test]
        fn timeout_is_bounded_and_grows_with_repeats(
            samples in any::<Vec<u32>>(),
            repeats in 0..100u32,
        ) {
            let mut trip = RoundTrip::unknown();
            for us in &samples {
                trip = trip.measured(*us);
                prop_assert_eq!(RoundTrip::from_bits(trip.to_bits()), trip);
                prop_assert!(trip != RoundTrip::unknown());
            }
            let timeout = trip.timeout_us(repeats);
            prop_assert!((MIN_US..=MAX_US).contains(&timeout));
            prop_assert!(trip.timeout_us(repeats + 1) >= timeout);
        }

        /// Round trips that stay in a range do not time out.
        #[test]
        fn steady_round_trips_are_in_time(
            base in 100..40_000u32,
            samples in prop::collection::vec(0..100u32, 20..200),
        ) {
            let mut trip = RoundTrip::unknown();
            for percent in &samples {
                let us = base + base * percent / 400;
                trip = trip.measured(us);
            }
            prop_assert!(trip.timeout_us(0) >= base);
        }
    }
}
