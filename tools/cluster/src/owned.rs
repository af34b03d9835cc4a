// SPDX-License-Identifier: GPL-2.0
//! The clusters that end with this process, also when a signal ends it.

use crate::run_dir::RunDir;
use anyhow::{Context, Result};
use signal_hook::{
    consts::{SIGHUP, SIGINT, SIGTERM},
    iterator::Signals,
};
use std::{
    mem, process,
    sync::{Mutex, MutexGuard, PoisonError},
    thread,
};

static OWNED: Mutex<Registry> = Mutex::new(Registry {
    dirs: Vec::new(),
    watched: false,
});

/// The clusters that a signal takes down before it ends the process.
#[derive(Debug)]
pub(crate) struct Registry {
    dirs: Vec<RunDir>,
    /// Whether there is a thread that waits for signals.
    watched: bool,
}

/// A cluster that goes down when this is dropped or when a signal ends the process.
#[derive(Debug)]
pub(crate) struct Owned(RunDir);

/// Keeps signals waiting. Held by who makes a run directory or starts a QEMU process, so that
/// none is made that the signal does not find.
pub(crate) fn lock() -> MutexGuard<'static, Registry> {
    OWNED.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Registry {
    /// Has signals end the process in an orderly way.
    pub(crate) fn watch(&mut self) -> Result<()> {
        if self.watched {
            return Ok(());
        }
        let mut signals =
            Signals::new([SIGINT, SIGTERM, SIGHUP]).context("cannot watch for signals")?;
        thread::spawn(move || {
            if let Some(signal) = signals.forever().next() {
                // Not unlocked again: whoever waits for the lock does so until the end.
                let registry = lock();
                registry.dirs.iter().for_each(take_down);
                process::exit(128 + signal);
            }
        });
        self.watched = true;
        Ok(())
    }

    pub(crate) fn add(&mut self, dir: &RunDir) -> Owned {
        self.dirs.push(dir.clone());
        Owned(dir.clone())
    }

    fn forget(&mut self, dir: &RunDir) {
        self.dirs.retain(|owned| owned != dir);
    }
}

impl Owned {
    /// Lets the cluster outlive this process.
    pub(crate) fn release(self) {
        lock().forget(&self.0);
        mem::forget(self);
    }
}

impl Drop for Owned {
    fn drop(&mut self) {
        let mut registry = lock();
        take_down(&self.0);
        registry.forget(&self.0);
    }
}

/// There is nobody to give an error to.
fn take_down(dir: &RunDir) {
    if let Err(error) = dir.remove() {
        eprintln!("virgo: cannot take the cluster down: {error:#}");
    }
}
