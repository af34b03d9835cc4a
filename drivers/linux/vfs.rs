// SPDX-License-Identifier: GPL-2.0

//! Files of exported directories, used with the credentials of an ordinary user.
//!
//! C side: `vfs.c`, which says how a path is kept inside. Everything here sleeps for the disk.

pub use crate::helpers::{
    virgo_dir_entry as DirEntry,
    virgo_file_stat as FileStat, //
};
use crate::{
    helpers,
    pages::Pages, //
};
use core::{
    mem::{
        size_of,
        ManuallyDrop, //
    },
    ptr::NonNull, //
};
use kernel::{
    bindings,
    error::{
        from_err_ptr,
        to_result, //
    },
    fs::file::flags,
    prelude::*,
    uaccess::UserPtr, //
};

/// Fewest bytes that [`File::read_dir`] takes: the longest entry.
pub const MIN_ENTRIES: usize = size_of::<DirEntry>() + bindings::NAME_MAX as usize;

/// Who does something with files: a user, a group, and no privileges.
///
/// # Invariants
///
/// The pointer is a `struct cred` of which this holds a reference.
pub struct Credentials(NonNull<bindings::cred>);

// SAFETY: Credentials do not change, and are counted atomically.
unsafe impl Send for Credentials {}
// SAFETY: As above.
unsafe impl Sync for Credentials {}

impl Credentials {
    /// Those of user `uid` and group `gid` of the initial user name space, and nothing beyond.
    ///
    /// # Errors
    ///
    /// [`ENOMEM`].
    pub fn new(uid: u32, gid: u32) -> Result<Self> {
        // SAFETY: Has no preconditions.
        let cred = unsafe { helpers::virgo_cred_new(uid, gid) };
        // INVARIANT: The caller of `virgo_cred_new` gets the reference.
        Ok(Credentials(NonNull::new(cred.cast_mut()).ok_or(ENOMEM)?))
    }

    fn as_ptr(&self) -> *const bindings::cred {
        self.0.as_ptr()
    }
}

impl Drop for Credentials {
    fn drop(&mut self) {
        // SAFETY: By the invariant the reference is ours.
        unsafe { helpers::virgo_cred_put(self.as_ptr()) };
    }
}

/// The calling program's umask.
pub fn umask() -> u32 {
    // SAFETY: Reads what belongs to the current task.
    unsafe { helpers::virgo_umask() }
}

/// How a file is opened.
#[derive(Clone, Copy, Default)]
pub struct OpenOptions {
    /// For reading.
    pub read: bool,
    /// For writing.
    pub write: bool,
    /// Created if it is not there.
    pub create: bool,
    /// With `create`: it must not be there.
    pub exclusive: bool,
    /// To be cut to nothing.
    pub truncate: bool,
    /// Each write goes to the end.
    pub append: bool,
    /// It must be a directory.
    pub directory: bool,
    /// It must not be a symbolic link.
    pub no_follow: bool,
    /// Each write is on the disk when it returns.
    pub sync: bool,
}

impl OpenOptions {
    fn flags(self) -> c_int {
        let access = match (self.read, self.write) {
            (true, true) => flags::O_RDWR,
            (false, true) => flags::O_WRONLY,
            _ => flags::O_RDONLY,
        };
        let others = [
            (self.create, flags::O_CREAT),
            (self.exclusive, flags::O_EXCL),
            (self.truncate, flags::O_TRUNC),
            (self.append, flags::O_APPEND),
            (self.directory, flags::O_DIRECTORY),
            (self.no_follow, flags::O_NOFOLLOW),
            (self.sync, flags::O_SYNC),
        ];
        let chosen = others.iter().filter(|(chosen, _)| *chosen);
        chosen.fold(access, |all, (_, flag)| all | flag) as c_int
    }
}

/// The directories that are exported: each was looked up once, and stays what it was then, whatever
/// becomes of the names and links that have led to it. Their mounts are pinned.
///
/// # Invariants
///
/// The pointer comes from `virgo_dirs_new`, for `count` directories, and is freed by nobody else.
pub struct Directories {
    dirs: NonNull<helpers::virgo_dirs>,
    count: usize,
}

