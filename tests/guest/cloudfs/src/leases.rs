// SPDX-License-Identifier: GPL-2.0
//! Leases of files and delegations of directories, as servers of other kinds have them.
#![expect(unsafe_code, reason = "nobody else calls fcntl(2) for that")]

use crate::place::PATIENCE;
use std::{
    env, fs,
    os::fd::AsRawFd,
    path::Path,
    thread,
    time::{Duration, Instant},
};

/// Those that a cluster test asks for by name.
pub(crate) const ON_REQUEST: &[crate::Test] = &[("leases::one_is_held", one_is_held)];

const F_GETDELEG: libc::c_int = 1039;
const F_SETDELEG: libc::c_int = 1040;

/// `struct delegation` of linux/fcntl.h.
#[repr(C)]
struct Delegation {
    flags: u32,
    kind: u16,
    reserved: u16,
}

/// Has one on what `VIRGO_HELD` names, and says so by the file `/run/held`, and by `/run/asked` when
/// it is to be given back; it is when there is a file `/run/release`.
fn one_is_held() {
    let file = env::var("VIRGO_HELD").map(fs::File::open);
    let file = file.expect("VIRGO_HELD").expect("it can be opened");
    let is_dir = file.metadata().expect("stat").is_dir();
    let kind = |kind: Option<libc::c_int>| match is_dir {
        true => delegation(&file, kind),
        false => lease(&file, kind),
    };
    // SAFETY: No handler.
    unsafe { libc::signal(libc::SIGIO, libc::SIG_IGN) };
    kind(Some(libc::F_RDLCK));
    assert_eq!(kind(None), libc::F_RDLCK);
    fs::write("/run/held", "").expect("held");
    until(|| kind(None) != libc::F_RDLCK);
    fs::write("/run/asked", "").expect("asked");
    until(|| Path::new("/run/release").exists());
}

/// Asks for a lease, or what there is.
fn lease(file: &fs::File, kind: Option<libc::c_int>) -> libc::c_int {
    let (command, kind) = match kind {
        Some(kind) => (libc::F_SETLEASE, kind),
        None => (libc::F_GETLEASE, 0),
    };
    // SAFETY: No memory is involved.
    let found = unsafe { libc::fcntl(file.as_raw_fd(), command, kind) };
    assert!(found >= 0, "{}", std::io::Error::last_os_error());
    found
}

/// Asks for a delegation, or what there is.
fn delegation(file: &fs::File, kind: Option<libc::c_int>) -> libc::c_int {
    let mut delegation = Delegation {
        flags: 0,
        kind: kind.unwrap_or(0) as u16,
        reserved: 0,
    };
    let command = if kind.is_some() {
        F_SETDELEG
    } else {
        F_GETDELEG
    };
    // SAFETY: The structure is what the command wants, and lives through the call.
    let result = unsafe { libc::fcntl(file.as_raw_fd(), command, &raw mut delegation) };
    assert!(result >= 0, "{}", std::io::Error::last_os_error());
    delegation.kind.into()
}

fn until(condition: impl Fn() -> bool) {
    let end = Instant::now() + 10 * PATIENCE;
    while !condition() {
        assert!(Instant::now() < end, "nobody wants it");
        thread::sleep(Duration::from_millis(20));
    }
}
