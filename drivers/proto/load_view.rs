// SPDX-License-Identifier: GPL-2.0

//! What one node knows of another's load, and how long it believes that.
//!
//! Everything here ages: what a node has said of itself, how many calls went there since, and that
//! it could not be reached. A node about which nothing is known is taken for idle, so that it is
//! tried again, and says more with its next reply.
//!
//! Times are milliseconds of a clock that does not go back.

use crate::clone::Load;

/// How long what a node has said of itself is used, and how long calls that went there count.
pub const FRESH_MS: u64 = 2000;

/// How long a node that could not be reached is passed over.
pub const DOWN_MS: u64 = 2000;

/// What is known of a node.
#[derive(Clone, Copy, Debug)]
pub struct Seen {
    /// What it has said last, and when.
    load: Option<(Load, u64)>,
    /// Calls that went there since.
    sent: u32,
    /// When the last one did.
    sent_at: u64,
    /// Until when it is passed over.
    down_until: u64,
}

impl Seen {
    /// Nothing is known.
    pub const NOTHING: Seen = Seen {
        load: None,
        sent: 0,
        sent_at: 0,
        down_until: 0,
    };

    /// It says how loaded it is.
    pub fn heard(&mut self, load: Load, now: u64) {
        *self = Seen {
            load: Some((load, now)),
            ..Seen::NOTHING
        };
    }

    /// It could not be reached.
    pub fn lost(&mut self, now: u64) {
        self.down_until = now.saturating_add(DOWN_MS);
    }

    /// A call goes there.
    pub fn chosen(&mut self, now: u64) {
        self.sent = self.sent(now).saturating_add(1);
        self.sent_at = now;
    }

    /// What it has said, if that is used still.
    pub fn fresh(&self, now: u64) -> Option<Load> {
        let (load, at) = self.load?;
        (now.saturating_sub(at) < FRESH_MS).then_some(load)
    }

    /// Whether it is passed over.
    pub fn is_down(&self, now: u64) -> bool {
        now < self.down_until
    }

    /// Calls that went there since it has said something, as far as they count still.
    pub fn sent(&self, now: u64) -> u32 {
        match now.saturating_sub(self.sent_at) < FRESH_MS {
            true => self.sent,
            false => 0,
        }
    }

    /// Smaller is better.
    pub fn weight(&self, now: u64) -> u64 {
        let (known, processors) = match self.fresh(now) {
            Some(load) => (load.weight(), load.processors.get().max(1)),
            None => (0, 1),
        };
        let since = u64::from(self.sent(now))
            .saturating_mul(100)
            .checked_div(processors.into())
            .unwrap_or(0);
        u64::from(known).saturating_add(since)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn load(runnable: u32) -> Load {
        Load {
            calls: 0.into(),
            runnable: runnable.into(),
            processors: 2.into(),
            busy: 0.into(),
            free_mib: 0.into(),
        }
    }

    #[test]
    fn what_a_node_has_said_ages() {
        let mut seen = Seen::NOTHING;
        seen.heard(load(4), 1000);
        assert_eq!(seen.weight(1000), 200);
        seen.chosen(1100);
        assert_eq!(seen.weight(1100), 250);
        assert_eq!(seen.fresh(1000 + FRESH_MS), None);
        assert_eq!(seen.weight(1100 + FRESH_MS), 0);
    }

    /// A node that got calls and never said anything since was never chosen again.
    #[test]
    fn calls_that_went_nowhere_age() {
        let mut seen = Seen::NOTHING;
        for now in 0..1000 {
            seen.chosen(now);
        }
        seen.lost(1000);
        assert!(seen.is_down(1000 + DOWN_MS - 1));
        assert!(!seen.is_down(1000 + DOWN_MS));
        assert_eq!(seen.weight(1000 + FRESH_MS), 0);
        seen.chosen(10_000);
        assert_eq!(seen.sent(10_000), 1);
    }

    proptest! {
        #[test]
        fn nothing_is_believed_for_ever(
            steps in prop::collection::vec((0..3u8, 0..500u64), 0..50),
        ) {
            let (mut seen, mut now) = (Seen::NOTHING, 0);
            for (step, later) in steps {
                now += later;
                match step {
                    0 => seen.heard(load(9), now),
                    1 => seen.lost(now),
                    _ => seen.chosen(now),
                }
            }
            now += FRESH_MS.max(DOWN_MS);
            prop_assert_eq!(seen.weight(now), 0);
            prop_assert!(!seen.is_down(now));
        }
    }
}
