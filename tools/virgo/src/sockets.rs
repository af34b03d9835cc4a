// SPDX-License-Identifier: GPL-2.0
//! What lies in the queues of sockets, for root: those of VIRGO's own, and those that the caller has
//! descriptors of.
//!
//! ```no_run
//! for socket in virgo::sockets::SocketReader::open()?.own() {
//!     let socket = socket?;
//!     println!("{:?} {} bytes to be sent", socket.local, socket.queues.send.map_or(0, |q| q.bytes));
//! }
//! # Ok::<(), std::io::Error>(())
//! ```
#![expect(unsafe_code, reason = "an ioctl takes addresses")]

mod report;

pub use report::{BufferInfo, QueueInfo, SocketInfo, SocketQueues, TcpInfo};

use crate::abi::{IOC_SKBUFF, SkbuffArgs, SkbuffReport};
use std::{
    fs::{File, OpenOptions},
    io, iter,
    os::fd::{AsRawFd, BorrowedFd, RawFd},
};

/// The device that knows.
const DEVICE: &str = "/dev/virgo";

/// Reads the queues of sockets.
#[derive(Debug)]
pub struct SocketReader(File);

impl SocketReader {
    /// Opens `/dev/virgo`.
    ///
    /// # Errors
    ///
    /// It is not there, or this program may not open it.
    pub fn open() -> io::Result<Self> {
        Ok(Self(
            OpenOptions::new().read(true).write(true).open(DEVICE)?,
        ))
    }

    /// VIRGO's own sockets, one after the other, each at its own moment. Those that are made meanwhile
    /// may be missing.
    pub fn own(&self) -> impl Iterator<Item = io::Result<SocketInfo>> {
        let mut before = Some(0);
        iter::from_fn(move || match self.read(-1, before?) {
            Ok(report) => {
                before = Some(report.number);
                Some(Ok(SocketInfo::from(&report)))
            }
            Err(error) => {
                before = None;
                (error.raw_os_error() != Some(libc::ENOENT)).then_some(Err(error))
            }
        })
    }

    /// The socket that `socket` is a descriptor of.
    ///
    /// # Errors
    ///
    /// `EPERM`: the caller does not administer the network (`CAP_NET_ADMIN`); `ENOTSOCK`; `ENOTTY`: the
    /// modules are older.
    pub fn of(&self, socket: BorrowedFd<'_>) -> io::Result<SocketInfo> {
        let report = self.read(socket.as_raw_fd(), 0)?;
        Ok(SocketInfo::from(&report))
    }

    fn read(&self, fd: RawFd, number: u64) -> io::Result<SkbuffReport> {
        let mut report = SkbuffReport::default();
        let mut args = SkbuffArgs {
            fd,
            number,
            report: (&raw mut report).expose_provenance() as u64,
            size: size_of::<SkbuffReport>() as u32,
            ..SkbuffArgs::default()
        };
        // SAFETY: The kernel reads `args`, and writes at most `size` bytes to `report`, which takes
        // whatever they are.
        let returned = unsafe { libc::ioctl(self.0.as_raw_fd(), IOC_SKBUFF, &raw mut args) };
        match returned {
            0 => Ok(report),
            _ => Err(io::Error::last_os_error()),
        }
    }
}

/// Has the kernel stamp all packets that arrive at this machine while it exists: so that the age of what
/// waits to be read is known.
#[derive(Debug)]
pub struct Stamping {
    _socket: std::net::UdpSocket,
}

impl Stamping {
    /// Begins.
    ///
    /// # Errors
    ///
    /// No socket can be made.
    pub fn begin() -> io::Result<Self> {
        // As long as one socket wants stamps, all packets get them.
        let socket = std::net::UdpSocket::bind("127.0.0.1:0")?;
        let on: libc::c_int = 1;
        // SAFETY: The kernel reads an int, whose size is given.
        let returned = unsafe {
            libc::setsockopt(
                socket.as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_TIMESTAMPNS,
                (&raw const on).cast(),
                size_of_val(&on) as libc::socklen_t,
            )
        };
        match returned {
            0 => Ok(Self { _socket: socket }),
            _ => Err(io::Error::last_os_error()),
        }
    }
}
