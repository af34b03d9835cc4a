// SPDX-License-Identifier: GPL-2.0

//! Reading from a device.
//!
//! All input URBs are with the device from the first read or poll until the last file is closed, except for
//! those whose data is not read yet: so a device is not asked for more than is read.

use crate::{
    device::{
        Device,
        Reading, //
    },
    print::print_buffer,
    transfers::ReadReady, //
};
use kernel::{
    prelude::*,
    sync::atomic::Relaxed,
    uaccess::UserSliceWriter, //
};
use linux_usb::{
    device::BufferStage,
    open_file::is_interrupted, //
};

impl Device {
    /// As `OpenFile::read`.
    pub(crate) fn read(&self, to: &mut UserSliceWriter, nonblocking: bool) -> Result<usize> {
        if self.input.is_none() {
            return Err(EOPNOTSUPP);
        }
        if to.is_empty() {
            return Ok(0);
        }
        let mut reading = match nonblocking {
            true => self.reading.try_lock().ok_or(EAGAIN)?,
            false => self.reading.lock()?,
        };
        let mut copied = 0;
        let result = loop {
            match self.transfers.next_input() {
                ReadReady::Data(token, len) => {
                    match self.copy_input(&mut reading, token, len, to) {
                        Ok(n) => copied += n,
                        Err(e) => break Err(e),
                    }
                    if to.is_empty() {
                        break Ok(());
                    }
                    // A device may send as fast as this copies.
                    if is_interrupted() {
                        break Err(ERESTARTSYS);
                    }
                    continue;
                }
                // Behind data it is put back below: an error is told by itself.
                ReadReady::Failed(e) => break Err(e),
                ReadReady::Nothing if copied > 0 => break Ok(()),
                ReadReady::Nothing => (),
            }
            if let Err(e) = self.end_input_stall() {
                break Err(e);
            }
            self.submit_input(&mut reading);
            // Or empty packets, as fast as URBs are given to it.
            if is_interrupted() {
                break Err(ERESTARTSYS);
            }
            if nonblocking {
                match self.transfers.is_readable() {
                    true => continue,
                    false => break Err(EAGAIN),
                }
            }
            let due = || self.transfers.input_is_due().then_some(());
            if let Err(e) = self.transfers.waiters.queue().wait_interruptible(due) {
                break Err(e);
            }
        };
        self.bytes_read.add(copied as u64, Relaxed);
        match result {
            // What was read before is told first; a device that is gone stays so.
            Err(e) if copied > 0 => {
                if e != ENODEV && e != EFAULT && e != ERESTARTSYS {
                    self.transfers.put_back_input(0, e);
                }
                Ok(copied)
            }
            Err(e) => Err(e),
            Ok(()) => Ok(copied),
        }
    }

    /// Copies what is left of an URB, or as much as there is room for.
    fn copy_input(
        &self,
        reading: &mut Reading,
        token: usize,
        len: usize,
        to: &mut UserSliceWriter,
    ) -> Result<usize> {
        let offset = reading.offset;
        let urb = reading.urbs.get_mut(token).ok_or(EIO)?;
        let data = urb.received()?.get(offset..len).ok_or(EIO)?;
        let data = data.get(..to.len()).unwrap_or(data);
        to.write_slice(data)?;
        if let Some(endpoint) = &self.input {
            self.usb.trace(BufferStage::Copy, endpoint, data, None);
        }
        print_buffer(self.settings.print(), data);
        let copied = data.len();
        reading.offset = offset.saturating_add(copied);
        if reading.offset >= len {
            reading.offset = 0;
            self.transfers.input_read();
            self.submit_input(reading);
        }
        Ok(copied)
    }

    /// Ends a stall, if there is one and the device is not suspended. Only for who reads, holding `reading`: waits
    /// for the device.
    fn end_input_stall(&self) -> Result {
        if let (true, Some(endpoint)) = (self.transfers.take_input_stall(), &self.input) {
            let ended = self.clear_halt(endpoint);
            if !matches!(ended, Ok(true)) {
                self.transfers.put_back_input_stall();
            }
            ended?;
        }
        Ok(())
    }

    /// Gives the device the URBs that it can have; none while its endpoint is stalled. A failure is seen when there
    /// is nothing else to be read.
    fn submit_input(&self, reading: &mut Reading) {
        let mut idle = self.transfers.take_idle_input();
        for (token, urb) in reading.urbs.iter_mut().enumerate() {
            if idle & 1 << token == 0 {
                continue;
            }
            let len = urb.buffer().map_or(0, |buffer| buffer.len());
            if let Err(e) = urb.submit(len) {
                self.transfers.put_back_input(idle, e);
                break;
            }
            idle &= !(1 << token);
        }
    }

    /// Has the device send, if nobody reads who sees to that. Does not wait for the device.
    pub(crate) fn start_input(&self) {
        // Not more often than there is need: who reads without waiting finds `reading` held.
        if self.input.is_none() || !self.transfers.has_idle_input() {
            return;
        }
        if let Some(mut reading) = self.reading.try_lock() {
            self.submit_input(&mut reading);
            drop(reading);
            // And may have been told to try again, though there is something.
            self.transfers.waiters.wake();
        }
    }
}
