// SPDX-License-Identifier: GPL-2.0

//! An open file, wherever it is.

use crate::{
    closing::{
        Closed,
        RemoteHandle,
        RemoteNodes, //
    },
    fenced_file::{
        FencedFile,
        NewFile, //
    },
    held,
    local,
    remote::RemoteFiles,
    workers::FileLines, //
};
use kernel::{
    prelude::*,
    sync::{
        atomic::{
            Atomic,
            Relaxed, //
        },
        Arc, //
    },
    uaccess::{
        UserPtr,
        UserSlice, //
    }, //
};
use linux::pages::Pages;
use virgo_proto::{
    cloudfs::{
        StatReply,
        MAX_DATA, //
    },
    vuid::NodeId, //
};
use virgo_utils::{
    budget::Charge,
    buffer::Buffer,
    from_wire,
    pieces::in_flight,
    Data,
    Reservation,
    User, //
};

/// Up to so many bytes are written by way of a buffer; for more, pages are taken.
const SMALL: usize = 1024;

/// An open file. Dropping it closes it, without waiting for its node.
pub(crate) struct CloudFile {
    others: Arc<RemoteNodes>,
    at: Held,
    /// Everything is written to the end.
    append: bool,
    /// Time for calls with it that do not say their own, in milliseconds; 0 for the configured
    /// one.
    pub(crate) timeout_ms: u32,
    /// Of a file of another node: how many failures to bring it to the disk its users here were
    /// told.
    told: Atomic<u64>,
}

/// What an open file has, until it is closed where it is as well.
pub(crate) struct OpenCost {
    /// Whoever has opened it pays for it.
    pub(crate) charge: Charge,
    /// Room to have it closed there.
    pub(crate) room: Reservation<Closed>,
}

/// Where it was opened.
pub(crate) enum Location {
    Local(NewFile),
    Remote(RemoteHandle),
}

/// The same, with what it has until it is closed.
pub(crate) enum Held {
    Local(FencedFile),
    /// `None` while it is dropped.
    Remote(RemoteHandle, Option<OpenCost>),
}

impl Location {
    /// From now on the file costs this.
    pub(crate) fn held(self, lines: &Arc<FileLines>, cost: OpenCost) -> Held {
        match self {
            Location::Local(file) => {
                let hold = |file| held::of_this_node(lines, cost.charge, file);
                Held::Local(file.held(hold))
            }
            Location::Remote(remote) => Held::Remote(remote, Some(cost)),
        }
    }
}

impl CloudFile {
    pub(crate) fn new(others: Arc<RemoteNodes>, at: Held, append: bool, timeout_ms: u32) -> Self {
        CloudFile {
            others,
            at,
            append,
            timeout_ms,
            told: Atomic::new(0),
        }
    }

