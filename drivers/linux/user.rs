// SPDX-License-Identifier: GPL-2.0

//! Memory and identity of the calling program.

use crate::helpers;
pub use crate::helpers::{
    virgo_call as Call,
    virgo_cancel_args as CancelArgs,
    virgo_clone_args as CloneArgs,
    virgo_data_args as DataArgs,
    virgo_file_args as FileArgs,
    virgo_free_args as FreeArgs,
    virgo_fsync_args as FsyncArgs,
    virgo_malloc_args as MallocArgs,
    virgo_message as Message,
    virgo_mkdir_args as MkdirArgs,
    virgo_open_args as OpenArgs,
    virgo_queue_args as QueueArgs,
    virgo_readdir_args as ReaddirArgs,
    virgo_rename_args as RenameArgs,
    virgo_stat as Stat,
    virgo_stat_args as StatArgs,
    virgo_truncate_args as TruncateArgs,
    virgo_unlink_args as UnlinkArgs,
    virgo_wait_args as WaitArgs, //
};
use core::{
    mem::{
        offset_of,
        size_of,
        size_of_val, //
    },
    slice, //
};
use kernel::{
    bindings,
    prelude::*,
    transmute::{
        AsBytes,
        FromBytes, //
    },
    uaccess::{
        UserPtr,
        UserSlice, //
    }, //
};

/// The effective uid of the current task, in the initial user name space.
pub fn current_uid() -> u32 {
    // SAFETY: Reads the current task's own credentials.
    unsafe { helpers::virgo_current_uid() }
}

/// A number that names the current task among those that exist; `None` in interrupts. It is good for
/// finding what belongs to the task, and is to be shown to nobody. Any context.
pub fn task_number() -> Option<core::num::NonZeroUsize> {
    // SAFETY: Reads only what belongs to the processor and the current task.
    let number = unsafe { helpers::virgo_task_number() };
    core::num::NonZeroUsize::new(number)
}

/// Makes `len` bytes of the current program's memory present, so that they can be written to without
/// a page fault for a while; not if the program does not have them. May sleep, for the program.
pub fn fault_in(at: UserPtr, len: usize) {
    // SAFETY: Checks the address itself.
    unsafe { helpers::virgo_fault_in(at.as_const_ptr().cast_mut(), len) };
}

/// Writes `bytes` to the current program's memory at `to`, without a page fault. False if that could
/// not be done.
pub fn copy_if_present(to: UserPtr, bytes: &[u8]) -> bool {
    // SAFETY: Checks the address itself; `bytes` is valid for reads of its length.
    unsafe {
        helpers::virgo_copy_if_present(
            to.as_const_ptr().cast_mut(),
            bytes.as_ptr().cast(),
            bytes.len(),
        )
    }
}

/// The arguments of a system call: a structure that grows with new versions.
pub trait Extensible: FromBytes {
    /// Size of its first version.
    const FIRST_SIZE: usize;
}

macro_rules! extensible {
    ($type:ty, $first:ident) => {
        // SAFETY: The structure has integers only and no padding.
        unsafe impl FromBytes for $type {}

        impl Extensible for $type {
            const FIRST_SIZE: usize = helpers::$first as usize;
        }

        const _: () = assert!(size_of::<$type>() == helpers::$first as usize);
    };
}

extensible!(MallocArgs, VIRGO_MALLOC_ARGS_SIZE_VER0);
extensible!(DataArgs, VIRGO_DATA_ARGS_SIZE_VER0);
extensible!(FreeArgs, VIRGO_FREE_ARGS_SIZE_VER0);
extensible!(CloneArgs, VIRGO_CLONE_ARGS_SIZE_VER0);
extensible!(WaitArgs, VIRGO_WAIT_ARGS_SIZE_VER0);
extensible!(CancelArgs, VIRGO_CANCEL_ARGS_SIZE_VER0);
extensible!(OpenArgs, VIRGO_OPEN_ARGS_SIZE_VER0);
extensible!(FileArgs, VIRGO_FILE_ARGS_SIZE_VER0);
extensible!(FsyncArgs, VIRGO_FSYNC_ARGS_SIZE_VER0);
extensible!(StatArgs, VIRGO_STAT_ARGS_SIZE_VER0);
extensible!(TruncateArgs, VIRGO_TRUNCATE_ARGS_SIZE_VER0);
extensible!(UnlinkArgs, VIRGO_UNLINK_ARGS_SIZE_VER0);
extensible!(RenameArgs, VIRGO_RENAME_ARGS_SIZE_VER0);
extensible!(MkdirArgs, VIRGO_MKDIR_ARGS_SIZE_VER0);
extensible!(ReaddirArgs, VIRGO_READDIR_ARGS_SIZE_VER0);

