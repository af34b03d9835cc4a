// SPDX-License-Identifier: GPL-2.0
//! How many events in a second, on average and at most.

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
    /// An event. Times that go back, as after a restart of the machine, begin another second.
    pub fn add(&mut self, at_us: u64) {
        self.first_us.get_or_insert(at_us);
        if at_us < self.last_us {
            self.first_us = Some(at_us);
            self.total = 0;
        }
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
}
