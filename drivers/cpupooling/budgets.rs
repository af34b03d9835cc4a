// SPDX-License-Identifier: GPL-2.0

//! What users may make this node keep for their calls.

use kernel::prelude::*;
use virgo_utils::budget::{
    Account,
    Budget, //
};

/// Bytes that a call counts for beside its arguments and output.
pub(crate) const OVERHEAD: usize = 512;

/// Bytes that a result counts for, with output of up to [`MAX_SHORT`](virgo_proto::clone::MAX_SHORT)
/// bytes, as long as the node that wants it has not got it.
pub(crate) const RESULT: usize = 512;

/// How much there may be at a time.
pub(crate) struct PoolLimits {
    /// Calls that run here.
    pub(crate) running: usize,
    /// Calls that wait to run here.
    pub(crate) waiting: usize,
    /// Calls made here whose results were not taken.
    pub(crate) jobs: usize,
    /// Bytes of arguments and output.
    pub(crate) bytes: u64,
}

/// The budgets of the module.
pub(crate) struct Budgets {
    /// Calls made here whose results were not taken.
    jobs: Pin<KBox<Budget>>,
    /// Calls that run or wait here.
    calls: Pin<KBox<Budget>>,
    /// Calls that run here.
    running: Pin<KBox<Budget>>,
    /// Bytes of arguments and output.
    bytes: Pin<KBox<Budget>>,
}

/// A user's part for calls that he makes here.
pub(crate) struct JobAccounts {
    pub(crate) jobs: Account,
    pub(crate) bytes: Account,
}

/// A user's part for calls that run here.
pub(crate) struct RunAccounts {
    pub(crate) calls: Account,
    pub(crate) running: Account,
    pub(crate) bytes: Account,
}

impl Budgets {
    /// # Errors
    ///
    /// [`ENOMEM`].
    pub(crate) fn new(limits: &PoolLimits) -> Result<Self> {
        Ok(Budgets {
            jobs: Budget::new(limits.jobs as u64)?,
            calls: Budget::new((limits.waiting + limits.running) as u64)?,
            running: Budget::new(limits.running as u64)?,
            bytes: Budget::new(limits.bytes)?,
        })
    }

    /// For calls that user `uid` makes here. May sleep.
    ///
    /// # Errors
    ///
    /// [`ENOMEM`].
    pub(crate) fn of_jobs(&self, uid: u32) -> Result<JobAccounts> {
        Ok(JobAccounts {
            jobs: self.jobs.account(uid)?,
            bytes: self.bytes.account(uid)?,
        })
    }

    /// For calls of user `uid` that run here. May sleep.
    ///
    /// # Errors
    ///
    /// [`ENOMEM`].
    pub(crate) fn of_runs(&self, uid: u32) -> Result<RunAccounts> {
        Ok(RunAccounts {
            calls: self.calls.account(uid)?,
            running: self.running.account(uid)?,
            bytes: self.bytes.account(uid)?,
        })
    }

    /// Bytes of arguments and output that are kept.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.used()
    }
}

/// What a caller is told if a budget refuses: that he has too many calls himself ([`EDQUOT`]), or
/// that there are too many ([`EAGAIN`]).
pub(crate) fn refusal(e: Error) -> Error {
    match e {
        ENOMEM => EAGAIN,
        e => e,
    }
}