// SAFETY: The structure has integers only and no padding.
unsafe impl FromBytes for QueueArgs {}

impl Extensible for QueueArgs {
    const FIRST_SIZE: usize = helpers::VIRGO_QUEUE_ARGS_SIZE_VER0 as usize;
}

const _: () = assert!(size_of::<QueueArgs>() == helpers::VIRGO_QUEUE_ARGS_SIZE_VER1 as usize);

// SAFETY: The structure has integers only and no padding.
unsafe impl FromBytes for Call {}
// SAFETY: As above.
unsafe impl AsBytes for Call {}
// SAFETY: As above.
unsafe impl AsBytes for Stat {}

// SAFETY: The structure has integers only and no padding.
unsafe impl FromBytes for Message {}
// SAFETY: As above.
unsafe impl AsBytes for Message {}

/// Reads `size` bytes of arguments as the caller's version has them. May sleep.
///
/// # Errors
///
/// [`EINVAL`] if the structure is smaller than its first version, [`E2BIG`] if it is larger than
/// ours and the rest is not zero, [`EFAULT`].
pub fn read_args<T: Extensible>(args: UserPtr, size: usize) -> Result<T> {
    if size < T::FIRST_SIZE {
        return Err(EINVAL);
    }
    if size > kernel::page::PAGE_SIZE {
        return Err(E2BIG);
    }
    if let Some(rest @ 1..) = size.checked_sub(size_of::<T>()) {
        let tail = args.wrapping_byte_add(size_of::<T>());
        // SAFETY: Checks the address itself.
        match unsafe { bindings::check_zeroed_user(tail.as_const_ptr(), rest) } {
            1 => (),
            0 => return Err(E2BIG),
            e => return Err(Error::from_errno(e)),
        }
    }
    if size >= size_of::<T>() {
        return UserSlice::new(args, size_of::<T>()).reader().read::<T>();
    }
    // Of an earlier version: what it does not have is zero.
    let mut bytes = KVec::zeroed(size_of::<T>(), GFP_KERNEL_ACCOUNT)?;
    let known = bytes.get_mut(..size).ok_or(EINVAL)?;
    UserSlice::new(args, size).reader().read_slice(known)?;
    T::from_bytes_copy(&bytes).ok_or(EINVAL)
}

/// Reads `count` values that lie one behind the other. May sleep.
///
/// # Errors
///
/// [`EFAULT`], [`ENOMEM`].
pub fn read_array<T: FromBytes>(at: UserPtr, count: usize) -> Result<KVVec<T>> {
    let mut values = KVVec::<T>::with_capacity(count, GFP_KERNEL_ACCOUNT)?;
    let room = values.spare_capacity_mut().get_mut(..count).ok_or(ENOMEM)?;
    let len = size_of_val(room);
    // SAFETY: This is the memory of `room`, borrowed as long; bytes that may be uninitialised need
    // no alignment.
    let bytes = unsafe { slice::from_raw_parts_mut(room.as_mut_ptr().cast(), len) };
    UserSlice::new(at, len).reader().read_raw(bytes)?;
    // SAFETY: There is room for `count` values; all their bytes were just written, and any bytes are
    // a value, by `T: FromBytes`.
    unsafe { values.inc_len(count) };
    Ok(values)
}

/// Tells the caller of `virgo_malloc2` the id. May sleep.
///
/// # Errors
///
/// [`EFAULT`].
pub fn write_id(args: UserPtr, id: u64) -> Result {
    let field = args.wrapping_byte_add(offset_of!(MallocArgs, id));
    UserSlice::new(field, size_of::<u64>()).writer().write(&id)
}

/// Tells the caller of `virgo_readdir` where to go on. May sleep.
///
/// # Errors
///
/// [`EFAULT`].
pub fn write_next(args: UserPtr, next: u64) -> Result {
    let field = args.wrapping_byte_add(offset_of!(ReaddirArgs, next));
    UserSlice::new(field, size_of::<u64>())
        .writer()
        .write(&next)
}

