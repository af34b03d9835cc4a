// SPDX-License-Identifier: GPL-2.0
//! The calls themselves. Everything else in this crate is safe Rust upon them.
#![expect(unsafe_code, reason = "calls take addresses")]

use crate::abi::{
    self, CancelArgs, CloneArgs, DataArgs, FileArgs, FreeArgs, FsyncArgs, LockArgs, MallocArgs,
    MessageArgs, MkdirArgs, OpenArgs, QueueArgs, ReaddirArgs, RenameArgs, Stat, StatArgs,
    TruncateArgs, UnlinkArgs, nr,
};
use crate::{door, fence::Fence};
use libc::{c_int, c_long};
use std::{
    ffi::CStr,
    marker::PhantomData,
    os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd},
    ptr,
};

use door::Returned as Outcome;

/// `virgo_malloc2`.
pub(crate) fn malloc2(args: &mut MallocArgs) -> Outcome {
    // SAFETY: The call reads and writes `args`, within its size, and no other memory.
    unsafe { sized(nr::MALLOC2, &raw mut *args) }
}

/// `virgo_set` of a string.
pub(crate) fn set(id: u64, text: &CStr) -> Outcome {
    // SAFETY: The call reads the string up to and with its NUL.
    unsafe { door::enter(nr::SET, [id, path(text), 0, 0]) }
}

/// What a call is told of the lock that guards an object.
fn fence(of: &Fence) -> abi::FenceArgs {
    abi::FenceArgs {
        name: of.name().as_ptr().expose_provenance() as u64,
        token: of.token(),
        name_len: u32::try_from(of.name().len()).unwrap_or(u32::MAX),
        flags: 0,
    }
}

/// The address of what there may be.
fn address<T>(of: Option<&T>) -> u64 {
    of.map_or(0, |of| ptr::from_ref(of).expose_provenance() as u64)
}

/// `virgo_set2` of `data`.
pub(crate) fn set2(
    id: u64,
    offset: u64,
    data: &[u8],
    timeout_ms: u32,
    lock: Option<&Fence>,
) -> Outcome {
    let fence = lock.map(fence);
    let args = DataArgs {
        id,
        offset,
        len: data.len() as u64,
        data: data.as_ptr().expose_provenance() as u64,
        flags: 0,
        timeout_ms,
        fence: address(fence.as_ref()),
    };
    // SAFETY: The call reads `args`, the `len` bytes of `data`, and the fence with the name, if there is one:
    // all are borrowed or here.
    unsafe { sized(nr::SET2, &raw const args) }
}

/// `virgo_get2` into `data`.
pub(crate) fn get2(id: u64, offset: u64, data: &mut [u8], timeout_ms: u32) -> Outcome {
    let args = DataArgs {
        id,
        offset,
        len: data.len() as u64,
        data: data.as_mut_ptr().expose_provenance() as u64,
        flags: 0,
        timeout_ms,
        fence: 0,
    };
    // SAFETY: The call reads `args` and writes at most `len` bytes to `data`, which is borrowed
    // exclusively and may hold any bytes.
    unsafe { sized(nr::GET2, &raw const args) }
}

/// `virgo_free2`.
pub(crate) fn free2(id: u64, timeout_ms: u32, lock: Option<&Fence>) -> Outcome {
    let fence = lock.map(fence);
    let args = FreeArgs {
        id,
        flags: 0,
        timeout_ms,
        fence: address(fence.as_ref()),
    };
    // SAFETY: The call reads `args`, and the fence with the name, if there is one.
    unsafe { sized(nr::FREE2, &raw const args) }
}

/// An array of calls, and the memory that it names.
///
/// # Invariants
///
/// The addresses of each call are those of memory that is borrowed for `'a`, with their lengths.
#[derive(Default)]
pub(crate) struct Calls<'a> {
    array: Vec<abi::CallArgs>,
    memory: PhantomData<(&'a [u8], &'a mut [u8])>,
}

impl<'a> Calls<'a> {
    /// Adds a call; what it says of addresses and lengths does not count.
    pub(crate) fn push(&mut self, call: abi::CallArgs, argv: &'a [u8], output: &'a mut [u8]) {
        let len = |bytes: &[u8]| u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        self.array.push(abi::CallArgs {
            // INVARIANT: They are those of what is borrowed; a length is never too large.
            argv: argv.as_ptr().expose_provenance() as u64,
            argv_len: len(argv),
            output_len: len(output),
            output: output.as_mut_ptr().expose_provenance() as u64,
            ..call
        });
    }

