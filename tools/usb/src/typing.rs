// SPDX-License-Identifier: GPL-2.0
//! Whether somebody types on a keyboard, or a program: by the times between keystrokes.
//!
//! People's intervals have a floor of some 30 ms, are skewed to the right and have long tails, from
//! hesitation and word boundaries (Dhakal, Feit, Kristensson, Oulasvirta: "Observations on Typing from 136
//! Million Keystrokes", CHI 2018: 239 ms on average, standard deviation 112 ms between typists). Programs
//! send keys as fast as they can, or at equal intervals, or with jitter from a generator that is
//! uniform: without a tail.

use std::time::Duration;

/// Keystrokes that are looked at together.
pub const WINDOW: usize = 70;

/// Keystrokes from which on something is said.
pub const LEAST: usize = 20;

/// Scores from this on are called injected. The worst of all windows counts, so the longer people type the
/// higher theirs is: see the test for how often that is wrong within how many keystrokes.
pub const THRESHOLD: f64 = 0.36;

/// Whether a report is one of the boot protocol: modifiers, nothing, and the keys that are held, each once.
pub fn is_boot_report(report: &[u8]) -> bool {
    let [_, 0, keys @ ..] = report else {
        return false;
    };
    // The last usage that is a key. 1 says in all places that they are too many.
    let is_key = |&key: &u8| matches!(key, 0 | 1 | 4..=0xdd);
    let once = |(at, key): (usize, &u8)| *key < 4 || !keys.iter().take(at).any(|k| k == key);
    keys.len() == 6 && keys.iter().all(is_key) && keys.iter().enumerate().all(once)
}

/// The keystrokes of a keyboard.
#[derive(Clone, Debug, Default)]
pub struct Typing {
    held: Vec<u8>,
    last: Option<Duration>,
    intervals: Vec<f64>,
    keystrokes: u64,
    /// The highest score so far.
    worst: Option<f64>,
}

impl Typing {
    /// A report of a keyboard (boot protocol) has come.
    pub fn report(&mut self, time: Duration, report: &[u8]) {
        let keys = report.get(2..8).unwrap_or(&[]);
        let pressed = keys
            .iter()
            .filter(|&&key| key > 3 && !self.held.contains(&key));
        let count = pressed.count();
        self.held = keys.to_vec();
        for _ in 0..count {
            self.keystroke(time);
        }
    }

    /// A key was pressed.
    pub fn keystroke(&mut self, time: Duration) {
        self.keystrokes += 1;
        if let Some(last) = self.last.replace(time) {
            if self.intervals.len() == WINDOW {
                self.intervals.remove(0);
            }
            self.intervals.push(time.saturating_sub(last).as_secs_f64());
        }
        if let Some(score) = self.score() {
            self.worst = Some(self.worst.map_or(score, |worst| worst.max(score)));
        }
    }

    /// How many there were.
    pub fn keystrokes(&self) -> u64 {
        self.keystrokes
    }

    /// How much the last keystrokes look like a program's: 0 not at all, 1 altogether.
    pub fn score(&self) -> Option<f64> {
        if self.intervals.len() < LEAST {
            return None;
        }
        let mut sorted = self.intervals.clone();
        sorted.sort_by(f64::total_cmp);
        let quantile = |q: f64| {
            let at = (sorted.len() - 1) as f64 * q;
            sorted.get(at.round() as usize).copied().unwrap_or(0.0)
        };
        let median = quantile(0.5);
        if median <= 0.0 {
            return Some(1.0);
        }
        let fast = 1.0 - median / 0.030;
        // The upper half's spread, measured by the median: about 0.2 for equal intervals with jitter, 0.9
        // for uniform ones, above 1.5 for people.
        let tail = (quantile(0.95) - median) / median;
        let even = 1.0 - tail / 0.9;
        // The largest interval: people pause.
        let pause = 1.0 - (quantile(1.0) / median - 1.0) / 1.35;
        // The fewer there are, the less is known of the tail.
        let known = self.intervals.len() as f64 / WINDOW as f64;
        Some(fast.max(even * known).max(pause * known).clamp(0.0, 1.0))
    }

