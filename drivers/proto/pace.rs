// SPDX-License-Identifier: GPL-2.0

//! Limiting a rate: each sender is given the moment from which on it may send (the virtual scheduling
//! of the generic cell rate algorithm, ITU-T I.371).
//!
//! Times are ticks of a clock that never goes back, of which there are so many that the shortest message
//! at the highest rate costs one. 64 bits of them last nine years.

/// Ticks of a millisecond.
pub const TICKS_PER_MS: u64 = 65_536_000;

/// Time that may be caught up with: who wakes up late sends at once, and the rate is kept all the same.
pub const BURST: u64 = 50 * TICKS_PER_MS;

/// Ticks that `bytes` take at `mbits` Mbit/s, 1 at least. Rounded up, so that the limit holds.
pub fn cost(bytes: usize, mbits: u64) -> u64 {
    let bits = (bytes as u64).saturating_mul(8);
    // A bit at 1 Mbit/s takes a microsecond.
    bits.saturating_mul(TICKS_PER_MS / 1000)
        .div_ceil(mbits.max(1))
}

/// What a sender is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SendTime {
    /// When the next sender's turn is.
    pub next: u64,
    /// How long this one waits.
    pub wait: u64,
}

/// The turn of a sender at time `now`, which costs `cost`; `next` is what the sender before has left.
pub fn turn(next: u64, now: u64, cost: u64) -> SendTime {
    let begin = next.max(now.saturating_sub(BURST));
    SendTime {
        next: begin.saturating_add(cost),
        wait: begin.saturating_sub(now),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_idle_link_is_free_at_once() {
        let now = 1000 * TICKS_PER_MS;
        let turn = turn(0, now, 700);
        assert_eq!(turn.wait, 0);
        assert_eq!(turn.next, now - BURST + 700);
        assert_eq!(cost(125_000, 1), 1000 * TICKS_PER_MS);
    }

    #[test]
    fn no_message_is_free() {
        assert_eq!(cost(1, 1_000_000), 1);
        assert_eq!(cost(125, 1000), TICKS_PER_MS / 1000);
    }

    proptest! {
        /// Senders that wake up to 4 ms late, with a message of any size after the other.
        #[test]
        fn the_rate_is_kept_within_five_percent(
            mbits in 1..1000u64,
            sizes in prop::collection::vec(1..65536usize, 1..50),
            late in prop::collection::vec(0..4 * TICKS_PER_MS, 50),
        ) {
            const SPAN: u64 = 10_000 * TICKS_PER_MS;
            let (mut now, mut next, mut sent) = (1000 * TICKS_PER_MS, 0, 0u64);
            let start = now;
            for (size, late) in sizes.iter().zip(&late).cycle().take(20_000) {
                let turn = turn(next, now, cost(*size, mbits));
                next = turn.next;
                if turn.wait > 0 {
                    now += turn.wait + late;
                }
                sent += *size as u64;
                if now - start >= SPAN {
                    break;
                }
            }
            let bits = |ticks: u64| ticks / (TICKS_PER_MS / 1000) * mbits;
            let allowed = bits(now - start + BURST);
            let last = 65536 * 8;
            prop_assert!(sent * 8 <= allowed + last + allowed / 20);
            if now - start >= SPAN {
                prop_assert!(sent * 8 + last >= bits(now - start) / 20 * 19);
            }
        }
    }
}