    /// What became of the calls, in the order in which they were added. The outputs can be read
    /// then.
    pub(crate) fn into_array(self) -> Vec<abi::CallArgs> {
        self.array
    }

    /// `virgo_clone2`.
    pub(crate) fn clone2(&mut self, flags: u32, timeout_ms: u32) -> Outcome {
        let args = CloneArgs {
            flags,
            ..self.args(timeout_ms)
        };
        // SAFETY: The call reads `args`, and reads and writes the `count` structures there. By the
        // invariant it reads what was borrowed as `argv` and writes what was as `output`, which
        // may hold any bytes.
        unsafe { sized(nr::CLONE2, &raw const args) }
    }

    /// `virgo_wait`.
    pub(crate) fn wait(&mut self, timeout_ms: u32) -> Outcome {
        let args = self.args(timeout_ms);
        // SAFETY: As in `clone2`.
        unsafe { sized(nr::WAIT, &raw const args) }
    }

    fn args(&mut self, timeout_ms: u32) -> CloneArgs {
        CloneArgs {
            calls: self.array.as_mut_ptr().expose_provenance() as u64,
            count: u32::try_from(self.array.len()).unwrap_or(u32::MAX),
            flags: 0,
            timeout_ms,
            // 64 bytes.
            call_size: size_of::<abi::CallArgs>() as u32,
        }
    }
}

/// `virgo_cancel`.
pub(crate) fn cancel(job: u64, timeout_ms: u32) -> Outcome {
    let args = CancelArgs {
        job,
        flags: 0,
        timeout_ms,
    };
    // SAFETY: The call reads `args`.
    unsafe { sized(nr::CANCEL, &raw const args) }
}

/// A string's address. It must be borrowed while it is used.
fn path(path: &CStr) -> u64 {
    path.as_ptr().expose_provenance() as u64
}

