// SPDX-License-Identifier: GPL-2.0
//! What the program does with output that cannot be written. No module is needed for that.

use std::{
    fs::File,
    os::{fd::OwnedFd, unix::net::UnixStream},
    process::{Command, Stdio},
};

/// The program, with nothing to read.
fn virgo(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_virgo"));
    command.args(arguments).stdin(Stdio::null());
    command
}

fn full() -> File {
    File::options().write(true).open("/dev/full").unwrap()
}

/// Commands that print something on every machine.
const PRINTING: [&[&str]; 4] = [
    &["--help"],
    &["--version"],
    &["lb", "model", "3", "2"],
    &["config", "check", "/dev/null"],
];

#[test]
fn a_full_output_is_an_error_that_is_told() {
    for arguments in PRINTING {
        let output = virgo(arguments).stdout(full()).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        assert!(
            said.contains("virgo: cannot write to standard output: No space left"),
            "{arguments:?}: {said}"
        );
    }
}

/// As in `virgo … | head -1`: not all was printed, but nobody wants to know.
#[test]
fn a_closed_pipe_is_silent() {
    for arguments in PRINTING {
        let (reader, writer) = UnixStream::pair().unwrap();
        drop(reader);
        let output = virgo(arguments)
            .stdout(OwnedFd::from(writer))
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(
            (output.status.code(), &*said),
            (Some(1), ""),
            "{arguments:?}"
        );
    }
}

/// A panic would be status 101.
#[test]
fn errors_that_cannot_be_told_still_end_with_their_status() {
    for (arguments, status) in [
        (&["stats", "no-such-service"][..], 1),
        (&["stats", "no-such-service", "--json"], 1),
        (&["free", "1"], 1),
        (&["no-such-command"], 2),
        (&[], 2),
    ] {
        let output = virgo(arguments).stderr(full()).output().unwrap();
        assert_eq!(output.status.code(), Some(status), "{arguments:?}");
    }
}

#[test]
fn closed_streams_are_no_reason_to_panic() {
    let program = env!("CARGO_BIN_EXE_virgo");
    let script = format!("{program} lb model 3 2 <&- >&- 2>&-");
    let status = Command::new("sh").args(["-c", &script]).status().unwrap();
    assert!(matches!(status.code(), Some(0 | 1)), "{status}");
}

/// What other nodes and users have written does not reach the terminal as it is.
#[test]
fn control_characters_in_errors_are_escaped() {
    let output = virgo(&["stats", "\u{1b}[2J"]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        said.contains("\\u{1b}[2J") && !said.contains('\u{1b}'),
        "{said}"
    );
}
