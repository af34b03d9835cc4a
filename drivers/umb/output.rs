// SPDX-License-Identifier: GPL-2.0

//! Writing to a device.

use crate::{
    device::{
        Device,
        Writing, //
    },
    print::print_buffer,
    transfers::WriteReady, //
};
use kernel::{
    prelude::*,
    sync::atomic::Relaxed,
    uaccess::UserSliceReader, //
};
use linux_usb::device::{
    BufferStage,
    Endpoint, //
};

impl Device {
    /// As `OpenFile::write`. What was written is on its way; it has arrived after `sync`.
    pub(crate) fn write(&self, from: &mut UserSliceReader, nonblocking: bool) -> Result<usize> {
        let endpoint = self.output.as_ref().ok_or(EOPNOTSUPP)?;
        let mut writing = match nonblocking {
            true => self.writing.try_lock().ok_or(EAGAIN)?,
            false => self.writing.lock()?,
        };
        let mut written = 0;
        while !from.is_empty() {
            // What has become of earlier transfers is told by a call of its own: this one, or else the next.
            let tell = written == 0;
            match self.write_some(&mut writing, endpoint, from, nonblocking, tell) {
                Ok(n) => written += n,
                Err(e) if tell => return Err(e),
                Err(_) => break,
            }
        }
        self.bytes_written.add(written as u64, Relaxed);
        Ok(written)
    }

    fn write_some(
        &self,
        writing: &mut Writing,
        endpoint: &Endpoint,
        from: &mut UserSliceReader,
        nonblocking: bool,
        tell: bool,
    ) -> Result<usize> {
        let token = loop {
            // Before an URB is taken: what was queued behind the stall is cancelled, and told of.
            self.end_output_stall(endpoint)?;
            if let Some(token) = self.wait_for_output(nonblocking, tell)? {
                break token;
            }
        };
        let urb = writing.urbs.get_mut(token).ok_or(EIO)?;
        let mut copy = || {
            let buffer = urb.buffer()?;
            let len = buffer.len().min(from.len());
            let data = buffer.get_mut(..len).ok_or(EIO)?;
            from.read_slice(data)?;
            self.usb.trace(BufferStage::Copy, endpoint, data, None);
            print_buffer(self.settings.print(), data);
            Ok(len)
        };
        let len = match copy() {
            Ok(len) => len,
            Err(e) => {
                self.transfers.put_back_output(token);
                return Err(e);
            }
        };
        self.transfers.output_begins(token);
        if let Err(e) = urb.submit(len) {
            self.transfers.output_refused(token);
            return Err(match e {
                // Closed by who unbinds or suspends.
                EPERM if self.transfers.is_gone() => ENODEV,
                EPERM => EIO,
                other => other,
            });
        }
        Ok(len)
    }

    /// Ends a stall, if there is one and the device is not suspended. For who writes, holding `writing`: waits
    /// for the device.
    fn end_output_stall(&self, endpoint: &Endpoint) -> Result {
        if self.transfers.take_output_stall() {
            let ended = self.clear_halt(endpoint);
            if !matches!(ended, Ok(true)) {
                self.transfers.put_back_output_stall();
            }
            ended?;
        }
        Ok(())
    }

    /// The token of an URB, which is the caller's then; none if a stall is to be ended before.
    fn wait_for_output(&self, nonblocking: bool, tell: bool) -> Result<Option<usize>> {
        let take = || match self.transfers.take_output(tell) {
            WriteReady::Urb(token) => Some(Ok(Some(token))),
            WriteReady::Failed(e) => Some(Err(e)),
            WriteReady::Stalled => Some(Ok(None)),
            WriteReady::Nothing => None,
        };
        match nonblocking {
            true => take().ok_or(EAGAIN)?,
            false => self.transfers.waiters.queue().wait_interruptible(take)?,
        }
    }

    /// As `OpenFile::sync`: waits for what the device has now, whatever is written meanwhile.
    pub(crate) fn sync(&self) -> Result {
        let urbs = self.transfers.output_in_flight();
        self.transfers
            .waiters
            .queue()
            .wait_interruptible(|| self.transfers.output_completed(&urbs))?
    }
}
