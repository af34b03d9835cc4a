// SPDX-License-Identifier: GPL-2.0
//! Whether this machine runs guests with KVM, or has to emulate their processors.

use crate::{accel::Accel, images::Images, owned, pid_file, qemu, run_dir::RunDir};
use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use std::{
    fs::{self, File},
    os::unix::fs::MetadataExt,
    path::Path,
    thread,
    time::{Duration, Instant},
};

/// How long a guest may take to boot with KVM; it takes half a second.
const TRIAL: Duration = Duration::from_secs(5);

/// What is remembered of a trial.
#[derive(Serialize, Deserialize)]
struct Verdict {
    setting: Setting,
    accel: Accel,
}

/// What a verdict holds for.
#[derive(PartialEq, Eq, Serialize, Deserialize)]
struct Setting {
    /// Of the host.
    boot_id: String,
    qemu: Version,
    kernel: Version,
}

/// Tells whether a file is still the one it was: path, size and time of change.
#[derive(PartialEq, Eq, Serialize, Deserialize)]
struct Version(String, u64, i64);

impl Version {
    fn of(path: &Path) -> Result<Self> {
        let metadata =
            fs::metadata(path).with_context(|| format!("cannot read {}", path.display()))?;
        Ok(Self(
            path.display().to_string(),
            metadata.size(),
            metadata.mtime(),
        ))
    }
}

/// Finds out by a trial boot in `dir`, once for every boot of the host, QEMU and kernel.
pub(crate) fn accel(images: &Images, dir: &RunDir) -> Result<Accel> {
    let kvm = "/dev/kvm";
    if File::options().read(true).write(true).open(kvm).is_err() {
        return Ok(Accel::Tcg);
    }
    let path = images.cache.join("accel.json");
    let setting = Setting {
        boot_id: fs::read_to_string("/proc/sys/kernel/random/boot_id")?,
        qemu: Version::of(&images.root.join("usr/bin/qemu-system-x86_64"))?,
        kernel: Version::of(&images.kernel)?,
    };
    if let Some(verdict) = read(&path).filter(|verdict| verdict.setting == setting) {
        return Ok(verdict.accel);
    }
    let accel = if kvm_boots(images, dir)? {
        Accel::Kvm
    } else {
        Accel::Tcg
    };
    fs::write(&path, serde_json::to_vec(&Verdict { setting, accel })?)
        .with_context(|| format!("cannot write {}", path.display()))?;
    Ok(accel)
}

/// A file that is missing or makes no sense is as good as none.
fn read(path: &Path) -> Option<Verdict> {
    serde_json::from_slice(&fs::read(path).ok()?).ok()
}

/// That the device exists says nothing: QEMU may abort, or the guest hang. A kernel that has no
/// root file system comes as far as to panic about it, which ends QEMU.
fn kvm_boots(images: &Images, dir: &RunDir) -> Result<bool> {
    let trial = dir.trial();
    let started = {
        let _not_while_ending = owned::lock();
        trial.create()?;
        qemu::start_bare(images, Accel::Kvm, &trial).is_ok()
    };
    let deadline = Instant::now() + TRIAL;
    while Instant::now() < deadline && trial.alive()? {
        thread::sleep(Duration::from_millis(20));
    }
    // Nor is a guest that a signal ended a verdict.
    let _not_while_ending = owned::lock();
    let hangs = pid_file::kill(&trial.pid_file())?;
    let console = fs::read(trial.console()).unwrap_or_default();
    trial.remove()?;
    let booted = String::from_utf8_lossy(&console).contains("Kernel panic - not syncing: VFS");
    Ok(started && booted && !hangs)
}
