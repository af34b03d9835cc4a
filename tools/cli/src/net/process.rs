// SPDX-License-Identifier: GPL-2.0
//! Sockets of other programs: which process has one, and how to look at it without keeping it.

use super::error::NetError;
use rustix::{
    fd::{AsFd, OwnedFd},
    fs::fstat,
    io::Errno,
    process::{Pid, PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open},
};
use std::{collections::BTreeMap, fs, io};
use virgo::sockets::{SocketInfo, SocketReader};

/// Where a process has a socket.
#[derive(Clone, Debug)]
pub(super) struct DescriptorPlace {
    pid: u32,
    fd: i32,
}

/// A socket of a process.
#[derive(Debug)]
pub(super) struct ProcessSocket {
    pub(super) inode: u64,
    pub(super) pid: u32,
    pub(super) program: String,
    process: OwnedFd,
    fd: i32,
}

/// Where processes have the sockets with these inodes, each at one place: of several, such as of a parent
/// and its child, the first that is found.
pub(super) fn places(inodes: &[u64]) -> BTreeMap<u64, DescriptorPlace> {
    let mut found = BTreeMap::new();
    let entries = |path: &str| fs::read_dir(path).into_iter().flatten().flatten();
    for process in entries("/proc") {
        let Some(pid) = number(&process.file_name()) else {
            continue;
        };
        // A process that ends meanwhile has nothing.
        for entry in entries(&format!("/proc/{pid}/fd")) {
            let Ok(target) = fs::read_link(entry.path()) else {
                continue;
            };
            let inode = target.to_str().and_then(|target| {
                target
                    .strip_prefix("socket:[")?
                    .strip_suffix(']')?
                    .parse()
                    .ok()
            });
            let (Some(inode), Some(fd)) = (inode, number(&entry.file_name())) else {
                continue;
            };
            if inodes.contains(&inode) {
                found.entry(inode).or_insert(DescriptorPlace { pid, fd });
            }
        }
    }
    found
}

fn number<T: std::str::FromStr>(name: &std::ffi::OsStr) -> Option<T> {
    name.to_str()?.parse().ok()
}

impl ProcessSocket {
    /// The socket with this inode, which was seen at `place`. `None` if the process is gone.
    pub(super) fn open(inode: u64, place: &DescriptorPlace) -> Result<Option<Self>, NetError> {
        let pid = i32::try_from(place.pid).ok().and_then(Pid::from_raw);
        let process = match pid.map(|pid| pidfd_open(pid, PidfdFlags::empty())) {
            None | Some(Err(Errno::SRCH)) => return Ok(None),
            Some(result) => result.map_err(|error| failed(place.pid, error))?,
        };
        let program = fs::read_to_string(format!("/proc/{}/comm", place.pid));
        Ok(Some(ProcessSocket {
            inode,
            pid: place.pid,
            program: program.unwrap_or_default().trim_end().to_owned(),
            process,
            fd: place.fd,
        }))
    }

    /// Looks at its queues. `None` if the process has closed it.
    ///
    /// The descriptor is had for that only: as long as it is open, the socket is, whoever closes it.
    pub(super) fn look(&self, reader: &SocketReader) -> Result<Option<SocketInfo>, NetError> {
        let socket = match pidfd_getfd(&self.process, self.fd, PidfdGetfdFlags::empty()) {
            Ok(socket) => socket,
            Err(Errno::SRCH | Errno::BADF) => return Ok(None),
            Err(error) => return Err(failed(self.pid, error)),
        };
        // The number may be another file's by now.
        if fstat(&socket)
            .map_err(|error| failed(self.pid, error))?
            .st_ino
            != self.inode
        {
            return Ok(None);
        }
        reader.of(socket.as_fd()).map(Some).map_err(NetError::Read)
    }
}

fn failed(pid: u32, error: Errno) -> NetError {
    NetError::Process {
        pid,
        error: io::Error::from(error),
    }
}
