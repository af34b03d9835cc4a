// SPDX-License-Identifier: GPL-2.0
//! Numbers and structures of the system calls, as `include/uapi/linux/virgo.h` has them.

use libc::c_long;

macro_rules! numbers {
    ($($name:ident = $number:literal, $text:literal;)*) => {
        /// Numbers of the system calls, x86-64.
        #[expect(missing_docs, reason = "docs/syscalls.md describes the calls")]
        pub mod nr {
            use libc::c_long;
            $(pub const $name: c_long = $number;)*
        }

        /// Name and number of every system call.
        pub const CALLS: &[(&str, c_long)] = &[$(($text, $number)),*];
    };
}

numbers! {
    CLONE = 548, "virgo_clone";
    MALLOC = 549, "virgo_malloc";
    SET = 550, "virgo_set";
    GET = 551, "virgo_get";
    FREE = 552, "virgo_free";
    OPEN = 553, "virgo_open";
    CLOSE = 554, "virgo_close";
    READ = 555, "virgo_read";
    WRITE = 556, "virgo_write";
    CLONE2 = 557, "virgo_clone2";
    WAIT = 558, "virgo_wait";
    CANCEL = 559, "virgo_cancel";
    MALLOC2 = 560, "virgo_malloc2";
    SET2 = 561, "virgo_set2";
    GET2 = 562, "virgo_get2";
    FREE2 = 563, "virgo_free2";
    OPEN2 = 564, "virgo_open2";
    READ2 = 565, "virgo_read2";
    WRITE2 = 566, "virgo_write2";
    FSYNC = 567, "virgo_fsync";
    STAT = 568, "virgo_stat";
    TRUNCATE = 569, "virgo_truncate";
    UNLINK = 570, "virgo_unlink";
    RENAME = 571, "virgo_rename";
    MKDIR = 572, "virgo_mkdir";
    READDIR = 573, "virgo_readdir";
    QUEUE = 574, "virgo_queue";
    LOCK = 575, "virgo_lock";
}

/// Type of the device's ioctls.
const IOC_TYPE: u64 = 0xb9;
/// Largest size of a structure that the number of an ioctl has room for.
pub(crate) const IOC_SIZE_MAX: u64 = (1 << 14) - 1;

/// Number of the ioctl on `/dev/virgo` that makes a call: `VIRGO_IOC()` of the header. What does not
/// fit is left out.
pub const fn ioc(number: c_long, size: usize) -> u64 {
    const READ_AND_WRITE: u64 = 3;
    let index = (number - nr::CLONE) as u64 & 0xff;
    (READ_AND_WRITE << 30) | ((size as u64 & IOC_SIZE_MAX) << 16) | (IOC_TYPE << 8) | index
}

/// Flag of [`MallocArgs`]: every uid of the cluster may set, get and free the allocation.
pub const MALLOC_SHARED: u32 = 1 << 0;

/// Place of [`MallocArgs`]: as `/etc/virgo_client.conf` says.
pub const PLACE_DEFAULT: u32 = 0;
/// Place of [`MallocArgs`]: each chunk on a random node.
pub const PLACE_RANDOM: u32 = 1;
/// Place of [`MallocArgs`]: each chunk where the most pool memory is free.
pub const PLACE_LEAST_USED: u32 = 2;
/// Place of [`MallocArgs`]: all chunks on [`MallocArgs::node`].
pub const PLACE_NODE: u32 = 3;

/// Arguments of `virgo_malloc2`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct MallocArgs {
    /// Bytes to allocate, at least 1.
    pub size: u64,
    /// Set on success: names the allocation on every node.
    pub id: u64,
    /// [`MALLOC_SHARED`].
    pub flags: u32,
    /// One of the `PLACE_` constants.
    pub place: u32,
    /// Number of the node for [`PLACE_NODE`], otherwise 0.
    pub node: u32,
    /// Deadline of the whole call; 0 means the configured one.
    pub timeout_ms: u32,
}

