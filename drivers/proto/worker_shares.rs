// SPDX-License-Identifier: GPL-2.0

//! Which work may begin when workers are few and work may take for ever.
//!
//! A file system that does not answer keeps its workers. So that it does not get all of them, a class
//! of work may use only as many as are left idle by all: the dynamic thresholds of Choudhury and Hahne
//! (IEEE/ACM Transactions on Networking 6(2), 1998), which shared-memory switches use for their
//! buffers. There are two classes: the work on one device, and within it that of one user.
//!
//! So a device gets half of the workers that the others have left idle, rounded up. Of 32 workers five
//! devices that hang leave one, however many users they have, and it goes to the sixth; if each has one
//! user, who gets a third, seven leave one.

/// Whose work it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WorkOwner {
    /// The file system.
    pub device: u32,
    /// Who has asked for it.
    pub user: u64,
}

/// The work under way of up to `N` workers.
pub struct WorkerShares<const N: usize> {
    running: [Option<WorkOwner>; N],
}

impl<const N: usize> WorkerShares<N> {
    /// All workers are idle.
    pub const fn new() -> Self {
        WorkerShares { running: [None; N] }
    }

    fn count(&self, is: impl Fn(&WorkOwner) -> bool) -> usize {
        self.running.iter().flatten().filter(|o| is(o)).count()
    }

    /// How many workers are busy.
    pub fn busy(&self) -> usize {
        self.count(|_| true)
    }

    /// Whether work of `owner` may begin: as long as its device and its user there have, together, fewer
    /// workers than are idle.
    pub fn admits(&self, owner: WorkOwner) -> bool {
        let device = self.count(|o| o.device == owner.device);
        let user = self.count(|o| *o == owner);
        let idle = N.saturating_sub(self.busy());
        device.saturating_add(user) < idle
    }

    /// Begins work of `owner`, if it may begin. Returns the number of its worker.
    pub fn begin(&mut self, owner: WorkOwner) -> Option<usize> {
        if !self.admits(owner) {
            return None;
        }
        let worker = self.running.iter().position(Option::is_none)?;
        *self.running.get_mut(worker)? = Some(owner);
        Some(worker)
    }

    /// The work of this worker has ended.
    pub fn end(&mut self, worker: usize) {
        if let Some(running) = self.running.get_mut(worker) {
            *running = None;
        }
    }
}

impl<const N: usize> Default for WorkerShares<N> {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::vec::Vec;

    fn owner(device: u32, user: u64) -> WorkOwner {
        WorkOwner { device, user }
    }

    /// As much work of `owner` as may begin.
    fn fill<const N: usize>(shares: &mut WorkerShares<N>, owner: WorkOwner) -> usize {
        core::iter::from_fn(|| shares.begin(owner)).count()
    }

    #[test]
    fn a_device_that_hangs_leaves_workers_for_others() {
        let mut shares = WorkerShares::<64>::new();
        for device in 0..5 {
            for user in 0..100 {
                fill(&mut shares, owner(device, user));
            }
            assert!(shares.admits(owner(99, 0)), "{device}: {}", shares.busy());
        }
    }

    /// How many devices may hang, with so many users each, until nobody else's work begins; and how many
    /// workers the first one has.
    fn until_none_is_left<const N: usize>(users: u64) -> (u32, usize) {
        let mut shares = WorkerShares::<N>::new();
        let mut first = 0;
        for device in 0..=N as u32 {
            if !shares.admits(owner(u32::MAX, 0)) {
                return (device, first);
            }
            for user in 0..users {
                fill(&mut shares, owner(device, user));
            }
            if device == 0 {
                first = shares.busy();
            }
        }
        panic!("more devices hang than there are workers");
    }

    /// What the documentation says of the file service's workers.
    #[test]
    fn of_32_workers_five_devices_that_hang_leave_one() {
        assert_eq!(until_none_is_left::<32>(100), (6, 16));
        assert_eq!(until_none_is_left::<32>(1), (8, 11));
    }

    #[test]
    fn a_user_leaves_workers_for_others_of_the_device() {
        let mut shares = WorkerShares::<64>::new();
        assert_eq!(fill(&mut shares, owner(1, 1)), 22);
        assert!(fill(&mut shares, owner(1, 2)) >= 5);
        assert!(shares.admits(owner(2, 1)));
    }

    /// Work that never runs out is done in turns, so that whoever has none of a device's workers gets the
    /// next one that is given back.
    #[test]
    fn a_fourth_user_gets_the_worker_that_one_of_three_gives_back() {
        let mut shares = WorkerShares::<32>::new();
        let filled: Vec<_> = (1..=3)
            .map(|user| fill(&mut shares, owner(1, user)))
            .collect();
        assert_eq!(filled, [11, 4, 1]);
        assert!(!shares.admits(owner(1, 4)));
        for worker in 0..16 {
            let mut shares = WorkerShares {
                running: shares.running,
            };
            shares.end(worker);
            assert!(shares.admits(owner(1, 4)), "worker {worker}");
        }
    }

    proptest! {
        /// However they come; which holds for fewer users only in some orders.
        #[test]
        fn eight_users_keep_all_workers_of_a_device_until_one_is_given_back(
            came in prop::collection::vec(1u64..=8, 0..100),
        ) {
            const JOBS: usize = 3;
            let mut shares = WorkerShares::<32>::new();
            let all = (0..JOBS).flat_map(|_| 1..=8);
            for user in came.into_iter().chain(all) {
                let user = owner(1, user);
                if shares.count(|o| *o == user) < JOBS {
                    shares.begin(user);
                }
            }
            prop_assert_eq!(shares.busy(), 16);
            prop_assert!(!shares.admits(owner(1, 9)));
            for worker in 0..16 {
                let mut shares = WorkerShares { running: shares.running };
                shares.end(worker);
                prop_assert!(shares.admits(owner(1, 9)));
            }
        }
    }

    #[test]
    fn an_ended_work_leaves_room() {
        let mut shares = WorkerShares::<8>::new();
        let all: Vec<_> = core::iter::from_fn(|| shares.begin(owner(1, 1))).collect();
        assert!(!shares.admits(owner(1, 1)));
        for worker in all {
            shares.end(worker);
        }
        assert_eq!(shares.busy(), 0);
        shares.end(1000);
    }

    proptest! {
        /// Whoever comes and goes: the bound holds when work begins, and when all has ended anybody
        /// may begin.
        #[test]
        fn work_begins_only_below_the_bound(
            steps in prop::collection::vec((any::<bool>(), 0..4u32, 0..3u64), 0..300),
        ) {
            let mut shares = WorkerShares::<16>::new();
            let mut running: Vec<(usize, WorkOwner)> = Vec::new();
            for (begins, device, user) in steps {
                let new = owner(device, user);
                if begins {
                    let of = |is: &dyn Fn(&WorkOwner) -> bool| {
                        running.iter().filter(|(_, o)| is(o)).count()
                    };
                    let (device, mine) = (of(&|o| o.device == new.device), of(&|o| *o == new));
                    let may = device + mine < 16 - running.len();
                    let begun = shares.begin(new);
                    prop_assert_eq!(begun.is_some(), may);
                    if let Some(worker) = begun {
                        prop_assert!(running.iter().all(|(other, _)| *other != worker));
                        running.push((worker, new));
                    }
                } else if let Some((worker, _)) = running.pop() {
                    shares.end(worker);
                }
                prop_assert_eq!(shares.busy(), running.len());
            }
        }
    }
}
