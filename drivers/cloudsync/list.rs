// SPDX-License-Identifier: GPL-2.0

//! Who has locks on this node, and who waits: a line each.

use crate::names::Names;
use kernel::{
    prelude::*,
    str::CString, //
};
use linux::deadline::now_ms;
use virgo_proto::cloudsync::Mode;

/// Shows `see` each local lock that user `uid` may know of, until it returns false: name, what it holds and
/// what it waits for (`-` for neither), token, uid, session, milliseconds since, and the node that masters it.
///
/// # Errors
///
/// [`ENOMEM`], and those of `see`.
pub(crate) fn each(names: &Names, uid: u32, mut see: impl FnMut(&[u8]) -> Result<bool>) -> Result {
    let now = now_ms();
    for (_, name) in names.iter() {
        for (owner, local) in name.owners.iter().zip(name.holder.locals()) {
            if uid != 0 && uid != owner.session.uid {
                continue;
            }
            let word = |mode: Option<Mode>| mode.map_or("-", Mode::name);
            // The arguments of `fmt!` are the kernel's own, which do not know this type.
            let line = CString::try_from_fmt(core::format_args!(
                "{} {} {} {} {} {} {} {}",
                name.bytes.as_slice().escape_ascii(),
                word(local.held),
                word(local.want),
                local.token.0,
                owner.session.uid,
                owner.session.id,
                now.saturating_sub(owner.since),
                name.master,
            ))?;
            if !see(line.to_bytes())? {
                return Ok(());
            }
        }
    }
    Ok(())
}
