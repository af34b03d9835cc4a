// SPDX-License-Identifier: GPL-2.0
//! What came of calls.

use crate::abi::{self, MAX_CALLS};
use libc::c_int;
use std::mem;

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
    pub(super) fn new(call: &abi::CallArgs, output: &[u8]) -> Option<Self> {
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

/// Room for the outputs of calls. Memory is taken for what is written only.
pub(super) struct Outputs {
    bytes: Vec<u8>,
    rooms: Vec<usize>,
}

impl Outputs {
    pub(super) fn new(rooms: impl Iterator<Item = usize>) -> Self {
        // More calls than may be are refused; their outputs are not written.
        let rooms: Vec<_> = rooms.take(MAX_CALLS + 1).collect();
        Self {
            bytes: vec![0; rooms.iter().sum()],
            rooms,
        }
    }

    /// The room of each call.
    pub(super) fn each(&mut self) -> impl Iterator<Item = &mut [u8]> {
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
    fn outcomes_are_read() {
        let call = abi::CallArgs {
            state: abi::CALL_EXITED,
            value: 3,
            node: 2,
            out_len: 4,
            err_len: 2,
            flags: abi::CALL_TRUNCATED,
            ..abi::CallArgs::default()
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
            let call = abi::CallArgs {
                state,
                value,
                ..abi::CallArgs::default()
            };
            let outcome = Outcome::new(&call, b"").map(|outcome| outcome.ended);
            assert_eq!(outcome, Some(ended));
        }
        assert_eq!(Outcome::new(&abi::CallArgs::default(), b""), None);
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
