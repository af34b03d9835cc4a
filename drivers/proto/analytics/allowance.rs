// SPDX-License-Identifier: GPL-2.0

//! How many values a second are taken: a leaky bucket, which never lets through more than the rate and what
//! it holds.
//!
//! Counted in thousandths of a value, so that each millisecond takes away as many as the rate is.

/// How long a pause may be made up for, in milliseconds.
const BURST_MS: u64 = 100;

/// A value.
const ONE: u64 = 1000;

/// What was taken of late.
#[derive(Clone, Copy, Debug)]
pub struct Allowance {
    /// Values a second.
    rate: u64,
    level: u64,
    /// When the level was that, in milliseconds.
    at_ms: u64,
}

impl Allowance {
    /// `rate` values a second, from `now_ms` on.
    pub const fn new(rate: u32, now_ms: u64) -> Self {
        Allowance {
            rate: if rate == 0 { 1 } else { rate as u64 },
            level: 0,
            at_ms: now_ms,
        }
    }

    /// How long to wait until something may be taken, in milliseconds; 0 for now.
    pub fn wait_ms(&mut self, now_ms: u64) -> u32 {
        let passed = now_ms.saturating_sub(self.at_ms);
        self.level = self.level.saturating_sub(passed.saturating_mul(self.rate));
        self.at_ms = now_ms;
        // A value at least, or there would be nothing to take.
        let room = self.rate.saturating_mul(BURST_MS).max(ONE);
        match self.level.checked_sub(room) {
            None => 0,
            Some(over) => {
                let ms = over.checked_div(self.rate).unwrap_or(0).saturating_add(1);
                u32::try_from(ms).unwrap_or(u32::MAX)
            }
        }
    }

    /// So many values were taken, which may be more than there was room for: what follows waits for it.
    pub fn take(&mut self, values: u64) {
        self.level = self.level.saturating_add(values.saturating_mul(ONE));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Values taken in `ms`, by one who takes `each` at a time as soon as it may.
    fn taken(rate: u32, each: u64, ms: u64) -> u64 {
        let mut allowance = Allowance::new(rate, 7);
        let (mut now, mut taken) = (7, 0);
        while now < 7 + ms {
            match allowance.wait_ms(now) {
                0 => {
                    allowance.take(each);
                    taken += each;
                }
                wait => now += u64::from(wait),
            }
        }
        taken
    }

    #[test]
    fn any_rate_is_kept() {
        for rate in [1, 7, 15, 99, 105, 199, 2000, 100_000] {
            let most = u64::from(rate) * 10;
            let got = taken(rate, 1, 10_000);
            assert!(
                (most..=most + most / 100 + 2).contains(&got),
                "{rate}: {got}"
            );
        }
    }

    proptest! {
        #[test]
        fn no_more_than_the_rate_and_what_it_holds(rate in 1..5000u32, each in 1..64u64) {
            let got = taken(rate, each, 5000);
            prop_assert!(got <= u64::from(rate) * 5 + u64::from(rate) / 10 + 1 + each);
        }
    }
}
