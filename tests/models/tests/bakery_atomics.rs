// SPDX-License-Identifier: GPL-2.0

//! The bakery lock on atomics that behave as C11 allows, by loom: loads return any value that is not known to be
//! out of date. Checks all orders of two participants with few preemptions, and that what is left out is missed.

use loom::{
    model::Builder,
    sync::{
        Arc, Condvar, Mutex,
        atomic::{AtomicU64, Ordering, fence},
    },
    thread,
};
use std::sync::atomic::{AtomicU64 as Counter, Ordering as CounterOrdering};
use virgo_proto::bakery::{BakeryCell, BakeryStep, LoadOrder, StoreOrder, Visit, WaitLoops};

const COUNT: usize = 2;

/// What is left out.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fault {
    None,
    Barriers,
    Acquires,
    Releases,
}

/// What a participant does that is blocked.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Wait {
    Spins,
    Sleeps,
}

#[derive(Clone, Copy)]
struct Setting {
    loops: WaitLoops,
    wait: Wait,
    fault: Fault,
}

/// Where one participant sleeps: whether it can be woken, and what does so.
struct Queue(Mutex<bool>, Condvar);

struct Lock {
    setting: Setting,
    flags: [AtomicU64; COUNT],
    tickets: [AtomicU64; COUNT],
    sleepers: AtomicU64,
    queues: [Queue; COUNT],
    /// Participants inside. Changed at once, so that it is never out of date.
    inside: AtomicU64,
    /// What the lock guards. Nothing but the lock orders its loads and stores.
    guarded: AtomicU64,
}

impl Lock {
    fn new(setting: Setting) -> Self {
        let zeros = || [0; COUNT].map(AtomicU64::new);
        Lock {
            setting,
            flags: zeros(),
            tickets: zeros(),
            sleepers: AtomicU64::new(0),
            queues: [(); COUNT].map(|()| Queue(Mutex::new(false), Condvar::new())),
            inside: AtomicU64::new(0),
            guarded: AtomicU64::new(0),
        }
    }

    fn cell(&self, cell: BakeryCell) -> &AtomicU64 {
        match cell {
            BakeryCell::Flag(of) => &self.flags[usize::from(of)],
            BakeryCell::Ticket(of) => &self.tickets[usize::from(of)],
        }
    }

    /// Does accesses until something else comes next.
    fn run(&self, visit: &mut Visit) -> BakeryStep {
        let fault = self.setting.fault;
        loop {
            let mut seen = 0;
            match visit.next() {
                BakeryStep::Load(cell, LoadOrder::Acquire) if fault != Fault::Acquires => {
                    seen = self.cell(cell).load(Ordering::Acquire);
                }
                BakeryStep::Load(cell, _) => seen = self.cell(cell).load(Ordering::Relaxed),
                BakeryStep::Store(cell, value, StoreOrder::Release) if fault != Fault::Releases => {
                    self.cell(cell).store(value, Ordering::Release);
                }
                BakeryStep::Store(cell, value, _) => {
                    self.cell(cell).store(value, Ordering::Relaxed)
                }
                BakeryStep::Fence if fault != Fault::Barriers => fence(Ordering::SeqCst),
                BakeryStep::Fence => (),
                BakeryStep::JoinSleepers => {
                    self.sleepers.fetch_add(1, Ordering::Relaxed);
                }
                BakeryStep::LeaveSleepers => {
                    self.sleepers.fetch_sub(1, Ordering::Relaxed);
                }
                BakeryStep::ReadSleepers => seen = self.sleepers.load(Ordering::Relaxed),
                BakeryStep::Wake(other) => {
                    let Queue(can_be_woken, woken) = &self.queues[usize::from(other)];
                    *can_be_woken.lock().expect("nobody panics with it") = false;
                    woken.notify_one();
                }
                step => return step,
            }
            visit.advance(seen);
        }
    }

