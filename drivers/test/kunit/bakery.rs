// SPDX-License-Identifier: GPL-2.0

//! KUnit suite of the bakery lock, by a module in Rust that has locks of its own.

use kernel::{
    prelude::*,
    sync::{
        atomic::{
            Atomic,
            Relaxed, //
        },
        Arc, //
    },
    time::{
        delay::fsleep,
        Delta, //
    }, //
};
use linux::{
    deadline::Deadline,
    killable::Killable,
    work::{
        Run,
        Task,
        WorkQueue, //
    }, //
};
use virgo_cloudsync::bakery::{
    BakeryLock,
    WaitLoops, //
};

/// Not over yet.
const WAITS: i32 = i32::MAX;

/// A lock, and how many have had it.
struct Visited {
    lock: BakeryLock,
    entered: Atomic<i32>,
}

/// Takes the lock once as a participant.
struct Visitor {
    visited: Arc<Visited>,
    me: u16,
    loops: WaitLoops,
    killable: Arc<Killable>,
    /// As which one it has entered, from 1; or the error.
    result: Atomic<i32>,
}

impl Run for Visitor {
    fn run(task: &Task<Self>) {
        let visited = &task.visited;
        let result = task.killable.run(|| {
            let guard = visited.lock.lock(task.me, task.loops);
            guard.map(|_guard| visited.entered.fetch_add(1, Relaxed) + 1)
        });
        let result = result.unwrap_or(Err(ECANCELED));
        task.result
            .store(result.unwrap_or_else(Error::to_errno), Relaxed);
    }
}

impl Visitor {
    /// The result, if it comes in time.
    fn result(&self) -> i32 {
        let deadline = Deadline::after_ms(10_000);
        while self.result.load(Relaxed) == WAITS && !deadline.passed() {
            fsleep(Delta::from_millis(1));
        }
        self.result.load(Relaxed)
    }
}

fn visited(participants: u16) -> Result<Arc<Visited>> {
    let visited = Visited {
        lock: BakeryLock::new(participants)?,
        entered: Atomic::new(0),
    };
    Ok(Arc::new(visited, GFP_KERNEL)?)
}

/// A task that waits for the lock, if it is held.
fn visitor(
    queue: &Arc<WorkQueue>,
    visited: &Arc<Visited>,
    me: u16,
    loops: WaitLoops,
) -> Result<Pin<KBox<Task<Visitor>>>> {
    let visitor = Visitor {
        visited: visited.clone(),
        me,
        loops,
        killable: Arc::pin_init(Killable::new(), GFP_KERNEL)?,
        result: Atomic::new(WAITS),
    };
    let task = KBox::pin_init(
        linux::new_task!(queue.clone(), visitor, "virgo_test_bakery"),
        GFP_KERNEL,
    )?;
    task.schedule();
    // It has taken its ticket meanwhile.
    fsleep(Delta::from_millis(30));
    Ok(task)
}

#[kunit_tests(virgo_bakery)]
mod tests {
    use super::{
        visited,
        visitor,
        WAITS, //
    };
    use kernel::{
        prelude::*,
        sync::atomic::Relaxed,
        time::{
            Instant,
            Monotonic, //
        }, //
    };
    use linux::{
        deadline::Deadline,
        work::WorkQueue, //
    };
    use virgo_cloudsync::bakery::{
        BakeryLock,
        WaitLoops,
        MAX_PARTICIPANTS, //
    };

    #[test]
    fn a_lock_has_a_number_of_participants_in_bounds() -> Result {
        for count in [0, MAX_PARTICIPANTS + 1, u16::MAX] {
            assert_eq!(BakeryLock::new(count).err(), Some(EINVAL));
        }
        for count in [1, MAX_PARTICIPANTS] {
            let lock = BakeryLock::new(count)?;
            assert_eq!(lock.participants(), count);
            drop(lock.lock(count - 1, WaitLoops::Two)?);
            assert_eq!(lock.lock(count, WaitLoops::Two).err(), Some(EINVAL));
        }
        Ok(())
    }

    #[test]
    fn a_participant_has_the_lock_once_and_others_not() -> Result {
        let lock = BakeryLock::new(3)?;
        for loops in [WaitLoops::One, WaitLoops::Two] {
            let guard = lock.lock(1, loops)?;
            assert_eq!(lock.lock(1, loops).err(), Some(EDEADLK));
            let start = Instant::<Monotonic>::now();
            let late = lock.lock_until(0, loops, Deadline::after_ms(40));
            assert_eq!(late.err(), Some(ETIMEDOUT));
            assert!(start.elapsed().as_millis() >= 39);
            drop(guard);
            // Who gave up is in nobody's way.
            drop(lock.lock(2, loops)?);
            drop(lock.lock(0, loops)?);
        }
        Ok(())
    }

    #[test]
    fn those_who_wait_enter_in_the_order_in_which_they_came() -> Result {
        let queue = WorkQueue::unbound(c"virgo_test", 8)?;
        let visited = visited(4)?;
        let guard = visited.lock.lock(2, WaitLoops::One)?;
        let first = visitor(&queue, &visited, 3, WaitLoops::Two)?;
        let second = visitor(&queue, &visited, 0, WaitLoops::One)?;
        let third = visitor(&queue, &visited, 1, WaitLoops::Two)?;
        // Not for ever, if it does not wait yet.
        let again = visited
            .lock
            .lock_until(0, WaitLoops::One, Deadline::after_ms(1000));
        assert_eq!(again.err(), Some(EBUSY));
        assert_eq!(visited.entered.load(Relaxed), 0);
        drop(guard);
        let results = [first, second, third].map(|visitor| visitor.result());
        assert_eq!(results, [1, 2, 3]);
        Ok(())
    }

    #[test]
    fn who_is_killed_waits_no_more_and_others_go_on() -> Result {
        let queue = WorkQueue::unbound(c"virgo_test", 8)?;
        let visited = visited(3)?;
        let guard = visited.lock.lock(0, WaitLoops::One)?;
        let killed = visitor(&queue, &visited, 1, WaitLoops::One)?;
        let other = visitor(&queue, &visited, 2, WaitLoops::One)?;
        killed.killable.kill();
        assert_eq!(killed.result(), EINTR.to_errno());
        assert_eq!(other.result.load(Relaxed), WAITS);
        drop(guard);
        assert_eq!(other.result(), 1);
        Ok(())
    }
}