/// A lock that guards an object, and the token with which it was granted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Fence {
    /// Address of the lock's name.
    pub name: u64,
    /// Its token, not 0.
    pub token: u64,
    /// Bytes of the name.
    pub name_len: u32,
    /// Must be 0.
    pub flags: u32,
}

/// Arguments of `virgo_set2` and `virgo_get2`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct DataArgs {
    /// The allocation.
    pub id: u64,
    /// First byte of the allocation to touch.
    pub offset: u64,
    /// Bytes at `data`.
    pub len: u64,
    /// Address of the bytes.
    pub data: u64,
    /// Must be 0.
    pub flags: u32,
    /// Deadline of the whole call; 0 means the configured one.
    pub timeout_ms: u32,
    /// Of `virgo_set2`: address of a [`Fence`], or 0.
    pub fence: u64,
}

/// Arguments of `virgo_free2`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct FreeArgs {
    /// The allocation.
    pub id: u64,
    /// Must be 0.
    pub flags: u32,
    /// Deadline of the whole call; 0 means the configured one.
    pub timeout_ms: u32,
    /// Address of a [`Fence`], or 0.
    pub fence: u64,
}

/// Place of [`Call`]: as `/etc/virgo_client.conf` says.
pub const RUN_DEFAULT: u32 = 0;
/// Place of [`Call`]: the least loaded node, as far as is known.
pub const RUN_LEAST: u32 = 1;
/// Place of [`Call`]: a random node.
pub const RUN_RANDOM: u32 = 2;
/// Place of [`Call`]: the less loaded of two random nodes.
pub const RUN_TWO: u32 = 3;
/// Place of [`Call`]: on [`Call::node`].
pub const RUN_NODE: u32 = 4;

/// State of [`Call`]: what came of it is not known yet.
pub const CALL_RUNNING: u32 = 0;
/// State of [`Call`]: a function returned the value.
pub const CALL_RETURNED: u32 = 1;
/// State of [`Call`]: a program ended with the value as status.
pub const CALL_EXITED: u32 = 2;
/// State of [`Call`]: the signal with this number killed it.
pub const CALL_KILLED: u32 = 3;
/// State of [`Call`]: it did not run, or nobody knows; the value is an errno.
pub const CALL_FAILED: u32 = 4;

/// Flag of [`Call`], set by the kernel: there was more output than is shown.
pub const CALL_TRUNCATED: u32 = 1 << 0;

/// Flag of [`CloneArgs`]: do not wait; `virgo_wait` gets the results.
pub const CLONE_ASYNC: u32 = 1 << 0;

/// Most calls in one `virgo_clone2` or `virgo_wait`.
pub const MAX_CALLS: usize = 1000;

/// One call of a function or program on some node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Call {
    /// Address of what to call and its arguments, each ended by a NUL byte.
    pub argv: u64,
    /// Address for the output: standard output, then standard error.
    pub output: u64,
    /// Set: names the job until its result was taken.
    pub job: u64,
    /// Set: what the state says.
    pub value: i64,
    /// Bytes at `argv`, with the NULs.
    pub argv_len: u32,
    /// Room at `output`.
    pub output_len: u32,
    /// One of the `RUN_` constants.
    pub place: u32,
    /// Number of the node for [`RUN_NODE`], otherwise 0; set to the node that it went to.
    pub node: u32,
    /// Set: one of the `CALL_` states.
    pub state: u32,
    /// Set: bytes of standard output.
    pub out_len: u32,
    /// Set: bytes of standard error behind them.
    pub err_len: u32,
    /// 0; set: [`CALL_TRUNCATED`].
    pub flags: u32,
}

/// Arguments of `virgo_clone2`, and of `virgo_wait` with other flags.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct CloneArgs {
    /// Address of an array of [`Call`].
    pub calls: u64,
    /// How many: 1 to [`MAX_CALLS`].
    pub count: u32,
    /// [`CLONE_ASYNC`]; for `virgo_wait` 0.
    pub flags: u32,
    /// Deadline of each call, or longest wait; 0 means the configured one.
    pub timeout_ms: u32,
    /// Size of a [`Call`].
    pub call_size: u32,
}