    /// The highest score so far, if it is a program's.
    pub fn injected(&self) -> Option<f64> {
        self.worst.filter(|&score| score >= THRESHOLD)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::println;

    /// Normally distributed, by Box and Muller.
    fn normal(random: &mut fastrand::Rng) -> f64 {
        let (a, b) = (1.0 - random.f64(), random.f64());
        (-2.0 * a.ln()).sqrt() * (std::f64::consts::TAU * b).cos()
    }

    /// A typist: log-normal intervals about a speed of the own, and pauses between words.
    fn person(random: &mut fastrand::Rng, keystrokes: usize) -> Vec<f64> {
        let median = (0.19 * (0.40 * normal(random)).exp()).clamp(0.06, 0.8);
        let spread = 0.35 + 0.3 * random.f64();
        let mut word = 0;
        let interval = |_| {
            word += 1;
            let mut interval = median * (spread * normal(random)).exp();
            if word > 2 + random.usize(..6) {
                word = 0;
                interval *= 1.5 + 2.0 * random.f64();
            }
            interval.max(0.03)
        };
        (0..keystrokes).map(interval).collect()
    }

    /// A program: fast, at equal intervals, or with uniform jitter.
    fn program(random: &mut fastrand::Rng, kind: usize) -> Vec<f64> {
        let base = 0.05 + 0.2 * random.f64();
        let interval = |_| match kind {
            0 => 0.001 + 0.01 * random.f64(),
            1 => base * (1.0 + 0.05 * random.f64()),
            _ => base * (0.5 + random.f64()),
        };
        (0..WINDOW).map(interval).collect()
    }

    fn worst(intervals: &[f64]) -> f64 {
        let mut typing = Typing::default();
        let mut now = 0.0;
        typing.keystroke(Duration::ZERO);
        for interval in intervals {
            now += interval;
            // As a keyboard that is polled every 8 ms tells it.
            let polled = (now / 0.008).ceil() * 0.008;
            typing.keystroke(Duration::from_secs_f64(polled));
        }
        typing.worst.unwrap_or(0.0)
    }

    /// Keystrokes that a person may make in a capture, with at most 1 % false alarms.
    const LONG: usize = 5000;

    /// Prints the curve, and checks the point that is used: programs make 70 keystrokes, people many.
    #[test]
    fn programs_are_told_from_people_within_70_keystrokes() {
        let mut random = fastrand::Rng::with_seed(7);
        let people: Vec<f64> = (0..200)
            .map(|_| worst(&person(&mut random, LONG)))
            .collect();
        let rate = |scores: &[f64], threshold: f64| {
            scores.iter().filter(|&&score| score >= threshold).count() as f64 / scores.len() as f64
        };
        for (kind, name) in ["fast", "even", "uniform jitter"].into_iter().enumerate() {
            let scores: Vec<f64> = (0..1000)
                .map(|_| worst(&program(&mut random, kind)))
                .collect();
            for step in 0..=10 {
                let threshold = f64::from(step) / 10.0;
                println!(
                    "ROC {name}: threshold {threshold:.1} false alarms {:.4} found {:.4}",
                    rate(&people, threshold),
                    rate(&scores, threshold)
                );
            }
            assert!(
                rate(&scores, THRESHOLD) >= 0.99,
                "{name}: {}",
                rate(&scores, THRESHOLD)
            );
        }
        assert!(
            rate(&people, THRESHOLD) <= 0.01,
            "{}",
            rate(&people, THRESHOLD)
        );
    }

    #[test]
    fn reports_of_the_boot_protocol_are_told_from_others() {
        for report in [[0; 8], [2, 0, 4, 5, 0, 0, 0, 0], [0, 0, 1, 1, 1, 1, 1, 1]] {
            assert!(is_boot_report(&report), "{report:?}");
        }
        for report in [
            [0, 1, 4, 0, 0, 0, 0, 0],
            [0, 0, 4, 4, 0, 0, 0, 0],
            [0, 0, 2, 0, 0, 0, 0, 0],
            [0, 0, 0xff, 0, 0, 0, 0, 0],
        ] {
            assert!(!is_boot_report(&report), "{report:?}");
        }
        assert!(!is_boot_report(&[0, 0, 4]));
    }

    #[test]
    fn reports_are_counted_by_new_keys() {
        let mut typing = Typing::default();
        let a = [0, 0, 4, 0, 0, 0, 0, 0];
        let ab = [0, 0, 4, 5, 0, 0, 0, 0];
        let none = [0; 8];
        for (ms, report) in [(0, a), (8, a), (16, ab), (24, none), (32, a)] {
            typing.report(Duration::from_millis(ms), &report);
        }
        assert_eq!(typing.keystrokes(), 3);
        typing.report(Duration::ZERO, &[]);
    }
}
