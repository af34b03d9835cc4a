// SPDX-License-Identifier: GPL-2.0
//! Calls that nobody waits for, or not to the end.

use crate::{
    pool::{self, eventually, running},
    raw::{self, One, Sized},
    region::Region,
};
use rustix::{
    io::Errno,
    process::{self, Signal},
};
use std::{
    fs,
    os::unix::process::CommandExt,
    process::Command,
    thread,
    time::{Duration, Instant},
};
use virgo::{
    Call, Ended, Job, On,
    abi::{self, CloneArgs, WaitArgs},
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
    a_user_has_a_share_of_the_jobs,
    a_user_runs_a_share_of_the_calls,
    output_is_charged,
    what_waits_is_charged_to_the_memory_cgroup,
    both_streams_are_kept,
    output_so_far_is_kept_at_the_deadline,
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
    // Flags that the kernel sets.
    let mut flagged = One::new("");
    flagged.call.flags = 1;
    assert_eq!(Sized::Wait.with(flagged.args()), Err(Errno::INVAL));
    let one = One::new("noop\0");
    let args = CloneArgs {
        flags: abi::CLONE_ASYNC,
        ..one.args()
    };
    assert_eq!(Sized::Clone.with(args), Ok(1));
    let job = Job::from_id(one.job());
    // One twice is refused, and its result stays.
    let both = virgo::wait_any(&mut [job.clone(), job.clone()]);
    assert_eq!(errno(both), Some(libc::EINVAL));
    assert_eq!(end(job), Ended::Returned(0));
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

    // Root may end and have any.
    let call = long(pool::other_node());
    let job = raw::as_uid(1000, || {
        virgo::within(Duration::from_secs(200)).start(&call)
    });
    let job = job.expect("start");
    virgo::cancel(&job).expect("cancel");
    assert_eq!(end(job), Ended::Failed(libc::ECANCELED));
}

/// Half of the 8192 jobs that there may be. Root's come on top.
fn a_user_has_a_share_of_the_jobs() {
    let calls = vec![
        Call::new("noop")
            .on(On::Node(pool::this_node()))
            .max_output(0);
        512
    ];
    let refused = raw::as_uid(1000, || {
        let mut all = Vec::new();
        let refused = loop {
            match virgo::start_all(&calls) {
                Ok(jobs) => all.extend(jobs),
                Err(error) => break error.errno(),
            }
        };
        (refused, all)
    });
    let (refused, mut all) = refused;
    assert_eq!((refused, all.len()), (libc::EDQUOT, 4096));
    assert_eq!(pool::run(&calls[0]).ended, Ended::Returned(0));
    for some in all.chunks_mut(512) {
        assert_eq!(raw::as_uid(1000, || virgo::wait_any(some)), Ok(512));
    }
    raw::as_uid(1000, || assert!(virgo::run(&calls[0]).is_ok()));
}

/// A user who has all workers busy leaves half of them to others.
fn a_user_runs_a_share_of_the_calls() {
    let node = pool::this_node();
    let calls = vec![long(node).max_output(0); 100];
    let jobs = raw::as_uid(1000, || {
        virgo::within(Duration::from_secs(200)).start_all(&calls)
    });
    let jobs = jobs.expect("start");
    // As many as there are workers for others run at the same time: if there were fewer, some would have to
    // wait for others to end.
    const OTHERS: usize = 16;
    let sleep = Call::new("sleep").arg("4000").on(On::Node(node));
    let within = virgo::within(Duration::from_secs(30));
    let start = Instant::now();
    let outcomes = within.run_all(&vec![sleep.max_output(0); OTHERS]);
    let took = start.elapsed();
    for outcome in outcomes.expect("run") {
        assert_eq!(outcome.ended, Ended::Returned(0));
    }
    assert!(took < Duration::from_millis(7500), "{took:?}");
    for job in jobs {
        raw::as_uid(1000, || virgo::cancel(&job)).expect("cancel");
        assert_eq!(end(job), Ended::Failed(libc::ECANCELED));
    }
}

/// Output that is kept counts as its caller's: beyond his share it is cut off, he is told, and he can
/// make no more calls.
fn output_is_charged() {
    const SHARE: usize = 32 << 20;
    let node = pool::this_node();
    let text = "x".repeat(30 * 1024);
    let call = Call::new("echo").arg(&text).on(On::Node(node));
    let calls = vec![call; 32];
    let mut all = Vec::new();
    while all.len() * text.len() < SHARE + (2 << 20) {
        let start = || virgo::within(Duration::from_secs(100)).start_all(&calls);
        all.extend(raw::as_uid(1000, start).expect("start"));
        // They end before more arguments wait.
        eventually("the calls end", || running(node) == 0);
    }
    let (mut kept, mut refused) = (0, 0);
    while all.iter().any(|job| job.outcome().is_none()) {
        let some = &mut all[..];
        for some in some.chunks_mut(64) {
            virgo::wait_any(some).expect("wait");
        }
    }
    for job in &all {
        let outcome = job.outcome().expect("an outcome");
        match outcome.ended {
            Ended::Returned(_) if !outcome.truncated => kept += outcome.stdout.len(),
            Ended::Returned(_) | Ended::Failed(libc::EDQUOT) => refused += 1,
            _ => panic!("{outcome:?}"),
        }
    }
    assert!(refused > 0, "{kept} bytes were kept");
    assert!(kept <= SHARE && kept > SHARE / 2, "{kept} bytes were kept");
}

