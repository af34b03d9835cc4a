// SPDX-License-Identifier: GPL-2.0
//! Many tasks at once.

use crate::{pool, rounds::Rounds};
use std::{
    panic::resume_unwind,
    sync::{
        Barrier,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};
use virgo::{Allocation, Id, Place};

crate::tests![
    ranges_of_one_allocation_do_not_mix,
    allocations_do_not_mix,
    one_of_many_frees,
    get_beside_free,
    hasty_tasks_do_no_harm_to_others,
    many_more_tasks_than_slots_are_all_served,
];

/// How many tasks.
const THREADS: Rounds = Rounds {
    debug: 3,
    slim: 8,
    soak: 8,
};

/// How often each of them does what it does.
const ROUNDS: Rounds = Rounds {
    debug: 2,
    slim: 20,
    soak: 20,
};

fn new(size: usize) -> Id {
    Allocation::new(size as u64)
        .allocate()
        .expect("an allocation")
}

/// Runs `task` in threads, which begin together.
fn together<T: Send>(task: impl Fn(usize) -> T + Sync) -> Vec<T> {
    let barrier = Barrier::new(THREADS.count());
    thread::scope(|scope| {
        let start = |number| {
            let (barrier, task) = (&barrier, &task);
            scope.spawn(move || {
                barrier.wait();
                task(number)
            })
        };
        let threads: Vec<_> = (0..THREADS.count()).map(start).collect();
        let join = |thread: thread::ScopedJoinHandle<'_, T>| {
            thread.join().unwrap_or_else(|panic| resume_unwind(panic))
        };
        threads.into_iter().map(join).collect()
    })
}

/// Each thread has a range of its own, which meets its neighbours' in the middle of a chunk and
/// goes over the border of two.
fn ranges_of_one_allocation_do_not_mix() {
    const RANGE: usize = 40_000;
    let id = new(THREADS.count() * RANGE);
    together(|number| {
        let offset = (number * RANGE) as u64;
        let mut got = vec![0; RANGE];
        for round in 0..ROUNDS.count() {
            let mine = vec![(round * THREADS.count() + number) as u8; RANGE];
            virgo::set(id, offset, &mine).expect("set");
            assert_eq!(virgo::get(id, offset, &mut got), Ok(RANGE));
            assert!(
                got == mine,
                "thread {number}, round {round}: somebody else's bytes"
            );
        }
    });
    virgo::free(id).expect("free");
}

fn allocations_do_not_mix() {
    together(|number| {
        for round in 0..ROUNDS.count() {
            let size = 1 + (number * 7919 + round * 977) % 100_000;
            let id = new(size);
            let mut got = vec![0xee; size];
            assert_eq!(virgo::get(id, 0, &mut got), Ok(size));
            assert!(
                got.iter().all(|&byte| byte == 0),
                "thread {number}, round {round}: not new"
            );
            let mine = vec![number as u8 + 1; size];
            virgo::set(id, 0, &mine).expect("set");
            assert_eq!(virgo::get(id, 0, &mut got), Ok(size));
            assert!(
                got == mine,
                "thread {number}, round {round}: somebody else's bytes"
            );
            virgo::free(id).expect("free");
        }
    });
}

fn one_of_many_frees() {
    for round in 0..ROUNDS.count() {
        let id = new(if round % 2 == 0 { 100 } else { 200_000 });
        let outcomes = together(|_| virgo::free(id));
        let freed = outcomes.iter().filter(|outcome| outcome.is_ok()).count();
        assert_eq!(freed, 1, "round {round}: tasks that have freed {id}");
        for error in outcomes.into_iter().filter_map(Result::err) {
            assert_eq!(error.errno(), libc::ESTALE, "round {round}: {error}");
        }
    }
}

/// A get that meets a free has either all bytes as they were, or finds nothing.
fn get_beside_free() {
    for round in 0..ROUNDS.count() {
        let size = if round % 2 == 0 { 10_000 } else { 200_000 };
        let id = new(size);
        virgo::set(id, 0, &vec![b'x'; size]).expect("set");
        together(|number| {
            if number == 0 {
                virgo::free(id).expect("free");
                return;
            }
            let mut got = vec![b'x'; size];
            match virgo::get(id, 0, &mut got) {
                Ok(n) => assert_eq!(n, size),
                Err(error) => assert_eq!(error.errno(), libc::ESTALE, "{error}"),
            }
            assert!(
                got.iter().all(|&byte| byte == b'x'),
                "round {round}: bytes of nobody"
            );
        });
    }
}

/// Some tasks give up after a millisecond, again and again; others, on the same connections, have
/// the time that the configuration gives them.
fn hasty_tasks_do_no_harm_to_others() {
    const HASTY: usize = 4;
    let patiently = Rounds {
        debug: 10,
        slim: 100,
        soak: 100,
    };
    for node in pool::nodes() {
        let over = AtomicBool::new(false);
        thread::scope(|scope| {
            let hasty = || {
                let large = Allocation::new(4 << 20).place(Place::Node(node));
                while !over.load(Ordering::Relaxed) {
                    match large.timeout(Duration::from_millis(1)).allocate() {
                        Ok(id) => virgo::free(id).expect("free what came in time"),
                        Err(error) => assert_eq!(error.errno(), libc::ETIMEDOUT, "{error}"),
                    }
                }
            };
            for _ in 0..HASTY {
                scope.spawn(hasty);
            }
            let patient = Allocation::new(1).place(Place::Node(node));
            let outcomes: Vec<_> = (0..patiently.count())
                .map(|_| patient.allocate().and_then(virgo::free))
                .collect();
            over.store(true, Ordering::Relaxed);
            for outcome in outcomes {
                outcome.unwrap_or_else(|error| panic!("node {node}: {error}"));
            }
        });
    }
}

/// However many wait for the connection to a node, each gets what it wants, in its time.
fn many_more_tasks_than_slots_are_all_served() {
    const EACH: usize = 8;
    let tasks = Rounds {
        debug: 300,
        slim: 1000,
        soak: 1000,
    }
    .count();
    let Some(&node) = pool::nodes().last() else {
        return;
    };
    let id = Allocation::new(32)
        .place(Place::Node(node))
        .allocate()
        .expect("an allocation");
    virgo::set(id, 0, &[b'x'; 32]).expect("set");
    let start = Barrier::new(tasks);
    let failed = thread::scope(|scope| {
        let get = || {
            let mut got = [0; 32];
            start.wait();
            let one = |_| virgo::get(id, 0, &mut got).map(|n| assert_eq!(n, 32));
            (0..EACH).try_for_each(one).err()
        };
        let task = |_| {
            let thread = thread::Builder::new().stack_size(64 << 10);
            thread.spawn_scoped(scope, get).expect("a thread")
        };
        let tasks: Vec<_> = (0..tasks).map(task).collect();
        let join = |task: thread::ScopedJoinHandle<'_, _>| task.join().expect("a get");
        tasks.into_iter().filter_map(join).collect::<Vec<_>>()
    });
    assert!(failed.is_empty(), "{} failed: {}", failed.len(), failed[0]);
    virgo::free(id).expect("free");
}
