// SPDX-License-Identifier: GPL-2.0

//! Limiting a rate: each sender is given the moment from which on it may send (the virtual scheduling
//! of the generic cell rate algorithm, ITU-T I.371).

/// Time that may be caught up with, in microseconds: who wakes up late sends at once, and the rate is
/// kept all the same.
pub const BURST_US: u64 = 50_000;

/// Microseconds that `bytes` take at `mbits` Mbit/s, which is not 0.
pub fn cost_us(bytes: usize, mbits: u64) -> u64 {
    let bits = (bytes as u64).saturating_mul(8);
    bits.checked_div(mbits).unwrap_or(0)
}

/// What a sender is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Turn {
    /// When the next sender's turn is.
    pub next_us: u64,
    /// How long this one waits.
    pub wait_us: u64,
}

/// The turn of a sender at time `now_us`, which costs `cost_us`; `next_us` is what the sender before
/// has left.
pub fn turn(next_us: u64, now_us: u64, cost_us: u64) -> Turn {
    let begin = next_us.max(now_us.saturating_sub(BURST_US));
    Turn {
        next_us: begin.saturating_add(cost_us),
        wait_us: begin.saturating_sub(now_us),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_idle_link_is_free_at_once() {
        let turn = turn(0, 1_000_000, 700);
        assert_eq!(turn.wait_us, 0);
        assert_eq!(turn.next_us, 1_000_000 - BURST_US + 700);
        assert_eq!(cost_us(125_000, 1), 1_000_000);
    }

    proptest! {
        /// Senders that wake up to 4 ms late, with a message of any size after the other.
        #[test]
        fn the_rate_is_kept_within_five_percent(
            mbits in 1..1000u64,
            sizes in prop::collection::vec(1..65536usize, 1..50),
            late in prop::collection::vec(0..4000u64, 50),
        ) {
            let (mut now, mut next, mut sent) = (1_000_000u64, 0, 0u64);
            let start = now;
            while now - start < 10_000_000 && sent < 1 << 31 {
                for (size, late) in sizes.iter().zip(&late) {
                    let turn = turn(next, now, cost_us(*size, mbits));
                    next = turn.next_us;
                    if turn.wait_us > 0 {
                        now += turn.wait_us + late;
                    }
                    sent += *size as u64;
                }
            }
            let bits = sent * 8;
            let allowed = (now - start + BURST_US) * mbits;
            let last = 65536 * 8 * 50;
            prop_assert!(bits <= allowed + last + allowed / 20);
            if now - start >= 10_000_000 {
                prop_assert!(bits + last >= (now - start) * mbits / 20 * 19);
            }
        }
    }
}
