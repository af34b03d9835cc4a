// SPDX-License-Identifier: GPL-2.0

//! The bakery lock: threads of this machine that know each other by number exclude each other, first come, first served.
//!
//! Which access follows which, and why that excludes, is in [`virgo_proto::bakery`]: this file does the accesses. It has
//! nothing to do with the locks of the cluster: no other node takes part. `bakery_c_api` has the lock that modules in C share.

mod participant;

pub use virgo_proto::bakery::{
    WaitLoops,
    MAX_PARTICIPANTS, //
};

use core::hint;
use kernel::{
    prelude::*,
    sync::{
        atomic::{
            Acquire,
            Atomic,
            Full,
            Relaxed,
            Release, //
        },
        barrier::smp_mb, //
    },
    task::might_sleep,
    types::NotThreadSafe, //
};
use linux::deadline::Deadline;
use participant::Participant;
use virgo_proto::bakery::{
    BakeryCell,
    BakeryStep,
    LoadOrder,
    StoreOrder,
    Visit, //
};

/// How often a visit looks again before it sleeps: some microseconds, as long as going to sleep takes.
const SPINS: u32 = 100;

/// A lock for participants `0..participants()`. Whoever calls says as which participant; it is up to the callers that each
/// number is used by one task at a time.
///
/// # Invariants
///
/// There are 1 to [`MAX_PARTICIPANTS`] participants. The cells of a participant are stored by one task at a time: the one that
/// has [claimed](Participant::claim) it, or has its [release](Participant::begin_release).
pub struct BakeryLock {
    /// Each in an allocation of its own, so that what one stores does not take the cache lines of the others.
    participants: KVec<Pin<KBox<Participant>>>,
    /// How many sleep, or are about to.
    sleepers: Atomic<u32>,
}

impl BakeryLock {
    /// A lock for so many participants, which nobody has. May sleep.
    ///
    /// # Errors
    ///
    /// [`EINVAL`] unless there are 1 to [`MAX_PARTICIPANTS`]; [`ENOMEM`].
    pub fn new(participants: u16) -> Result<Self> {
        if !(1..=MAX_PARTICIPANTS).contains(&participants) {
            return Err(EINVAL);
        }
        let mut all = KVec::with_capacity(participants.into(), GFP_KERNEL)?;
        for _ in 0..participants {
            all.push(KBox::pin_init(Participant::new(), GFP_KERNEL)?, GFP_KERNEL)?;
        }
        // INVARIANT: The number was checked above.
        Ok(BakeryLock {
            participants: all,
            sleepers: Atomic::new(0),
        })
    }

    /// How many participants there are.
    pub fn participants(&self) -> u16 {
        // By the invariant it fits.
        self.participants.len() as u16
    }

