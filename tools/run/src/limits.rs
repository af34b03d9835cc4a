// SPDX-License-Identifier: GPL-2.0
//! How much the target may use. Each limit is a process's own, except for the number of
//! processes, which counts all of the user's.

use nix::{
    sched::{CpuSet, sched_getaffinity},
    sys::resource::{Resource, getrlimit, rlim_t, setrlimit},
    unistd::Pid,
};
use std::time::Duration;

const MIB: rlim_t = 1 << 20;

const LIMITS: [(Resource, rlim_t); 5] = [
    (Resource::RLIMIT_AS, 1024 * MIB),
    (Resource::RLIMIT_CORE, 0),
    (Resource::RLIMIT_FSIZE, 64 * MIB),
    (Resource::RLIMIT_NOFILE, 256),
    (Resource::RLIMIT_NPROC, 512),
];

/// Limits this process and its descendants.
pub(crate) fn set(timeout: Duration) -> nix::Result<()> {
    LIMITS.into_iter().try_for_each(lower)?;
    lower((Resource::RLIMIT_CPU, cpu_seconds(timeout)?))
}

/// Processor time that all threads of a process can use while the timeout lasts.
fn cpu_seconds(timeout: Duration) -> nix::Result<rlim_t> {
    let allowed = sched_getaffinity(Pid::from_raw(0))?;
    let processors = (0..CpuSet::count())
        .filter(|&cpu| allowed.is_set(cpu) == Ok(true))
        .count();
    // Less than 2^32 s on at most 1024 processors.
    Ok((timeout.as_secs() + 1) * processors as rlim_t)
}

/// Sets a limit, but not above one that is there.
fn lower((resource, limit): (Resource, rlim_t)) -> nix::Result<()> {
    let (_, hard) = getrlimit(resource)?;
    let limit = limit.min(hard);
    setrlimit(resource, limit, limit)
}
