// SPDX-License-Identifier: GPL-2.0
//! The process that becomes the target.

use crate::{limits, options::RunOptions, output::Ends, process};
use nix::{
    errno::Errno,
    fcntl::{AtFlags, FcntlArg, FdFlag, fcntl},
    sys::{
        prctl,
        signal::SigSet,
        stat::{Mode, umask},
    },
    unistd,
};
use std::{convert::Infallible, ffi::CStr, fs, os::fd::OwnedFd};

/// Where the target may say its value.
const VALUE_FD: i32 = 3;

const ENVIRONMENT: [&CStr; 3] = [
    c"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    c"HOME=/",
    c"LANG=C",
];

/// Becomes the target. Returns only if that fails.
pub(crate) fn become_it(
    options: &RunOptions,
    file: &OwnedFd,
    ends: &Ends,
) -> nix::Result<Infallible> {
    unistd::setsid()?;
    unistd::chdir("/")?;
    umask(Mode::S_IWGRP | Mode::S_IWOTH);
    process::default_signals();
    SigSet::empty().thread_set_mask()?;

    // Standard input is /dev/null already.
    unistd::dup2_stdout(&ends.out)?;
    unistd::dup2_stderr(&ends.err)?;
    let mut hidden = VALUE_FD;
    if let Some(value) = &ends.value {
        process::duplicate(value, VALUE_FD)?;
        hidden += 1;
    }
    process::hide_descriptors(hidden)?;

    limits::set(options.timeout)?;
    // When memory runs out, it is not for what a stranger asked for that others die.
    fs::write("/proc/self/oom_score_adj", "1000")
        .map_err(|error| Errno::from_raw(error.raw_os_error().unwrap_or_default()))?;
    unistd::setgroups(&[])?;
    unistd::setresgid(options.gid, options.gid, options.gid)?;
    unistd::setresuid(options.uid, options.uid, options.uid)?;
    prctl::set_no_new_privs()?;
    execute(options, file)
}

/// Executes what was opened, whatever is at its path by now.
fn execute(options: &RunOptions, file: &OwnedFd) -> nix::Result<Infallible> {
    let execute = || {
        unistd::execveat(
            file,
            c"",
            &options.argv,
            &ENVIRONMENT,
            AtFlags::AT_EMPTY_PATH,
        )
    };
    match execute() {
        // It is a script, which its interpreter opens as /dev/fd/N.
        Err(Errno::ENOENT) => {
            fcntl(file, FcntlArg::F_SETFD(FdFlag::empty()))?;
            execute()
        }
        result => result,
    }
}
