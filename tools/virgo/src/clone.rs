// SPDX-License-Identifier: GPL-2.0
//! Calls of functions and programs on any node.

mod outcome;
mod request;

pub use outcome::{Ended, Outcome};
pub use request::{Call, On, ParseOnError};

use crate::{
    Error, Result,
    abi::{self, CLONE_ASYNC},
    call::{self, Calls},
    error::Tried,
    memory::Within,
};
use libc::EINVAL;
use outcome::Outputs;
use request::MAX_OUTPUT;

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

impl Within<'_> {
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
        let job = |(started, call): (&abi::CallArgs, &Call)| Job {
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
    ) -> Result<Vec<abi::CallArgs>> {
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
            let call = abi::CallArgs {
                job: job.id,
                ..abi::CallArgs::default()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_nul_within_is_refused_without_a_system_call() {
        for call in [Call::new("a\0b"), Call::new("a").arg("b\0").arg("c")] {
            let error = run(&call).unwrap_err();
            assert_eq!(error.errno(), EINVAL);
            assert_eq!(error.to_string(), "cannot run a call: not valid (EINVAL)");
        }
    }

    #[test]
    fn nothing_is_waited_for_without_a_system_call() {
        let mut job = Job::from_id(7);
        job.outcome = Outcome::new(
            &abi::CallArgs {
                state: abi::CALL_RETURNED,
                ..abi::CallArgs::default()
            },
            b"",
        );
        assert_eq!(wait_any(&mut [job]), Ok(0));
        assert_eq!(wait_any(&mut []), Ok(0));
    }
}
