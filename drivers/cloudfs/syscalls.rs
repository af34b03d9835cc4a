// SPDX-License-Identifier: GPL-2.0

//! The file service's system calls.

use crate::{
    cluster::Cloudfs,
    file::CloudFile,
    paths::UserName, //
};
use kernel::{
    fs::file::flags as o,
    prelude::*,
    sync::Arc,
    transmute::AsBytes as _,
    uaccess::{
        UserPtr,
        UserSlice, //
    }, //
};
use linux::{
    bytes::Fill,
    descriptor::{
        FdRef,
        FdType, //
    },
    user,
    vfs, //
};
use virgo_abi::{
    args::{
        self,
        files,
        FileArgs,
        FsyncArgs,
        MkdirArgs,
        OpenArgs,
        ReaddirArgs,
        RenameArgs,
        Stat,
        StatArgs,
        TruncateArgs,
        UnlinkArgs, //
    },
    calls::CloudfsCalls,
    device,
    fence, //
};
use virgo_config::Config;
use virgo_proto::{
    cloudfs::{
        open as flags,
        StatEntry,
        MAX_DATA,
        MIN_ENTRIES, //
    },
    vuid::NodeId, //
};
use virgo_utils::{
    Stats,
    User, //
};

/// Serves the calls; counts each.
pub(crate) struct CloudfsSyscalls {
    pub(crate) cloudfs: Arc<Cloudfs>,
    pub(crate) stats: Arc<Stats>,
    /// Descriptors of programs.
    pub(crate) files: Pin<KBox<FdType<CloudFile>>>,
}

/// Names of the calls, in the order of the indices below.
pub(crate) const NAMES: &[&str] = &[
    "open", "close", "read", "write", "open2", "read2", "write2", "fsync", "stat", "truncate",
    "unlink", "rename", "mkdir", "readdir",
];

impl CloudfsCalls for CloudfsSyscalls {
    fn open(&self, path: UserPtr) -> Result<usize> {
        self.count(0, || {
            let config = self.config();
            let user = user_of_name(&config, 0)?;
            let name = UserName::read(path)?;
            let file = self.cloudfs.open_as_original(&user, &name.parse()?)?;
            self.install(file, false)
        })
    }

    fn close(&self, fd: c_long) -> Result<usize> {
        self.count(1, || {
            self.files.close(descriptor(fd)?)?;
            Ok(0)
        })
    }

    fn read(&self, fd: c_long, data: UserPtr, size: c_int, pos: c_int) -> Result<usize> {
        self.count(2, || {
            let (offset, len) = range(size, pos)?;
            self.read_at(descriptor(fd)?, 0, data, offset, len)
        })
    }

    fn write(&self, fd: c_long, data: UserPtr, size: c_int, pos: c_int) -> Result<usize> {
        self.count(3, || {
            let (offset, len) = range(size, pos)?;
            self.write_at(descriptor(fd)?, 0, data, offset, len)
        })
    }

    fn open2(&self, args: UserPtr, size: usize) -> Result<usize> {
        self.count(4, || {
            let a = user::read_args::<OpenArgs>(args, size)?;
            if a.reserved != 0 {
                return Err(EINVAL);
            }
            let config = self.config();
            let user = user_of_name(&config, a.timeout_ms)?.with_lock(fence::read(a.fence)?);
            let name = UserName::read(address(a.path))?;
            let (how, close_on_exec) = open_flags(a.flags)?;
            let mode = permissions(a.mode)?;
            if how & flags::CREATE == 0 && a.mode != 0 {
                return Err(EINVAL);
            }
            let cloudfs = &self.cloudfs;
            let file = cloudfs.open(&user, &name.parse()?, how, mode, a.timeout_ms)?;
            self.install(file, close_on_exec)
        })
    }

    fn read2(&self, args: UserPtr, size: usize) -> Result<usize> {
        self.count(5, || {
            let a = file_args(args, size)?;
            self.read_at(a.fd, a.timeout_ms, address(a.data), a.offset, a.len)
        })
    }