/// The memory cgroup of this process, for a test.
struct Group;

impl Group {
    const PATH: &str = "/sys/fs/cgroup/virgo_waits";

    fn enter() -> Self {
        fs::create_dir(Self::PATH).expect("a cgroup");
        fs::write(format!("{}/cgroup.procs", Self::PATH), "0").expect("enter");
        Group
    }

    fn charged(&self) -> usize {
        let said = fs::read_to_string(format!("{}/memory.current", Self::PATH)).expect("read");
        said.trim().parse().expect("a number")
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        fs::write("/sys/fs/cgroup/cgroup.procs", "0").expect("leave");
        // A thread that was joined leaves its group a moment later.
        eventually("the cgroup is empty", || fs::remove_dir(Self::PATH).is_ok());
    }
}

/// What the kernel keeps of the arguments of a call that waits is its program's.
fn what_waits_is_charged_to_the_memory_cgroup() {
    const WAITS: usize = 48;
    const SIZE: usize = size_of::<abi::CallArgs>();
    let job = start_long(pool::this_node());
    let region = Region::new(abi::MAX_CALLS * SIZE);
    for at in 0..abi::MAX_CALLS {
        let state = if at == 0 {
            abi::CALL_RUNNING
        } else {
            abi::CALL_RETURNED
        };
        let call = abi::CallArgs {
            job: job.id(),
            state,
            ..abi::CallArgs::default()
        };
        region.put(at * SIZE, call);
    }
    let group = Group::enter();
    let charged = |count: usize| {
        let args = WaitArgs {
            calls: region.at(0).number(),
            count: count as u32,
            call_size: SIZE as u32,
            timeout_ms: 6000,
            ..WaitArgs::default()
        };
        thread::scope(|scope| {
            for _ in 0..WAITS {
                let wait = move || assert_eq!(Sized::Wait.with(args), Err(Errno::TIMEDOUT));
                let thread = thread::Builder::new().stack_size(64 << 10);
                thread.spawn_scoped(scope, wait).expect("a thread");
            }
            thread::sleep(Duration::from_secs(3));
            group.charged()
        })
    };
    let (few, many) = (charged(1), charged(abi::MAX_CALLS));
    drop(group);
    virgo::cancel(&job).expect("cancel");
    assert_eq!(end(job), Ended::Failed(libc::ECANCELED));
    let more = many.saturating_sub(few);
    assert!(
        more > WAITS * abi::MAX_CALLS * SIZE * 3 / 4,
        "{few} became {many}"
    );
}

const PROGRAM: &str = "/usr/lib/virgo/test/virgo_cloud_test_main";

/// A program that floods its standard output can still say what went wrong.
fn both_streams_are_kept() {
    for node in pool::nodes() {
        let call = Call::new(PROGRAM).arg("flood").on(On::Node(node));
        let outcome = virgo::within(Duration::from_secs(60)).run(&call);
        let outcome = outcome.expect("run");
        assert_eq!(outcome.ended, Ended::Exited(0), "on {node}");
        let lens = (outcome.stdout.len(), outcome.stderr.len());
        assert_eq!(lens, (64 << 10, 64 << 10), "on {node}");
        assert!(outcome.stderr.starts_with(b"eee") && outcome.truncated);
        // In less room each has some.
        let outcome = virgo::within(Duration::from_secs(60)).run(&call.max_output(1000));
        let outcome = outcome.expect("run");
        assert_eq!((outcome.stdout.len(), outcome.stderr.len()), (750, 250));
    }
}

fn output_so_far_is_kept_at_the_deadline() {
    for node in pool::nodes() {
        let call = Call::new(PROGRAM).arg("talk").on(On::Node(node));
        let outcome = virgo::within(Duration::from_secs(5))
            .run(&call)
            .expect("run");
        assert_eq!(outcome.ended, Ended::Failed(libc::ETIMEDOUT), "on {node}");
        assert_eq!(outcome.stdout, b"so far", "on {node}");
        assert_eq!(outcome.stderr, b"and errors", "on {node}");
    }
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