// SAFETY: References to paths may be used and given back by any thread.
unsafe impl Send for Directories {}
// SAFETY: With a shared reference nothing is changed.
unsafe impl Sync for Directories {}

impl Directories {
    /// Room for `count` directories, none of which is there yet.
    ///
    /// # Errors
    ///
    /// [`ENOMEM`].
    pub fn new(count: usize) -> Result<Self> {
        // SAFETY: Has no preconditions.
        let dirs = unsafe { helpers::virgo_dirs_new(count) };
        // INVARIANT: Just made.
        Ok(Directories {
            dirs: NonNull::new(dirs).ok_or(ENOMEM)?,
            count,
        })
    }

    /// Looks up directory `index` by its absolute path, as the first process sees it. Once for each.
    /// Sleeps for the disk.
    ///
    /// # Errors
    ///
    /// As open(2); [`EINVAL`] if there is no room for it. What is done in it is [`ENOENT`] then.
    pub fn open(&mut self, index: usize, path: &CStr) -> Result {
        if index >= self.count {
            return Err(EINVAL);
        }
        // SAFETY: By the invariant the pointer is valid, and nobody else uses it, as `self` is borrowed
        // mutably. The index is one of its directories. The path ends with NUL.
        to_result(unsafe {
            helpers::virgo_dirs_open(self.dirs.as_ptr(), index, path.as_char_ptr())
        })
    }

    /// Whether `file` is in the directory with this index, and in no other one inside that. May sleep.
    pub fn has(&self, index: usize, file: &File) -> bool {
        if index >= self.count {
            return false;
        }
        // SAFETY: By the invariant the pointer is valid, and the index is one of its directories; the file is
        // open.
        unsafe { helpers::virgo_dirs_has(self.dirs.as_ptr(), index, file.as_ptr()) }
    }

    /// The directory with this index, for whom `cred` stand.
    pub fn beneath<'a>(&'a self, index: usize, cred: &'a Credentials) -> Option<Beneath<'a>> {
        (index < self.count).then_some(Beneath {
            dirs: self,
            index,
            cred,
        })
    }
}

impl Drop for Directories {
    fn drop(&mut self) {
        // SAFETY: By the invariant it is ours.
        unsafe { helpers::virgo_dirs_free(self.dirs.as_ptr()) };
    }
}

/// An exported directory, and who does something in it.
///
/// Names are relative to it and may come from anywhere: nothing outside is ever reached, nor what
/// is in another exported directory inside this one, which is [`EXDEV`]. No name begins with a
/// slash; the empty one is the directory itself.
///
/// # Invariants
///
/// `index` is less than the number of directories of `dirs`.
pub struct Beneath<'a> {
    dirs: &'a Directories,
    index: usize,
    cred: &'a Credentials,
}

