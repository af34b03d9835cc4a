// SPDX-License-Identifier: GPL-2.0

//! Hybrid logical clocks (Kulkarni, Demirbas, Madappa, Avva, Leone: "Logical Physical Clocks", 2014).

/// A stamp of a hybrid logical clock: the wall clock's time in units of 2⁻¹⁶ s since 1970 in the
/// upper 48 bits (good until 2106), a counter in the lower 16 bits.
///
/// Stamps compare like the numbers that they are. The algorithm of the paper keeps time and counter
/// apart; here the successor of a stamp is the next number. If the counter overflows, the time is
/// incremented by one unit, so that the order stays right.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Hybrid(u64);

impl Hybrid {
    /// Units of a stamp's time in a second.
    const UNITS: u64 = 1 << 16;

    const NANOS: u64 = 1_000_000_000;

    /// The stamp of a time in seconds since 1970 and nanoseconds, with the counter at 0.
    #[inline]
    pub const fn of_time(seconds: u64, nanos: u32) -> Self {
        // Below 2³² · 2¹⁶.
        let fraction = (nanos as u64).wrapping_mul(Self::UNITS) / Self::NANOS;
        Hybrid(seconds.wrapping_mul(Self::UNITS).wrapping_add(fraction) << 16)
    }

    /// The stamp's time, in nanoseconds since 1970, to about 15 µs.
    pub const fn wall_nanos(self) -> u64 {
        let units = self.0 >> 16;
        let seconds = units / Self::UNITS;
        let fraction = (units % Self::UNITS).wrapping_mul(Self::NANOS) / Self::UNITS;
        // At most 2³² seconds, which is below 2⁶³ nanoseconds.
        seconds.wrapping_mul(Self::NANOS).wrapping_add(fraction)
    }

    /// The stamp as a number, as it crosses the wire.
    #[inline]
    pub const fn to_wire(self) -> u64 {
        self.0
    }

    /// The stamp that crossed the wire as `number`.
    #[inline]
    pub const fn from_wire(number: u64) -> Self {
        Hybrid(number)
    }

    /// The stamp of the next event on a node whose last stamp is `self` and whose wall clock shows
    /// `wall`, see [`Self::of_time`].
    #[inline]
    pub fn next(self, wall: Hybrid) -> Hybrid {
        self.successor().max(wall)
    }

    /// The stamp of the event "`sent` has arrived" on a node whose last stamp is `self` and whose wall
    /// clock shows `wall`. `None` if `sent` is further ahead of that than wall clocks of nodes may differ,
    /// by `skew_ms` milliseconds: it is not to be followed, so that a node whose clock is wrong does not
    /// set the clocks of the others.
    pub fn receive(self, sent: Hybrid, wall: Hybrid, skew_ms: u32) -> Option<Hybrid> {
        if sent > wall.later_by_ms(skew_ms) {
            return None;
        }
        Some(self.next(wall).max(sent.successor()))
    }

    #[inline]
    fn successor(self) -> Hybrid {
        Hybrid(self.0.saturating_add(1))
    }

    fn later_by_ms(self, ms: u32) -> Hybrid {
        // Below 2³² · 2¹⁶ / 1000, shifted by 16: below 2⁵⁵.
        let units = u64::from(ms).wrapping_mul(Self::UNITS) / 1000;
        Hybrid(self.0.saturating_add(units << 16))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::vec::Vec;

    const SECOND: u64 = 1_000_000_000;

    /// The stamp of a time in nanoseconds since 1970.
    fn of_nanos(nanos: u64) -> Hybrid {
        Hybrid::of_time(nanos / SECOND, (nanos % SECOND) as u32)
    }

    #[test]
    fn times_come_back_to_a_unit() {
        for nanos in [
            0,
            1,
            SECOND - 1,
            SECOND,
            1_796_000_000 * SECOND + 123_456_789,
        ] {
            let back = of_nanos(nanos).wall_nanos();
            assert!(
                back <= nanos && nanos - back <= 2 * SECOND / 65536,
                "{nanos} {back}"
            );
        }
        let last = u64::from(u32::MAX) * SECOND + SECOND - 1;
        assert!(last - of_nanos(last).wall_nanos() <= 2 * SECOND / 65536);
    }

    #[test]
    fn a_full_counter_goes_on_in_the_time() {
        let wall = of_nanos(SECOND);
        let mut stamp = wall;
        for _ in 0..100_000 {
            let next = stamp.next(wall);
            assert!(next > stamp);
            stamp = next;
        }
        // 100 000 events at one instant: two units of 15 µs ahead.
        assert!(stamp.wall_nanos() - SECOND < SECOND / 20_000);
    }

    #[test]
    fn a_clock_that_was_set_back_does_not_set_stamps_back() {
        let hour = 3600 * SECOND;
        let before = of_nanos(5 * hour);
        let after = before.next(of_nanos(4 * hour));
        assert!(after > before);
    }

    #[test]
    fn a_clock_an_hour_ahead_does_not_take_others_along() {
        let wall = of_nanos(7200 * SECOND);
        let sent = of_nanos(10_800 * SECOND);
        assert_eq!(wall.receive(sent, wall, 500), None);
    }

    /// One step of a run: node `to` does something, after a message from `from` if they differ;
    /// first its clock advances.
    type Step = (usize, usize, u32);

    proptest! {
        /// On three nodes whose clocks differ by at most `SKEW_MS` and never go back: stamps grow along
        /// each node and each message, every stamp is merged, and none runs more than the skew (and the
        /// counter's overflow) ahead of the latest wall clock.
        #[test]
        fn stamps_follow_causality_and_the_wall_clock(
            offsets in prop::array::uniform3(0..400u64),
            steps in prop::collection::vec((0..3usize, 0..3usize, 0..2_000_000u32), 1..200),
        ) {
            const SKEW_MS: u32 = 500;
            let steps: Vec<Step> = steps;
            let mut last = [Hybrid::default(); 3];
            let mut now = 1000 * SECOND;
            for (to, from, passed) in steps {
                now += u64::from(passed);
                let wall = of_nanos(now + offsets[to] * 1_000_000);
                let before = last[to];
                let stamp = if to == from {
                    before.next(wall)
                } else {
                    let stamp = before.receive(last[from], wall, SKEW_MS);
                    prop_assert!(stamp > Some(last[from]));
                    stamp.unwrap_or_default()
                };
                prop_assert!(stamp > before);
                let latest = of_nanos(now + 400_000_000);
                prop_assert!(stamp <= Hybrid(latest.0 + 200), "{:?} {:?}", stamp, latest);
                last[to] = stamp;
            }
        }

        #[test]
        fn any_numbers_are_stamps(own: u64, sent: u64, nanos: u64, skew: u32) {
            let (own, wall) = (Hybrid::from_wire(own), of_nanos(nanos));
            let received = own.receive(Hybrid::from_wire(sent), wall, skew);
            for stamp in received.into_iter().chain([own.next(wall)]) {
                prop_assert!(stamp > own || own.to_wire() == u64::MAX);
            }
            let _ = Hybrid::from_wire(sent).wall_nanos();
        }
    }
}
