// SPDX-License-Identifier: GPL-2.0
//! Many callers at once.

use crate::{pool, rounds::Rounds};
use std::{sync::Barrier, thread, time::Duration};
use virgo::{Call, Ended, On};

crate::tests![callers_do_not_mix, callers_who_give_up_leave_nothing];

/// Stack of a caller: there are thousands in a guest with little memory.
const STACK: usize = 64 * 1024;

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
            soak: 2000,
        }
        .count(),
        |number| {
            let node = nodes[number % nodes.len()];
            let text = format!("caller {number}");
            let call = Call::new("echo").arg(&text).on(On::Node(node));
            let outcome = within.run(&call.max_output(64)).expect("run");
            assert_eq!(outcome.stdout, text.as_bytes(), "{outcome:?}");
            assert_eq!(outcome.ended, Ended::Returned(text.len() as i64));
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