impl Beneath<'_> {
    /// Whether both are the same directory.
    pub fn is_same(&self, other: &Self) -> bool {
        self.index == other.index
    }

    /// As the C side has it. What it points to is borrowed as long as `self`.
    fn export(&self) -> helpers::virgo_export {
        helpers::virgo_export {
            dirs: self.dirs.dirs.as_ptr(),
            index: self.index,
            cred: self.cred.as_ptr(),
        }
    }

    /// Tells the file system that it is on from others.
    pub fn device(&self) -> u32 {
        // SAFETY: The export is valid by the invariant.
        unsafe { helpers::virgo_export_device(&self.export()) }
    }

    /// Opens a file or directory; `mode` are the permissions of a new one. Says whether it is to be
    /// [emptied](File::empty): `how` says so, it may be, and it was there.
    ///
    /// # Errors
    ///
    /// As open(2); [`ENXIO`] for what is neither file nor directory.
    pub fn open(&self, name: &CStr, how: OpenOptions, mode: u16) -> Result<(File, bool)> {
        let (export, name, flags) = (self.export(), name.as_char_ptr(), how.flags());
        let mut is_cut = false;
        // SAFETY: The export is valid by the invariant, the strings end with NUL, `is_cut` is valid for
        // writes.
        let file = from_err_ptr(unsafe {
            helpers::virgo_export_open(&export, name, flags, mode, &mut is_cut)
        })?;
        // INVARIANT: The opener gets the only reference.
        Ok((File(NonNull::new(file).ok_or(ENOENT)?), is_cut))
    }

    /// What is known of a file; of a symbolic link itself unless `follow`.
    ///
    /// # Errors
    ///
    /// As stat(2).
    pub fn stat(&self, name: &CStr, follow: bool) -> Result<FileStat> {
        let mut stat = FileStat::default();
        // SAFETY: The export is valid by the invariant, the strings end with NUL, `stat` is valid for writes.
        to_result(unsafe {
            helpers::virgo_export_stat(&self.export(), name.as_char_ptr(), follow, &mut stat)
        })?;
        Ok(stat)
    }

    /// Removes a name; with `is_dir` an empty directory.
    ///
    /// # Errors
    ///
    /// As unlink(2) and rmdir(2).
    pub fn unlink(&self, name: &CStr, is_dir: bool) -> Result {
        // SAFETY: The export is valid by the invariant, the strings end with NUL.
        to_result(unsafe {
            helpers::virgo_export_unlink(&self.export(), name.as_char_ptr(), is_dir)
        })
    }

    /// Changes a name; what has the new one goes, if `replace`.
    ///
    /// # Errors
    ///
    /// As rename(2).
    pub fn rename(&self, from: &CStr, to: &CStr, replace: bool) -> Result {
        // SAFETY: The export is valid by the invariant, the strings end with NUL.
        to_result(unsafe {
            helpers::virgo_export_rename(
                &self.export(),
                from.as_char_ptr(),
                to.as_char_ptr(),
                replace,
            )
        })
    }

    /// Makes a directory with permissions `mode`.
    ///
    /// # Errors
    ///
    /// As mkdir(2).
    pub fn mkdir(&self, name: &CStr, mode: u16) -> Result {
        // SAFETY: The export is valid by the invariant, the strings end with NUL.
        to_result(unsafe { helpers::virgo_export_mkdir(&self.export(), name.as_char_ptr(), mode) })
    }
}

/// Names an inode for as long as a file of it is open.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct InodeId(usize);

/// An open file or directory. What is done with it is done by who has opened it.
///
/// One that a kernel thread drops is closed by a work that closes all such files, one after the other.
///
/// # Invariants
///
/// The pointer is an open file of which this holds a reference.
pub struct File(NonNull<bindings::file>);

// SAFETY: Open files may be used from any thread.
unsafe impl Send for File {}
// SAFETY: Files do their own locking.
unsafe impl Sync for File {}

impl File {
    fn as_ptr(&self) -> *mut bindings::file {
        self.0.as_ptr()
    }

    /// Closes it now, which may take as long as everything else here. Not to be called with locks held.
    pub fn close(self) {
        let file = ManuallyDrop::new(self);
        // SAFETY: By the invariant the reference is ours; it is not given back a second time.
        unsafe { helpers::virgo_file_close(file.as_ptr()) };
    }

    /// Reads at byte `offset`. Returns how many bytes; fewer than there is room for at the end, or
    /// if an error came after a part was read.
    ///
    /// # Errors
    ///
    /// As pread(2).
    pub fn read(&self, offset: u64, to: &mut [u8]) -> Result<usize> {
        let (data, len) = (to.as_mut_ptr().cast(), to.len());
        // SAFETY: The file is open, `to` is valid for writes of its length.
        let n = unsafe { helpers::virgo_file_read(self.as_ptr(), data, len, position(offset)?) };
        moved(n, len)
    }

    /// As [`Self::read`], without waiting for the disk.
    ///
    /// # Errors
    ///
    /// As there; [`EAGAIN`] if the disk would have to be waited for, or if it is not a regular file.
    pub fn read_cached(&self, offset: u64, to: &mut [u8]) -> Result<usize> {
        let (data, len, at) = (to.as_mut_ptr().cast(), to.len(), position(offset)?);
        // SAFETY: The file is open, `to` is valid for writes of its length.
        let n = unsafe { helpers::virgo_file_read_cached(self.as_ptr(), data, len, at) };
        moved(n, len)
    }