    fn sleep(&self, me: usize, visit: &mut Visit) {
        let Queue(can_be_woken, woken) = &self.queues[me];
        loop {
            *can_be_woken.lock().expect("nobody panics with it") = true;
            fence(Ordering::SeqCst);
            visit.look();
            if self.run(visit) != BakeryStep::Asleep {
                *can_be_woken.lock().expect("nobody panics with it") = false;
                return;
            }
            let mut waits = can_be_woken.lock().expect("nobody panics with it");
            while *waits {
                waits = woken.wait(waits).expect("nobody panics with it");
            }
        }
    }

    /// Enters, adds 1 to what is guarded, and leaves.
    fn visit(&self, me: usize) {
        let me_too = me as u16;
        let mut visit =
            Visit::entering(me_too, COUNT as u16, self.setting.loops).expect("it is one");
        loop {
            match (self.run(&mut visit), self.setting.wait) {
                (BakeryStep::Blocked, Wait::Spins) => {
                    thread::yield_now();
                    visit.look();
                }
                (BakeryStep::Blocked, Wait::Sleeps) => visit.fall_asleep(),
                (BakeryStep::Asleep, _) => self.sleep(me, &mut visit),
                (step, _) => {
                    assert_eq!(step, BakeryStep::Entered);
                    break;
                }
            }
        }
        assert_eq!(
            self.inside.fetch_add(1, Ordering::Relaxed),
            0,
            "no lock: two are inside"
        );
        let guarded = self.guarded.load(Ordering::Relaxed);
        self.guarded.store(guarded + 1, Ordering::Relaxed);
        self.inside.fetch_sub(1, Ordering::Relaxed);
        let mut visit = Visit::leaving(me_too, COUNT as u16).expect("it is one");
        assert_eq!(self.run(&mut visit), BakeryStep::Left);
    }
}

/// Has one participant enter so often, and the other once, in all orders.
fn check(setting: Setting, visits: u64) {
    let runs = std::sync::Arc::new(Counter::new(0));
    let counted = runs.clone();
    let mut builder = Builder::new();
    builder.preemption_bound = Some(3);
    builder.check(move || {
        counted.fetch_add(1, CounterOrdering::Relaxed);
        let lock = Arc::new(Lock::new(setting));
        let other = thread::spawn({
            let lock = lock.clone();
            move || lock.visit(1)
        });
        for _ in 0..visits {
            lock.visit(0);
        }
        other.join().expect("it does not panic");
        let guarded = lock.guarded.load(Ordering::Relaxed);
        assert_eq!(
            guarded,
            visits + 1,
            "no lock: what was done under it was not seen"
        );
    });
    let runs = runs.load(CounterOrdering::Relaxed);
    println!("{:?}, {visits} visits: {runs} orders", setting.loops);
}

fn check_all(wait: Wait) {
    for loops in [WaitLoops::One, WaitLoops::Two] {
        let setting = Setting {
            loops,
            wait,
            fault: Fault::None,
        };
        check(setting, 1);
        check(setting, 2);
    }
}

#[test]
fn who_spins_enters_alone_and_sees_all_that_was_done() {
    check_all(Wait::Spins);
}

#[test]
fn who_sleeps_enters_alone_and_is_woken() {
    check_all(Wait::Sleeps);
}

/// Panics if what is left out is missed.
fn check_without(fault: Fault) {
    let setting = Setting {
        loops: WaitLoops::One,
        wait: Wait::Spins,
        fault,
    };
    check(setting, 1);
}

#[test]
#[should_panic(expected = "no lock")]
fn without_barriers_two_are_inside() {
    check_without(Fault::Barriers);
}

#[test]
#[should_panic(expected = "no lock")]
fn without_acquires_what_was_done_is_not_seen() {
    check_without(Fault::Acquires);
}

#[test]
#[should_panic(expected = "no lock")]
fn without_releases_it_is_no_lock() {
    check_without(Fault::Releases);
}