    fn write2(&self, args: UserPtr, size: usize) -> Result<usize> {
        self.count(6, || {
            let a = file_args(args, size)?;
            self.write_at(a.fd, a.timeout_ms, address(a.data), a.offset, a.len)
        })
    }

    fn fsync(&self, args: UserPtr, size: usize) -> Result<usize> {
        self.count(7, || {
            let a = user::read_args::<FsyncArgs>(args, size)?;
            if a.flags & !files::FSYNC_DATA != 0 || a.reserved != 0 {
                return Err(EINVAL);
            }
            let config = self.config();
            let (file, user) = self.file(&config, a.fd, a.timeout_ms)?;
            file.sync(&user, a.flags & files::FSYNC_DATA != 0)?;
            Ok(0)
        })
    }

    fn stat(&self, args: UserPtr, size: usize) -> Result<usize> {
        self.count(8, || {
            let a = user::read_args::<StatArgs>(args, size)?;
            if a.flags & !files::STAT_NO_FOLLOW != 0 || a.reserved != 0 {
                return Err(EINVAL);
            }
            let config = self.config();
            let stat = if a.path == 0 && a.flags == 0 {
                let (file, user) = self.file(&config, a.fd, a.timeout_ms)?;
                to_user(&file.stat(&user)?, file.node(&user))
            } else if a.path != 0 && a.fd == 0 {
                let user = user_of_name(&config, a.timeout_ms)?;
                let name = UserName::read(address(a.path))?;
                let name = name.parse()?;
                let follow = a.flags & files::STAT_NO_FOLLOW == 0;
                let stat = self.cloudfs.stat(&user, &name, follow)?;
                to_user(&stat, self.cloudfs.node_of(&user, &name)?)
            } else {
                return Err(EINVAL);
            };
            UserSlice::new(address(a.stat), size_of::<Stat>())
                .writer()
                .write(&stat)?;
            Ok(0)
        })
    }

    fn truncate(&self, args: UserPtr, size: usize) -> Result<usize> {
        self.count(9, || {
            let a = user::read_args::<TruncateArgs>(args, size)?;
            if a.flags != 0 || a.reserved != 0 {
                return Err(EINVAL);
            }
            let config = self.config();
            let (file, user) = self.file(&config, a.fd, a.timeout_ms)?;
            file.truncate(&user, a.size)?;
            Ok(0)
        })
    }

    fn unlink(&self, args: UserPtr, size: usize) -> Result<usize> {
        self.count(10, || {
            let a = user::read_args::<UnlinkArgs>(args, size)?;
            if a.flags & !files::UNLINK_DIRECTORY != 0 {
                return Err(EINVAL);
            }
            let config = self.config();
            let user = user_of_name(&config, a.timeout_ms)?;
            let name = UserName::read(address(a.path))?;
            let is_dir = a.flags & files::UNLINK_DIRECTORY != 0;
            self.cloudfs.unlink(&user, &name.parse()?, is_dir)?;
            Ok(0)
        })
    }

    fn rename(&self, args: UserPtr, size: usize) -> Result<usize> {
        self.count(11, || {
            let a = user::read_args::<RenameArgs>(args, size)?;
            if a.flags & !files::RENAME_NO_REPLACE != 0 {
                return Err(EINVAL);
            }
            let config = self.config();
            let user = user_of_name(&config, a.timeout_ms)?;
            let from = UserName::read(address(a.from))?;
            let to = UserName::read(address(a.to))?;
            let replace = a.flags & files::RENAME_NO_REPLACE == 0;
            let cloudfs = &self.cloudfs;
            cloudfs.rename(&user, &from.parse()?, &to.parse()?, replace)?;
            Ok(0)
        })
    }