    /// Takes the lock as participant `me`, behind all that were through their doorway before. Sleeps killably while others have
    /// it, without a time limit.
    ///
    /// # Errors
    ///
    /// [`EINVAL`] if there is no such participant; [`EDEADLK`] if it has the lock; [`EBUSY`] if another task is about to take or
    /// release the lock as this participant; [`EINTR`] when the task is being killed; [`EOVERFLOW`] without a further ticket, as long as
    /// anybody has one.
    pub fn lock(&self, me: u16, loops: WaitLoops) -> Result<BakeryGuard<'_>> {
        self.lock_until(me, loops, Deadline::never())
    }

    /// As [`Self::lock`], but waits no longer than to the deadline.
    ///
    /// # Errors
    ///
    /// As there; [`ETIMEDOUT`] if others had the lock until then.
    pub fn lock_until(
        &self,
        me: u16,
        loops: WaitLoops,
        deadline: Deadline,
    ) -> Result<BakeryGuard<'_>> {
        self.acquire(me, loops, deadline)?;
        Ok(BakeryGuard {
            lock: self,
            me,
            _task: NotThreadSafe,
        })
    }

    /// As [`Self::lock_until`], for callers that say by number who [releases](Self::release) the lock.
    pub(crate) fn acquire(&self, me: u16, loops: WaitLoops, deadline: Deadline) -> Result {
        might_sleep();
        let participant = self.participants.get(usize::from(me)).ok_or(EINVAL)?;
        let mut visit = Visit::entering(me, self.participants(), loops).ok_or(EINVAL)?;
        participant.claim()?;
        let result = self.enter(participant, &mut visit, deadline);
        participant.end_claim(result.is_ok());
        result
    }

    /// Releases the lock that participant `me` has. Wakes the next one; does not sleep.
    ///
    /// # Errors
    ///
    /// [`EINVAL`] if there is no such participant; [`EPERM`] if it does not have the lock.
    pub(crate) fn release(&self, me: u16) -> Result {
        let participant = self.participants.get(usize::from(me)).ok_or(EINVAL)?;
        let mut visit = Visit::leaving(me, self.participants()).ok_or(EINVAL)?;
        participant.begin_release()?;
        self.run(&mut visit);
        participant.end_release();
        Ok(())
    }

    fn enter(&self, participant: &Participant, visit: &mut Visit, deadline: Deadline) -> Result {
        let mut spins = SPINS;
        // What it fails with if it does not get the lock.
        let mut error = ETIMEDOUT;
        loop {
            match self.run(visit) {
                BakeryStep::Blocked if spins > 0 => {
                    spins -= 1;
                    hint::spin_loop();
                    visit.look();
                }
                BakeryStep::Blocked => visit.fall_asleep(),
                BakeryStep::Asleep => {
                    // The queue has a full barrier between the task's entry and each look but the first; whom that one has sleep
                    // looks again. It is woken by one that looks at the queue behind a full barrier, too.
                    let woken = participant.queue.wait(deadline, || {
                        visit.look();
                        (self.run(visit) != BakeryStep::Asleep).then_some(())
                    });
                    if let Err(killed) = woken {
                        error = killed;
                    }
                    if !matches!(woken, Ok(Some(()))) {
                        visit.give_up();
                    }
                }
                BakeryStep::Entered => return Ok(()),
                BakeryStep::Exhausted => return Err(EOVERFLOW),
                _ => return Err(error),
            }
        }
    }

    /// Does accesses until something else comes next, and returns that. At most five accesses a participant, none of which
    /// sleeps.
    #[inline]
    fn run(&self, visit: &mut Visit) -> BakeryStep {
        loop {
            let seen = match visit.next() {
                BakeryStep::Load(cell, order) => self.load(cell, order),
                BakeryStep::Store(cell, value, order) => {
                    self.store(cell, value, order);
                    0
                }
                BakeryStep::Fence => {
                    smp_mb(Full);
                    0
                }
                BakeryStep::JoinSleepers => {
                    self.sleepers.add(1, Relaxed);
                    0
                }
                BakeryStep::LeaveSleepers => {
                    self.sleepers.fetch_sub(1, Relaxed);
                    0
                }
                BakeryStep::ReadSleepers => self.sleepers.load(Relaxed).into(),
                BakeryStep::Wake(other) => {
                    if let Some(other) = self.participants.get(usize::from(other)) {
                        other.queue.wake_all();
                    }
                    0
                }
                step => return step,
            };
            visit.advance(seen);
        }
    }

    /// `None` for a participant that is none; a [`Visit`] with as many participants as the lock names none of these.
    #[inline]
    fn cell(&self, cell: BakeryCell) -> Option<&Atomic<u64>> {
        match cell {
            BakeryCell::Flag(of) => Some(&self.participants.get(usize::from(of))?.flag),
            BakeryCell::Ticket(of) => Some(&self.participants.get(usize::from(of))?.ticket),
        }
    }

    #[inline]
    fn load(&self, cell: BakeryCell, order: LoadOrder) -> u64 {
        self.cell(cell).map_or(0, |cell| match order {
            LoadOrder::Relaxed => cell.load(Relaxed),
            LoadOrder::Acquire => cell.load(Acquire),
        })
    }

    #[inline]
    fn store(&self, cell: BakeryCell, value: u64, order: StoreOrder) {
        if let Some(cell) = self.cell(cell) {
            match order {
                StoreOrder::Relaxed => cell.store(value, Relaxed),
                StoreOrder::Release => cell.store(value, Release),
            }
        }
    }
}

/// The lock is held, by the task that has this; dropping it releases the lock.
#[must_use = "the lock is released at once when the guard is unused"]
pub struct BakeryGuard<'a> {
    lock: &'a BakeryLock,
    me: u16,
    _task: NotThreadSafe,
}

impl Drop for BakeryGuard<'_> {
    fn drop(&mut self) {
        // It fails only if somebody else has released the lock as this participant, which a caller of [`BakeryLock::acquire`] can.
        let _ = self.lock.release(self.me);
    }
}