    /// Tells the file system that it is on from others.
    pub fn device(&self) -> u32 {
        // SAFETY: The file is open.
        unsafe { helpers::virgo_file_device(self.as_ptr()) }
    }

    /// Whether it can be written to by this.
    pub fn is_writable(&self) -> bool {
        // SAFETY: The file is open.
        unsafe { helpers::virgo_file_is_writable(self.as_ptr()) }
    }

    /// Names its inode, for as long as it is open.
    pub fn inode(&self) -> InodeId {
        // SAFETY: The file is open.
        InodeId(unsafe { helpers::virgo_file_inode(self.as_ptr()) }.addr())
    }

    /// Cuts it to nothing, as opening it so does: it need not be open for writing.
    ///
    /// # Errors
    ///
    /// As open(2); [`EAGAIN`] while somebody has a lease.
    pub fn empty(&self) -> Result {
        // SAFETY: The file is open.
        to_result(unsafe { helpers::virgo_file_empty(self.as_ptr()) })
    }

    /// Copies the extended attribute `name` to `to`, with all privileges. Returns its length.
    ///
    /// # Errors
    ///
    /// [`ENODATA`] if it has none, [`EOPNOTSUPP`] if its file system has none of that kind; [`ERANGE`] if it is
    /// longer than `to`; those of the file system.
    pub fn attribute(&self, name: &CStr, to: &mut [u8]) -> Result<usize> {
        let (data, len) = (to.as_mut_ptr().cast(), to.len());
        // SAFETY: The file is open, the name ends with NUL, `to` is valid for writes of its length.
        let n =
            unsafe { helpers::virgo_file_attribute(self.as_ptr(), name.as_char_ptr(), data, len) };
        moved(n, len)
    }

    /// Sets the extended attribute `name`, with all privileges. The file is open for writing.
    ///
    /// # Errors
    ///
    /// [`EOPNOTSUPP`] if its file system has none of that kind; those of the file system.
    pub fn set_attribute(&self, name: &CStr, value: &[u8]) -> Result {
        let (data, len) = (value.as_ptr().cast(), value.len());
        // SAFETY: The file is open, the name ends with NUL, `value` is valid for reads of its length.
        to_result(unsafe {
            helpers::virgo_file_set_attribute(self.as_ptr(), name.as_char_ptr(), data, len)
        })
    }

    /// Whether each write is on the disk when it returns: the file was opened so, or is on a file system
    /// that is mounted so.
    pub fn is_synchronous(&self) -> bool {
        // SAFETY: The file is open.
        unsafe { helpers::virgo_file_is_sync(self.as_ptr()) }
    }

    /// Writes at byte `offset`, or at the end if the file was opened so. Returns how many bytes:
    /// fewer if an error, like a full disk, has kept the rest.
    ///
    /// # Errors
    ///
    /// As pwrite(2).
    pub fn write(&self, offset: u64, from: &[u8]) -> Result<usize> {
        let (data, len) = (from.as_ptr().cast(), from.len());
        // SAFETY: The file is open, `from` is valid for reads of its length.
        let n = unsafe { helpers::virgo_file_write(self.as_ptr(), data, len, position(offset)?) };
        moved(n, len)
    }

    /// As [`Self::read`], to `len` bytes of the current program's memory.
    ///
    /// # Errors
    ///
    /// As there, and [`EFAULT`].
    pub fn read_user(&self, offset: u64, to: UserPtr, len: usize) -> Result<usize> {
        let data = to.as_const_ptr().cast_mut();
        // SAFETY: The file is open; the memory is checked when it is written to.
        let n =
            unsafe { helpers::virgo_file_read_user(self.as_ptr(), data, len, position(offset)?) };
        moved(n, len)
    }

    /// As [`Self::write`], from `len` bytes of the current program's memory.
    ///
    /// # Errors
    ///
    /// As there, and [`EFAULT`].
    pub fn write_user(&self, offset: u64, from: UserPtr, len: usize) -> Result<usize> {
        let data = from.as_const_ptr();
        // SAFETY: The file is open; the memory is checked when it is read.
        let n =
            unsafe { helpers::virgo_file_write_user(self.as_ptr(), data, len, position(offset)?) };
        moved(n, len)
    }

