// SPDX-License-Identifier: GPL-2.0

//! Users take turns at what one task at a time can have: each has a queue, first come, first served,
//! and the queues are served round robin. So a user with many tasks delays those of another by one
//! turn each, not by all of its own.

use super::users::USERS;

/// Queues: one for each user that the slots tell apart.
pub const QUEUES: usize = USERS;

/// How many tasks wait in each queue, and which queue is served next. The tasks themselves are the
/// caller's.
pub struct RoundRobin {
    waiting: [u32; QUEUES],
    /// The queues in which somebody waits: bit by number.
    occupied: u32,
    /// The queue that was served last.
    last: u8,
}

const _: () = assert!(QUEUES == u32::BITS as usize);

impl RoundRobin {
    /// Nobody waits.
    pub const fn new() -> Self {
        RoundRobin {
            waiting: [0; QUEUES],
            occupied: 0,
            last: 0,
        }
    }

    /// A task waits in this queue from now on, until [`Self::serve`] returns the queue for it or it
    /// calls [`Self::leave`].
    pub fn enter(&mut self, queue: usize) {
        if let Some(waiting) = self.waiting.get_mut(queue) {
            *waiting = waiting.saturating_add(1);
            self.occupied |= bit(queue);
        }
    }

    /// A task that waited in this queue waits no more.
    pub fn leave(&mut self, queue: usize) {
        if let Some(waiting) = self.waiting.get_mut(queue) {
            *waiting = waiting.saturating_sub(1);
            if *waiting == 0 {
                self.occupied &= !bit(queue);
            }
        }
    }

    /// The queue whose first task is served now; it does not wait any more.
    pub fn serve(&mut self) -> Option<usize> {
        if self.occupied == 0 {
            return None;
        }
        let after = u32::from(self.last).wrapping_add(1) % u32::BITS;
        let distance = self.occupied.rotate_right(after).trailing_zeros();
        let queue = distance.wrapping_add(after) % u32::BITS;
        self.last = queue as u8;
        self.leave(queue as usize);
        Some(queue as usize)
    }
}

impl Default for RoundRobin {
    fn default() -> Self {
        Self::new()
    }
}

fn bit(queue: usize) -> u32 {
    1_u32.checked_shl(queue as u32).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::vec::Vec;

    #[test]
    fn a_user_with_many_tasks_delays_another_by_one() {
        let mut queues = RoundRobin::new();
        for _ in 0..5 {
            queues.enter(3);
        }
        queues.enter(7);
        let order: Vec<_> = core::iter::from_fn(|| queues.serve()).collect();
        assert_eq!(order, [3, 7, 3, 3, 3, 3]);
    }

    #[test]
    fn who_has_left_is_not_served() {
        let mut queues = RoundRobin::new();
        queues.enter(0);
        queues.enter(31);
        queues.leave(0);
        assert_eq!(queues.serve(), Some(31));
        assert_eq!(queues.serve(), None);
    }

    proptest! {
        /// Between two turns of a queue each other that waits all the time gets one.
        #[test]
        fn nobody_is_passed_over(queues in prop::collection::vec(0..QUEUES, 1..200)) {
            let mut table = RoundRobin::new();
            for &queue in &queues {
                table.enter(queue);
            }
            let mut left = [0; QUEUES];
            queues.iter().for_each(|&queue| left[queue] += 1);
            let mut since = [0; QUEUES];
            while let Some(queue) = table.serve() {
                prop_assert!(left[queue] > 0);
                left[queue] -= 1;
                since[queue] = 0;
                for other in 0..QUEUES {
                    if other != queue && left[other] > 0 {
                        since[other] += 1;
                        prop_assert!(since[other] < QUEUES);
                    }
                }
            }
            prop_assert_eq!(left, [0; QUEUES]);
        }
    }
}
