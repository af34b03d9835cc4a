// SPDX-License-Identifier: GPL-2.0

//! What came of a call.

use kernel::prelude::*;
use linux::bytes::{
    memory_of,
    Fill, //
};
use virgo_proto::clone::{
    self,
    state,
    MAX_SHORT, //
};
use virgo_utils::{
    budget::{
        Account,
        Charge, //
    },
    eventnet::Origin, //
};

/// What came of a call, with its output.
pub(crate) struct Outcome {
    /// One of [`state`].
    pub(crate) state: u32,
    /// Return value, exit status, signal, or error number.
    pub(crate) value: i64,
    /// Standard output, then standard error.
    pub(crate) output: KVVec<u8>,
    /// How much of it is standard output.
    pub(crate) out_len: u32,
    /// There was more.
    pub(crate) truncated: bool,
    /// What led to it, for EventNet, if it is that of a job.
    pub(crate) cause: Origin,
    /// For the output, if it is long: short ones are bounded by the number of calls.
    charge: Option<Charge>,
}

impl Outcome {
    /// Of a call that did not run, or of which nobody knows.
    pub(crate) fn failed(e: Error) -> Self {
        Self::new(
            state::FAILED,
            e.to_errno().unsigned_abs().into(),
            KVVec::new(),
        )
    }

    /// Whether the call has run; otherwise the error is why not.
    pub(crate) fn has_run(&self) -> Result {
        match (self.state, i32::try_from(self.value)) {
            (state::FAILED, Ok(errno)) => Err(Error::from_errno(errno.saturating_neg())),
            (state::FAILED, Err(_)) => Err(EIO),
            _ => Ok(()),
        }
    }

    /// With standard output only.
    pub(crate) fn new(state: u32, value: i64, output: KVVec<u8>) -> Self {
        Outcome {
            state,
            value,
            out_len: output.len() as u32,
            output,
            truncated: false,
            cause: Origin::NONE,
            charge: None,
        }
    }

    /// Of a call that was refused, with the reason as standard error.
    pub(crate) fn refused(e: Error, reason: &str) -> Self {
        let mut this = Self::failed(e);
        // Without memory the number has to do.
        let _ = this.output.extend_from_slice(reason.as_bytes(), GFP_KERNEL);
        this
    }

    /// As it came over the wire, with its output and room for `more` bytes. Without memory the output is lost.
    pub(crate) fn with_output(header: &clone::OutcomeHeader, output: &[u8], more: usize) -> Self {
        let mut copy = KVVec::new();
        let room = copy.reserve(output.len().saturating_add(more), GFP_KERNEL);
        let copied = room.is_ok() && copy.put_bytes(output, GFP_KERNEL).is_ok();
        Outcome {
            state: header.state.get(),
            value: header.value.get(),
            output: copy,
            out_len: if copied { header.out_len.get() } else { 0 },
            truncated: !copied || header.flags.get() & clone::TRUNCATED != 0,
            cause: Origin::NONE,
            charge: None,
        }
    }

    /// As it came over the wire, with output that is charged to `account`; `errors` is standard error
    /// that came before.
    pub(crate) fn received(
        header: &clone::OutcomeHeader,
        output: &[u8],
        errors: &[u8],
        account: &Account,
    ) -> Self {
        let mut this = Self::with_output(header, output, errors.len());
        if !errors.is_empty() && this.output.put_bytes(errors, GFP_KERNEL).is_err() {
            this.truncated = true;
        }
        this.charged(account)
    }

    /// Charges the output to `account`. Output for which there is no room is lost. Any context.
    pub(crate) fn charged(mut self, account: &Account) -> Self {
        if self.output.len() > MAX_SHORT && self.charge.is_none() {
            match account.charge(memory_of(self.output.capacity()) as u64) {
                Ok(charge) => self.charge = Some(charge),
                Err(_) => {
                    self.output = KVVec::new();
                    self.out_len = 0;
                    self.truncated = true;
                }
            }
        }
        self
    }

    /// With no more output than fits a reply.
    pub(crate) fn short(mut self) -> Self {
        if self.output.len() > MAX_SHORT {
            self.output.truncate(MAX_SHORT);
            self.out_len = self.out_len.min(MAX_SHORT as u32);
            self.truncated = true;
        }
        self
    }

    /// Standard output and standard error.
    pub(crate) fn streams(&self) -> (&[u8], &[u8]) {
        let split = self.output.split_at_checked(self.out_len as usize);
        split.unwrap_or((&self.output, b""))
    }

    /// As it goes over the wire, for the call that the client calls `key`.
    pub(crate) fn to_wire(&self, key: u64) -> clone::OutcomeHeader {
        let (out, err) = self.streams();
        clone::OutcomeHeader {
            key: key.into(),
            value: self.value.into(),
            state: self.state.into(),
            out_len: (out.len() as u32).into(),
            err_len: (err.len() as u32).into(),
            flags: if self.truncated { clone::TRUNCATED } else { 0 }.into(),
        }
    }
}

/// What `virgo jobs` shows of a state.
pub(crate) fn state_name(state: u32) -> &'static str {
    match state {
        state::RUNNING => "running",
        state::RETURNED => "returned",
        state::EXITED => "exited",
        state::KILLED => "killed",
        _ => "failed",
    }
}
