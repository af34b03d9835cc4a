// SPDX-License-Identifier: GPL-2.0
//! Calls that nobody waits for, or not to the end.

use crate::{
    pool::{self, eventually, running},
    raw::{self, One, Sized},
};
use rustix::{
    io::Errno,
    process::{self, Signal},
};
use std::{
    os::unix::process::CommandExt,
    process::Command,
    time::{Duration, Instant},
};
use virgo::{
    Call, Ended, Job, On,
    abi::{self, CloneArgs},
};

crate::tests![
    results_are_kept_until_they_are_taken,
    results_are_taken_once,
    whoever_ends_first_is_had_first,
    waiting_has_a_deadline_and_the_job_goes_on,
    a_job_ends_at_its_deadline,
    cancel_ends_the_call_where_it_runs,
    cancel_of_what_has_ended_changes_nothing,
    jobs_that_are_not,
    jobs_belong_to_a_uid,
    jobs_are_shown,
    a_killed_caller_takes_its_call_along,
    many_jobs_at_once,
];

/// A call that takes longer than any test.
fn long(node: u32) -> Call {
    Call::new("sleep").arg("200000").on(On::Node(node))
}

/// Starts [`long`] with a deadline as far away.
fn start_long(node: u32) -> Job {
    virgo::within(Duration::from_secs(200))
        .start(&long(node))
        .expect("start")
}

/// How a job ends that ends soon.
fn end(job: Job) -> Ended {
    let mut jobs = [job];
    assert_eq!(virgo::within(pool::PATIENCE).wait_any(&mut jobs), Ok(1));
    let [job] = jobs;
    job.outcome().expect("an outcome").ended
}

fn errno(result: virgo::Result<usize>) -> Option<i32> {
    result.err().map(|error| error.errno())
}

fn results_are_kept_until_they_are_taken() {
    for node in pool::nodes() {
        let job = virgo::start(&Call::new("echo").arg("kept").on(On::Node(node))).expect("start");
        assert_eq!(job.node(), node);
        std::thread::sleep(Duration::from_millis(300));
        let mut jobs = [Job::from_id(job.id())];
        assert_eq!(virgo::wait_any(&mut jobs), Ok(1), "on {node}");
        let outcome = jobs[0].outcome().expect("an outcome");
        assert_eq!(outcome.stdout, b"kept");
        assert_eq!((outcome.ended, outcome.node), (Ended::Returned(4), node));
    }
}

fn results_are_taken_once() {
    for node in pool::nodes() {
        let job = virgo::start(&Call::new("noop").on(On::Node(node))).expect("start");
        let again = Job::from_id(job.id());
        assert_eq!(end(job), Ended::Returned(0));
        assert_eq!(
            errno(virgo::wait_any(&mut [again.clone()])),
            Some(libc::ESRCH)
        );
        let error = virgo::cancel(&again).expect_err("a job that is gone");
        assert_eq!(error.errno(), libc::ESRCH);
    }
}

fn whoever_ends_first_is_had_first() {
    let node = pool::other_node();
    let mut jobs = [
        start_long(node),
        virgo::start(&Call::new("echo").arg("first").on(On::Node(node))).expect("start"),
        start_long(pool::this_node()),
    ];
    assert_eq!(virgo::wait_any(&mut jobs), Ok(1));
    let first = jobs[1].outcome().expect("an outcome");
    assert_eq!(first.stdout, b"first");
    assert!(jobs[0].outcome().is_none() && jobs[2].outcome().is_none());
    for index in [2, 0] {
        virgo::cancel(&jobs[index]).expect("cancel");
        assert_eq!(virgo::wait_any(&mut jobs), Ok(1));
        let outcome = jobs[index].outcome().expect("an outcome");
        assert_eq!(outcome.ended, Ended::Failed(libc::ECANCELED));
    }
    assert_eq!(virgo::wait_any(&mut jobs), Ok(0));
}

fn waiting_has_a_deadline_and_the_job_goes_on() {
    for node in pool::nodes() {
        let job = start_long(node);
        let start = Instant::now();
        let mut jobs = [job];
        let waited = virgo::within(Duration::from_millis(300)).wait_any(&mut jobs);
        assert_eq!(errno(waited), Some(libc::ETIMEDOUT));
        let took = start.elapsed();
        assert!(
            took >= Duration::from_millis(300) && took < pool::PATIENCE,
            "{took:?}"
        );
        assert_eq!(running(node), 1, "on {node}");
        virgo::cancel(&jobs[0]).expect("cancel");
        let [job] = jobs;
        assert_eq!(end(job), Ended::Failed(libc::ECANCELED));
    }
}

fn a_job_ends_at_its_deadline() {
    for node in pool::nodes() {
        let within = virgo::within(Duration::from_millis(500));
        let job = within.start(&long(node)).expect("start");
        assert_eq!(end(job), Ended::Failed(libc::ETIMEDOUT), "on {node}");
    }
}

