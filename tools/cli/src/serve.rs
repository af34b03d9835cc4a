// SPDX-License-Identifier: GPL-2.0
//! Answering requests by a command.

use crate::output::note;
use libc::{EIO, EMSGSIZE};
use std::{
    ffi::OsString,
    io::{self, Read, Write},
    process::{Child, Command, ExitStatus, Stdio},
    thread,
};
use virgo::queue::{MAX_MESSAGE, Message, refusal};

/// Answers a request by a command: the request is its input, and what it prints the reply. If the
/// command fails who has asked is told so.
pub(crate) fn answer_with(command: &[OsString]) -> impl Fn(&Message) -> Vec<u8> {
    move |request| {
        answer(command, &request.data).unwrap_or_else(|Refused { errno, reason }| {
            let name = command[0].to_string_lossy();
            note(format_args!("virgo: {name}: {reason}"));
            refusal(errno, &format!("{name}: {reason}"))
        })
    }
}

/// Why there is no reply.
#[derive(Debug, PartialEq, Eq)]
struct Refused {
    errno: i32,
    reason: String,
}

impl From<io::Error> for Refused {
    fn from(error: io::Error) -> Self {
        Self {
            errno: error.raw_os_error().unwrap_or(EIO),
            reason: error.to_string(),
        }
    }
}

fn answer(command: &[OsString], request: &[u8]) -> Result<Vec<u8>, Refused> {
    let child = Command::new(&command[0])
        .args(&command[1..])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let (reply, status) = talk(child, request)?;
    if reply.len() > MAX_MESSAGE {
        return Err(Refused {
            errno: EMSGSIZE,
            reason: format!("a reply has at most {MAX_MESSAGE} bytes"),
        });
    }
    if !status.success() {
        return Err(Refused {
            errno: EIO,
            reason: status.to_string(),
        });
    }
    Ok(reply)
}

/// Passes a command its input and returns what it prints, of which one byte more is read than a
/// reply may have: it may print without end.
fn talk(mut child: Child, request: &[u8]) -> io::Result<(Vec<u8>, ExitStatus)> {
    let (input, output) = (child.stdin.take(), child.stdout.take());
    let mut reply = Vec::new();
    let read = thread::scope(|scope| {
        // Beside the reading: it may print before it has read all.
        scope.spawn(move || {
            if let Some(mut input) = input {
                // A command that does not read its input is none the worse.
                let _ = input.write_all(request);
            }
        });
        let read = match output {
            Some(output) => output
                .take(MAX_MESSAGE as u64 + 1)
                .read_to_end(&mut reply)
                .map(drop),
            None => Ok(()),
        };
        if reply.len() > MAX_MESSAGE || read.is_err() {
            // Its pipe is closed now; it may not notice, and need not go on.
            let _ = child.kill();
        }
        read
    });
    let status = child.wait()?;
    read?;
    Ok((reply, status))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(script: &str, request: &[u8]) -> Result<Vec<u8>, Refused> {
        answer(&["sh", "-c", script].map(OsString::from), request)
    }

    #[test]
    fn what_a_command_prints_is_the_reply() {
        assert_eq!(run("tr a-z A-Z", b"hello").unwrap(), b"HELLO");
        // Also without a look at the request.
        assert_eq!(run("echo x", &[0; MAX_MESSAGE]).unwrap(), b"x\n");
        // It prints all before it reads.
        let both = "head -c 65536 /dev/zero; cat >/dev/null";
        assert_eq!(run(both, &[7; MAX_MESSAGE]).unwrap(), [0; MAX_MESSAGE]);
    }

    #[test]
    fn a_command_that_fails_is_told() {
        let refused = run("echo nothing; exit 3", b"").unwrap_err();
        assert_eq!((refused.errno, &*refused.reason), (EIO, "exit status: 3"));
        let refused = run("kill -9 $$", b"").unwrap_err();
        assert!(refused.reason.contains("signal: 9"), "{}", refused.reason);
        let refused = answer(&["/no/such/command".into()], b"").unwrap_err();
        assert_eq!(refused.errno, libc::ENOENT);
    }

    #[test]
    fn a_reply_that_is_too_large_is_told() {
        for script in ["head -c 65537 /dev/zero", "trap '' PIPE; cat /dev/zero"] {
            let refused = run(script, b"").unwrap_err();
            assert_eq!(refused.errno, EMSGSIZE, "{script}");
        }
    }
}
