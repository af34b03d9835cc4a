// SPDX-License-Identifier: GPL-2.0
//! Calls of functions and programs on any node.

use crate::{
    Error, Result,
    abi::{self, CLONE_ASYNC, MAX_CALLS},
    call::{self, Calls},
    error::Tried,
    memory::Within,
};
use libc::{EINVAL, c_int};
use std::{mem, str::FromStr};

/// Most bytes of output that a call keeps: 64 KiB of standard output, and as many of standard error.
const MAX_OUTPUT: usize = 2 * 64 * 1024;

/// A call of a function or program, on some node of the cluster.
///
/// A name is a function that a kernel module has registered, an absolute path a program, and
/// `PATH:SYMBOL` a function of a library.
///
/// ```no_run
/// use virgo::{Call, Ended, On};
///
/// let outcome = virgo::run(&Call::new("echo").arg("hello").on(On::Node(2)))?;
/// assert_eq!(outcome.ended, Ended::Returned(5));
/// assert_eq!(outcome.stdout, b"hello");
/// # Ok::<(), virgo::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "nothing is called before `run` or `start`"]
pub struct Call {
    /// Name and arguments, a NUL after each; `None` if one of them has a NUL itself.
    argv: Option<Vec<u8>>,
    on: On,
    room: usize,
}

impl Call {
    /// A call of `target` without arguments, where the node's configuration says.
    pub fn new(target: impl AsRef<[u8]>) -> Self {
        let call = Self {
            argv: Some(Vec::new()),
            on: On::Configured,
            room: MAX_OUTPUT,
        };
        call.arg(target)
    }

    /// One more argument: any bytes but NUL.
    pub fn arg(mut self, arg: impl AsRef<[u8]>) -> Self {
        let arg = arg.as_ref();
        match &mut self.argv {
            Some(argv) if !arg.contains(&0) => {
                argv.extend_from_slice(arg);
                argv.push(0);
            }
            _ => self.argv = None,
        }
        self
    }

    /// More arguments.
    pub fn args(self, args: impl IntoIterator<Item = impl AsRef<[u8]>>) -> Self {
        args.into_iter().fold(self, Self::arg)
    }

    /// Where it runs.
    pub fn on(mut self, on: On) -> Self {
        self.on = on;
        self
    }

    /// How many bytes of output are kept, both kinds together, instead of 64 KiB of each.
    pub fn max_output(mut self, bytes: usize) -> Self {
        self.room = bytes;
        self
    }

    fn to_abi(&self) -> abi::Call {
        let (place, node) = match self.on {
            On::Configured => (abi::RUN_DEFAULT, 0),
            On::Least => (abi::RUN_LEAST, 0),
            On::Random => (abi::RUN_RANDOM, 0),
            On::Two => (abi::RUN_TWO, 0),
            On::Node(number) => (abi::RUN_NODE, number),
        };
        abi::Call {
            place,
            node,
            ..abi::Call::default()
        }
    }
}

/// Where a [`Call`] runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum On {
    /// As `/etc/virgo_client.conf` says.
    #[default]
    Configured,
    /// On the least loaded node, as far as is known.
    Least,
    /// On a random node.
    Random,
    /// On the less loaded of two random nodes.
    Two,
    /// On the node with this number.
    Node(u32),
}

impl FromStr for On {
    type Err = ParseOnError;

    /// Reads `least`, `random`, `two`, or the number of a node.
    fn from_str(text: &str) -> Result<Self, ParseOnError> {
        match text {
            "least" => Ok(Self::Least),
            "random" => Ok(Self::Random),
            "two" => Ok(Self::Two),
            _ => match text.parse() {
                Ok(number @ 1..) => Ok(Self::Node(number)),
                _ => Err(ParseOnError(())),
            },
        }
    }
}

/// The text does not say where to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected 'least', 'random', 'two' or the number of a node")]
pub struct ParseOnError(());

/// What came of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// How it ended.
    pub ended: Ended,
    /// Number of the node that it went to; 0 if it went nowhere.
    pub node: u32,
    /// What it has printed.
    pub stdout: Vec<u8>,
    /// What it has printed as errors; of a call that was refused, the reason.
    pub stderr: Vec<u8>,
    /// There was more output.
    pub truncated: bool,
}

/// How a call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// A function returned this.
    Returned(i64),
    /// A program ended with this status.
    Exited(i32),
    /// The signal with this number killed a program.
    Killed(i32),
    /// It did not run, or nobody knows: an errno.
    Failed(c_int),
}

