// SPDX-License-Identifier: GPL-2.0

//! `/sys/kernel/debug/virgo/rollouts`: what root sees of roll-outs, and does with them.

use super::Rollouts;
use kernel::{
    fmt,
    prelude::*,
    str::CString,
    sync::{
        Arc,
        Mutex, //
    },
    uaccess::UserSliceReader, //
};
use linux::{
    bytes::Fill,
    debugfs::Content,
    user, //
};
use virgo_proto::{
    analytics::rollout::wire::MAX_ROLLOUT_TEXT,
    vuid::NodeId, //
};
use virgo_utils::from_wire;

/// Bytes that are taken at a time: a word, a number, a node, and the values.
const MAX_TEXT: usize = MAX_ROLLOUT_TEXT + 64;

/// What the file shows, and takes: `apply NUMBER VALUES`, `begin NUMBER CANARY VALUES` with 0 for no canary,
/// `keep NUMBER`, `commit NUMBER`, `abort NUMBER`. Numbers of roll-outs are chosen at random by who writes, and
/// have 16 hexadecimal digits. A write returns when what it wants is done, or has failed.
pub(crate) struct RolloutControl {
    rollouts: Arc<Rollouts>,
    /// Why what was tried last has failed.
    rejected: Pin<KBox<Mutex<Option<CString>>>>,
}

impl RolloutControl {
    /// May sleep.
    ///
    /// # Errors
    ///
    /// [`ENOMEM`].
    pub(crate) fn new(rollouts: Arc<Rollouts>) -> Result<Self> {
        let rejected = kernel::new_mutex!(None, "virgo_rollout_rejected");
        Ok(RolloutControl {
            rollouts,
            rejected: KBox::pin_init(rejected, GFP_KERNEL)?,
        })
    }

    fn reject(&self, why: Option<CString>) {
        let old = core::mem::replace(&mut *self.rejected.lock(), why);
        drop(old);
    }
}

/// The first word of `text`, and what follows the blank behind it.
fn word(text: &[u8]) -> (&[u8], &[u8]) {
    let end = text.iter().position(|byte| *byte == b' ');
    match end.and_then(|end| text.split_at_checked(end)) {
        Some((word, rest)) => (word, rest.get(1..).unwrap_or_default()),
        None => (text, b""),
    }
}

fn number(word: &[u8]) -> Result<u64> {
    let text = core::str::from_utf8(word).map_err(|_| EINVAL)?;
    match (text.len(), u64::from_str_radix(text, 16)) {
        // Nothing that is decided has number 0.
        (16, Ok(number @ 1..)) => Ok(number),
        _ => Err(EINVAL),
    }
}

fn canary(word: &[u8]) -> Result<Option<NodeId>> {
    let text = core::str::from_utf8(word).map_err(|_| EINVAL)?;
    match text.parse() {
        Ok(0) => Ok(None),
        Ok(node) => Ok(Some(node)),
        Err(_) => Err(EINVAL),
    }
}

impl Content for RolloutControl {
    const WRITABLE: bool = true;

    /// See [`Rollouts`]; and `rejected REASON`, if what was tried last has failed.
    fn show(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.rollouts.show(f)?;
        match &*self.rejected.lock() {
            Some(why) => f.write_fmt(fmt!("rejected\t{}\n", **why)),
            None => Ok(()),
        }
    }

    fn write(&self, reader: &mut UserSliceReader) -> Result {
        self.reject(None);
        let len = reader.len();
        if len > MAX_TEXT {
            return Err(EMSGSIZE);
        }
        let mut text = KVVec::new();
        text.put_zeros(len, GFP_KERNEL_ACCOUNT)?;
        reader.read_slice(&mut text)?;
        let (verb, rest) = word(text.trim_ascii());
        let (id, rest) = word(rest);
        let (id, uid) = (number(id)?, user::current_uid());
        let outcome = match verb {
            b"apply" => self.rollouts.begin(id, rest, None, uid, true)?,
            b"begin" => {
                let (node, values) = word(rest);
                self.rollouts.begin(id, values, canary(node)?, uid, false)?
            }
            b"keep" => self.rollouts.keep(id)?,
            b"commit" => self.rollouts.commit(id)?,
            b"abort" => self.rollouts.abort(id)?,
            _ => return Err(EINVAL),
        };
        outcome.map_err(|error| {
            self.reject(Some(error.reason));
            from_wire(error.errno.to_wire())
        })
    }
}
