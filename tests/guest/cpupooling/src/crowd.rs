// SPDX-License-Identifier: GPL-2.0
//! Many callers at once.

use crate::{pool, rounds::Rounds};
use std::{sync::Barrier, thread, time::Duration};
use virgo::{Call, Ended, On, abi::MAX_CALLS};

crate::tests![
    callers_do_not_mix,
    callers_who_give_up_leave_nothing,
    thousands_of_calls_at_once,
];

/// Stack of a caller: there are hundreds in a guest with little memory.
const STACK: usize = 64 * 1024;

/// Calls that each caller makes at once.
const CALLS: usize = 10;

/// Runs `task` in threads, which begin together.
fn together(threads: usize, task: impl Fn(usize) + Sync) {
    let barrier = Barrier::new(threads);
    thread::scope(|scope| {
        for number in 0..threads {
            let (barrier, task) = (&barrier, &task);
            let thread = thread::Builder::new().stack_size(STACK);
            let spawned = thread.spawn_scoped(scope, move || {
                barrier.wait();
                task(number);
            });
            spawned.expect("a thread");
        }
    });
}

fn callers_do_not_mix() {
    let nodes = pool::nodes();
    let within = virgo::within(Duration::from_secs(200));
    together(
        Rounds {
            debug: 10,
            slim: 200,
            soak: 800,
        }
        .count(),
        |number| {
            let texts: Vec<_> = (0..CALLS).map(|call| format!("{number}.{call}")).collect();
            let call = |(at, text): (usize, &String)| {
                let on = On::Node(nodes[(number + at) % nodes.len()]);
                Call::new("echo").arg(text).on(on).max_output(64)
            };
            let calls: Vec<_> = texts.iter().enumerate().map(call).collect();
            let outcomes = within.run_all(&calls).expect("run");
            for (text, outcome) in texts.iter().zip(outcomes) {
                assert_eq!(outcome.stdout, text.as_bytes(), "{outcome:?}");
                assert_eq!(outcome.ended, Ended::Returned(text.len() as i64));
            }
        },
    );
}

fn callers_who_give_up_leave_nothing() {
    let nodes = pool::nodes();
    let within = virgo::within(Duration::from_millis(500));
    together(
        Rounds {
            debug: 10,
            slim: 100,
            soak: 1000,
        }
        .count(),
        |number| {
            let node = nodes[number % nodes.len()];
            let call = Call::new("sleep").arg("60000").on(On::Node(node));
            let outcome = within.run(&call.max_output(0)).expect("run");
            assert_eq!(outcome.ended, Ended::Failed(libc::ETIMEDOUT), "{outcome:?}");
        },
    );
}

/// More calls than can run: most of them wait on their nodes. All are under way at the same time,
/// and can be ended.
fn thousands_of_calls_at_once() {
    let nodes = pool::nodes();
    let count = Rounds {
        debug: 200,
        slim: 2000,
        soak: 6000,
    }
    .count();
    let call = |number: usize| {
        let on = On::Node(nodes[number % nodes.len()]);
        Call::new("sleep").arg("200000").on(on).max_output(0)
    };
    let calls: Vec<_> = (0..count).map(call).collect();
    let within = virgo::within(Duration::from_secs(200));
    let mut jobs = Vec::new();
    for calls in calls.chunks(MAX_CALLS) {
        jobs.extend(within.start_all(calls).expect("start"));
    }
    // A report of a node's load that was on its way may come after the newer one that a reply has.
    pool::eventually("all are under way", || {
        let under_way: u32 = nodes.iter().map(|&node| pool::running(node)).sum();
        under_way as usize == count
    });
    for job in &jobs {
        virgo::cancel(job).expect("cancel");
    }
    for jobs in jobs.chunks_mut(MAX_CALLS) {
        assert_eq!(within.wait_any(jobs), Ok(jobs.len()));
        for job in jobs {
            let ended = job.outcome().map(|outcome| outcome.ended);
            assert_eq!(ended, Some(Ended::Failed(libc::ECANCELED)));
        }
    }
}