/// Arguments of `virgo_wait`.
pub type WaitArgs = CloneArgs;

/// Arguments of `virgo_cancel`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct CancelArgs {
    /// The job.
    pub job: u64,
    /// Must be 0.
    pub flags: u32,
    /// Deadline of this call; 0 means the configured one.
    pub timeout_ms: u32,
}

/// Arguments of `virgo_open2`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct OpenArgs {
    /// Address of the path, ended by NUL.
    pub path: u64,
    /// Of open(2).
    pub flags: u32,
    /// Permissions of a new file.
    pub mode: u32,
    /// Deadline of this call, and of reads and writes; 0 means the configured one.
    pub timeout_ms: u32,
    /// Must be 0.
    pub reserved: u32,
}

/// Arguments of `virgo_read2` and `virgo_write2`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct FileArgs {
    /// First byte.
    pub offset: u64,
    /// Bytes at `data`.
    pub len: u64,
    /// Address of the bytes.
    pub data: u64,
    /// The descriptor.
    pub fd: i32,
    /// Must be 0.
    pub flags: u32,
    /// Deadline of the whole call; 0 means that of the descriptor.
    pub timeout_ms: u32,
    /// Must be 0.
    pub reserved: u32,
}

/// Flag of [`FsyncArgs`]: like fdatasync(2).
pub const FSYNC_DATA: u32 = 1 << 0;

/// Arguments of `virgo_fsync`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct FsyncArgs {
    /// The descriptor.
    pub fd: i32,
    /// [`FSYNC_DATA`].
    pub flags: u32,
    /// Deadline of this call; 0 means that of the descriptor.
    pub timeout_ms: u32,
    /// Must be 0.
    pub reserved: u32,
}

/// What is known of a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Stat {
    /// Number of the inode.
    pub ino: u64,
    /// Bytes.
    pub size: u64,
    /// Units of 512 bytes on the disk.
    pub blocks: u64,
    /// Last change of the content: seconds since 1970.
    pub mtime_s: i64,
    /// And nanoseconds.
    pub mtime_ns: u32,
    /// Kind and permissions, as in stat(2).
    pub mode: u32,
    /// Names.
    pub nlink: u32,
    /// Owner, as the node that has the file numbers them.
    pub uid: u32,
    /// Group, likewise.
    pub gid: u32,
    /// That node's number.
    pub node: u32,
}

/// Flag of [`StatArgs`]: of a symbolic link itself.
pub const STAT_NO_FOLLOW: u32 = 1 << 0;

/// Arguments of `virgo_stat`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct StatArgs {
    /// Address of the path, ended by NUL; 0 to use the descriptor.
    pub path: u64,
    /// Address of a [`Stat`].
    pub stat: u64,
    /// The descriptor; 0 with a path.
    pub fd: i32,
    /// [`STAT_NO_FOLLOW`].
    pub flags: u32,
    /// Deadline of this call; 0 means the configured one.
    pub timeout_ms: u32,
    /// Must be 0.
    pub reserved: u32,
}

/// Arguments of `virgo_truncate`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct TruncateArgs {
    /// Bytes that the file has afterwards.
    pub size: u64,
    /// The descriptor.
    pub fd: i32,
    /// Must be 0.
    pub flags: u32,
    /// Deadline of this call; 0 means that of the descriptor.
    pub timeout_ms: u32,
    /// Must be 0.
    pub reserved: u32,
}

/// Flag of [`UnlinkArgs`]: an empty directory.
pub const UNLINK_DIRECTORY: u32 = 1 << 0;

/// Arguments of `virgo_unlink`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct UnlinkArgs {
    /// Address of the path, ended by NUL.
    pub path: u64,
    /// [`UNLINK_DIRECTORY`].
    pub flags: u32,
    /// Deadline of this call; 0 means the configured one.
    pub timeout_ms: u32,
}

/// Flag of [`RenameArgs`]: the new name must not be there.
pub const RENAME_NO_REPLACE: u32 = 1 << 0;

