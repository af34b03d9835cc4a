// SPDX-License-Identifier: GPL-2.0
//! The door by which calls reach the kernel: VIRGO's system calls where the kernel has them,
//! otherwise the device `/dev/virgo`.
//!
//! Which of them is decided once for the process, by its first call that somebody serves. To have
//! one of them for a test, set `VIRGO_DOOR` to `syscall` or `device`.
#![expect(unsafe_code, reason = "system calls take addresses")]

use crate::abi::{IOC_SIZE_MAX, ioc, nr};
use libc::{c_int, c_long};
use std::{
    env,
    fs::{File, OpenOptions},
    io,
    os::fd::AsRawFd,
    sync::OnceLock,
};

/// The device.
const DEVICE: &str = "/dev/virgo";

/// By which way calls are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Door {
    /// System calls 548 and following.
    SystemCall,
    /// `ioctl(2)` on `/dev/virgo`.
    Device,
}

enum Way {
    SystemCall,
    Device(File),
}

static WAY: OnceLock<Way> = OnceLock::new();

/// What a call returns: a number of bytes or 0, or an errno.
pub(crate) type Returned = Result<usize, c_int>;

/// The door that calls of this process go through; `None` before the first call that somebody
/// served.
pub fn door() -> Option<Door> {
    WAY.get().map(|way| match way {
        Way::SystemCall => Door::SystemCall,
        Way::Device(_) => Door::Device,
    })
}

/// Makes the call with this number: one of the first nine with its arguments, another with the
/// address of its structure and the size of that.
///
/// # Errors
///
/// Those of the call. `ENOSYS` if nobody serves it; what opening the device fails with if there are
/// no system calls and this program cannot open it.
///
/// # Safety
///
/// The addresses among the arguments are of memory that the call may read and write as its
/// description says.
pub unsafe fn enter(number: c_long, arguments: [u64; 4]) -> Result<usize, c_int> {
    // SAFETY: By the caller's promise, here and below.
    unsafe {
        match WAY.get() {
            Some(Way::SystemCall) => system_call(number, arguments),
            Some(Way::Device(device)) => ioctl(device, number, arguments),
            None => enter_first(number, arguments),
        }
    }
}

/// Makes a call while no door is decided on. A system call that the kernel does not have does
/// nothing, so that the same call can be made at the device then. On a kernel that has it but no
/// module that serves it, the device says the same.
///
/// # Safety
///
/// As for [`enter`].
#[cold]
unsafe fn enter_first(number: c_long, arguments: [u64; 4]) -> Returned {
    let wanted = env::var_os("VIRGO_DOOR");
    let wants = |door: &str| wanted.as_ref().is_none_or(|wanted| wanted == door);
    if wants("syscall") {
        // SAFETY: By the caller's promise.
        let returned = unsafe { system_call(number, arguments) };
        if returned != Err(libc::ENOSYS) {
            WAY.get_or_init(|| Way::SystemCall);
            return returned;
        }
    }
    if !wants("device") {
        return Err(libc::ENOSYS);
    }
    match OpenOptions::new().read(true).write(true).open(DEVICE) {
        Ok(device) => match WAY.get_or_init(|| Way::Device(device)) {
            // SAFETY: By the caller's promise.
            Way::Device(device) => unsafe { ioctl(device, number, arguments) },
            // SAFETY: By the caller's promise.
            Way::SystemCall => unsafe { system_call(number, arguments) },
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(libc::ENOSYS),
        Err(error) => Err(error.raw_os_error().unwrap_or(libc::ENOSYS)),
    }
}

/// # Safety
///
/// As for [`enter`].
unsafe fn system_call(number: c_long, [a, b, c, d]: [u64; 4]) -> Returned {
    // SAFETY: By the caller's promise.
    returned(unsafe { libc::syscall(number, a, b, c, d, 0, 0) })
}

/// # Safety
///
/// As for [`enter`].
unsafe fn ioctl(device: &File, number: c_long, arguments: [u64; 4]) -> Returned {
    let [address, size, ..] = arguments;
    let (address, size) = if number < nr::CLONE2 {
        let address = (&raw const arguments).expose_provenance();
        (address as u64, size_of_val(&arguments))
    } else if size <= IOC_SIZE_MAX {
        (address, size as usize)
    } else {
        // What the call says to more than a page.
        return Err(libc::E2BIG);
    };
    // SAFETY: By the caller's promise; of the first nine calls the kernel reads `arguments`.
    let result = unsafe {
        let device = device.as_raw_fd();
        libc::syscall(libc::SYS_ioctl, device, ioc(number, size), address)
    };
    match returned(result) {
        // The modules are older than this program.
        Err(libc::ENOTTY) => Err(libc::ENOSYS),
        result => result,
    }
}

fn returned(returned: c_long) -> Returned {
    // -1 is the only negative number that `syscall` returns.
    usize::try_from(returned).map_err(|_| io::Error::last_os_error().raw_os_error().unwrap_or(0))
}
