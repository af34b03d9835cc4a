// SPDX-License-Identifier: GPL-2.0
//! How many events in a second, on average and at most.

/// Lines of several processors may be out of order by so much.
const TOLERANCE_US: u64 = 1_000_000;

/// Counts events by the second of the log's own clock.
#[derive(Clone, Debug, Default)]
pub struct Rate {
    first_us: Option<u64>,
    last_us: u64,
    total: u64,
    second: u64,
    in_second: u64,
    most: u64,
}

impl Rate {
    /// An event. Times that go back a little count as the last; those that go back further are after a
    /// restart of the machine, and the mean begins anew.
    pub fn add(&mut self, at_us: u64) {
        let mut at_us = at_us;
        if at_us.saturating_add(TOLERANCE_US) < self.last_us {
            self.first_us = None;
            self.total = 0;
        } else {
            at_us = at_us.max(self.last_us);
        }
        self.first_us.get_or_insert(at_us);
        self.last_us = at_us;
        self.total += 1;
        let second = at_us / 1_000_000;
        if second != self.second {
            (self.second, self.in_second) = (second, 0);
        }
        self.in_second += 1;
        self.most = self.most.max(self.in_second);
    }

    /// Events in a second on average, since the machine was started.
    #[must_use]
    pub fn mean(&self) -> f64 {
        let passed = self.last_us.saturating_sub(self.first_us.unwrap_or(0));
        match passed {
            0 => self.total as f64,
            us => self.total as f64 * 1e6 / us as f64,
        }
    }

    /// Most events in one second.
    #[must_use]
    pub fn burst(&self) -> u64 {
        self.most
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bursts_are_seen_beside_the_mean() {
        let mut rate = Rate::default();
        for at in [0, 1_000_000, 2_000_000, 2_100_000, 2_200_000, 9_000_000] {
            rate.add(at);
        }
        assert_eq!(rate.burst(), 3);
        assert!((rate.mean() - 6.0 / 9.0).abs() < 1e-9);
    }

    #[test]
    fn lines_out_of_order_are_no_restart() {
        let mut rate = Rate::default();
        for at in [10_000_000, 11_000_000, 10_900_000, 11_100_000, 14_000_000] {
            rate.add(at);
        }
        assert!((rate.mean() - 5.0 / 4.0).abs() < 1e-9);
        assert_eq!(rate.burst(), 3);
        for at in [500_000, 1_500_000] {
            rate.add(at);
        }
        assert!((rate.mean() - 2.0).abs() < 1e-9);
    }
}
