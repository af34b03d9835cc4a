// SPDX-License-Identifier: GPL-2.0

//! What other nodes say of locks. Their heartbeats come on the same connection, and do not wait for the names: while
//! these are in use the rest lies here, in the order in which it came.

use crate::{
    cluster::Cluster,
    names::Names, //
};
use kernel::{
    prelude::*,
    sync::{
        Arc,
        Mutex, //
    }, //
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
use virgo_utils::{
    Body,
    Deferred,
    RequestBody, //
};

struct Letter {
    op: u16,
    request: RequestBody,
    reply: Deferred,
}

struct Letters {
    waiting: KVec<Letter>,
    /// One that was the first is being answered.
    is_read: bool,
}

/// What one node has said and was not answered: a server owes a node only so many replies.
#[pin_data]
pub(crate) struct Inbox {
    #[pin]
    letters: Mutex<Letters>,
}

impl Inbox {
    /// May sleep.
    pub(crate) fn new() -> Result<Arc<Self>> {
        let letters = Letters {
            waiting: KVec::new(),
            is_read: false,
        };
        Arc::pin_init(
            pin_init!(Self {
                letters <- kernel::new_mutex!(letters, "virgo_lock_inbox"),
            }),
            GFP_KERNEL,
        )
    }

    fn is_empty(&self) -> bool {
        let letters = self.letters.lock();
        letters.waiting.is_empty() && !letters.is_read
    }

    fn put(&self, letter: Letter) -> Result {
        Ok(self.letters.lock().waiting.push(letter, GFP_KERNEL)?)
    }

    fn take(&self) -> Option<Letter> {
        let mut letters = self.letters.lock();
        let next = letters.waiting.remove(0).ok();
        letters.is_read = next.is_some();
        next
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
    let cluster = cluster.clone();
    reply.defer_with_request(uid, move |mut reply, request| {
        // So that it does not fail for want of memory when it is done.
        let request = reply.prepare(MAX_ANSWER).and(request);
        match (request, cluster.inbox(from)) {
            (Ok(request), Some(inbox)) => {
                // Dropped, it is asked again.
                let _ = inbox.put(Letter { op, request, reply });
                cluster.wake_reader(from);
            }
            (Err(e), _) => reply.fail(e),
            (_, None) => reply.fail(EINVAL),
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
