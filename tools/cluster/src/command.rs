// SPDX-License-Identifier: GPL-2.0
//! Commands that run in a guest.

use crate::{failure::Failure, node::Node};
use anyhow::{Context, Error, Result, bail, ensure};
use qapi::qga::{GuestExecCaptureOutput, GuestExecStatus, guest_exec, guest_exec_status};
use std::{
    thread,
    time::{Duration, Instant},
};

/// The pause between two looks whether a command has ended: the shortest, and the longest. Between
/// them it is a quarter of the time that has passed, since each look takes time from the guest.
const POLL: (Duration, Duration) = (Duration::from_millis(5), Duration::from_millis(500));

/// What came out of a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Output {
    /// The exit status, or 128 + the number of the signal that ended it, as in a shell; 127 if
    /// there is no such command.
    pub status: i32,
    /// What it wrote to standard output.
    pub stdout: Vec<u8>,
    /// What it wrote to standard error.
    pub stderr: Vec<u8>,
}

impl Output {
    /// Whether the exit status is 0.
    pub fn success(&self) -> bool {
        self.status == 0
    }

    /// Standard output as text, without white space at the end.
    ///
    /// # Errors
    ///
    /// If the exit status is not 0; the error has it and what is on standard error.
    pub fn text(&self) -> Result<String> {
        ensure!(
            self.success(),
            "exit status {}: {}",
            self.status,
            String::from_utf8_lossy(&self.stderr).trim_end()
        );
        Ok(String::from_utf8_lossy(&self.stdout).trim_end().into())
    }
}

impl Node {
    /// Runs a command, with nothing on its standard input, and waits for it to end.
    ///
    /// # Errors
    ///
    /// If the command could not be run to its end; not if it fails.
    pub fn run<I>(&self, command: I) -> Result<Output>
    where
        I: IntoIterator<Item: Into<String>>,
    {
        self.spawn(command)?.wait()
    }

    /// As [`run`](Self::run), but kills the command when it takes longer than `timeout`.
    ///
    /// # Errors
    ///
    /// Also [`Failure::TimedOut`].
    pub fn run_with_timeout<I>(&self, command: I, timeout: Duration) -> Result<Output>
    where
        I: IntoIterator<Item: Into<String>>,
    {
        self.spawn(command)?.wait_timeout(timeout)
    }

    /// Starts a command, with nothing on its standard input, to be waited for later.
    ///
    /// # Errors
    ///
    /// If it could not be started.
    pub fn spawn<I>(&self, command: I) -> Result<RunningCommand>
    where
        I: IntoIterator<Item: Into<String>>,
    {
        self.spawn_with_input(command, Vec::new())
    }

    /// Starts a command that finds `input` on its standard input.
    ///
    /// # Errors
    ///
    /// If it could not be started.
    pub fn spawn_with_input<I>(&self, command: I, input: Vec<u8>) -> Result<RunningCommand>
    where
        I: IntoIterator<Item: Into<String>>,
    {
        let command: Vec<_> = command.into_iter().map(Into::into).collect();
        RunningCommand::start(self, command, input)
    }
}

/// A command that was started in a guest. It goes on if this is dropped.
#[derive(Debug)]
pub struct RunningCommand {
    node: Node,
    pid: i64,
    command: String,
}

impl RunningCommand {
    /// Starts a command, which finds `input` on its standard input.
    pub(crate) fn start(node: &Node, command: Vec<String>, input: Vec<u8>) -> Result<Self> {
        let line = command.join(" ");
        ensure!(
            !command.is_empty(),
            "there is no command to run on {}",
            node.name()
        );
        let exec = guest_exec {
            // A session of its own, so that all of it can be killed.
            path: "setsid".into(),
            arg: Some(command),
            env: None,
            input_data: Some(input),
            capture_output: Some(GuestExecCaptureOutput::flag(true)),
        };
        let pid = node
            .agent()?
            .execute(&exec, &format!("start '{line}'"))?
            .pid;
        Ok(Self {
            node: node.clone(),
            pid,
            command: line,
        })
    }