impl Outcome {
    /// `None` if it has not ended.
    fn new(call: &abi::Call, output: &[u8]) -> Option<Self> {
        let value = i32::try_from(call.value).unwrap_or(i32::MAX);
        let ended = match call.state {
            abi::CALL_RUNNING => return None,
            abi::CALL_RETURNED => Ended::Returned(call.value),
            abi::CALL_EXITED => Ended::Exited(value),
            abi::CALL_KILLED => Ended::Killed(value),
            _ => Ended::Failed(value),
        };
        let (out_len, err_len) = (call.out_len as usize, call.err_len as usize);
        let (stdout, rest) = output.split_at(out_len.min(output.len()));
        Some(Self {
            ended,
            node: call.node,
            stdout: stdout.to_vec(),
            stderr: rest[..err_len.min(rest.len())].to_vec(),
            truncated: call.flags & abi::CALL_TRUNCATED != 0,
        })
    }
}

/// A call that was [started](start). Its result is kept for [`wait_any`], by any program of the
/// same uid or of root on this node, until ten minutes after its deadline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    id: u64,
    node: u32,
    room: usize,
    outcome: Option<Outcome>,
}

impl Job {
    /// The job with this number.
    pub fn from_id(id: u64) -> Self {
        Self {
            id,
            node: 0,
            room: MAX_OUTPUT,
            outcome: None,
        }
    }

    /// Names it on this node.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Number of the node that it went to; 0 if that is not known.
    pub fn node(&self) -> u32 {
        self.node
    }

    /// What came of it, if [`wait_any`] has found that out.
    pub fn outcome(&self) -> Option<&Outcome> {
        self.outcome.as_ref()
    }

    /// As [`Self::outcome`], for keeps.
    pub fn into_outcome(self) -> Option<Outcome> {
        self.outcome
    }
}

/// Makes a call and waits until it has ended.
///
/// ```no_run
/// use std::time::Duration;
/// use virgo::Call;
///
/// let outcome = virgo::within(Duration::from_secs(1)).run(&Call::new("noop"))?;
/// println!("ran on node {}: {:?}", outcome.node, outcome.ended);
/// # Ok::<(), virgo::Error>(())
/// ```
///
/// # Errors
///
/// What goes wrong with the call itself is its outcome. `EINVAL` for a name or argument with a NUL
/// and for a timeout above 300 s; `E2BIG` for more than 32 KiB of name and arguments; `ENODEV` for
/// a node that cannot be; `EDQUOT` if this uid has too many calls and `EAGAIN` if all together have;
/// `ENOMEM`; `ENOSYS` if virgo_cpupooling is not loaded.
pub fn run(call: &Call) -> Result<Outcome> {
    Within::default().run(call)
}

/// Makes up to 1000 calls at once and waits until all have ended. Returns the outcomes in the
/// order of the calls.
///
/// # Errors
///
/// As for [`run`]; `EINVAL` for no calls or more than 1000; `E2BIG` for more than 1 MiB of names
/// and arguments.
pub fn run_all(calls: &[Call]) -> Result<Vec<Outcome>> {
    Within::default().run_all(calls)
}

/// Makes a call and does not wait for its end.
///
/// ```no_run
/// use virgo::Call;
///
/// let slow = virgo::start(&Call::new("sleep").arg("200"))?;
/// let quick = virgo::start(&Call::new("noop"))?;
/// let mut jobs = [slow, quick];
/// while virgo::wait_any(&mut jobs)? > 0 {
///     for outcome in jobs.iter().filter_map(virgo::Job::outcome) {
///         println!("{outcome:?}");
///     }
/// }
/// # Ok::<(), virgo::Error>(())
/// ```
///
/// # Errors
///
/// As for [`run`].
pub fn start(call: &Call) -> Result<Job> {
    Within::default().start(call)
}

/// As [`start`], for up to 1000 calls at once.
///
/// # Errors
///
/// As for [`run_all`].
pub fn start_all(calls: &[Call]) -> Result<Vec<Job>> {
    Within::default().start_all(calls)
}

