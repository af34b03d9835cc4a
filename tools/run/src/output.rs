// SPDX-License-Identifier: GPL-2.0
//! What the target prints: as much of it as is wanted is kept, the rest is read and thrown away,
//! so that the target is neither blocked nor killed for it.

use crate::{options::RunOptions, outcome};
use nix::{
    fcntl::{FcntlArg, OFlag, fcntl},
    unistd::{self, pipe2},
};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use virgo_proto::clone::{OutcomeHeader, TRUNCATED, state};
use zerocopy::IntoBytes as _;

/// Bytes of a value that the target returns.
const VALUE_LEN: usize = size_of::<i64>();

/// As many bytes as a pipe holds.
const PIPE_LEN: usize = 64 * 1024;

/// The reading ends of all pipes from the target, and what came from them.
#[derive(Default)]
pub(crate) struct TargetOutput {
    max: usize,
    out: Stream,
    err: Stream,
    value: Stream,
    buffer: Vec<u8>,
}

/// The target's ends.
pub(crate) struct Ends {
    /// Its standard output.
    pub(crate) out: OwnedFd,
    /// Its standard error.
    pub(crate) err: OwnedFd,
    /// Where it may say its value.
    pub(crate) value: Option<OwnedFd>,
}

impl TargetOutput {
    /// Makes the pipes.
    pub(crate) fn open(&mut self, options: &RunOptions) -> nix::Result<Ends> {
        self.max = options.max_output;
        self.buffer = vec![0; PIPE_LEN];
        Ok(Ends {
            out: self.out.open()?,
            err: self.err.open()?,
            value: options.returns.then(|| self.value.open()).transpose()?,
        })
    }

    /// Closes the reading ends.
    pub(crate) fn close(&mut self) {
        for stream in [&mut self.out, &mut self.err, &mut self.value] {
            stream.pipe = None;
        }
    }

    /// What to wait for until there is something to read.
    pub(crate) fn pipes(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        let streams = [&self.out, &self.err, &self.value];
        streams
            .into_iter()
            .filter_map(|stream| Some(stream.pipe.as_ref()?.as_fd()))
    }

    /// Reads once from each pipe, without waiting. Returns whether there was anything in one of
    /// those that are not cut off.
    pub(crate) fn read(&mut self) -> bool {
        let out = self.out.read(&mut self.buffer, self.max);
        let err = self.err.read(&mut self.buffer, self.max);
        let value = self.value.read(&mut self.buffer, VALUE_LEN);
        out || err || value
    }

    /// Reads what the dead have left in the pipes. It neither waits for the end of a pipe, which
    /// somebody outside may have got hold of, nor reads on for ever.
    pub(crate) fn rest(&mut self) {
        while self.read() {}
    }

    /// `outcome`, unless the target has returned a value and not failed.
    pub(crate) fn returned(&self, outcome: OutcomeHeader) -> OutcomeHeader {
        let succeeded = outcome.state.get() == state::EXITED && outcome.value.get() == 0;
        match <[u8; VALUE_LEN]>::try_from(&*self.value.kept) {
            Ok(value) if succeeded && !self.value.cut => {
                outcome::outcome(state::RETURNED, i64::from_le_bytes(value))
            }
            _ => outcome,
        }
    }

    /// The whole result, as the kernel takes it.
    pub(crate) fn result(&self, mut outcome: OutcomeHeader) -> Vec<u8> {
        // They fit: `max` was a 32-bit number.
        outcome.out_len = (self.out.kept.len() as u32).into();
        outcome.err_len = (self.err.kept.len() as u32).into();
        if self.out.cut || self.err.cut {
            outcome.flags = TRUNCATED.into();
        }
        [outcome.as_bytes(), &self.out.kept, &self.err.kept].concat()
    }
}

/// One pipe from the target.
#[derive(Default)]
struct Stream {
    /// The reading end; `None` once all has been read.
    pipe: Option<OwnedFd>,
    kept: Vec<u8>,
    /// Whether there was more than was kept.
    cut: bool,
}

