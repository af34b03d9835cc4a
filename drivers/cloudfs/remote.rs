// SPDX-License-Identifier: GPL-2.0

//! Files of other nodes. All functions sleep for them, killably, until the user's deadline.

use core::mem::size_of;
use kernel::{
    prelude::*,
    uaccess::UserPtr, //
};
use linux::bytes::Fill;
use virgo_proto::{
    cloudfs::{
        are_entries,
        flag,
        op,
        FileHandle,
        HandleArgs,
        OpenFileArgs,
        OpenReply,
        PathArgs,
        ReadArgs,
        ReadDirArgs,
        ReadDirReply,
        StatReply,
        SyncReply,
        TruncateFileArgs,
        WriteArgs,
        WriteReply,
        MAX_DATA, //
    },
    fence::Fenced,
    vuid::NodeId, //
};
use virgo_utils::{
    Client,
    Data,
    PendingCall,
    ReplyDeadline,
    Request,
    User, //
};

/// The file service of another node, for a user.
#[derive(Clone, Copy)]
pub(crate) struct RemoteFiles<'a> {
    pub(crate) client: &'a Client,
    pub(crate) user: &'a User<'a>,
    pub(crate) node: NodeId,
}

impl RemoteFiles<'_> {
    /// Asks for something that may be done twice.
    fn ask(&self, op: u16, args: &[u8], data: &[u8], reply: &mut [u8]) -> Result<usize> {
        let request = again(self.user, op, args, Data::Bytes(data));
        self.client
            .call(self.node, &request, reply, self.user.deadline)
    }

    /// Asks for something that must not be done twice, also if the node restarts in between.
    fn once(&self, op: u16, args: &[u8], data: &[u8], reply: &mut [u8]) -> Result<usize> {
        let request = Request {
            retry_after_restart: false,
            ..again(self.user, op, args, Data::Bytes(data))
        };
        self.client
            .call(self.node, &request, reply, self.user.deadline)
    }

    fn handle_args(&self, handle: u64, flags: u32) -> HandleArgs {
        HandleArgs {
            handle: handle.into(),
            flags: flags.into(),
            uid: self.user.uid.into(),
        }
    }

    /// Opens `path`, with the user's lock if there is one. Returns the handle, and how many files other nodes have open there.
    pub(crate) fn open(&self, path: &[u8], flags: u32, mode: u16) -> Result<(u64, u64)> {
        let args = OpenFileArgs {
            flags: flags.into(),
            mode: u32::from(mode).into(),
            uid: self.user.uid.into(),
        };
        let mut reply = [0; size_of::<OpenReply>()];
        match self.user.claim {
            None => self.once(op::OPEN, args.as_bytes(), path, &mut reply)?,
            Some(claim) => {
                let fence = claim.to_wire();
                let args = Fenced { fence, args };
                self.once(op::FENCED_OPEN, args.as_bytes(), path, &mut reply)?
            }
        };
        let reply = OpenReply::read_from_bytes(&reply).map_err(|_| EPROTO)?;
        Ok((reply.handle.get(), reply.load.get()))
    }

    /// Closes up to [`MAX_CLOSE`](virgo_proto::cloudfs::MAX_CLOSE) files. Returns what the node answers.
    ///
    /// # Errors
    ///
    /// It does not answer; [`ENODEV`] if there is no such node.
    pub(crate) fn close(&self, handles: &[FileHandle]) -> Result<Result> {
        let request = Request {
            reply_deadline: ReplyDeadline::Soon,
            brief: None,
            ..again(self.user, op::CLOSE, b"", Data::Bytes(handles.as_bytes()))
        };
        let deadline = self.user.deadline;
        let answer = self.client.ask(self.node, &request, &mut [], deadline)?;
        Ok(answer.map(drop))
    }

    /// Reads up to [`MAX_DATA`] bytes.
    pub(crate) fn read(&self, handle: u64, offset: u64, to: &mut [u8]) -> Result<usize> {
        let len = to.len().min(MAX_DATA);
        let args = read_args(handle, offset, len);
        let n = self.ask(op::READ, args.as_bytes(), b"", to)?;
        match n <= len {
            true => Ok(n),
            false => Err(EPROTO),
        }
    }

    /// As [`Self::read`], to the current program's memory; may be under way already.
    pub(crate) fn read_user(
        &self,
        under_way: Option<PendingCall<'_>>,
        handle: u64,
        offset: u64,
        to: UserPtr,
        len: usize,
    ) -> Result<usize> {
        let len = len.min(MAX_DATA);
        let args = read_args(handle, offset, len);
        let request = again(self.user, op::READ, args.as_bytes(), Data::Bytes(b""));
        let deadline = self.user.deadline;
        self.client
            .call_to_user(self.node, under_way, &request, to, len, deadline)
    }

    /// Has [`Self::read_user`] under way, if that is possible now.
    pub(crate) fn begin_read(
        &self,
        handle: u64,
        offset: u64,
        len: usize,
    ) -> Option<PendingCall<'_>> {
        let args = read_args(handle, offset, len.min(MAX_DATA));
        let request = again(self.user, op::READ, args.as_bytes(), Data::Bytes(b""));
        self.client.begin(self.node, &request, self.user.deadline)
    }

    /// Writes up to [`MAX_DATA`] bytes; may be under way already.
    pub(crate) fn write(
        &self,
        under_way: Option<PendingCall<'_>>,
        handle: u64,
        offset: u64,
        from: Data<'_>,
    ) -> Result<usize> {
        let args = write_args(handle, offset);
        let request = again(self.user, op::WRITE, args.as_bytes(), from);
        let mut reply = [0; size_of::<WriteReply>()];
        let deadline = self.user.deadline;
        self.client
            .complete(self.node, under_way, &request, &mut reply, deadline)?;
        let reply = WriteReply::read_from_bytes(&reply).map_err(|_| EPROTO)?;
        Ok((reply.written.get() as usize).min(from.size()))
    }

    /// Has [`Self::write`] under way, if that is possible now.
    pub(crate) fn begin_write(
        &self,
        handle: u64,
        offset: u64,
        from: Data<'_>,
    ) -> Option<PendingCall<'_>> {
        let args = write_args(handle, offset);
        let request = again(self.user, op::WRITE, args.as_bytes(), from);
        self.client.begin(self.node, &request, self.user.deadline)
    }

    /// Returns when what was written is on the disk, and what the open file has met with.
    pub(crate) fn sync(&self, handle: u64, data_only: bool) -> Result<SyncReply> {
        let flags = if data_only { flag::DATA_ONLY } else { 0 };
        let args = self.handle_args(handle, flags);
        let request = again(self.user, op::SYNC, args.as_bytes(), Data::Bytes(b""));
        let mut reply = [0; size_of::<SyncReply>()];
        let deadline = self.user.deadline;
        self.client
            .call(self.node, &request, &mut reply, deadline)?;
        SyncReply::read_from_bytes(&reply).map_err(|_| EPROTO)
    }

    pub(crate) fn truncate(&self, handle: u64, size: u64) -> Result {
        let args = TruncateFileArgs {
            handle: handle.into(),
            size: size.into(),
        };
        self.ask(op::TRUNCATE, args.as_bytes(), b"", &mut [])?;
        Ok(())
    }

    /// Of an open file, or of the one at `path` with handle 0.
    pub(crate) fn stat(&self, handle: u64, path: &[u8], follow: bool) -> Result<StatReply> {
        let flags = if follow { 0 } else { flag::NO_FOLLOW };
        let mut reply = [0; size_of::<StatReply>()];
        self.ask(
            op::STAT,
            self.handle_args(handle, flags).as_bytes(),
            path,
            &mut reply,
        )?;
        StatReply::read_from_bytes(&reply).map_err(|_| EPROTO)
    }

    pub(crate) fn unlink(&self, path: &[u8], is_dir: bool) -> Result {
        let flags = if is_dir { flag::DIRECTORY } else { 0 };
        self.change(op::UNLINK, flags, 0, path, path.len())
    }

    pub(crate) fn mkdir(&self, path: &[u8], mode: u16) -> Result {
        self.change(op::MKDIR, 0, mode, path, path.len())
    }

    pub(crate) fn rename(&self, from: &[u8], to: &[u8], replace: bool) -> Result {
        let flags = if replace { 0 } else { flag::NO_REPLACE };
        let mut both = KVec::with_capacity(from.len() + to.len(), GFP_KERNEL_ACCOUNT)?;
        both.extend_from_slice(from, GFP_KERNEL_ACCOUNT)?;
        both.extend_from_slice(to, GFP_KERNEL_ACCOUNT)?;
        self.change(op::RENAME, flags, 0, &both, from.len())
    }

    fn change(&self, op: u16, flags: u32, mode: u16, paths: &[u8], first: usize) -> Result {
        let args = PathArgs {
            flags: flags.into(),
            mode: u32::from(mode).into(),
            first: u16::try_from(first).map_err(|_| ENAMETOOLONG)?.into(),
            reserved: 0.into(),
            uid: self.user.uid.into(),
        };
        self.once(op, args.as_bytes(), paths, &mut [])?;
        Ok(())
    }

    /// Entries of the directory at `path`, as [`local::read_dir`](crate::local::read_dir) writes them.
    pub(crate) fn read_dir(
        &self,
        path: &[u8],
        from: u64,
        with_stat: bool,
        to: &mut [u8],
    ) -> Result<(usize, u64)> {
        let args = ReadDirArgs {
            from: from.into(),
            len: (to.len().min(MAX_DATA) as u32).into(),
            flags: if with_stat { flag::STAT } else { 0 }.into(),
            uid: self.user.uid.into(),
        };
        let mut reply = KVVec::new();
        reply.put_zeros(size_of::<ReadDirReply>() + to.len(), GFP_KERNEL_ACCOUNT)?;
        let n = self.ask(op::READ_DIR, args.as_bytes(), path, &mut reply)?;
        let reply = reply.get(..n).ok_or(EPROTO)?;
        let (head, entries) = ReadDirReply::read_from_prefix(reply).map_err(|_| EPROTO)?;
        if !are_entries(entries, with_stat) {
            return Err(EPROTO);
        }
        to.get_mut(..entries.len())
            .ok_or(EPROTO)?
            .copy_from_slice(entries);
        Ok((entries.len(), head.next.get()))
    }
}

/// A request that may be done twice, or cannot be because a node that has restarted knows no handles
/// of before. It may have to wait for a disk there.
fn again<'a>(user: &User<'_>, op: u16, args: &'a [u8], data: Data<'a>) -> Request<'a> {
    Request {
        op,
        args,
        data,
        uid: user.uid,
        retry_after_restart: true,
        reply_deadline: ReplyDeadline::Sometime,
        brief: None,
    }
}

fn write_args(handle: u64, offset: u64) -> WriteArgs {
    WriteArgs {
        handle: handle.into(),
        offset: offset.into(),
    }
}

/// Of at most [`MAX_DATA`] bytes.
fn read_args(handle: u64, offset: u64, len: usize) -> ReadArgs {
    ReadArgs {
        handle: handle.into(),
        offset: offset.into(),
        len: (len as u32).into(),
    }
}