/// Waits until one of up to 1000 jobs whose outcome is not known has ended, and takes the outcomes
/// of all that have. Returns how many: none if there is nothing to wait for.
///
/// # Errors
///
/// `ETIMEDOUT` if all still run; `ESRCH` if there is no such job, or its outcome was taken; `EPERM`
/// if another uid has made it, unless root waits; `EINVAL` for more than 1000 jobs and for one that is
/// there twice.
pub fn wait_any(jobs: &mut [Job]) -> Result<usize> {
    Within::default().wait_any(jobs)
}

/// Ends the call of a job, wherever it runs. Its outcome is `ECANCELED` then, unless it had ended
/// before.
///
/// # Errors
///
/// `ESRCH` and `EPERM` as for [`wait_any`].
pub fn cancel(job: &Job) -> Result<()> {
    Within::default().cancel(job)
}

impl Within {
    /// See [`run`].
    ///
    /// # Errors
    ///
    /// As for [`run`].
    pub fn run(self, call: &Call) -> Result<Outcome> {
        let mut outcomes = self.run_all(std::slice::from_ref(call))?;
        outcomes.pop().ok_or(incomplete(1))
    }

    /// See [`run_all`].
    ///
    /// # Errors
    ///
    /// As for [`run_all`].
    pub fn run_all(self, calls: &[Call]) -> Result<Vec<Outcome>> {
        let mut outputs = Outputs::new(calls.iter().map(|call| call.room));
        let ended = self.submit(calls, outputs.each(), 0)?;
        let outcomes = ended.iter().zip(outputs.each());
        outcomes
            .map(|(call, output)| Outcome::new(call, output))
            .collect::<Option<_>>()
            .ok_or(incomplete(calls.len()))
    }

    /// See [`start`].
    ///
    /// # Errors
    ///
    /// As for [`start`].
    pub fn start(self, call: &Call) -> Result<Job> {
        let mut jobs = self.start_all(std::slice::from_ref(call))?;
        jobs.pop().ok_or(incomplete(1))
    }

    /// See [`start_all`].
    ///
    /// # Errors
    ///
    /// As for [`start_all`].
    pub fn start_all(self, calls: &[Call]) -> Result<Vec<Job>> {
        let mut outputs = Outputs::new(calls.iter().map(|_| 0));
        let started = self.submit(calls, outputs.each(), CLONE_ASYNC)?;
        let job = |(started, call): (&abi::Call, &Call)| Job {
            id: started.job,
            node: started.node,
            room: call.room,
            outcome: None,
        };
        Ok(started.iter().zip(calls).map(job).collect())
    }

    fn submit<'a>(
        self,
        calls: &'a [Call],
        outputs: impl Iterator<Item = &'a mut [u8]>,
        flags: u32,
    ) -> Result<Vec<abi::Call>> {
        let count = calls.len();
        let failed = |errno| Error::new(Tried::Run { count }, errno);
        let mut array = Calls::default();
        for (call, output) in calls.iter().zip(outputs) {
            let argv = call.argv.as_deref().ok_or(failed(EINVAL))?;
            array.push(call.to_abi(), argv, output);
        }
        array.clone2(flags, self.timeout_ms).map_err(failed)?;
        Ok(array.into_array())
    }

    /// See [`wait_any`].
    ///
    /// # Errors
    ///
    /// As for [`wait_any`].
    pub fn wait_any(self, jobs: &mut [Job]) -> Result<usize> {
        let mut running: Vec<_> = jobs
            .iter_mut()
            .filter(|job| job.outcome.is_none())
            .collect();
        if running.is_empty() {
            return Ok(0);
        }
        let mut outputs = Outputs::new(running.iter().map(|job| job.room));
        let mut array = Calls::default();
        for (job, output) in running.iter().zip(outputs.each()) {
            let call = abi::Call {
                job: job.id,
                ..abi::Call::default()
            };
            array.push(call, b"", output);
        }
        let waited = array.wait(self.timeout_ms);
        let ended = waited.map_err(|errno| {
            let job = running.first().map(|job| job.id);
            let count = running.len();
            Error::new(
                match job {
                    Some(job) if count == 1 => Tried::Wait { job },
                    _ => Tried::WaitAny { count },
                },
                errno,
            )
        })?;
        let calls = array.into_array();
        for ((job, call), output) in running.iter_mut().zip(&calls).zip(outputs.each()) {
            job.outcome = Outcome::new(call, output);
            if job.outcome.is_some() {
                job.node = call.node;
            }
        }
        Ok(ended)
    }

    /// See [`cancel`].
    ///
    /// # Errors
    ///
    /// As for [`cancel`].
    pub fn cancel(self, job: &Job) -> Result<()> {
        let failed = |errno| Error::new(Tried::Cancel { job: job.id }, errno);
        call::cancel(job.id, self.timeout_ms).map_err(failed)?;
        Ok(())
    }
}