/// Arguments of `virgo_rename`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct RenameArgs {
    /// Address of the path, ended by NUL.
    pub from: u64,
    /// Address of the new path, ended by NUL.
    pub to: u64,
    /// [`RENAME_NO_REPLACE`].
    pub flags: u32,
    /// Deadline of this call; 0 means the configured one.
    pub timeout_ms: u32,
}

/// Arguments of `virgo_mkdir`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct MkdirArgs {
    /// Address of the path, ended by NUL.
    pub path: u64,
    /// Permissions.
    pub mode: u32,
    /// Must be 0.
    pub flags: u32,
    /// Deadline of this call; 0 means the configured one.
    pub timeout_ms: u32,
    /// Must be 0.
    pub reserved: u32,
}

/// Bytes of an entry of `virgo_readdir` before its name: inode (8), type (1), length (1).
pub const DIRENT_SIZE: usize = 10;

/// The same with [`READDIR_STAT`]: a [`Stat`], type (1), length (1).
pub const DIRENT_STAT_SIZE: usize = size_of::<Stat>() + 2;

/// Flag of [`ReaddirArgs`]: entries begin with what is known of them.
pub const READDIR_STAT: u32 = 1 << 0;

/// Arguments of `virgo_readdir`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct ReaddirArgs {
    /// Address of the path, ended by NUL.
    pub path: u64,
    /// Address for the entries.
    pub data: u64,
    /// 0 at first; set to where the next call goes on.
    pub next: u64,
    /// Bytes at `data`: at least 512; at most 65536 are used.
    pub len: u32,
    /// [`READDIR_STAT`].
    pub flags: u32,
    /// Deadline of this call; 0 means the configured one.
    pub timeout_ms: u32,
    /// Must be 0.
    pub reserved: u32,
}

/// Operations of [`QueueArgs`].
#[expect(missing_docs, reason = "docs/syscalls.md describes them")]
pub mod queue_op {
    pub const CREATE: u32 = 1;
    pub const DELETE: u32 = 2;
    pub const PUBLISH: u32 = 3;
    pub const OPEN: u32 = 4;
    pub const TAKE: u32 = 5;
    pub const ACK: u32 = 6;
    pub const NACK: u32 = 7;
    pub const REQUEST: u32 = 8;
    pub const REPLY: u32 = 9;
    pub const PURGE: u32 = 10;
}

/// Flag of [`Message`], set by the kernel: somebody waits for a reply.
pub const MESSAGE_REQUEST: u32 = 1 << 0;

/// Most messages in one `virgo_queue`.
pub const MAX_MESSAGES: usize = 1024;

/// A message that is published or taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Message {
    /// Of which message; set by take.
    pub id: u64,
    /// Set by take: number in the queue or topic that it was published to.
    pub position: u64,
    /// Address of the bytes.
    pub data: u64,
    /// Take: address for the name that it was published to.
    pub subject: u64,
    /// Bytes at `data`; take: room there, set to the message's bytes.
    pub len: u32,
    /// Take: room at `subject`, set likewise.
    pub subject_len: u32,
    /// Until it can be taken, or taken again.
    pub delay_ms: u32,
    /// 0 to 9, larger is sooner.
    pub priority: u32,
    /// Set by take: how often it was taken.
    pub deliveries: u32,
    /// 0; set: [`MESSAGE_REQUEST`].
    pub flags: u32,
}

/// Arguments of `virgo_queue`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct QueueArgs {
    /// One of [`queue_op`].
    pub op: u32,
    /// Must be 0.
    pub flags: u32,
    /// Whose queue; 0 is this node.
    pub node: u32,
    /// Longest wait; 0 means the configured one.
    pub timeout_ms: u32,
    /// Address of the name or pattern.
    pub name: u64,
    /// Bytes there.
    pub name_len: u32,
    /// Descriptor, if there is no name.
    pub fd: i32,
    /// Address of an array of [`Message`].
    pub messages: u64,
    /// Address of options, or for a reply.
    pub data: u64,
    /// Messages.
    pub count: u32,
    /// Bytes at `data`.
    pub len: u32,
    /// Set by publish: copies of messages for which there was no room somewhere. Set by a take from
    /// a descriptor: messages that its subscription has lost.
    pub lost: u64,
}

