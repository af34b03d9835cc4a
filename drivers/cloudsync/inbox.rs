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

/// The place of a letter in the order. The letter follows when its request has been taken out of what was
/// received; meanwhile another session of the node may bring the next.
struct Place {
    number: u64,
    letter: Option<Letter>,
}

struct Letters {
    waiting: KVec<Place>,
    /// Places that there were until now.
    places: u64,
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
            places: 0,
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

    /// A place behind all others. Returns its number.
    fn reserve(&self) -> Result<u64> {
        let mut letters = self.letters.lock();
        let number = letters.places;
        let place = Place {
            number,
            letter: None,
        };
        letters.waiting.push(place, GFP_KERNEL)?;
        letters.places = number.wrapping_add(1);
        Ok(number)
    }

    fn put(&self, number: u64, letter: Letter) {
        let mut letters = self.letters.lock();
        let mut places = letters.waiting.iter_mut();
        if let Some(place) = places.find(|place| place.number == number) {
            place.letter = Some(letter);
        }
    }

    /// Gives a place up that has no letter.
    fn give_up(&self, number: u64) {
        let is_kept = |place: &mut Place| place.number != number || place.letter.is_some();
        self.letters.lock().waiting.retain(is_kept);
    }

    /// The first letter, if it is there.
    fn take(&self) -> Option<Letter> {
        let mut letters = self.letters.lock();
        let next = letters
            .waiting
            .first_mut()
            .and_then(|place| place.letter.take());
        if next.is_some() {
            let _ = letters.waiting.remove(0);
        }
        letters.is_read = next.is_some();
        next
    }
}

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