/// `virgo_open2`.
pub(crate) fn open2(
    name: &CStr,
    flags: c_int,
    mode: u32,
    timeout_ms: u32,
    lock: Option<&Fence>,
) -> Result<OwnedFd, c_int> {
    let fence = lock.map(fence);
    let args = OpenArgs {
        path: path(name),
        flags: flags as u32,
        mode,
        timeout_ms,
        reserved: 0,
        fence: address(fence.as_ref()),
    };
    // SAFETY: The call reads `args`, the path up to its NUL, and the fence with the name, if there is one.
    let fd = unsafe { sized(nr::OPEN2, &raw const args) }?;
    let fd = c_int::try_from(fd).map_err(|_| libc::EBADF)?;
    // SAFETY: The call has just made this descriptor, for its caller.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// `virgo_read2` into `data`.
pub(crate) fn read2(fd: BorrowedFd<'_>, offset: u64, data: &mut [u8], timeout_ms: u32) -> Outcome {
    let args = FileArgs {
        offset,
        len: data.len() as u64,
        data: data.as_mut_ptr().expose_provenance() as u64,
        fd: fd.as_raw_fd(),
        timeout_ms,
        ..Default::default()
    };
    // SAFETY: The call reads `args` and writes at most `len` bytes to `data`, which is borrowed
    // exclusively and may hold any bytes.
    unsafe { sized(nr::READ2, &raw const args) }
}

/// `virgo_write2` of `data`.
pub(crate) fn write2(fd: BorrowedFd<'_>, offset: u64, data: &[u8], timeout_ms: u32) -> Outcome {
    let args = FileArgs {
        offset,
        len: data.len() as u64,
        data: data.as_ptr().expose_provenance() as u64,
        fd: fd.as_raw_fd(),
        timeout_ms,
        ..Default::default()
    };
    // SAFETY: The call reads `args` and the `len` bytes of `data`, which is borrowed.
    unsafe { sized(nr::WRITE2, &raw const args) }
}

/// `virgo_fsync`.
pub(crate) fn fsync(fd: BorrowedFd<'_>, flags: u32, timeout_ms: u32) -> Outcome {
    let args = FsyncArgs {
        fd: fd.as_raw_fd(),
        flags,
        timeout_ms,
        reserved: 0,
    };
    // SAFETY: The call reads `args`.
    unsafe { sized(nr::FSYNC, &raw const args) }
}

/// `virgo_truncate`.
pub(crate) fn truncate(fd: BorrowedFd<'_>, size: u64, timeout_ms: u32) -> Outcome {
    let args = TruncateArgs {
        size,
        fd: fd.as_raw_fd(),
        timeout_ms,
        ..Default::default()
    };
    // SAFETY: The call reads `args`.
    unsafe { sized(nr::TRUNCATE, &raw const args) }
}

/// `virgo_stat` of an open file.
pub(crate) fn stat_of(fd: BorrowedFd<'_>, timeout_ms: u32) -> Result<Stat, c_int> {
    stat(StatArgs {
        fd: fd.as_raw_fd(),
        timeout_ms,
        ..Default::default()
    })
}

/// `virgo_stat` of the file at a path.
pub(crate) fn stat_at(name: &CStr, flags: u32, timeout_ms: u32) -> Result<Stat, c_int> {
    stat(StatArgs {
        path: path(name),
        flags,
        timeout_ms,
        ..Default::default()
    })
}

/// The path of `args`, if any, is borrowed until this returns.
fn stat(args: StatArgs) -> Result<Stat, c_int> {
    let mut stat = Stat::default();
    let args = StatArgs {
        stat: (&raw mut stat).expose_provenance() as u64,
        ..args
    };
    // SAFETY: The call reads `args` and the path, and writes `stat`.
    unsafe { sized(nr::STAT, &raw const args) }?;
    Ok(stat)
}

/// `virgo_unlink`.
pub(crate) fn unlink(name: &CStr, flags: u32, timeout_ms: u32) -> Outcome {
    let args = UnlinkArgs {
        path: path(name),
        flags,
        timeout_ms,
    };
    // SAFETY: The call reads `args`, and the path up to its NUL.
    unsafe { sized(nr::UNLINK, &raw const args) }
}

/// `virgo_rename`.
pub(crate) fn rename(from: &CStr, to: &CStr, flags: u32, timeout_ms: u32) -> Outcome {
    let args = RenameArgs {
        from: path(from),
        to: path(to),
        flags,
        timeout_ms,
    };
    // SAFETY: The call reads `args`, and the paths up to their NULs.
    unsafe { sized(nr::RENAME, &raw const args) }
}

/// `virgo_mkdir`.
pub(crate) fn mkdir(name: &CStr, mode: u32, timeout_ms: u32) -> Outcome {
    let args = MkdirArgs {
        path: path(name),
        mode,
        timeout_ms,
        ..Default::default()
    };
    // SAFETY: The call reads `args`, and the path up to its NUL.
    unsafe { sized(nr::MKDIR, &raw const args) }
}

/// `virgo_readdir` into `data`, from `next` on, which is set to where to go on.
pub(crate) fn readdir(
    name: &CStr,
    next: &mut u64,
    data: &mut [u8],
    flags: u32,
    timeout_ms: u32,
) -> Outcome {
    let mut args = ReaddirArgs {
        path: path(name),
        data: data.as_mut_ptr().expose_provenance() as u64,
        next: *next,
        len: u32::try_from(data.len()).unwrap_or(u32::MAX),
        flags,
        timeout_ms,
        ..Default::default()
    };
    // SAFETY: The call reads `args` and the path, and writes `args` and at most `len` bytes to
    // `data`, which is borrowed exclusively and may hold any bytes.
    let n = unsafe { sized(nr::READDIR, &raw mut args) }?;
    *next = args.next;
    Ok(n)
}

/// Arguments of `virgo_queue`, and the memory that they name.
///
/// # Invariants
///
/// The addresses and lengths in `args`, `fence` and in `messages` are those of memory that is borrowed for
/// `'a`, or 0.
#[derive(Default)]
pub(crate) struct QueueCall<'a> {
    args: QueueArgs,
    fence: Option<abi::FenceArgs>,
    messages: Vec<MessageArgs>,
    memory: PhantomData<(&'a [u8], &'a mut [u8])>,
}