/// Operations of [`LockArgs`].
#[expect(missing_docs, reason = "docs/syscalls.md describes them")]
pub mod lock_op {
    pub const OPEN: u32 = 1;
    pub const LOCK: u32 = 2;
    pub const CONVERT: u32 = 3;
    pub const UNLOCK: u32 = 4;
}

/// Flag of [`LockArgs`]: `EAGAIN` instead of waiting.
pub const LOCK_TRY: u32 = 1 << 0;
/// Flag of [`LockArgs`]: `EINPROGRESS` instead of waiting; an event follows.
pub const LOCK_ASYNC: u32 = 1 << 1;
/// Flag of [`LockArgs`], set by the kernel: the value block is what was written last.
pub const LOCK_VALID: u32 = 1 << 16;
/// Timeout of [`LockArgs`]: until the task is killed.
pub const LOCK_FOREVER: u32 = u32::MAX;

/// Arguments of `virgo_lock`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct LockArgs {
    /// One of [`lock_op`].
    pub op: u32,
    /// [`LOCK_TRY`], [`LOCK_ASYNC`]; [`LOCK_VALID`] is set.
    pub flags: u32,
    /// The session's descriptor; -1 to open one.
    pub fd: i32,
    /// NL to EX: 1 to 6.
    pub mode: u32,
    /// Longest wait; 0 means the configured one.
    pub timeout_ms: u32,
    /// Bytes of the name.
    pub name_len: u32,
    /// Address of the name.
    pub name: u64,
    /// The fencing token: set when it is locked; to unlock, the one that it must have, or 0.
    pub token: u64,
    /// Address of a value block of 64 bytes, or 0.
    pub value: u64,
}

/// What has happened to a lock of a session, as read(2) gives it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct LockEvent {
    /// Its token, if it was granted.
    pub token: u64,
    /// 1 granted, 2 keeps somebody out, 3 refused, 4 lost, 5 events were missed.
    pub kind: u32,
    /// What was granted or is waited for.
    pub mode: u32,
    /// Errno.
    pub error: u32,
    /// Bytes of the name.
    pub name_len: u32,
    /// The name, with zeros behind it.
    pub name: [u8; 256],
}

const _: () = assert!(size_of::<LockArgs>() == 48 && align_of::<LockArgs>() == 8);
const _: () = assert!(size_of::<LockEvent>() == 280 && align_of::<LockEvent>() == 8);
const _: () = assert!(size_of::<Message>() == 56 && align_of::<Message>() == 8);
const _: () = assert!(size_of::<QueueArgs>() == 64 && align_of::<QueueArgs>() == 8);
const _: () = assert!(size_of::<MallocArgs>() == 32 && align_of::<MallocArgs>() == 8);
const _: () = assert!(size_of::<DataArgs>() == 48 && align_of::<DataArgs>() == 8);
const _: () = assert!(size_of::<FreeArgs>() == 24 && align_of::<FreeArgs>() == 8);
const _: () = assert!(size_of::<Fence>() == 24 && align_of::<Fence>() == 8);
const _: () = assert!(size_of::<Call>() == 64 && align_of::<Call>() == 8);
const _: () = assert!(size_of::<CloneArgs>() == 24 && align_of::<CloneArgs>() == 8);
const _: () = assert!(size_of::<CancelArgs>() == 16 && align_of::<CancelArgs>() == 8);
const _: () = assert!(size_of::<OpenArgs>() == 24 && align_of::<OpenArgs>() == 8);
const _: () = assert!(size_of::<FileArgs>() == 40 && align_of::<FileArgs>() == 8);
const _: () = assert!(size_of::<StatArgs>() == 32 && align_of::<StatArgs>() == 8);
const _: () = assert!(size_of::<TruncateArgs>() == 24 && align_of::<TruncateArgs>() == 8);
const _: () = assert!(size_of::<UnlinkArgs>() == 16 && align_of::<UnlinkArgs>() == 8);
const _: () = assert!(size_of::<RenameArgs>() == 24 && align_of::<RenameArgs>() == 8);
const _: () = assert!(size_of::<MkdirArgs>() == 24 && align_of::<MkdirArgs>() == 8);
const _: () = assert!(size_of::<ReaddirArgs>() == 40 && align_of::<ReaddirArgs>() == 8);
const _: () = assert!(size_of::<Stat>() == 56 && align_of::<Stat>() == 8);
const _: () = assert!(size_of::<FsyncArgs>() == 16 && align_of::<FsyncArgs>() == 4);

