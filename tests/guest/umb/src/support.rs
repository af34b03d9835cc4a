// SPDX-License-Identifier: GPL-2.0
//! What the tests share.

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    fs::OFlags,
};
use std::{
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::OpenOptionsExt,
    process::Command,
    thread,
    time::{Duration, Instant},
};

/// How long anything may take that should be done at once, on a slow machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Runs a command that must succeed.
pub(crate) fn run(command: &[&str]) {
    let (program, arguments) = command.split_first().expect("a command");
    let output = Command::new(program)
        .args(arguments)
        .output()
        .expect(program);
    assert!(
        output.status.success(),
        "{command:?}: {}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

/// Waits until `condition` gives something.
pub(crate) fn wait_for<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(start.elapsed() < PATIENCE, "waited in vain for {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// Opens a device for reading and writing.
pub(crate) fn open(path: &str, flags: OFlags) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(flags.bits() as i32)
        .open(path)
}

/// What poll says of a file within `ms` milliseconds.
pub(crate) fn polled(file: &File, wanted: PollFlags, ms: u64) -> PollFlags {
    let mut fds = [PollFd::new(file, wanted)];
    let timeout = Timespec::try_from(Duration::from_millis(ms)).expect("a short time");
    poll(&mut fds, Some(&timeout)).expect("poll");
    fds[0].revents()
}

/// The error number of a result that must have failed.
pub(crate) fn errno<T: std::fmt::Debug>(result: io::Result<T>) -> i32 {
    let error = result.expect_err("this should have failed");
    error.raw_os_error().expect("an error of the kernel")
}

/// A number of umb's debugfs file: the word after `name` in the line that begins with `line`.
pub(crate) fn figure(line: &str, name: &str) -> Option<u64> {
    let text = fs::read_to_string("/sys/kernel/debug/virgo/umb/devices").expect("debugfs");
    let found = text.lines().find(|l| l.split(' ').next() == Some(line))?;
    let mut words = found.split(' ').skip_while(|word| *word != name);
    words.nth(1)?.parse().ok()
}

/// Bytes that do not repeat soon.
pub(crate) fn pattern(len: usize, seed: u64) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(seed);
    (0..len).map(|_| random.u8(..)).collect()
}
