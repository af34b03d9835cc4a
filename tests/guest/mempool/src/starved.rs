// SPDX-License-Identifier: GPL-2.0
//! Tasks that get no processor while they use a connection that others use, too.

use crate::{pool, rounds::Rounds};
use std::{
    hint::spin_loop,
    io,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};
use virgo::{Allocation, Id, Place};

crate::tests![idle_tasks_do_not_hold_up_the_replies_of_others];

/// Gives the current thread this scheduling policy.
#[expect(unsafe_code, reason = "there is no safe function for it")]
fn set_policy(policy: libc::c_int, priority: libc::c_int) {
    let param = libc::sched_param {
        sched_priority: priority,
    };
    // SAFETY: `param` is valid; 0 names the current thread.
    let result = unsafe { libc::sched_setscheduler(0, policy, &param) };
    assert_eq!(result, 0, "{}", io::Error::last_os_error());
}

fn get(id: Id) {
    let mut got = [0; 32];
    assert_eq!(virgo::get(id, 0, &mut got), Ok(32));
}

/// Ends what other threads do, also when this one panics.
struct End<'a>(&'a AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// The processors are busy, so that idle threads run once in a while only; they share a connection with
/// a thread that has precedence over all. It has its replies as if they were not there.
fn idle_tasks_do_not_hold_up_the_replies_of_others() {
    const IDLE: usize = 2;
    let gets = Rounds {
        // On an emulated processor that is shared itself the guest's clock goes astray.
        debug: 0,
        slim: 0,
        soak: 500,
    };
    if gets.count() == 0 {
        return;
    }
    let Some(&node) = pool::nodes().last() else {
        return;
    };
    let id = Allocation::new(32)
        .place(Place::Node(node))
        .allocate()
        .expect("an allocation");
    virgo::set(id, 0, &[b'x'; 32]).expect("set");
    let processors = thread::available_parallelism().map_or(1, usize::from);
    let over = AtomicBool::new(false);
    let mut times: Vec<Duration> = thread::scope(|scope| {
        for _ in 0..IDLE {
            scope.spawn(|| {
                set_policy(libc::SCHED_IDLE, 0);
                while !over.load(Ordering::Relaxed) {
                    get(id);
                }
            });
        }
        for _ in 0..2 * processors {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    spin_loop();
                }
            });
        }
        let measure = scope.spawn(|| {
            let _end = End(&over);
            set_policy(libc::SCHED_RR, 1);
            let time = |_| {
                let start = Instant::now();
                get(id);
                let time = start.elapsed();
                // Others have their turn.
                thread::sleep(Duration::from_millis(1));
                time
            };
            (0..gets.count()).map(time).collect()
        });
        measure.join().expect("the gets")
    });
    virgo::free(id).expect("free");
    times.sort();
    let total: Duration = times.iter().sum();
    let worst = times[times.len() - 1];
    println!(
        "{} gets in {total:?}, the longest in {worst:?}",
        times.len()
    );
    // A few meet a thread that was stopped in the middle of the network's code.
    let median = times[times.len() / 2];
    assert!(
        median < Duration::from_millis(50),
        "half of the gets took {median:?} or more"
    );
}