#[cfg(test)]
mod tests {
    use super::*;
    use std::mem::offset_of;

    const HEADER: &str = include_str!("../../../include/uapi/linux/virgo.h");

    /// Names that begin so and values of the header's `#define` lines.
    fn defines(prefix: &str) -> Vec<(&'static str, &'static str)> {
        HEADER
            .lines()
            .filter_map(|line| line.strip_prefix("#define ")?.strip_prefix(prefix))
            .filter_map(|define| define.split_once(char::is_whitespace))
            .map(|(name, value)| (name, value.split("/*").next().unwrap_or(value).trim()))
            .collect()
    }

    #[test]
    fn numbers_are_those_of_the_header() {
        let header: Vec<_> = defines("__NR_")
            .into_iter()
            .map(|(name, number)| (name, number.parse().unwrap()))
            .collect();
        assert_eq!(header, CALLS);
    }

    #[test]
    fn ioctl_numbers_are_those_of_the_header() {
        assert_eq!(defines("VIRGO_IOC_TYPE"), [("", "0xb9")]);
        assert_eq!(members("virgo_first_args"), ["args[4]"]);
        // _IOWR(0xb9, 0, 32 bytes), _IOWR(0xb9, 26, 64 bytes).
        assert_eq!(ioc(nr::CLONE, 32), 0xc020_b900);
        assert_eq!(ioc(nr::QUEUE, 64), 0xc040_b91a);
    }