impl<'a> QueueCall<'a> {
    /// No messages; what `args` says of addresses and lengths does not count.
    pub(crate) fn new(args: QueueArgs, name: &'a [u8]) -> Self {
        Self {
            // INVARIANT: Borrowed, or 0.
            args: QueueArgs {
                name: name.as_ptr().expose_provenance() as u64,
                name_len: length(name),
                messages: 0,
                data: 0,
                count: 0,
                len: 0,
                ..args
            },
            ..Self::default()
        }
    }

    /// Adds the lock that guards the queue, if there is one.
    pub(crate) fn fenced(mut self, lock: Option<&'a Fence>) -> Self {
        // INVARIANT: The name is borrowed.
        self.fence = lock.map(fence);
        self
    }

    /// Adds bytes to be read.
    pub(crate) fn data(mut self, data: &'a [u8]) -> Self {
        // INVARIANT: Borrowed.
        self.args.data = data.as_ptr().expose_provenance() as u64;
        self.args.len = length(data);
        self
    }

    /// Adds room for bytes.
    pub(crate) fn room(mut self, room: &'a mut [u8]) -> Self {
        self.args.len = length(room);
        // INVARIANT: Borrowed.
        self.args.data = room.as_mut_ptr().expose_provenance() as u64;
        self
    }

    /// Adds a message with `data` to be read; what it says of addresses and lengths does not count.
    pub(crate) fn push(&mut self, message: MessageArgs, data: &'a [u8]) {
        self.messages.push(MessageArgs {
            // INVARIANT: Borrowed.
            data: data.as_ptr().expose_provenance() as u64,
            len: length(data),
            subject: 0,
            subject_len: 0,
            ..message
        });
    }

    /// Adds room for a message.
    pub(crate) fn push_room(&mut self, data: &'a mut [u8], subject: &'a mut [u8]) {
        self.messages.push(MessageArgs {
            // INVARIANT: Borrowed.
            len: length(data),
            data: data.as_mut_ptr().expose_provenance() as u64,
            subject_len: length(subject),
            subject: subject.as_mut_ptr().expose_provenance() as u64,
            ..MessageArgs::default()
        });
    }

    /// The messages as the last call has left them. The rooms can be read then.
    pub(crate) fn into_messages(self) -> Vec<MessageArgs> {
        self.messages
    }

    /// How much the last call has said that was lost.
    pub(crate) fn lost(&self) -> u64 {
        self.args.lost
    }

    /// `virgo_queue`.
    pub(crate) fn call(&mut self, op: u32) -> Outcome {
        let mut args = QueueArgs {
            lost: 0,
            op,
            messages: self.messages.as_mut_ptr().expose_provenance() as u64,
            count: u32::try_from(self.messages.len()).unwrap_or(u32::MAX),
            fence: address(self.fence.as_ref()),
            ..self.args
        };
        // SAFETY: The call reads and writes `args`, and the `count` messages there, and reads the fence. By the
        // invariant what it reads and writes beside that was borrowed so, and may hold any bytes:
        // operations that write to a message's or the call's data are made with room for it only.
        let returned = unsafe { sized(nr::QUEUE, &raw mut args) };
        self.args.lost = args.lost;
        returned
    }
}

/// `virgo_lock`. What `args` says of addresses does not count.
pub(crate) fn lock(args: &mut LockArgs, name: &[u8], value: Option<&mut [u8; 64]>) -> Outcome {
    args.name = name.as_ptr().expose_provenance() as u64;
    args.name_len = length(name);
    args.value = value.map_or(0, |value| value.as_mut_ptr().expose_provenance() as u64);
    // SAFETY: The call reads and writes `args`, reads the name, and reads or writes the 64 bytes of the
    // value, which is borrowed exclusively and may hold any bytes.
    unsafe { sized(nr::LOCK, &raw mut *args) }
}

fn length(bytes: &[u8]) -> u32 {
    u32::try_from(bytes.len()).unwrap_or(u32::MAX)
}

/// Makes a call that takes a structure.
///
/// # Safety
///
/// `args` is valid for what the call does with it, and so are the addresses that it has.
unsafe fn sized<T>(number: c_long, args: *const T) -> Outcome {
    let arguments = [args.expose_provenance() as u64, size_of::<T>() as u64, 0, 0];
    // SAFETY: By the caller's promise.
    unsafe { door::enter(number, arguments) }
}
