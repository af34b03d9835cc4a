// SPDX-License-Identifier: GPL-2.0

//! Where the body of a reply goes.

use crate::{
    input::Input,
    reply::from_wire, //
};
use kernel::{
    prelude::*,
    sync::atomic::{
        Atomic,
        Relaxed, //
    },
    uaccess::{
        UserPtr,
        UserSlice, //
    }, //
};
use linux::{
    bytes::Fill,
    deadline::Deadline,
    net::Stream,
    user::{
        copy_if_present,
        fault_in, //
    }, //
};

/// Where the body of a reply goes.
pub(crate) enum Destination<'a> {
    /// To a function, which may sleep but not wait for another node.
    Function(&'a mut dyn FnMut(&[u8])),
    /// To the current program's memory, past the buffers of this module if possible.
    User(&'a mut UserBuffer),
}

/// Room in the current program's memory.
///
/// Who receives does so for all that wait at the same connection, and a program decides how long its
/// page faults take: so none is taken meanwhile. What cannot be written at once is kept and written
/// by [`Self::finish`].
pub(crate) struct UserBuffer {
    at: UserPtr,
    len: usize,
    /// Bytes that have been written to it.
    filled: usize,
    /// Something could not be written at once.
    is_late: bool,
    /// What follows those that have been written.
    late: KVVec<u8>,
}

impl Destination<'_> {
    /// Takes a whole reply. Does not wait for the program.
    ///
    /// # Errors
    ///
    /// What the other node answers; [`ENOMEM`]; [`EPROTO`] if there is no room for so much.
    pub(crate) fn take(&mut self, status: u32, body: &[u8]) -> Result {
        if status != 0 {
            return Err(from_wire(status));
        }
        match self {
            Destination::Function(take) => {
                take(body);
                Ok(())
            }
            Destination::User(room) => {
                room.clear(body.len())?;
                room.put(body)
            }
        }
    }

    /// Bytes that are asked for when a reply is expected: all that there are, unless they had
    /// better go elsewhere.
    pub(crate) fn first_piece(&self, header: usize, piece: usize) -> usize {
        match self {
            Destination::Function(_) => piece,
            Destination::User(_) => header,
        }
    }
}

impl UserBuffer {
    /// `len` bytes at `at`. May sleep, for the program.
    pub(crate) fn new(at: UserPtr, len: usize) -> Self {
        fault_in(at, len);
        UserBuffer {
            at,
            len,
            filled: 0,
            is_late: false,
            late: KVVec::new(),
        }
    }

    /// Forgets what an earlier attempt has brought; there are `len` bytes to come.
    fn clear(&mut self, len: usize) -> Result {
        self.filled = 0;
        self.is_late = false;
        self.late.clear();
        match len <= self.len {
            true => Ok(()),
            false => Err(EPROTO),
        }
    }

    /// Where the next byte goes.
    fn next(&self) -> UserPtr {
        self.at.wrapping_byte_add(self.filled)
    }

    fn put(&mut self, bytes: &[u8]) -> Result {
        if !self.is_late && copy_if_present(self.next(), bytes) {
            self.filled += bytes.len();
            return Ok(());
        }
        self.is_late = true;
        // Not for the program's memory cgroup, which might be waited for: this task receives for all. There are
        // as many as slots.
        Ok(self.late.put_bytes(bytes, GFP_KERNEL)?)
    }

    /// Takes a body of `len` bytes, of which `input` has those that have arrived and no others. If
    /// this fails, `input` passes over the rest of it. `progress` grows with each piece.
    ///
    /// # Errors
    ///
    /// [`EINTR`], [`ETIMEDOUT`], [`ENOMEM`]; everything else means that the connection is useless.
    pub(crate) fn fill(
        &mut self,
        stream: &Stream,
        input: &mut Input,
        len: usize,
        progress: &Atomic<u32>,
        deadline: Deadline,
    ) -> Result {
        self.clear(len)?;
        let result = self.fill_piecewise(stream, input, len, progress, deadline);
        if result.is_err() {
            input.skip(self.missing(len));
        }
        result
    }

    fn fill_piecewise(
        &mut self,
        stream: &Stream,
        input: &mut Input,
        len: usize,
        progress: &Atomic<u32>,
        deadline: Deadline,
    ) -> Result {
        let here = input.bytes().len().min(len);
        self.put(input.bytes().get(..here).unwrap_or_default())?;
        input.consume(here);
        loop {
            let missing = self.missing(len);
            if missing == 0 {
                return Ok(());
            }
            progress.fetch_add(1, Relaxed);
            match self.receive(stream, missing)? {
                Some(0) => return Err(ECONNRESET),
                Some(_) => (),
                None if stream.wait_readable(deadline)? => (),
                None => return Err(ETIMEDOUT),
            }
        }
    }

    /// How many of `len` bytes have not come yet.
    fn missing(&self, len: usize) -> usize {
        len.saturating_sub(self.filled + self.late.len())
    }

    /// Takes up to `max` bytes that are here.
    fn receive(&mut self, stream: &Stream, max: usize) -> Result<Option<usize>> {
        if !self.is_late {
            match stream.receive_user(self.next(), max) {
                Err(EFAULT) => self.is_late = true,
                Ok(Some(n)) => {
                    self.filled += n;
                    return Ok(Some(n));
                }
                other => return other,
            }
        }
        stream.receive(&mut self.late, max)
    }

    /// Writes what is late, and returns how many bytes there are in all. May sleep, for the program.
    ///
    /// # Errors
    ///
    /// [`EFAULT`].
    pub(crate) fn finish(self) -> Result<usize> {
        UserSlice::new(self.next(), self.late.len())
            .writer()
            .write_slice(&self.late)?;
        Ok(self.filled + self.late.len())
    }
}
