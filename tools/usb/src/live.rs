// SPDX-License-Identifier: GPL-2.0
//! A capture of this machine, while it goes on.

use crate::record::{self, CaptureRecord, StreamItem};
use anyhow::{Context, Result, bail};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
};
use std::{
    fs::{File, OpenOptions},
    io::{ErrorKind, Read, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
    time::Duration,
};
use virgo_proto::usb::{CaptureFilter, MAX_RECORD};

/// The device.
pub const DEVICE: &str = "/dev/umbmon";

/// Bytes that are read at once: several of the largest records.
const BUFFER: usize = 4 * MAX_RECORD;

/// A capture of this machine.
pub struct Live {
    file: File,
    buffer: Vec<u8>,
    /// Bytes that the kernel keeps until they are read.
    ring: usize,
    /// Packets that were lost behind the last record.
    lost_behind: u32,
}

/// What to do about the monitor that another module has, given where sysfs is.
fn whose_monitor(sys: &Path) -> &'static str {
    let module = sys.join("module/usbmon");
    let state = module.join("initstate").exists();
    let devices = std::fs::read_dir(sys.join("class/usbmon"));
    let has_devices = devices.is_ok_and(|mut devices| devices.next().is_some());
    // The kernel lists what is built in as a module without a state, or not at all.
    if !state && (module.exists() || has_devices) {
        "usbmon is built into this kernel, and has its only monitor for USB for good: use usbmon, or a kernel \
         with CONFIG_USB_MON=m"
    } else {
        "another module has the kernel's only monitor for USB: it is usbmon, mostly; \
         end its captures and unload it (rmmod usbmon), or use it instead of this"
    }
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
                Some(Errno::BUSY) => bail!("{}", whose_monitor(Path::new("/sys"))),
                Some(Errno::OPNOTSUPP) => bail!(
                    "this kernel cannot capture USB traffic: it needs CONFIG_USB_MON, and if it is \
                     preemptible CONFIG_TASKS_RCU"
                ),
                Some(Errno::INVAL) => bail!("the kernel does not understand the filter '{filter}'"),
                Some(Errno::USERS) => bail!("there are 8 captures already"),
                Some(Errno::NOMEM) => {
                    bail!("the captures of this machine have all memory that they may have")
                }
                Some(Errno::DQUOT) => {
                    bail!("the captures of this user are as many, or as large, as a user's may be")
                }
                _ => Err(error).context("cannot begin the capture"),
            },
            Ok(()) => Ok(Live {
                file,
                buffer: Vec::new(),
                ring: CaptureFilter::parse(filter.as_bytes())
                    .unwrap_or_default()
                    .ring
                    .next_power_of_two(),
                lost_behind: 0,
            }),
        }
    }

    /// Packets that were lost behind the last record that was seen. They are told with the next one, if there is any.
    pub fn lost_behind(&self) -> u32 {
        self.lost_behind
    }

    /// Shows `see` what has come by now, for who ends the capture: it goes on meanwhile, so not more than the kernel
    /// can have kept.
    ///
    /// # Errors
    ///
    /// As for [`Self::read`].
    pub fn drain(&mut self, mut see: impl FnMut(&CaptureRecord<'_>) -> Result<()>) -> Result<()> {
        let mut seen = 0;
        while seen < self.ring {
            match self.read(Duration::ZERO, &mut see)? {
                0 => break,
                len => seen += len,
            }
        }
        Ok(())
    }

    /// Waits for at most `patience`, and shows `see` what has come. Returns how many bytes that was.
    ///
    /// # Errors
    ///
    /// Those of the kernel, and of `see`.
    pub fn read(
        &mut self,
        patience: Duration,
        mut see: impl FnMut(&CaptureRecord<'_>) -> Result<()>,
    ) -> Result<usize> {
        let timeout = Timespec::try_from(patience)?;
        let mut wanted = [PollFd::new(&self.file, PollFlags::IN)];
        match poll(&mut wanted, Some(&timeout)) {
            Ok(0) | Err(Errno::INTR) => return Ok(0),
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
        while let Some(item) = record::take(&mut rest)? {
            match item {
                StreamItem::Record(mut record) => {
                    record.lost = record.lost.saturating_add(self.lost_behind);
                    self.lost_behind = 0;
                    see(&record)?;
                }
                StreamItem::Lost(lost) => self.lost_behind = self.lost_behind.saturating_add(lost),
            }
        }
        if rest.is_empty() {
            Ok(len)
        } else {
            bail!("the kernel has given half a record")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{create_dir_all, write};

    #[test]
    fn it_is_told_who_has_the_monitor() {
        let sys = tempfile::tempdir().unwrap();
        let built_in = || whose_monitor(sys.path()).contains("built into");
        assert!(!built_in());
        // Unloaded: it leaves its class behind.
        create_dir_all(sys.path().join("class/usbmon")).unwrap();
        assert!(!built_in());
        // Built in: it has devices, and no state.
        write(sys.path().join("class/usbmon/usbmon0"), "").unwrap();
        assert!(built_in());
        create_dir_all(sys.path().join("module/usbmon")).unwrap();
        assert!(built_in());
        // A module.
        write(sys.path().join("module/usbmon/initstate"), "live").unwrap();
        assert!(!built_in());
    }
}