    #[test]
    fn constants_are_those_of_the_header() {
        assert_eq!(defines("VIRGO_MALLOC_SHARED"), [("", "(1U << 0)")]);
        assert_eq!(MALLOC_SHARED, 1 << 0);
        assert_eq!(defines("VIRGO_CLONE_ASYNC"), [("", "(1U << 0)")]);
        assert_eq!(CLONE_ASYNC, 1 << 0);
        let places = [
            ("DEFAULT", PLACE_DEFAULT),
            ("RANDOM", PLACE_RANDOM),
            ("LEAST_USED", PLACE_LEAST_USED),
            ("NODE", PLACE_NODE),
        ];
        assert_eq!(numbers("VIRGO_PLACE_"), places);
        let runs = [
            ("DEFAULT", RUN_DEFAULT),
            ("LEAST", RUN_LEAST),
            ("RANDOM", RUN_RANDOM),
            ("TWO", RUN_TWO),
            ("NODE", RUN_NODE),
        ];
        assert_eq!(numbers("VIRGO_RUN_"), runs);
        let states = [
            ("RUNNING", CALL_RUNNING),
            ("RETURNED", CALL_RETURNED),
            ("EXITED", CALL_EXITED),
            ("KILLED", CALL_KILLED),
            ("FAILED", CALL_FAILED),
        ];
        assert_eq!(numbers("VIRGO_CALL_"), states);
        assert_eq!(defines("VIRGO_CALL_TRUNCATED"), [("", "(1U << 0)")]);
        assert_eq!(CALL_TRUNCATED, 1 << 0);
        for (name, flag) in [
            ("VIRGO_FSYNC_DATA", FSYNC_DATA),
            ("VIRGO_STAT_NO_FOLLOW", STAT_NO_FOLLOW),
            ("VIRGO_READDIR_STAT", READDIR_STAT),
            ("VIRGO_UNLINK_DIRECTORY", UNLINK_DIRECTORY),
            ("VIRGO_RENAME_NO_REPLACE", RENAME_NO_REPLACE),
        ] {
            assert_eq!(defines(name), [("", "(1U << 0)")]);
            assert_eq!(flag, 1 << 0);
        }
        let operations = [
            ("CREATE", queue_op::CREATE),
            ("DELETE", queue_op::DELETE),
            ("PUBLISH", queue_op::PUBLISH),
            ("OPEN", queue_op::OPEN),
            ("TAKE", queue_op::TAKE),
            ("ACK", queue_op::ACK),
            ("NACK", queue_op::NACK),
            ("REQUEST", queue_op::REQUEST),
            ("REPLY", queue_op::REPLY),
            ("PURGE", queue_op::PURGE),
            ("ARGS_SIZE_VER0", 56),
            ("ARGS_SIZE_VER1", 64),
        ];
        assert_eq!(numbers("VIRGO_QUEUE_"), operations);
        for (name, number) in [
            ("VIRGO_LOCK_OPEN", lock_op::OPEN),
            ("VIRGO_LOCK_LOCK", lock_op::LOCK),
            ("VIRGO_LOCK_CONVERT", lock_op::CONVERT),
            ("VIRGO_LOCK_UNLOCK", lock_op::UNLOCK),
        ] {
            assert_eq!(numbers(name), [("", number)]);
        }
        assert_eq!(defines("VIRGO_LOCK_TRY"), [("", "(1U << 0)")]);
        assert_eq!(defines("VIRGO_LOCK_ASYNC"), [("", "(1U << 1)")]);
        assert_eq!(defines("VIRGO_LOCK_VALID"), [("", "(1U << 16)")]);
        assert_eq!(defines("VIRGO_MESSAGE_"), [("REQUEST", "(1U << 0)")]);
        assert_eq!(MESSAGE_REQUEST, 1 << 0);
        assert_eq!(defines("VIRGO_MAX_MESSAGES"), [("", "1024")]);
        assert_eq!(MAX_MESSAGES, 1024);
        assert_eq!(defines("VIRGO_MAX_CALLS"), [("", "1000")]);
        assert_eq!(MAX_CALLS, 1000);
    }

    /// Those of [`defines`] that are plain numbers.
    fn numbers(prefix: &str) -> Vec<(&'static str, u32)> {
        let plain = |(name, value): (_, &str)| Some((name, value.parse().ok()?));
        defines(prefix).into_iter().filter_map(plain).collect()
    }