/// Tells the caller of `virgo_queue` how much was lost. May sleep.
///
/// # Errors
///
/// [`EFAULT`].
pub fn write_lost(args: UserPtr, lost: u64) -> Result {
    let field = args.wrapping_byte_add(offset_of!(QueueArgs, lost));
    UserSlice::new(field, size_of::<u64>())
        .writer()
        .write(&lost)
}

/// Flags of `virgo_malloc2`.
pub const MALLOC_SHARED: u32 = helpers::VIRGO_MALLOC_SHARED;

/// Placements of `virgo_malloc2`.
pub mod place {
    use crate::helpers;

    /// As configured.
    pub const DEFAULT: u32 = helpers::VIRGO_PLACE_DEFAULT;
    /// A random node for each chunk.
    pub const RANDOM: u32 = helpers::VIRGO_PLACE_RANDOM;
    /// The node with most room for each chunk.
    pub const LEAST_USED: u32 = helpers::VIRGO_PLACE_LEAST_USED;
    /// A node that the caller names.
    pub const NODE: u32 = helpers::VIRGO_PLACE_NODE;
}

/// Flag of `virgo_clone2`.
pub const CLONE_ASYNC: u32 = helpers::VIRGO_CLONE_ASYNC;

/// Most calls in one `virgo_clone2` or `virgo_wait`.
pub const MAX_CALLS: u32 = helpers::VIRGO_MAX_CALLS;

/// Where a call runs.
pub mod run {
    use crate::helpers;

    /// As configured.
    pub const DEFAULT: u32 = helpers::VIRGO_RUN_DEFAULT;
    /// On the least loaded node.
    pub const LEAST: u32 = helpers::VIRGO_RUN_LEAST;
    /// On a random node.
    pub const RANDOM: u32 = helpers::VIRGO_RUN_RANDOM;
    /// On the less loaded of two random nodes.
    pub const TWO: u32 = helpers::VIRGO_RUN_TWO;
    /// On a node that the caller names.
    pub const NODE: u32 = helpers::VIRGO_RUN_NODE;
}

/// Flags of the calls on files.
pub mod files {
    use crate::helpers;

    /// Of `virgo_fsync`: as fdatasync(2).
    pub const FSYNC_DATA: u32 = helpers::VIRGO_FSYNC_DATA;
    /// Of `virgo_stat`: of a symbolic link itself.
    pub const STAT_NO_FOLLOW: u32 = helpers::VIRGO_STAT_NO_FOLLOW;
    /// Of `virgo_readdir`: what is known of each entry comes before it.
    pub const READDIR_STAT: u32 = helpers::VIRGO_READDIR_STAT;
    /// Of `virgo_unlink`: an empty directory.
    pub const UNLINK_DIRECTORY: u32 = helpers::VIRGO_UNLINK_DIRECTORY;
    /// Of `virgo_rename`: the new name must not be there.
    pub const RENAME_NO_REPLACE: u32 = helpers::VIRGO_RENAME_NO_REPLACE;
}

/// Most messages in one `virgo_queue`.
pub const MAX_MESSAGES: u32 = helpers::VIRGO_MAX_MESSAGES;

/// Flag of a message that was taken: somebody waits for a reply.
pub const MESSAGE_REQUEST: u32 = helpers::VIRGO_MESSAGE_REQUEST;

/// Operations of `virgo_queue`.
pub mod queue_op {
    use crate::helpers;

    /// Make a queue or topic.
    pub const CREATE: u32 = helpers::VIRGO_QUEUE_CREATE;
    /// Delete it.
    pub const DELETE: u32 = helpers::VIRGO_QUEUE_DELETE;
    /// Publish messages.
    pub const PUBLISH: u32 = helpers::VIRGO_QUEUE_PUBLISH;
    /// Subscribe.
    pub const OPEN: u32 = helpers::VIRGO_QUEUE_OPEN;
    /// Take messages.
    pub const TAKE: u32 = helpers::VIRGO_QUEUE_TAKE;
    /// Messages are done.
    pub const ACK: u32 = helpers::VIRGO_QUEUE_ACK;
    /// Give messages back.
    pub const NACK: u32 = helpers::VIRGO_QUEUE_NACK;
    /// Publish a message and wait for the reply.
    pub const REQUEST: u32 = helpers::VIRGO_QUEUE_REQUEST;
    /// Reply.
    pub const REPLY: u32 = helpers::VIRGO_QUEUE_REPLY;
}
