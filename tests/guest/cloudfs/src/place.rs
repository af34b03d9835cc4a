// SPDX-License-Identifier: GPL-2.0
//! Where the tests have their files, on this node and on others.

use std::{
    fs,
    os::fd::AsRawFd,
    path::Path,
    sync::atomic::{AtomicU32, Ordering},
    thread,
    time::{Duration, Instant},
};
pub(crate) use virgo_test_support::nodes::{other_node, this_node};

/// The directory that nodes export for reading and writing.
pub(crate) const EXPORT: &str = "/var/log/virgo_fs";

/// The one for reading.
pub(crate) const READ_ONLY: &str = "/srv/ro";

/// The user that both exports name.
pub(crate) const NOBODY: u32 = 65534;

/// How long what was closed may take to be closed there.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// A directory of its own on a node, which goes with what is in it.
pub(crate) struct Dir(String);

impl Dir {
    pub(crate) fn on(node: u32) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let process = std::process::id();
        let name = format!("{node}:{EXPORT}/test-{}-{process}-{number}", this_node());
        virgo::create_dir(&name).unwrap_or_else(|error| panic!("{error}"));
        Dir(name)
    }

    /// The name of something in it.
    pub(crate) fn at(&self, name: &str) -> String {
        format!("{}/{name}", self.0)
    }

    pub(crate) fn name(&self) -> &str {
        &self.0
    }

    /// Its path on its own node.
    pub(crate) fn path(&self) -> &str {
        self.0.split_once(':').expect("a node and a path").1
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        remove(&self.0);
    }
}

fn remove(dir: &str) {
    for entry in virgo::read_dir(dir).unwrap_or_default() {
        let name = format!("{dir}/{}", entry.name.to_string_lossy());
        match entry.kind {
            libc::DT_DIR => remove(&name),
            _ => drop(virgo::remove_file(&name)),
        }
    }
    let _ = virgo::remove_dir(dir);
}

/// Runs `test` with a directory of this node, then with one of another.
pub(crate) fn everywhere(test: impl Fn(&Dir)) {
    for node in [this_node(), other_node()] {
        test(&Dir::on(node));
    }
}

/// This process' descriptors that are files of the cluster.
pub(crate) fn open_here() -> usize {
    let entries = fs::read_dir("/proc/self/fd").expect("/proc");
    entries
        .filter_map(|entry| fs::read_link(entry.ok()?.path()).ok())
        // The device is how calls are made.
        .filter(|target| {
            target.to_string_lossy().contains("virgo") && *target != Path::new("/dev/virgo")
        })
        .count()
}

/// Waits until this process has left nothing.
pub(crate) fn assert_settles() {
    assert_eq!(open_here(), 0, "files are left open");
    let end = Instant::now() + PATIENCE;
    loop {
        let left = leftovers();
        if left.is_empty() {
            return;
        }
        assert!(Instant::now() < end, "files are left: {left:?}");
        thread::sleep(Duration::from_millis(50));
    }
}

/// What tests of this process have left in the exports.
fn leftovers() -> Vec<String> {
    let process = std::process::id();
    let mine = format!("test-{}-{process}-", this_node());
    let mut left = Vec::new();
    for node in [this_node(), other_node()] {
        for entry in virgo::read_dir(format!("{node}:{EXPORT}")).expect("the export") {
            let name = entry.name.to_string_lossy().into_owned();
            if name.starts_with(&mine) {
                left.push(name);
            }
        }
    }
    left
}

/// The errno of a call that must fail.
pub(crate) fn errno<T: std::fmt::Debug>(result: virgo::Result<T>) -> i32 {
    result.expect_err("it should have failed").errno()
}

/// Whether `fd` is one of this process'.
pub(crate) fn is_open(fd: &impl AsRawFd) -> bool {
    Path::new(&format!("/proc/self/fd/{}", fd.as_raw_fd())).exists()
}