    fn there<'a>(&'a self, user: &'a User<'a>, remote: &RemoteHandle) -> RemoteFiles<'a> {
        self.others.there(user, remote.node)
    }

    /// The node that has it.
    pub(crate) fn node(&self, user: &User<'_>) -> NodeId {
        match &self.at {
            Held::Local(_) => user.config.me,
            Held::Remote(remote, _) => remote.node,
        }
    }

    /// Reads at byte `offset`, at most [`MAX_DATA`] bytes of another node. Returns how many: fewer
    /// than that at the end, or if an error came after a part was read. May sleep, killably.
    ///
    /// # Errors
    ///
    /// As pread(2); [`ESTALE`] if its node has restarted; what calls to other nodes fail with.
    pub(crate) fn read(&self, user: &User<'_>, offset: u64, to: &mut [u8]) -> Result<usize> {
        match &self.at {
            Held::Local(file) => file.read(offset, to),
            Held::Remote(remote, _) => self.there(user, remote).read(remote.handle, offset, to),
        }
    }

    /// As [`Self::read`], to any `len` bytes of the current program's memory.
    ///
    /// # Errors
    ///
    /// As there, and [`EFAULT`].
    pub(crate) fn read_user(
        &self,
        user: &User<'_>,
        offset: u64,
        to: UserPtr,
        len: usize,
    ) -> Result<usize> {
        let remote = match &self.at {
            Held::Local(file) => return file.read_user(offset, to, len),
            Held::Remote(remote, _) => remote,
        };
        let there = self.there(user, remote);
        in_flight(
            offset,
            len,
            MAX_DATA,
            self.others.window(),
            |at, _, wanted| there.begin_read(remote.handle, at, wanted),
            |flight, at, done, wanted| {
                let to = to.wrapping_byte_add(done);
                there.read_user(flight, remote.handle, at, to, wanted)
            },
            // Nobody wants to know what is behind the end.
            |flight, _, _, _| drop(flight),
        )
    }

    /// Writes at byte `offset`, or at the end if the file was opened so. Returns how many bytes:
    /// fewer if an error came after a part was written. May sleep, killably.
    ///
    /// # Errors
    ///
    /// As for [`Self::read`], and as pwrite(2).
    pub(crate) fn write(&self, user: &User<'_>, offset: u64, from: &[u8]) -> Result<usize> {
        match &self.at {
            Held::Local(file) => file.write(offset, from),
            Held::Remote(remote, _) => {
                let from = Data::Bytes(from.get(..MAX_DATA).unwrap_or(from));
                self.there(user, remote)
                    .write(None, remote.handle, offset, from)
            }
        }
    }

    /// As [`Self::write`], from `len` bytes of the current program's memory.
    ///
    /// # Errors
    ///
    /// As there, and [`EFAULT`].
    pub(crate) fn write_user(
        &self,
        user: &User<'_>,
        offset: u64,
        from: UserPtr,
        len: usize,
    ) -> Result<usize> {
        let remote = match &self.at {
            Held::Local(file) => return file.write_user(offset, from, len),
            Held::Remote(remote, _) => remote,
        };
        let there = self.there(user, remote);
        if len <= SMALL {
            let mut data = Buffer::new(len)?;
            UserSlice::new(from, len)
                .reader()
                .read_slice(data.bytes())?;
            return there.write(None, remote.handle, offset, Data::Bytes(data.bytes()));
        }
        let copy = |done, wanted| Pages::copy_user(from.wrapping_byte_add(done), wanted);
        let begin = |at, done, wanted| {
            // What is to follow another must not be written unless that is.
            if self.append {
                return None;
            }
            let data = copy(done, wanted).ok()?;
            let flight = there.begin_write(remote.handle, at, Data::Pages(&data))?;
            Some((flight, data))
        };
        let write =
            |flight, at, data: &Pages| there.write(flight, remote.handle, at, Data::Pages(data));
        in_flight(
            offset,
            len,
            MAX_DATA,
            self.others.window(),
            begin,
            |begun, at, done, wanted| match begun {
                Some((flight, data)) => write(Some(flight), at, &data),
                None => write(None, at, &copy(done, wanted)?),
            },
            // So that it is not written after this has returned.
            |(flight, data), at, _, _| {
                let _ = write(Some(flight), at, &data);
            },
        )
    }

    /// Returns when everything that was written is on the disk. May sleep, killably.
    ///
    /// # Errors
    ///
    /// As for [`Self::read`], and as fsync(2): also what earlier calls have met with that had ended
    /// before they could be told. Each failure is reported once.
    pub(crate) fn sync(&self, user: &User<'_>, data_only: bool) -> Result {
        let remote = match &self.at {
            Held::Local(file) => return file.sync(data_only),
            Held::Remote(remote, _) => remote,
        };
        let met = self.there(user, remote).sync(remote.handle, data_only)?;
        let mut told = self.told.load(Relaxed);
        while let Some(errno) = met.news(told) {
            match self.told.cmpxchg(told, met.failures.get(), Relaxed) {
                Ok(_) => return Err(from_wire(errno.to_wire())),
                // Another task has reported this or another failure.
                Err(now) => told = now,
            }
        }
        Ok(())
    }

    /// Cuts the file, or lengthens it by zeros. May sleep, killably.
    ///
    /// # Errors
    ///
    /// As for [`Self::read`], and as ftruncate(2).
    pub(crate) fn truncate(&self, user: &User<'_>, size: u64) -> Result {
        match &self.at {
            Held::Local(file) => file.truncate(size),
            Held::Remote(remote, _) => self.there(user, remote).truncate(remote.handle, size),
        }
    }

    /// What is known of it. May sleep, killably.
    ///
    /// # Errors
    ///
    /// As for [`Self::read`].
    pub(crate) fn stat(&self, user: &User<'_>) -> Result<StatReply> {
        match &self.at {
            Held::Local(file) => Ok(local::to_wire(&file.stat()?)),
            Held::Remote(remote, _) => self.there(user, remote).stat(remote.handle, b"", true),
        }
    }
}

impl Drop for CloudFile {
    fn drop(&mut self) {
        if let Held::Remote(remote, cost) = &mut self.at {
            if let Some(cost) = cost.take() {
                self.others.close(cost.room, *remote, cost.charge);
            }
        }
    }
}