/// The kernel says that all is well, but has not filled in all. It does not do that.
fn incomplete(count: usize) -> Error {
    Error::new(Tried::Run { count }, libc::EIO)
}

/// Room for the outputs of calls. Memory is taken for what is written only.
struct Outputs {
    bytes: Vec<u8>,
    rooms: Vec<usize>,
}

impl Outputs {
    fn new(rooms: impl Iterator<Item = usize>) -> Self {
        // More calls than may be are refused; their outputs are not written.
        let rooms: Vec<_> = rooms.take(MAX_CALLS + 1).collect();
        Self {
            bytes: vec![0; rooms.iter().sum()],
            rooms,
        }
    }

    /// The room of each call.
    fn each(&mut self) -> impl Iterator<Item = &mut [u8]> {
        let mut rest = &mut self.bytes[..];
        self.rooms.iter().map(move |&room| {
            let (output, behind) = mem::take(&mut rest).split_at_mut(room);
            rest = behind;
            output
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_end_with_nul() {
        let call = Call::new("echo").arg("a b").args(["", "c"]);
        assert_eq!(call.argv.as_deref(), Some(&b"echo\0a b\0\0c\0"[..]));
    }

    #[test]
    fn a_nul_within_is_refused_without_a_system_call() {
        for call in [Call::new("a\0b"), Call::new("a").arg("b\0").arg("c")] {
            let error = run(&call).unwrap_err();
            assert_eq!(error.errno(), EINVAL);
            assert_eq!(error.to_string(), "cannot run a call: not valid (EINVAL)");
        }
    }

    #[test]
    fn places_are_read() {
        for (text, on, place, node) in [
            ("least", On::Least, abi::RUN_LEAST, 0),
            ("random", On::Random, abi::RUN_RANDOM, 0),
            ("two", On::Two, abi::RUN_TWO, 0),
            ("12", On::Node(12), abi::RUN_NODE, 12),
        ] {
            assert_eq!(text.parse(), Ok(on));
            let call = Call::new("x").on(on).to_abi();
            assert_eq!((call.place, call.node), (place, node), "{text}");
        }
        for text in ["", "0", "-1", "node2", "all", "4294967296"] {
            assert!(text.parse::<On>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn outcomes_are_read() {
        let call = abi::Call {
            state: abi::CALL_EXITED,
            value: 3,
            node: 2,
            out_len: 4,
            err_len: 2,
            flags: abi::CALL_TRUNCATED,
            ..abi::Call::default()
        };
        let expected = Outcome {
            ended: Ended::Exited(3),
            node: 2,
            stdout: b"good".to_vec(),
            stderr: b"ba".to_vec(),
            truncated: true,
        };
        assert_eq!(Outcome::new(&call, b"goodba\0\0"), Some(expected));
        for (state, value, ended) in [
            (abi::CALL_RETURNED, i64::MIN, Ended::Returned(i64::MIN)),
            (abi::CALL_KILLED, 9, Ended::Killed(9)),
            (abi::CALL_FAILED, 2, Ended::Failed(2)),
        ] {
            let call = abi::Call {
                state,
                value,
                ..abi::Call::default()
            };
            let outcome = Outcome::new(&call, b"").map(|outcome| outcome.ended);
            assert_eq!(outcome, Some(ended));
        }
        assert_eq!(Outcome::new(&abi::Call::default(), b""), None);
    }

    #[test]
    fn nothing_is_waited_for_without_a_system_call() {
        let mut job = Job::from_id(7);
        job.outcome = Outcome::new(
            &abi::Call {
                state: abi::CALL_RETURNED,
                ..abi::Call::default()
            },
            b"",
        );
        assert_eq!(wait_any(&mut [job]), Ok(0));
        assert_eq!(wait_any(&mut []), Ok(0));
    }

    #[test]
    fn outputs_do_not_overlap() {
        let mut outputs = Outputs::new([2, 0, 3].into_iter());
        for (number, output) in (1..).zip(outputs.each()) {
            output.fill(number);
        }
        assert_eq!(outputs.bytes, [1, 1, 3, 3, 3]);
    }
}