fn cancel_ends_the_call_where_it_runs() {
    for node in pool::nodes() {
        for name in ["sleep", "spin"] {
            let call = Call::new(name).arg("200000").on(On::Node(node));
            let within = virgo::within(Duration::from_secs(200));
            let job = within.start(&call).expect("start");
            assert_eq!(running(node), 1, "{name} on {node}");
            virgo::cancel(&job).expect("cancel");
            virgo::cancel(&job).expect("cancel again");
            eventually("the call ends", || running(node) == 0);
            assert_eq!(end(job), Ended::Failed(libc::ECANCELED));
        }
    }
}

fn cancel_of_what_has_ended_changes_nothing() {
    for node in pool::nodes() {
        let job = virgo::start(&Call::new("echo").arg("x").on(On::Node(node))).expect("start");
        eventually("the job ends", || {
            let made = pool::state().made;
            made.iter()
                .any(|made| made.job == job.id() && made.state == "returned")
        });
        virgo::cancel(&job).expect("cancel");
        assert_eq!(end(job), Ended::Returned(1));
    }
}

fn jobs_that_are_not() {
    for id in [0, 1, 1 << 63, u64::MAX] {
        let job = Job::from_id(id);
        let error = virgo::cancel(&job).expect_err("no job");
        assert_eq!(error.errno(), libc::ESRCH, "{id}");
        assert_eq!(
            errno(virgo::wait_any(&mut [job])),
            Some(libc::ESRCH),
            "{id}"
        );
    }
    let mut many = vec![Job::from_id(1); 1001];
    assert_eq!(errno(virgo::wait_any(&mut many)), Some(libc::EINVAL));
    // Nothing to wait for.
    let mut one = One::new("");
    one.call.state = abi::CALL_RETURNED;
    assert_eq!(Sized::Wait.with(one.args()), Err(Errno::INVAL));
    // One twice: the second has nothing to take.
    let one = One::new("noop\0");
    let args = CloneArgs {
        flags: abi::CLONE_ASYNC,
        ..one.args()
    };
    assert_eq!(Sized::Clone.with(args), Ok(1));
    let job = Job::from_id(one.job());
    let both = virgo::wait_any(&mut [job.clone(), job]);
    assert_eq!(errno(both), Some(libc::ESRCH));
}

fn jobs_belong_to_a_uid() {
    let job = start_long(pool::other_node());
    let (waited, cancelled) = raw::as_uid(1000, || {
        let waited = virgo::wait_any(&mut [job.clone()]);
        (errno(waited), virgo::cancel(&job).err().map(|e| e.errno()))
    });
    assert_eq!((waited, cancelled), (Some(libc::EPERM), Some(libc::EPERM)));
    virgo::cancel(&job).expect("cancel");
    assert_eq!(end(job), Ended::Failed(libc::ECANCELED));

    // Root is no exception.
    let job = raw::as_uid(1000, || virgo::start(&Call::new("noop")).expect("start"));
    assert_eq!(
        errno(virgo::wait_any(&mut [job.clone()])),
        Some(libc::EPERM)
    );
    assert_eq!(raw::as_uid(1000, || end(job)), Ended::Returned(0));
}

fn jobs_are_shown() {
    let (this, other) = (pool::this_node(), pool::other_node());
    let (there, here) = (start_long(other), start_long(this));
    let state = pool::state();
    for job in [&there, &here] {
        let made = state.made.iter().find(|made| made.job == job.id());
        let made = made.expect("the job is shown");
        assert_eq!((u32::from(made.node), made.uid), (job.node(), 0));
        assert_eq!(made.state, "running");
    }
    let run = state.running.iter().find(|run| run.job == here.id());
    let run = run.expect("the call is shown");
    assert_eq!((u32::from(run.from), run.uid), (this, 0));
    assert_eq!(run.name, "sleep");
    for job in [there, here] {
        virgo::cancel(&job).expect("cancel");
        assert_eq!(end(job), Ended::Failed(libc::ECANCELED));
    }
}

/// A program that waits for a call is killed: the call ends, and no job stays.
fn a_killed_caller_takes_its_call_along() {
    for node in pool::nodes() {
        let mut caller = Command::new("virgo")
            .args(["clone", "--timeout", "200s", "--on", &node.to_string()])
            .args(["sleep", "200000"])
            .process_group(0)
            .spawn()
            .expect("virgo");
        eventually("the call runs", || running(node) == 1);
        let pid = process::Pid::from_child(&caller);
        process::kill_process(pid, Signal::KILL).expect("kill");
        let start = Instant::now();
        caller.wait().expect("wait");
        let took = start.elapsed();
        assert!(took < pool::PATIENCE, "the caller took {took:?} to die");
        eventually("the call ends", || running(node) == 0);
    }
}

fn many_jobs_at_once() {
    let calls: Vec<_> = (0..300)
        .map(|number| Call::new("echo").arg(format!("{number}")).max_output(8))
        .collect();
    let within = virgo::within(Duration::from_secs(120));
    let mut jobs = within.start_all(&calls).expect("start");
    let mut ended = 0;
    loop {
        match within.wait_any(&mut jobs) {
            Ok(0) => break,
            Ok(count) => ended += count,
            Err(error) => panic!("{error}"),
        }
    }
    assert_eq!(ended, jobs.len());
    for (number, job) in jobs.iter().enumerate() {
        let outcome = job.outcome().expect("an outcome");
        assert_eq!(outcome.stdout, number.to_string().as_bytes());
    }
}
