// SPDX-License-Identifier: GPL-2.0
//! Targets, and virgo-run as the kernel starts it.

use crate::{PATIENCE, UID};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use std::{
    fs::{self, File},
    io,
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Child, Command},
    thread,
    time::{Duration, Instant},
};
use tempfile::TempDir;
use virgo_proto::clone::{OutcomeHeader, TRUNCATED};
use zerocopy::FromBytes as _;

/// The test program for the guests, in a directory that everybody may enter.
pub struct Program {
    dir: TempDir,
    path: String,
}

impl Program {
    /// Compiles it.
    pub fn compile() -> Program {
        let dir = tempfile::tempdir_in("/tmp").unwrap();
        fs::set_permissions(dir.path(), PermissionsExt::from_mode(0o755)).unwrap();
        let path = dir.path().join("virgo_cloud_test_main");
        let source = "../../tests/library/virgo_cloud_test_main.c";
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join(source);
        let status = Command::new("clang")
            .args(["-O2", "-static", "-o"])
            .args([&path, &source])
            .status();
        assert!(status.expect("clang").success());
        let path = path.to_str().unwrap().to_owned();
        Program { dir, path }
    }

    /// Its path.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// A directory for more files.
    pub fn dir(&self) -> &str {
        self.dir.path().to_str().unwrap()
    }

    /// Makes a shell script, and returns its path.
    pub fn script(&self, text: &str) -> String {
        let file = tempfile::Builder::new()
            .permissions(PermissionsExt::from_mode(0o755))
            .tempfile_in(self.dir())
            .unwrap();
        fs::write(file.path(), format!("#!/bin/sh\n{text}")).unwrap();
        // A file that is open for writing cannot be executed.
        file.into_temp_path()
            .keep()
            .unwrap()
            .to_str()
            .unwrap()
            .to_owned()
    }

    /// A run of it with `words`.
    pub fn call<'a>(&'a self, words: &'a [&'a str]) -> Run<'a> {
        Run::new(&self.path).words(words)
    }

    /// What comes of running it with `words`.
    pub fn run(&self, words: &[&str]) -> RunResult {
        self.call(words).result()
    }
}

/// A run of virgo-run.
pub struct Run<'a> {
    path: &'a str,
    words: &'a [&'a str],
    uid: u32,
    timeout: Duration,
    returns: bool,
}

impl<'a> Run<'a> {
    /// Runs the program at `path`.
    pub fn new(path: &'a str) -> Self {
        Run {
            path,
            words: &[],
            uid: UID,
            timeout: PATIENCE,
            returns: false,
        }
    }

    /// With these arguments.
    pub fn words(self, words: &'a [&'a str]) -> Self {
        Run { words, ..self }
    }

    /// As this user.
    pub fn uid(self, uid: u32) -> Self {
        Run { uid, ..self }
    }

    /// For so long.
    pub fn timeout(self, timeout: Duration) -> Self {
        Run { timeout, ..self }
    }

    /// And takes a value.
    pub fn returns(self) -> Self {
        Run {
            returns: true,
            ..self
        }
    }

    /// Starts it. As in the kernel, one file is all of its descriptors.
    pub fn start(self) -> RunningProgram {
        let file = tempfile::tempfile().unwrap();
        let end = || File::try_clone(&file).unwrap();
        let uid = self.uid.to_string();
        let mut command = Command::new(env!("CARGO_BIN_EXE_virgo-run"));
        command
            .args(["--uid", &uid, "--gid", &uid, "--max-output", "1000"])
            .args(["--timeout-ms", &self.timeout.as_millis().to_string()])
            .args(self.returns.then_some("--returns"))
            .args(["--", self.path])
            .args(self.words)
            .stdin(end())
            .stdout(end())
            .stderr(end());
        RunningProgram {
            child: command.spawn().unwrap(),
            file,
        }
    }

    /// What comes of it.
    pub fn result(self) -> RunResult {
        self.start().result()
    }
}

/// One that has been started.
pub struct RunningProgram {
    child: Child,
    file: File,
}

impl RunningProgram {
    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id() as i32), signal).unwrap();
    }

    /// What comes of it.
    pub fn result(mut self) -> RunResult {
        assert!(self.child.wait().unwrap().success());
        let mut bytes = vec![];
        io::Seek::rewind(&mut self.file).unwrap();
        io::Read::read_to_end(&mut self.file, &mut bytes).unwrap();
        let (outcome, output) = OutcomeHeader::read_from_prefix(&bytes).unwrap();
        let (out, err) = output.split_at(outcome.out_len.get() as usize);
        // Nothing else is in the file.
        assert_eq!(err.len(), outcome.err_len.get() as usize);
        assert_eq!(outcome.key.get(), 0);
        RunResult {
            truncated: outcome.flags.get() & TRUNCATED != 0,
            out: String::from_utf8(out.to_vec()).unwrap(),
            err: String::from_utf8(err.to_vec()).unwrap(),
            outcome,
        }
    }
}

/// What came of a run.
pub struct RunResult {
    outcome: OutcomeHeader,
    out: String,
    err: String,
    /// Whether there was more output.
    pub truncated: bool,
}

impl RunResult {
    /// State and value.
    pub fn end(&self) -> (u32, i64) {
        (self.outcome.state.get(), self.outcome.value.get())
    }

    /// Standard output.
    pub fn out(&self) -> &str {
        &self.out
    }

    /// Standard error.
    pub fn err(&self) -> &str {
        &self.err
    }
}

/// The processes of this machine that run `path` with `words`.
pub fn processes(path: &str, words: &[&str]) -> Vec<Pid> {
    let line = [&[path], words].concat().join("\0") + "\0";
    let all = fs::read_dir("/proc").unwrap().flatten();
    let runs = |entry: &fs::DirEntry| {
        // Those that have died meanwhile cannot be read.
        let seen = fs::read(entry.path().join("cmdline"));
        seen.is_ok_and(|seen| seen == line.as_bytes())
    };
    let number = |entry: fs::DirEntry| entry.file_name().to_str()?.parse().ok();
    all.filter(runs)
        .filter_map(number)
        .map(Pid::from_raw)
        .collect()
}

/// Waits until `condition` holds.
pub fn wait_until(condition: impl Fn() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < PATIENCE);
        thread::sleep(Duration::from_millis(10));
    }
}
