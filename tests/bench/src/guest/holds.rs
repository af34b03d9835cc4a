// SPDX-License-Identifier: GPL-2.0
//! For how long nothing else can run: with interrupts off, or preemption.
//!
//! A thread that goes before all others sleeps until the guest's clock, which counts instructions, shows
//! a time, again and again. As late as it comes, so long was a hold.
#![expect(unsafe_code, reason = "the scheduler's class is set by a system call")]

use crate::Measurement;
use anyhow::{Context, Result, ensure};
use std::{
    io,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    thread,
    time::Duration,
};
use virgo::queue::{How, Queue, Subscription};

pub const MEASUREMENTS: &[(&str, Measurement)] = &[("holds", holds)];

/// Nanoseconds of sleep: long enough that most of the time is left to what is measured.
const NAP: i64 = 20_000;

/// Messages of one call.
const BATCH: usize = 64;

/// Has the calling thread go before all that are not of its class.
fn go_before_others() -> Result<()> {
    let param = libc::sched_param { sched_priority: 50 };
    // SAFETY: The structure is valid for reads.
    let status = unsafe { libc::sched_setscheduler(0, libc::SCHED_FIFO, &raw const param) };
    ensure!(status == 0, io::Error::last_os_error());
    Ok(())
}

/// Nanoseconds of the clock that never goes back.
fn now() -> i64 {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: The structure is valid for writes.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time) };
    time.tv_sec * 1_000_000_000 + time.tv_nsec
}

/// Sleeps until then. Returns how many nanoseconds later it is.
fn sleep_until(nanos: i64) -> i64 {
    let time = libc::timespec {
        tv_sec: nanos / 1_000_000_000,
        tv_nsec: nanos % 1_000_000_000,
    };
    // SAFETY: The structure is valid for reads, and nobody is told what was left.
    unsafe {
        libc::clock_nanosleep(
            libc::CLOCK_MONOTONIC,
            libc::TIMER_ABSTIME,
            &raw const time,
            std::ptr::null_mut(),
        )
    };
    now() - nanos
}

/// The longest hold while `work` is done, in nanoseconds.
fn longest(work: impl FnOnce() -> Result<()>) -> Result<i64> {
    let ended = AtomicBool::new(false);
    thread::scope(|scope| {
        let probe = scope.spawn(|| -> Result<i64> {
            go_before_others()?;
            let mut longest = 0;
            while !ended.load(Relaxed) {
                longest = longest.max(sleep_until(now() + NAP));
            }
            Ok(longest)
        });
        let done = work();
        ended.store(true, Relaxed);
        let longest = probe.join().ok().context("the probe has ended")??;
        done.map(|()| longest)
    })
}

/// Publishes so many messages.
fn fill(queue: &Queue, count: usize, how: How) -> Result<()> {
    let messages = [&[b'm'; 16][..]; BATCH];
    for at in (0..count).step_by(BATCH) {
        let some = messages.get(..BATCH.min(count - at)).unwrap_or_default();
        ensure!(queue.publish_all(some, how)? == some.len());
    }
    Ok(())
}

fn made(options: &str) -> Result<Queue> {
    let queue = Queue::new("bench.holds").within(Duration::from_secs(120));
    let _ = queue.delete();
    queue.create(&format!("messages=200000 bytes=1000000000 ack=0 {options}"))?;
    Ok(queue)
}

/// What many messages in one queue can make the kernel do at a time.
fn holds(count: &str) -> Result<()> {
    let count: usize = count.parse()?;
    let all = |queue: &Queue| fill(queue, count, How::default());
    let measure = |what: &str, work: &mut dyn FnMut() -> Result<()>| -> Result<()> {
        println!("{what} {}", longest(work)?);
        Ok(())
    };

    let queue = made("unacked=65536")?;
    all(&queue)?;
    let subscription = Subscription::open("bench.holds", "ack")?;
    let mut taken = 0;
    while taken < count.min(65536) {
        taken += subscription.take(BATCH, None)?.len();
    }
    let mut subscription = Some(subscription);
    measure("left", &mut || {
        drop(subscription.take());
        Ok(())
    })?;
    measure("deleted", &mut || Ok(queue.delete()?))?;

    let topic = made("topic keep=200000")?;
    measure("kept", &mut || all(&topic))?;
    let options = "from=1 messages=200000 bytes=1000000000";
    measure("replayed", &mut || {
        Subscription::open("bench.holds", options)?;
        Ok(())
    })?;
    topic.delete()?;

    // Later than the last one is published.
    let queue = made("")?;
    let late = How {
        delay: Duration::from_secs(1),
        ..How::default()
    };
    fill(&queue, count, late)?;
    measure("due", &mut || {
        thread::sleep(Duration::from_millis(1500));
        Ok(())
    })?;
    measure("purged", &mut || {
        ensure!(queue.purge()? == count);
        Ok(())
    })?;
    Ok(queue.delete()?)
}
