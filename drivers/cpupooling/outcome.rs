// SPDX-License-Identifier: GPL-2.0

//! What came of a call.

use kernel::prelude::*;
use linux::bytes::Fill;
use virgo_proto::clone::{
    self,
    state,
    MAX_SHORT, //
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
}

impl Outcome {
    /// Of a call that did not run, or of which nobody knows.
    pub(crate) fn failed(e: Error) -> Self {
        Outcome {
            state: state::FAILED,
            value: e.to_errno().unsigned_abs().into(),
            output: KVVec::new(),
            out_len: 0,
            truncated: false,
        }
    }

    /// Of a call that was refused, with the reason as standard error.
    pub(crate) fn refused(e: Error, reason: &str) -> Self {
        let mut this = Self::failed(e);
        // Without memory the number has to do.
        let _ = this.output.extend_from_slice(reason.as_bytes(), GFP_KERNEL);
        this
    }

    /// As it came over the wire, with its output. Without memory the output is lost.
    pub(crate) fn with_output(header: &clone::Outcome, output: &[u8]) -> Self {
        let mut copy = KVVec::new();
        let copied = copy.put_bytes(output, GFP_KERNEL).is_ok();
        Outcome {
            state: header.state.get(),
            value: header.value.get(),
            output: copy,
            out_len: if copied { header.out_len.get() } else { 0 },
            truncated: !copied || header.flags.get() & clone::TRUNCATED != 0,
        }
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

    /// As it goes over the wire, for the call that the client calls `key`.
    pub(crate) fn to_wire(&self, key: u64) -> clone::Outcome {
        let all = self.output.len() as u32;
        clone::Outcome {
            key: key.into(),
            value: self.value.into(),
            state: self.state.into(),
            out_len: self.out_len.into(),
            err_len: all.saturating_sub(self.out_len).into(),
            flags: if self.truncated { clone::TRUNCATED } else { 0 }.into(),
        }
    }
}
