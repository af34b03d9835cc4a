// SPDX-License-Identifier: GPL-2.0
//! The processor pool: structures of its calls.

/// Place of [`CallArgs`]: as `/etc/virgo_client.conf` says.
pub const RUN_DEFAULT: u32 = 0;

/// Place of [`CallArgs`]: the least loaded node, as far as is known.
pub const RUN_LEAST: u32 = 1;

/// Place of [`CallArgs`]: a random node.
pub const RUN_RANDOM: u32 = 2;

/// Place of [`CallArgs`]: the less loaded of two random nodes.
pub const RUN_TWO: u32 = 3;

/// Place of [`CallArgs`]: on [`CallArgs::node`].
pub const RUN_NODE: u32 = 4;

/// State of [`CallArgs`]: what came of it is not known yet.
pub const CALL_RUNNING: u32 = 0;

/// State of [`CallArgs`]: a function returned the value.
pub const CALL_RETURNED: u32 = 1;

/// State of [`CallArgs`]: a program ended with the value as status.
pub const CALL_EXITED: u32 = 2;

/// State of [`CallArgs`]: the signal with this number killed it.
pub const CALL_KILLED: u32 = 3;

/// State of [`CallArgs`]: it did not run, or nobody knows; the value is an errno.
pub const CALL_FAILED: u32 = 4;

/// Flag of [`CallArgs`], set by the kernel: there was more output than is shown.
pub const CALL_TRUNCATED: u32 = 1 << 0;

/// Flag of [`CloneArgs`]: do not wait; `virgo_wait` gets the results.
pub const CLONE_ASYNC: u32 = 1 << 0;

/// Most calls in one `virgo_clone2` or `virgo_wait`.
pub const MAX_CALLS: usize = 1000;

/// One call of a function or program on some node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct CallArgs {
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
    /// Address of an array of [`CallArgs`].
    pub calls: u64,
    /// How many: 1 to [`MAX_CALLS`].
    pub count: u32,
    /// [`CLONE_ASYNC`]; for `virgo_wait` 0.
    pub flags: u32,
    /// Deadline of each call, or longest wait; 0 means the configured one.
    pub timeout_ms: u32,
    /// Size of a [`CallArgs`].
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

const _: () = assert!(size_of::<CallArgs>() == 64 && align_of::<CallArgs>() == 8);
const _: () = assert!(size_of::<CloneArgs>() == 24 && align_of::<CloneArgs>() == 8);
const _: () = assert!(size_of::<CancelArgs>() == 16 && align_of::<CancelArgs>() == 8);
