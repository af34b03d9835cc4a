// SPDX-License-Identifier: GPL-2.0

//! Structures and constants of the calls.
//!
//! C header: [`include/uapi/linux/virgo.h`](srctree/include/uapi/linux/virgo.h)

use crate::generated;
pub use crate::generated::{
    virgo_call as CallArgs,
    virgo_cancel_args as CancelArgs,
    virgo_clone_args as CloneArgs,
    virgo_data_args as DataArgs,
    virgo_fence as FenceArgs,
    virgo_file_args as FileArgs,
    virgo_free_args as FreeArgs,
    virgo_fsync_args as FsyncArgs,
    virgo_lock_args as LockArgs,
    virgo_lock_event as LockEvent,
    virgo_malloc_args as MallocArgs,
    virgo_message as MessageArgs,
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
use core::mem::{
    offset_of,
    size_of, //
};
use kernel::{
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
use linux::user::Extensible;

macro_rules! extensible {
    ($type:ty, $only:ident) => {
        extensible!($type, $only, $only);
    };
    ($type:ty, $first:ident, $last:ident) => {
        // SAFETY: The structure has integers only and no padding.
        unsafe impl FromBytes for $type {}

        impl Extensible for $type {
            const FIRST_SIZE: usize = generated::$first as usize;
        }

        const _: () = assert!(size_of::<$type>() == generated::$last as usize);
    };
}

extensible!(MallocArgs, VIRGO_MALLOC_ARGS_SIZE_VER0);
extensible!(
    DataArgs,
    VIRGO_DATA_ARGS_SIZE_VER0,
    VIRGO_DATA_ARGS_SIZE_VER1
);
extensible!(
    FreeArgs,
    VIRGO_FREE_ARGS_SIZE_VER0,
    VIRGO_FREE_ARGS_SIZE_VER1
);
extensible!(CloneArgs, VIRGO_CLONE_ARGS_SIZE_VER0);
extensible!(WaitArgs, VIRGO_WAIT_ARGS_SIZE_VER0);
extensible!(CancelArgs, VIRGO_CANCEL_ARGS_SIZE_VER0);
extensible!(
    OpenArgs,
    VIRGO_OPEN_ARGS_SIZE_VER0,
    VIRGO_OPEN_ARGS_SIZE_VER1
);
extensible!(FileArgs, VIRGO_FILE_ARGS_SIZE_VER0);
extensible!(FsyncArgs, VIRGO_FSYNC_ARGS_SIZE_VER0);
extensible!(StatArgs, VIRGO_STAT_ARGS_SIZE_VER0);
extensible!(TruncateArgs, VIRGO_TRUNCATE_ARGS_SIZE_VER0);
extensible!(UnlinkArgs, VIRGO_UNLINK_ARGS_SIZE_VER0);
extensible!(RenameArgs, VIRGO_RENAME_ARGS_SIZE_VER0);
extensible!(MkdirArgs, VIRGO_MKDIR_ARGS_SIZE_VER0);
extensible!(ReaddirArgs, VIRGO_READDIR_ARGS_SIZE_VER0);
extensible!(LockArgs, VIRGO_LOCK_ARGS_SIZE_VER0);

// SAFETY: The structure has integers only and no padding.
unsafe impl AsBytes for LockEvent {}

extensible!(
    QueueArgs,
    VIRGO_QUEUE_ARGS_SIZE_VER0,
    VIRGO_QUEUE_ARGS_SIZE_VER2
);

// SAFETY: The structure has integers only and no padding.
unsafe impl FromBytes for FenceArgs {}

// SAFETY: The structure has integers only and no padding.
unsafe impl FromBytes for CallArgs {}
// SAFETY: As above.
unsafe impl AsBytes for CallArgs {}
// SAFETY: As above.
unsafe impl AsBytes for Stat {}

// SAFETY: The structure has integers only and no padding.
unsafe impl FromBytes for MessageArgs {}
// SAFETY: As above.
unsafe impl AsBytes for MessageArgs {}

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

/// Tells the caller of `virgo_lock` the token and flags of the lock. May sleep.
///
/// # Errors
///
/// [`EFAULT`].
pub fn write_lock(args: UserPtr, token: u64, flags: u32) -> Result {
    let field = args.wrapping_byte_add(offset_of!(LockArgs, token));
    UserSlice::new(field, size_of::<u64>())
        .writer()
        .write(&token)?;
    let field = args.wrapping_byte_add(offset_of!(LockArgs, flags));
    UserSlice::new(field, size_of::<u32>())
        .writer()
        .write(&flags)
}

/// Flags of `virgo_malloc2`.
pub const MALLOC_SHARED: u32 = generated::VIRGO_MALLOC_SHARED;

/// Placements of `virgo_malloc2`.
pub mod place {
    use crate::generated;

    /// As configured.
    pub const DEFAULT: u32 = generated::VIRGO_PLACE_DEFAULT;
    /// A random node for each chunk.
    pub const RANDOM: u32 = generated::VIRGO_PLACE_RANDOM;
    /// The node with most room for each chunk.
    pub const LEAST_USED: u32 = generated::VIRGO_PLACE_LEAST_USED;
    /// A node that the caller names.
    pub const NODE: u32 = generated::VIRGO_PLACE_NODE;
}

/// Flag of `virgo_clone2`.
pub const CLONE_ASYNC: u32 = generated::VIRGO_CLONE_ASYNC;

/// Most calls in one `virgo_clone2` or `virgo_wait`.
pub const MAX_CALLS: u32 = generated::VIRGO_MAX_CALLS;

/// Where a call runs.
pub mod run {
    use crate::generated;

    /// As configured.
    pub const DEFAULT: u32 = generated::VIRGO_RUN_DEFAULT;
    /// On the least loaded node.
    pub const LEAST: u32 = generated::VIRGO_RUN_LEAST;
    /// On a random node.
    pub const RANDOM: u32 = generated::VIRGO_RUN_RANDOM;
    /// On the less loaded of two random nodes.
    pub const TWO: u32 = generated::VIRGO_RUN_TWO;
    /// On a node that the caller names.
    pub const NODE: u32 = generated::VIRGO_RUN_NODE;
}

/// Flags of the calls on files.
pub mod files {
    use crate::generated;

    /// Of `virgo_fsync`: as fdatasync(2).
    pub const FSYNC_DATA: u32 = generated::VIRGO_FSYNC_DATA;
    /// Of `virgo_stat`: of a symbolic link itself.
    pub const STAT_NO_FOLLOW: u32 = generated::VIRGO_STAT_NO_FOLLOW;
    /// Of `virgo_readdir`: what is known of each entry comes before it.
    pub const READDIR_STAT: u32 = generated::VIRGO_READDIR_STAT;
    /// Of `virgo_unlink`: an empty directory.
    pub const UNLINK_DIRECTORY: u32 = generated::VIRGO_UNLINK_DIRECTORY;
    /// Of `virgo_rename`: the new name must not be there.
    pub const RENAME_NO_REPLACE: u32 = generated::VIRGO_RENAME_NO_REPLACE;
}

/// Bytes of [`QueueArgs`] of a caller who has room for what was lost.
pub const LOST_END: usize = generated::VIRGO_QUEUE_ARGS_SIZE_VER1 as usize;

const _: () = assert!(LOST_END == offset_of!(QueueArgs, lost) + size_of::<u64>());

/// Most messages in one `virgo_queue`.
pub const MAX_MESSAGES: u32 = generated::VIRGO_MAX_MESSAGES;

/// Flag of a message that was taken: somebody waits for a reply.
pub const MESSAGE_REQUEST: u32 = generated::VIRGO_MESSAGE_REQUEST;

/// Operations of `virgo_queue`.
pub mod queue_op {
    use crate::generated;

    /// Make a queue or topic.
    pub const CREATE: u32 = generated::VIRGO_QUEUE_CREATE;
    /// Delete it.
    pub const DELETE: u32 = generated::VIRGO_QUEUE_DELETE;
    /// Publish messages.
    pub const PUBLISH: u32 = generated::VIRGO_QUEUE_PUBLISH;
    /// Subscribe.
    pub const OPEN: u32 = generated::VIRGO_QUEUE_OPEN;
    /// Take messages.
    pub const TAKE: u32 = generated::VIRGO_QUEUE_TAKE;
    /// Messages are done.
    pub const ACK: u32 = generated::VIRGO_QUEUE_ACK;
    /// Give messages back.
    pub const NACK: u32 = generated::VIRGO_QUEUE_NACK;
    /// Publish a message and wait for the reply.
    pub const REQUEST: u32 = generated::VIRGO_QUEUE_REQUEST;
    /// Reply.
    pub const REPLY: u32 = generated::VIRGO_QUEUE_REPLY;
    /// Drop all messages.
    pub const PURGE: u32 = generated::VIRGO_QUEUE_PURGE;
}

/// Operations, flags and events of `virgo_lock`.
pub mod lock {
    use crate::generated;

    /// Make a session.
    pub const OPEN: u32 = generated::VIRGO_LOCK_OPEN;
    /// Lock.
    pub const LOCK: u32 = generated::VIRGO_LOCK_LOCK;
    /// Change the mode.
    pub const CONVERT: u32 = generated::VIRGO_LOCK_CONVERT;
    /// Give it back.
    pub const UNLOCK: u32 = generated::VIRGO_LOCK_UNLOCK;
    /// Do not wait.
    pub const TRY: u32 = generated::VIRGO_LOCK_TRY;
    /// Do not wait; an event follows.
    pub const ASYNC: u32 = generated::VIRGO_LOCK_ASYNC;
    /// The value block is what was written last.
    pub const VALID: u32 = generated::VIRGO_LOCK_VALID;
    /// No deadline.
    pub const FOREVER: u32 = generated::VIRGO_LOCK_FOREVER;
    /// It was granted.
    pub const GRANTED: u32 = generated::VIRGO_LOCK_EVENT_GRANTED;
    /// It keeps somebody out.
    pub const BLOCKS: u32 = generated::VIRGO_LOCK_EVENT_BLOCKS;
    /// It was refused.
    pub const REFUSED: u32 = generated::VIRGO_LOCK_EVENT_REFUSED;
    /// It was lost.
    pub const LOST: u32 = generated::VIRGO_LOCK_EVENT_LOST;
    /// There was no room for events.
    pub const MISSED: u32 = generated::VIRGO_LOCK_EVENT_MISSED;
}
