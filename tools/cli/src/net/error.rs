// SPDX-License-Identifier: GPL-2.0
//! What can be wrong with looking at the network, and what can be done about it.

use crate::options::SocketName;
use std::{io, path::PathBuf};

#[derive(Debug, thiserror::Error)]
pub(crate) enum NetError {
    #[error("cannot open /dev/virgo: {0}")]
    Open(#[source] io::Error),
    #[error("cannot look at the queues of a socket: {0}")]
    Read(#[source] io::Error),
    #[error("no socket {0} in this network name space, nor is one open in a process")]
    Unknown(SocketName),
    #[error("the socket {name} (inode {inode}) is open in no process")]
    NoProcess { name: SocketName, inode: u64 },
    #[error("the socket with inode {0} was closed meanwhile")]
    Closed(u64),
    #[error("cannot take the socket out of process {pid}: {error}")]
    Process { pid: u32, error: io::Error },
    #[error("cannot trace dropped packets: {}: {error}", path.display())]
    Trace { path: PathBuf, error: io::Error },
}

impl NetError {
    /// What can be done about it.
    pub(crate) fn advice(&self) -> Option<&'static str> {
        match self {
            Self::Open(error) if error.kind() == io::ErrorKind::NotFound => {
                Some("is the module virgo_config loaded (lsmod)? 'virgo doctor' says more")
            }
            Self::Open(_) => Some("only root may look at the queues of sockets"),
            Self::Read(error) => match error.raw_os_error()? {
                libc::EPERM => Some("only root may look at the queues of sockets (CAP_NET_ADMIN)"),
                libc::ENOTTY => Some("this program and the modules are of different versions"),
                _ => None,
            },
            Self::Unknown(_) => Some(
                "'ss -tuane' lists addresses and inodes; of other network name spaces, sockets are found \
                 by inode",
            ),
            Self::NoProcess { .. } => Some(
                "its program has closed it, or nobody has accepted it yet, or it is the kernel's: of \
                 those, VIRGO's can be looked at",
            ),
            Self::Closed(_) => None,
            Self::Process { .. } => {
                Some("this needs the right to trace the process (root, CAP_SYS_PTRACE)")
            }
            Self::Trace { error, .. } => match error.kind() {
                io::ErrorKind::PermissionDenied => {
                    Some("only root may trace; a kernel under lockdown=confidentiality lets nobody")
                }
                io::ErrorKind::NotFound => Some(
                    "mount -t tracefs tracefs /sys/kernel/tracing; the kernel needs CONFIG_FTRACE",
                ),
                _ => None,
            },
        }
    }
}
