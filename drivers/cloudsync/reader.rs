// SPDX-License-Identifier: GPL-2.0

//! Answers what other nodes say of locks: at once if the names are free, and otherwise by a work, in the order in
//! which it came.

use crate::{
    cluster::Cluster,
    inbox::Letter,
    names::Names, //
};
use kernel::{
    prelude::*,
    sync::Arc, //
};
use linux::work::{
    Run,
    Task, //
};
use virgo_proto::{
    cloudsync::wire::{
        op,
        In,
        Out,
        MAX_ANSWER, //
    },
    vuid::NodeId, //
};
use virgo_utils::Body;

/// A place in an inbox for a letter that comes, or does not. When this goes away the inbox is read.
struct Coming {
    cluster: Arc<Cluster>,
    from: NodeId,
    number: u64,
}

impl Coming {
    fn put(&self, letter: Letter) {
        if let Some(inbox) = self.cluster.inbox(self.from) {
            inbox.put(self.number, letter);
        }
    }
}

impl Drop for Coming {
    fn drop(&mut self) {
        if let Some(inbox) = self.cluster.inbox(self.from) {
            inbox.give_up(self.number);
        }
        self.cluster.wake_reader(self.from);
    }
}

/// Answers what node `from` says for its user `uid`: now if the names are free, or later.
///
/// # Errors
///
/// As for [`answer`]; what deferring a reply fails with.
pub(crate) fn receive(
    cluster: &Arc<Cluster>,
    from: NodeId,
    (op, uid, request): (u16, u32, &[u8]),
    reply: &mut Body<'_>,
) -> Result {
    let inbox = cluster.inbox(from).ok_or(EINVAL)?;
    if inbox.is_empty() {
        if let Some(mut names) = cluster.names.try_lock() {
            let mut bytes = [0; MAX_ANSWER];
            let len = answer(&mut names, from, op, request, &mut bytes)?;
            drop(names);
            cluster.heard(op);
            return reply.put(bytes.get(..len).unwrap_or_default());
        }
    }
    let coming = Coming {
        cluster: cluster.clone(),
        from,
        number: inbox.reserve()?,
    };
    reply.defer_with_request(uid, move |mut reply, request| {
        // So that it does not fail for want of memory when it is done.
        match reply.prepare(MAX_ANSWER).and(request) {
            Ok(request) => coming.put(Letter { op, request, reply }),
            Err(e) => reply.fail(e),
        }
    })
}

/// Does what node `from` says, and writes the answer. Returns its length.
///
/// # Errors
///
/// [`EINVAL`] if it means nothing; as for [`Names::check_view`]; [`ENOMEM`].
fn answer(
    names: &mut Names,
    from: NodeId,
    op: u16,
    request: &[u8],
    reply: &mut [u8],
) -> Result<usize> {
    let mut bytes = In(request);
    let view = bytes.u64().ok_or(EINVAL)?;
    match op {
        op::CLAIM => {
            let uid = bytes.u32().ok_or(EINVAL)?;
            let name = bytes.name().ok_or(EINVAL)?;
            let claim = bytes.claim().ok_or(EINVAL)?;
            bytes.end().ok_or(EINVAL)?;
            let answer = names.claimed(from, view, uid, name, &claim)?;
            let mut out = Out::new(reply);
            out.answer(&answer);
            return out.finish().ok_or(EMSGSIZE);
        }
        op::NOTICES => {
            names.check_view(view)?;
            while !bytes.is_empty() {
                let name = bytes.name().ok_or(EINVAL)?;
                let notice = bytes.notice().ok_or(EINVAL)?;
                names.noticed(name, &notice)?;
            }
        }
        _ => {
            let is_last = bytes.flag().ok_or(EINVAL)?;
            names.check_view(view)?;
            while !bytes.is_empty() {
                let name = bytes.name().ok_or(EINVAL)?;
                let report = bytes.report().ok_or(EINVAL)?;
                names.reported(from, name, &report)?;
            }
            if is_last {
                names.reported_all(from);
            }
        }
    }
    Ok(0)
}

/// The work that answers what waits.
pub(crate) struct Reader {
    pub(crate) cluster: Arc<Cluster>,
    pub(crate) node: NodeId,
}

impl Run for Reader {
    fn run(task: &Task<Self>) {
        let Some(inbox) = task.cluster.inbox(task.node) else {
            return;
        };
        while let Some(Letter { op, request, reply }) = inbox.take() {
            if !reply.is_wanted() {
                continue;
            }
            let _cause = reply.serve();
            let mut bytes = [0; MAX_ANSWER];
            let mut names = task.cluster.names.lock();
            let answered = answer(&mut names, task.node, op, request.bytes(), &mut bytes);
            drop(names);
            task.cluster.heard(op);
            match answered {
                // There is room.
                Ok(len) => drop(reply.answer_unkept(bytes.get(..len).unwrap_or_default())),
                Err(e) => reply.fail(e),
            }
        }
    }
}
