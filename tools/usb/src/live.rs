// SPDX-License-Identifier: GPL-2.0
//! A capture of this machine, while it goes on.

use crate::record::{self, CaptureRecord};
use anyhow::{Context, Result, bail};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
};
use std::{
    fs::{File, OpenOptions},
    io::{ErrorKind, Read, Write},
    os::unix::fs::OpenOptionsExt,
    time::Duration,
};
use virgo_proto::usb::MAX_RECORD;

/// The device.
pub const DEVICE: &str = "/dev/umbmon";

/// Bytes that are read at once: several of the largest records.
const BUFFER: usize = 4 * MAX_RECORD;

/// A capture of this machine.
pub struct Live {
    file: File,
    buffer: Vec<u8>,
}

impl Live {
    /// Begins to capture what `filter` says (see `virgo_proto::usb::CaptureFilter`).
    ///
    /// # Errors
    ///
    /// If that cannot be; says what to do about it.
    pub fn start(filter: &str) -> Result<Self> {
        let opened = OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags(rustix::fs::OFlags::NONBLOCK.bits() as i32)
            .open(DEVICE);
        let mut file = match opened {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                bail!("there is no {DEVICE}: load the module umb")
            }
            opened => opened.with_context(|| format!("cannot open {DEVICE}"))?,
        };
        // At most one filter: an empty one is a filter, too, but needs a byte to be written.
        match file.write_all(format!("{filter}\n").as_bytes()) {
            Err(error) => match error.raw_os_error().map(Errno::from_raw_os_error) {
                Some(Errno::BUSY) => bail!(
                    "another module has the kernel's only monitor for USB: it is usbmon, mostly; \
                     end its captures and unload it (rmmod usbmon), or use it instead of this"
                ),
                Some(Errno::OPNOTSUPP) => bail!(
                    "this kernel cannot capture USB traffic: it needs CONFIG_USB_MON, and if it is \
                     preemptible CONFIG_TASKS_RCU"
                ),
                Some(Errno::INVAL) => bail!("the kernel does not understand the filter '{filter}'"),
                Some(Errno::USERS) => bail!("there are 8 captures already"),
                Some(Errno::NOMEM | Errno::DQUOT) => {
                    bail!("the captures of this machine have all memory that they may have")
                }
                _ => Err(error).context("cannot begin the capture"),
            },
            Ok(()) => Ok(Live {
                file,
                buffer: Vec::new(),
            }),
        }
    }

    /// Waits for at most `patience`, and shows `see` what has come.
    ///
    /// # Errors
    ///
    /// Those of the kernel, and of `see`.
    pub fn read(
        &mut self,
        patience: Duration,
        mut see: impl FnMut(&CaptureRecord<'_>) -> Result<()>,
    ) -> Result<()> {
        let timeout = Timespec::try_from(patience)?;
        let mut wanted = [PollFd::new(&self.file, PollFlags::IN)];
        match poll(&mut wanted, Some(&timeout)) {
            Ok(0) | Err(Errno::INTR) => return Ok(()),
            result => result.context("cannot wait for the capture")?,
        };
        self.buffer.resize(BUFFER, 0);
        let len = match self.file.read(&mut self.buffer) {
            Ok(len) => len,
            Err(error)
                if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) =>
            {
                0
            }
            Err(error) => return Err(error).context("cannot read the capture"),
        };
        let mut rest = self.buffer.get(..len).unwrap_or_default();
        while let Some(record) = record::take(&mut rest)? {
            see(&record)?;
        }
        if rest.is_empty() {
            Ok(())
        } else {
            bail!("the kernel has given half a record")
        }
    }
}