    /// Up to `len` bytes at byte `offset`, to be sent without being copied, and without waiting for the
    /// disk. They are fewer at the end, and may be fewer if they are more than 64 KiB.
    ///
    /// # Errors
    ///
    /// As pread(2); [`EAGAIN`] if the disk would have to be waited for, or if it is not a regular file.
    pub fn cached_pages(&self, offset: u64, len: usize) -> Result<Pages> {
        let at = position(offset)?;
        // SAFETY: The file is open.
        unsafe { Pages::cached(self.as_ptr(), len, at) }
    }

    /// Returns when everything that was written is on the disk; with `data_only` not the times.
    ///
    /// # Errors
    ///
    /// As fsync(2): also what an earlier write met with later.
    pub fn sync(&self, data_only: bool) -> Result {
        // SAFETY: The file is open.
        to_result(unsafe { helpers::virgo_file_sync(self.as_ptr(), data_only) })
    }

    /// Cuts the file, or lengthens it by zeros, to `size` bytes.
    ///
    /// # Errors
    ///
    /// As ftruncate(2).
    pub fn truncate(&self, size: u64) -> Result {
        let size = position(size)?;
        // SAFETY: The file is open.
        to_result(unsafe { helpers::virgo_file_truncate(self.as_ptr(), size) })
    }

    /// What is known of it.
    ///
    /// # Errors
    ///
    /// As fstat(2).
    pub fn stat(&self) -> Result<FileStat> {
        let mut stat = FileStat::default();
        // SAFETY: The file is open, `stat` is valid for writes.
        to_result(unsafe { helpers::virgo_file_stat(self.as_ptr(), &mut stat) })?;
        Ok(stat)
    }

    /// Writes entries of a directory to `to`: [`DirEntry`] and name, one behind the other, without
    /// `.` and `..`. Begins at `from`, which is 0 or what an earlier call returned. Each entry
    /// counts for `extra` bytes more than it has, so that what is known of it can be added later.
    /// Returns the bytes written, 0 at the end, and where to go on.
    ///
    /// # Errors
    ///
    /// As getdents(2); [`EINVAL`] if `to` is shorter than [`MIN_ENTRIES`] and `extra`.
    pub fn read_dir(&self, from: u64, to: &mut [u8], extra: usize) -> Result<(usize, u64)> {
        if to.len() < MIN_ENTRIES.saturating_add(extra) {
            return Err(EINVAL);
        }
        // Some file systems use all 64 bits.
        let mut at = from as i64;
        // SAFETY: The file is open; `to` is valid for writes of its length, `at` for writes.
        let n = unsafe {
            helpers::virgo_dir_read(
                self.as_ptr(),
                &mut at,
                to.as_mut_ptr().cast(),
                to.len(),
                extra,
            )
        };
        Ok((moved(n, to.len())?, at as u64))
    }

    /// What is known of the entry of this directory that is called `name`; of a symbolic link
    /// itself.
    ///
    /// # Errors
    ///
    /// As lstat(2); [`EXDEV`] if something is mounted there.
    pub fn stat_entry(&self, name: &[u8]) -> Result<FileStat> {
        let mut stat = FileStat::default();
        // SAFETY: The file is open, `name` is valid for reads of its length, `stat` for writes.
        to_result(unsafe {
            helpers::virgo_dir_stat(self.as_ptr(), name.as_ptr().cast(), name.len(), &mut stat)
        })?;
        Ok(stat)
    }
}

impl Drop for File {
    fn drop(&mut self) {
        // SAFETY: By the invariant the reference is ours.
        unsafe { bindings::fput(self.as_ptr()) };
    }
}

/// The kernel's position of byte `offset`.
fn position(offset: u64) -> Result<i64> {
    i64::try_from(offset).map_err(|_| EINVAL)
}

fn moved(n: isize, room: usize) -> Result<usize> {
    match usize::try_from(n) {
        Ok(n) => Ok(n.min(room)),
        Err(_) => Err(Error::from_errno(n as c_int)),
    }
}