    fn mkdir(&self, args: UserPtr, size: usize) -> Result<usize> {
        self.count(12, || {
            let a = user::read_args::<MkdirArgs>(args, size)?;
            if a.flags != 0 || a.reserved != 0 {
                return Err(EINVAL);
            }
            let config = self.config();
            let user = user_of_name(&config, a.timeout_ms)?;
            let name = UserName::read(address(a.path))?;
            let mode = permissions(a.mode)?;
            self.cloudfs.mkdir(&user, &name.parse()?, mode)?;
            Ok(0)
        })
    }

    fn readdir(&self, args: UserPtr, size: usize) -> Result<usize> {
        self.count(13, || {
            let a = user::read_args::<ReaddirArgs>(args, size)?;
            let len = (a.len as usize).min(MAX_DATA);
            if a.flags & !files::READDIR_STAT != 0 || a.reserved != 0 || len < MIN_ENTRIES {
                return Err(EINVAL);
            }
            let with_stat = a.flags & files::READDIR_STAT != 0;
            let config = self.config();
            let user = user_of_name(&config, a.timeout_ms)?;
            let name = UserName::read(address(a.path))?;
            let name = name.parse()?;
            let mut entries = KVVec::new();
            entries.put_zeros(len, GFP_KERNEL_ACCOUNT)?;
            let cloudfs = &self.cloudfs;
            let (n, next) = cloudfs.read_dir(&user, &name, a.next, with_stat, &mut entries)?;
            entries.truncate(n);
            if with_stat {
                entries = stats_to_user(&entries, cloudfs.node_of(&user, &name)?)?;
            }
            UserSlice::new(address(a.data), entries.len())
                .writer()
                .write_slice(&entries)?;
            args::write_next(args, next)?;
            Ok(entries.len())
        })
    }
}

impl CloudfsSyscalls {
    fn count(&self, index: usize, call: impl FnOnce() -> Result<usize>) -> Result<usize> {
        self.stats.count_call::<Cloudfs, _>(index, call)
    }

    fn config(&self) -> Arc<Config> {
        self.cloudfs.node.config()
    }

    fn install(&self, file: CloudFile, close_on_exec: bool) -> Result<usize> {
        let fd = self.files.install(file, close_on_exec)?;
        usize::try_from(fd).map_err(|_| EBADF)
    }

    /// The file behind a descriptor, and its user, who has `timeout_ms` or, if that is 0, the
    /// time of the descriptor.
    fn file<'a>(
        &self,
        config: &'a Config,
        fd: c_int,
        timeout_ms: u32,
    ) -> Result<(FdRef<'_, CloudFile>, User<'a>)> {
        let file = self.files.get(fd)?;
        let ms = match timeout_ms {
            0 => file.timeout_ms,
            ms => ms,
        };
        let user = User::of_call(config, ms)?;
        Ok((file, user))
    }

    fn read_at(
        &self,
        fd: c_int,
        timeout_ms: u32,
        data: UserPtr,
        offset: u64,
        len: u64,
    ) -> Result<usize> {
        let len = checked(offset, len)?;
        let config = self.config();
        let (file, user) = self.file(&config, fd, timeout_ms)?;
        file.read_user(&user, offset, data, len)
    }

    fn write_at(
        &self,
        fd: c_int,
        timeout_ms: u32,
        data: UserPtr,
        offset: u64,
        len: u64,
    ) -> Result<usize> {
        let len = checked(offset, len)?;
        let config = self.config();
        let (file, user) = self.file(&config, fd, timeout_ms)?;
        file.write_user(&user, offset, data, len)
    }
}

/// Who makes a call that names a file: has to have the right to use VIRGO. Who has an open file had
/// it.
fn user_of_name(config: &Config, timeout_ms: u32) -> Result<User<'_>> {
    device::check_caller()?;
    User::of_call(config, timeout_ms)
}

fn address(address: u64) -> UserPtr {
    UserPtr::from_addr(address as usize)
}

fn descriptor(fd: c_long) -> Result<c_int> {
    c_int::try_from(fd).map_err(|_| EBADF)
}

