// SPDX-License-Identifier: GPL-2.0

//! Who has locks on this node, and who waits: a line each.

use crate::cluster::Cluster;
use kernel::{
    prelude::*,
    str::CString, //
};
use linux::deadline::now_ms;
use virgo_proto::cloudsync::Mode;

/// Names for which the mutex is held in one go.
const BATCH: usize = 64;

/// Shows `see` each local lock that user `uid` may know of, until it returns false: name, what it holds and
/// what it waits for (`-` for neither), token, uid, session, milliseconds since, and the node that masters it.
///
/// # Errors
///
/// [`ENOMEM`], and those of `see`.
pub(crate) fn each(
    cluster: &Cluster,
    uid: u32,
    mut see: impl FnMut(&[u8]) -> Result<bool>,
) -> Result {
    let mut from = 0;
    while let Some(next) = some(cluster, uid, from, &mut see)? {
        from = next;
    }
    Ok(())
}

/// The same for those from place `from` on, as long as the mutex may be held. Returns where it goes on.
fn some(
    cluster: &Cluster,
    uid: u32,
    from: usize,
    see: &mut impl FnMut(&[u8]) -> Result<bool>,
) -> Result<Option<usize>> {
    let now = now_ms();
    let names = cluster.names.lock();
    let places = names.slots.iter().skip(from).take(BATCH);
    for name in places.flatten() {
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
                return Ok(None);
            }
        }
    }
    let next = from + BATCH;
    Ok((next < names.slots.len()).then_some(next))
}