impl Stream {
    /// Makes the pipe, and returns the target's end. Only reading it does not wait: what a
    /// target expects of its outputs is left as it is.
    fn open(&mut self) -> nix::Result<OwnedFd> {
        let (pipe, end) = pipe2(OFlag::O_CLOEXEC)?;
        fcntl(&pipe, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
        self.pipe = Some(pipe);
        Ok(end)
    }

    /// Reads what is there and keeps at most `max` bytes in all. Returns whether there was anything
    /// and all of it was kept.
    fn read(&mut self, buffer: &mut [u8], max: usize) -> bool {
        let Some(pipe) = &self.pipe else { return false };
        let read = match unistd::read(pipe, buffer) {
            Ok(0) => {
                self.pipe = None;
                return false;
            }
            Ok(read) => read,
            // Nothing is there.
            Err(_) => return false,
        };
        let room = max - self.kept.len();
        self.kept.extend(buffer.iter().take(read.min(room)));
        self.cut |= read > room;
        !self.cut
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::errno::Errno;
    use std::{fs::File, io::Write as _};

    fn output(max: usize, returns: bool) -> (TargetOutput, Ends) {
        let max = max.to_string();
        let mut line = vec![
            "x",
            "--uid=1",
            "--gid=1",
            "--timeout-ms=1",
            "--max-output",
            &max,
        ];
        line.extend(returns.then_some("--returns"));
        line.push("/a");
        let options = RunOptions::parse(line.into_iter().map(Into::into)).unwrap();
        let mut output = TargetOutput::default();
        let ends = output.open(&options).unwrap();
        (output, ends)
    }

    fn end(state: u32, value: i64) -> OutcomeHeader {
        outcome::outcome(state, value)
    }

    #[test]
    fn a_flood_on_one_leaves_the_other_its_room() {
        let (mut output, ends) = output(6, false);
        let (mut out, mut err) = (File::from(ends.out), File::from(ends.err));
        out.write_all(b"12345").unwrap();
        output.read();
        out.write_all(b"6789").unwrap();
        output.read();
        err.write_all(b"abcde").unwrap();
        // The writing ends are still open.
        output.rest();

        let result = output.result(end(state::EXITED, 0));
        let expected = OutcomeHeader {
            out_len: 6.into(),
            err_len: 5.into(),
            flags: TRUNCATED.into(),
            ..end(state::EXITED, 0)
        };
        assert_eq!(result, [expected.as_bytes(), b"123456abcde"].concat());
    }

    #[test]
    fn all_that_fits_is_not_cut() {
        let (mut output, ends) = output(5, false);
        File::from(ends.out).write_all(b"12345").unwrap();
        output.rest();
        let expected = OutcomeHeader {
            out_len: 5.into(),
            ..end(state::EXITED, 0)
        };
        assert_eq!(
            output.result(end(state::EXITED, 0)),
            [expected.as_bytes(), b"12345"].concat()
        );
    }

    #[test]
    fn a_value_is_eight_bytes_and_success() {
        let returned = |bytes: &[u8], outcome| {
            let (mut output, ends) = output(0, true);
            File::from(ends.value.unwrap()).write_all(bytes).unwrap();
            output.rest();
            output.returned(outcome)
        };
        let value = -2i64;
        let bytes = value.to_le_bytes();
        let exited = end(state::EXITED, 0);
        assert_eq!(returned(&bytes, exited), end(state::RETURNED, value));
        for bad in [&b""[..], &bytes[1..], &[0; 9]] {
            assert_eq!(returned(bad, exited), exited);
        }
        for bad in [
            end(state::EXITED, 1),
            end(state::KILLED, 9),
            outcome::failed(Errno::EIO),
        ] {
            assert_eq!(returned(&bytes, bad), bad);
        }
    }
}