/// The byte range of an original call.
fn range(size: c_int, pos: c_int) -> Result<(u64, u64)> {
    let size = u64::try_from(size).map_err(|_| EINVAL)?;
    let pos = u64::try_from(pos).map_err(|_| EINVAL)?;
    Ok((pos, size))
}

/// The length of a range that the kernel's positions can express.
fn checked(offset: u64, len: u64) -> Result<usize> {
    let end = offset.checked_add(len).ok_or(EINVAL)?;
    i64::try_from(end).map_err(|_| EINVAL)?;
    usize::try_from(len).map_err(|_| EINVAL)
}

fn file_args(args: UserPtr, size: usize) -> Result<FileArgs> {
    let a = user::read_args::<FileArgs>(args, size)?;
    match a.flags == 0 && a.reserved == 0 {
        true => Ok(a),
        false => Err(EINVAL),
    }
}

/// What the caller's umask leaves of the permissions it asks for.
fn permissions(mode: u32) -> Result<u16> {
    if mode & !0o7777 != 0 {
        return Err(EINVAL);
    }
    Ok((mode & !vfs::umask()) as u16)
}

/// Flags of open(2) as they cross the wire, and `O_CLOEXEC`.
fn open_flags(asked: u32) -> Result<(u32, bool)> {
    const KNOWN: &[(u32, u32)] = &[
        (o::O_CREAT, flags::CREATE),
        (o::O_EXCL, flags::EXCLUSIVE),
        (o::O_TRUNC, flags::TRUNCATE),
        (o::O_APPEND, flags::APPEND),
        (o::O_DIRECTORY, flags::DIRECTORY),
        (o::O_NOFOLLOW, flags::NO_FOLLOW),
        (o::O_SYNC, flags::SYNC),
        // Programs for 64 bits need not ask for it, those for 32 do.
        (o::O_LARGEFILE, 0),
        (o::O_CLOEXEC, 0),
    ];
    let mut found = match asked & o::O_ACCMODE {
        o::O_RDONLY => flags::READ,
        o::O_WRONLY => flags::WRITE,
        o::O_RDWR => flags::READ | flags::WRITE,
        _ => return Err(EINVAL),
    };
    let mut rest = asked & !o::O_ACCMODE;
    for (flag, ours) in KNOWN {
        if asked & flag == *flag {
            found |= ours;
            rest &= !flag;
        }
    }
    match rest == 0 && flags::are_valid(found) {
        true => Ok((found, asked & o::O_CLOEXEC != 0)),
        false => Err(EINVAL),
    }
}

/// Entries with what is known of them, as programs get them.
fn stats_to_user(mut entries: &[u8], node: NodeId) -> Result<KVVec<u8>> {
    // Each is shorter than on the wire.
    let mut out = KVVec::with_capacity(entries.len(), GFP_KERNEL_ACCOUNT)?;
    while !entries.is_empty() {
        let (entry, rest) = StatEntry::read_from_prefix(entries).map_err(|_| EPROTO)?;
        let (name, rest) = rest.split_at_checked(entry.len.into()).ok_or(EPROTO)?;
        out.put_bytes(to_user(&entry.stat, node).as_bytes(), GFP_KERNEL_ACCOUNT)?;
        out.put_bytes(&[entry.kind, entry.len], GFP_KERNEL_ACCOUNT)?;
        out.put_bytes(name, GFP_KERNEL_ACCOUNT)?;
        entries = rest;
    }
    Ok(out)
}

fn to_user(stat: &virgo_proto::cloudfs::StatReply, node: NodeId) -> Stat {
    Stat {
        ino: stat.ino.get(),
        size: stat.size.get(),
        blocks: stat.blocks.get(),
        mtime_s: stat.mtime_s.get(),
        mtime_ns: stat.mtime_ns.get(),
        mode: stat.mode.get(),
        nlink: stat.nlink.get(),
        uid: stat.uid.get(),
        gid: stat.gid.get(),
        node: node.into(),
    }
}