    /// Members of a structure of the header, in order.
    fn members(structure: &str) -> Vec<&'static str> {
        let start = format!("\nstruct {structure} {{\n");
        let body = HEADER.split_once(&start).unwrap().1;
        let body = body.split_once("};").unwrap().0;
        body.lines()
            .map(|line| {
                line.split_whitespace()
                    .last()
                    .unwrap()
                    .trim_end_matches(';')
            })
            .collect()
    }

    macro_rules! assert_members {
        ($structure:literal, $type:ty, $($member:ident),*) => {
            assert_eq!(members($structure), [$(stringify!($member)),*]);
            assert!([$(offset_of!($type, $member)),*].is_sorted());
        };
    }

    #[test]
    fn structures_are_those_of_the_header() {
        assert_members!(
            "virgo_malloc_args",
            MallocArgs,
            size,
            id,
            flags,
            place,
            node,
            timeout_ms
        );
        assert_members!(
            "virgo_data_args",
            DataArgs,
            id,
            offset,
            len,
            data,
            flags,
            timeout_ms,
            fence
        );
        assert_members!("virgo_free_args", FreeArgs, id, flags, timeout_ms, fence);
        assert_members!("virgo_fence", Fence, name, token, name_len, flags);
        assert_members!(
            "virgo_call",
            Call,
            argv,
            output,
            job,
            value,
            argv_len,
            output_len,
            place,
            node,
            state,
            out_len,
            err_len,
            flags
        );
        for structure in ["virgo_clone_args", "virgo_wait_args"] {
            assert_eq!(
                members(structure),
                ["calls", "count", "flags", "timeout_ms", "call_size"]
            );
        }
        assert_members!(
            "virgo_message",
            Message,
            id,
            position,
            data,
            subject,
            len,
            subject_len,
            delay_ms,
            priority,
            deliveries,
            flags
        );
        assert_members!(
            "virgo_queue_args",
            QueueArgs,
            op,
            flags,
            node,
            timeout_ms,
            name,
            name_len,
            fd,
            messages,
            data,
            count,
            len,
            lost
        );
        assert_members!(
            "virgo_lock_args",
            LockArgs,
            op,
            flags,
            fd,
            mode,
            timeout_ms,
            name_len,
            name,
            token,
            value
        );
        assert_members!("virgo_cancel_args", CancelArgs, job, flags, timeout_ms);
        assert_members!(
            "virgo_open_args",
            OpenArgs,
            path,
            flags,
            mode,
            timeout_ms,
            reserved
        );
        assert_members!(
            "virgo_file_args",
            FileArgs,
            offset,
            len,
            data,
            fd,
            flags,
            timeout_ms,
            reserved
        );
        assert_members!(
            "virgo_fsync_args",
            FsyncArgs,
            fd,
            flags,
            timeout_ms,
            reserved
        );
        assert_members!(
            "virgo_stat",
            Stat,
            ino,
            size,
            blocks,
            mtime_s,
            mtime_ns,
            mode,
            nlink,
            uid,
            gid,
            node
        );
        assert_members!(
            "virgo_stat_args",
            StatArgs,
            path,
            stat,
            fd,
            flags,
            timeout_ms,
            reserved
        );
        assert_members!(
            "virgo_truncate_args",
            TruncateArgs,
            size,
            fd,
            flags,
            timeout_ms,
            reserved
        );
        assert_members!("virgo_unlink_args", UnlinkArgs, path, flags, timeout_ms);
        assert_members!("virgo_rename_args", RenameArgs, from, to, flags, timeout_ms);
        assert_members!(
            "virgo_mkdir_args",
            MkdirArgs,
            path,
            mode,
            flags,
            timeout_ms,
            reserved
        );
        assert_members!(
            "virgo_readdir_args",
            ReaddirArgs,
            path,
            data,
            next,
            len,
            flags,
            timeout_ms,
            reserved
        );
    }

    #[test]
    fn sizes_are_those_of_the_header() {
        let sizes = [
            ("MALLOC", size_of::<MallocArgs>()),
            ("CLONE", size_of::<CloneArgs>()),
            ("WAIT", size_of::<WaitArgs>()),
            ("CANCEL", size_of::<CancelArgs>()),
            ("OPEN", size_of::<OpenArgs>()),
            ("FILE", size_of::<FileArgs>()),
            ("FSYNC", size_of::<FsyncArgs>()),
            ("STAT", size_of::<StatArgs>()),
            ("TRUNCATE", size_of::<TruncateArgs>()),
            ("UNLINK", size_of::<UnlinkArgs>()),
            ("RENAME", size_of::<RenameArgs>()),
            ("MKDIR", size_of::<MkdirArgs>()),
            ("READDIR", size_of::<ReaddirArgs>()),
            ("LOCK", size_of::<LockArgs>()),
        ];
        for (name, size) in sizes {
            assert_eq!(
                numbers(&format!("VIRGO_{name}_ARGS_SIZE_")),
                [("VER0", size as u32)]
            );
        }
        // The last one is what this library passes.
        for (name, first, size) in [
            ("DATA", 40, size_of::<DataArgs>()),
            ("FREE", 16, size_of::<FreeArgs>()),
            ("QUEUE", 56, size_of::<QueueArgs>()),
        ] {
            assert_eq!(
                numbers(&format!("VIRGO_{name}_ARGS_SIZE_")),
                [("VER0", first), ("VER1", size as u32)]
            );
        }
    }
}