    /// Its process number in the guest; it leads a session and a process group of that number.
    pub fn pid(&self) -> i64 {
        self.pid
    }

    /// Waits for the command to end and its output to be closed, however long that takes.
    ///
    /// # Errors
    ///
    /// If the node goes away, or the output is more than the agent keeps (16 MiB).
    pub fn wait(self) -> Result<Output> {
        self.wait_for(None)
    }

    /// As [`wait`](Self::wait), but kills the command when it takes longer than `timeout`.
    ///
    /// # Errors
    ///
    /// Also [`Failure::TimedOut`].
    pub fn wait_timeout(self, timeout: Duration) -> Result<Output> {
        self.wait_for(Some(timeout))
    }

    fn wait_for(self, timeout: Option<Duration>) -> Result<Output> {
        let start = Instant::now();
        loop {
            match self.look() {
                Ok(Some(output)) => return Ok(output),
                Ok(None) => (),
                // Then the command waits, too.
                Err(_) if self.node.is_paused()? => (),
                Err(error) => return Err(error),
            }
            if let Some(after) = timeout.filter(|&timeout| start.elapsed() >= timeout) {
                return Err(self.give_up(after));
            }
            thread::sleep((start.elapsed() / 4).clamp(POLL.0, POLL.1));
        }
    }

    fn give_up(self, after: Duration) -> Error {
        let failure = Error::new(Failure::TimedOut {
            node: self.node.name(),
            what: format!("finish '{}'", self.command),
            after,
        });
        match self.kill() {
            Ok(()) => failure,
            Err(error) => failure.context(format!("a command could not be killed ({error:#})")),
        }
    }

    /// Kills the command and all processes that it started and that have not left its session's
    /// process group.
    ///
    /// # Errors
    ///
    /// If the node goes away.
    pub fn kill(&self) -> Result<()> {
        // It fails if there is none any more, which is as good.
        self.node
            .run(["kill", "-KILL", &format!("-{}", self.pid)])
            .map(drop)
    }

    /// The output, if the command has ended. The agent forgets it then.
    fn look(&self) -> Result<Option<Output>> {
        let what = format!("tell about '{}'", self.command);
        let status = self
            .node
            .agent()?
            .execute(&guest_exec_status { pid: self.pid }, &what)?;
        if !status.exited {
            return Ok(None);
        }
        ensure!(
            status.out_truncated != Some(true) && status.err_truncated != Some(true),
            "'{}' on {} wrote more than the 16 MiB that the agent keeps: have it write to a file \
             and get that",
            self.command,
            self.node.name()
        );
        Ok(Some(Output {
            status: exit_status(&status)?,
            stdout: status.out_data.unwrap_or_default(),
            stderr: status.err_data.unwrap_or_default(),
        }))
    }
}

/// The exit status as a shell has it.
fn exit_status(status: &GuestExecStatus) -> Result<i32> {
    let number = match (status.exitcode, status.signal) {
        (Some(code), _) => code,
        (None, Some(signal)) => 128 + signal,
        (None, None) => bail!("the agent does not say how the command ended"),
    };
    i32::try_from(number).context("the agent tells an impossible exit status")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ended(exitcode: Option<i64>, signal: Option<i64>) -> GuestExecStatus {
        GuestExecStatus {
            exited: true,
            exitcode,
            signal,
            out_data: None,
            out_truncated: None,
            err_data: None,
            err_truncated: None,
        }
    }

    #[test]
    fn exit_status_is_as_in_a_shell() {
        assert_eq!(exit_status(&ended(Some(3), None)).unwrap(), 3);
        assert_eq!(exit_status(&ended(None, Some(9))).unwrap(), 137);
        assert!(exit_status(&ended(None, None)).is_err());
    }

    #[test]
    fn text_of_a_failed_command_is_an_error() {
        let output = |status| Output {
            status,
            stdout: "a\n".into(),
            stderr: "why\n".into(),
        };
        assert_eq!(output(0).text().unwrap(), "a");
        let error = output(2).text().unwrap_err().to_string();
        assert_eq!(error, "exit status 2: why");
    }
}
