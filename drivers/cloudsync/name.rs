// SPDX-License-Identifier: GPL-2.0

//! What this node knows of one name: as one that uses it, and as its master.

use crate::{
    events::Kind,
    items::Items,
    session::Session, //
};
use kernel::{
    prelude::*,
    sync::Arc, //
};
use virgo_proto::{
    cloudsync::{
        holder::{
            Fate,
            Holder,
            Local, //
        },
        resource::{
            Answer,
            Entry,
            Report,
            Resource, //
        },
        Mode, //
    },
    vuid::NodeId, //
};
use virgo_utils::budget::Charge;

/// A program's part: it belongs to the local lock whose number is that of the session.
pub(crate) struct Owner {
    pub(crate) session: Arc<Session>,
    /// When it last began to wait, or was granted, in milliseconds of this node's clock.
    pub(crate) since: u64,
    /// It is told of the end of its wait by an event.
    pub(crate) by_event: bool,
    /// It waits.
    waits: bool,
    /// What it was told that somebody waits for.
    told: Option<Mode>,
    /// It was told that the lock is lost.
    knows: bool,
    /// When the wait of one that is told by an event ends: it is among [`crate::expiry::Expiries`] by that.
    pub(crate) until: Option<u64>,
    _charge: Charge,
}

impl Owner {
    pub(crate) fn new(session: Arc<Session>, charge: Charge, by_event: bool, now: u64) -> Self {
        Owner {
            session,
            since: now,
            by_event,
            waits: true,
            told: None,
            knows: false,
            until: None,
            _charge: charge,
        }
    }

    /// It waits once more.
    pub(crate) fn wait(&mut self, by_event: bool, now: u64) {
        self.since = now;
        self.by_event = by_event;
        self.waits = true;
    }
}

/// See the module.
pub(crate) struct Name {
    pub(crate) bytes: Arc<KVec<u8>>,
    /// Where its master is looked for.
    pub(crate) hash: u64,
    pub(crate) master: NodeId,
    pub(crate) holder: Holder<Items<Local>>,
    pub(crate) resource: Option<Resource<Items<Entry>>>,
    pub(crate) owners: KVec<KBox<Owner>>,
    /// Nodes in whose outboxes it is, as bits.
    pub(crate) queued: u64,
    /// Those in whose outboxes it goes before others, as bits.
    pub(crate) hurried: u64,
    /// A claim is under way.
    pub(crate) is_sending: bool,
    /// The master of the present view is to be told what this node has.
    pub(crate) reports: bool,
    /// What this node knew as the former master.
    pub(crate) former: Option<Report>,
    /// Against whoever was the first to name it here.
    charge: Charge,
}

impl Name {
    pub(crate) fn new(bytes: Arc<KVec<u8>>, hash: u64, master: NodeId, charge: Charge) -> Self {
        Name {
            bytes,
            hash,
            master,
            holder: Holder::new(Items::new()),
            resource: None,
            owners: KVec::new(),
            queued: 0,
            hurried: 0,
            is_sending: false,
            reports: false,
            former: None,
            charge,
        }
    }

    /// To whom it is charged.
    pub(crate) fn uid(&self) -> u32 {
        self.charge.uid()
    }

    /// Has nodes give it back that do not use it, this one too. Returns whether there is anything to wait for.
    pub(crate) fn give_back(&mut self) -> bool {
        let recalls = self.resource.as_mut().is_some_and(Resource::recall);
        self.holder.give_back() || recalls
    }

    /// Whether nothing needs it any more.
    pub(crate) fn is_unused(&self) -> bool {
        self.holder.is_unused()
            && self.owners.is_empty()
            && !self.is_sending
            && !self.reports
            && self.queued | self.hurried == 0
            && self.resource.as_ref().is_none_or(Resource::is_unused)
    }

    pub(crate) fn owner_mut(&mut self, id: u64) -> Option<&mut Owner> {
        let owners = self.owners.iter_mut();
        owners
            .map(|owner| &mut **owner)
            .find(|owner| owner.session.id == id)
    }

    /// The user for whom the node claims it: of those who wait the first; root for nobody.
    pub(crate) fn claimant(&self) -> u32 {
        let mut owners = self.owners.iter();
        owners
            .find(|owner| owner.waits)
            .map_or(0, |owner| owner.session.uid)
    }

    /// Session `id` does not wait any more; what it holds it keeps. Returns its part if it has none then.
    pub(crate) fn end_wait(&mut self, id: u64) -> Option<KBox<Owner>> {
        let local = self.holder.local(id);
        if local.is_some_and(|local| local.fate != Fate::Lost) {
            self.holder.cancel(id);
        }
        match self.holder.local(id) {
            None => self.remove_owner(id),
            Some(_) => None,
        }
    }

    /// The wait of session `id`, which is told by an event, is over without a grant, for this errno. As
    /// [`Self::end_wait`].
    pub(crate) fn refuse_wait(&mut self, id: u64, error: Error) -> Option<KBox<Owner>> {
        let bytes = self.bytes.clone();
        let local = self.holder.local(id)?;
        let owner = self.owner_mut(id)?;
        owner.until = None;
        if local.fate == Fate::Lost || !owner.waits || !owner.by_event {
            return None;
        }
        owner.waits = false;
        let kind = Kind::Refused(error.to_errno());
        owner.session.tell(kind, None, local.token, &bytes);
        self.end_wait(id)
    }

    /// Takes the part of session `id` out.
    pub(crate) fn remove_owner(&mut self, id: u64) -> Option<KBox<Owner>> {
        let at = self
            .owners
            .iter()
            .position(|owner| owner.session.id == id)?;
        self.owners.remove(at).ok()
    }

    /// Tells the programs what has become of their locks.
    pub(crate) fn tell_owners(&mut self, now: u64) {
        let next = self.holder.next();
        // Both lists grow at their ends and lose the same sessions.
        for (owner, local) in self.owners.iter_mut().zip(self.holder.locals()) {
            let (owner, bytes) = (&mut **owner, &self.bytes);
            let tell = |kind, mode| {
                owner.session.tell(kind, mode, local.token, bytes);
            };
            if local.fate == Fate::Lost {
                if !owner.knows {
                    owner.knows = true;
                    tell(Kind::Lost, None);
                }
            } else if owner.waits && local.want.is_none() {
                owner.waits = false;
                owner.since = now;
                owner.told = None;
                if owner.by_event {
                    match local.fate {
                        Fate::Refused(answer) => {
                            tell(Kind::Refused(errno(&answer).to_errno()), None)
                        }
                        _ => tell(Kind::Granted, local.held),
                    }
                }
                owner.session.wake();
            } else if let Some(wanted) = self.holder.keeps_out(local, next) {
                if owner.told != Some(wanted) {
                    owner.told = Some(wanted);
                    tell(Kind::Blocks, Some(wanted));
                }
            }
        }
    }
}

/// Why a claim came to nothing, as programs have it.
pub(crate) fn errno(answer: &Answer) -> Error {
    match answer {
        Answer::Busy => EAGAIN,
        Answer::Deadlock => EDEADLK,
        Answer::Exhausted => EOVERFLOW,
        Answer::NoMemory => ENOMEM,
        Answer::Quota => EDQUOT,
        _ => ESTALE,
    }
}
