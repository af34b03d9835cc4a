// SPDX-License-Identifier: GPL-2.0

//! All names that this node knows, and the view that says who masters them.
//!
//! [`Names`] lies under one mutex, which is held while the state machines work and never while another
//! node is waited for. What others are to be told is noted in their outboxes, which [`crate::teller`]
//! empties.

use crate::{
    expiry::Expiries,
    items::Items,
    lease::Lease,
    name::{
        Name,
        Owner, //
    },
    outbox::Outbox,
    recovery::Recovery,
    sweep::{
        Sweep,
        SweepStep,
        STEP, //
    }, //
};
use kernel::{
    prelude::*,
    rbtree::RBTree,
    sync::Arc, //
};
use linux::{
    crypto,
    deadline::now_ms,
    work::WorkHandle, //
};
use virgo_proto::{
    cloudsync::{
        holder::Local,
        placement,
        resource::{
            Answer,
            Claim,
            Entry,
            Resource, //
        },
        view::View,
        Token,
        Value,
        MAX_NODES, //
    },
    vuid::{
        bit,
        NodeId,
        NodeSetIter, //
    }, //
};
use virgo_utils::budget::{
    Budget,
    Charge, //
};

/// Steps in which a name of this node's own comes to rest; many more than it needs.
const MAX_STEPS: usize = 256;

/// A claim that is to be sent to a master.
pub(crate) struct Outgoing {
    pub(crate) at: usize,
    pub(crate) master: NodeId,
    pub(crate) view: u64,
    pub(crate) claim: Claim,
    /// For this user.
    pub(crate) uid: u32,
    pub(crate) name: KVec<u8>,
}

/// See the module.
pub(crate) struct Names {
    pub(crate) me: NodeId,
    /// This node's incarnation.
    pub(crate) boot: u64,
    /// Bounds the names.
    budget: Pin<KBox<Budget>>,
    pub(crate) slots: KVVec<Option<KBox<Name>>>,
    free: KVVec<u32>,
    pub(crate) sweep: Sweep,
    sweeper: Option<WorkHandle>,
    count: usize,
    /// Slots by a hash of the name that others cannot foresee.
    index: RBTree<(u64, u32), ()>,
    basis: u64,
    pub(crate) view: View<MAX_NODES>,
    /// The view before, if this node was a member of it and has gone on from there.
    pub(crate) former: Option<View<MAX_NODES>>,
    pub(crate) recovery: Option<Recovery>,
    pub(crate) lease: Arc<Lease>,
    /// The lease is over, and programs were told.
    has_lapsed: bool,
    /// The last claim.
    seq: u64,
    /// The largest token of a name that is forgotten.
    floor: Token,
    /// Local locks held and waited for.
    pub(crate) users: usize,
    pub(crate) expiries: Expiries,
    outboxes: KVec<Outbox>,
    /// Nodes that are to be told everything that they have not been told, as bits.
    overflown: u64,
    /// Nodes that have not got this node's reports.
    pub(crate) unreported: u64,
    tellers: KVec<WorkHandle>,
    pub(crate) is_stopped: bool,
}

impl Names {
    /// Room for `max` names. Made in its box, since it has two views, too much for the stack. May sleep.
    pub(crate) fn new(me: NodeId, boot: u64, max: u64, lease: Arc<Lease>) -> Result<KBox<Self>> {
        let mut outboxes = KVec::new();
        for _ in 0..MAX_NODES {
            outboxes.push(Outbox::new(), GFP_KERNEL)?;
        }
        let budget = Budget::new(max)?;
        let names = init!(Names {
            me,
            boot,
            budget,
            slots: KVVec::new(),
            free: KVVec::new(),
            sweep: Sweep::new(),
            sweeper: None,
            count: 0,
            index: RBTree::new(),
            basis: crypto::random_u64(),
            view: View::NONE,
            former: None,
            recovery: None,
            lease,
            has_lapsed: false,
            seq: 0,
            floor: Token(0),
            users: 0,
            expiries: Expiries::new(),
            outboxes,
            overflown: 0,
            unreported: 0,
            tellers: KVec::new(),
            is_stopped: false,
        });
        KBox::init(names, GFP_KERNEL)
    }

    /// Who tells the other nodes, by number from 1, who does what need not be done at once, and who looks at
    /// deadlines.
    pub(crate) fn set_workers(
        &mut self,
        tellers: KVec<WorkHandle>,
        sweeper: WorkHandle,
        expirer: WorkHandle,
    ) {
        self.tellers = tellers;
        self.sweeper = Some(sweeper);
        self.expiries.set_worker(expirer);
    }

    fn wake_sweeper(&self) {
        if let Some(sweeper) = &self.sweeper {
            sweeper.wake_now();
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.count
    }

    pub(crate) fn view(&self) -> &View<MAX_NODES> {
        &self.view
    }

    pub(crate) fn has_lease(&self) -> bool {
        self.lease.is_here()
    }

    pub(crate) fn get(&self, at: usize) -> Option<&Name> {
        self.slots.get(at)?.as_deref()
    }

    pub(crate) fn get_mut(&mut self, at: usize) -> Option<&mut Name> {
        self.slots.get_mut(at)?.as_deref_mut()
    }

    /// The lock of session `id` of the name at `at`, and the value block.
    pub(crate) fn local(&self, at: usize, id: u64) -> Option<(Local, Value)> {
        let holder = &self.get(at)?.holder;
        Some((holder.local(id)?, *holder.value()))
    }

    pub(crate) fn find(&self, name: &[u8]) -> Option<usize> {
        let hash = placement::hash_from(self.basis, name);
        let mut from = 0;
        loop {
            let cursor = self.index.cursor_lower_bound(&(hash, from))?;
            let (&(key, slot), ()) = cursor.current();
            if key != hash {
                return None;
            }
            let at = slot as usize;
            if self.get(at).is_some_and(|known| *known.bytes == *name) {
                return Some(at);
            }
            from = slot.checked_add(1)?;
        }
    }

    /// The place of a name, which is made for user `uid` if it is not there.
    ///
    /// # Errors
    ///
    /// [`EDQUOT`], [`ENOMEM`].
    pub(crate) fn find_or_make(&mut self, name: &[u8], uid: u32) -> Result<usize> {
        if let Some(at) = self.find(name) {
            return Ok(at);
        }
        self.reclaim_if_due();
        match self.budget.charge(uid, 1) {
            Ok(charge) => self.make(name, charge),
            Err(e) => {
                self.reclaim((e == EDQUOT).then_some(uid));
                Err(e)
            }
        }
    }

    /// How many names there are beyond the limit, learned from others.
    fn excess(&self) -> u64 {
        self.budget.used().saturating_sub(self.budget.limit())
    }

    /// Has names given back if there is not much room left.
    pub(crate) fn reclaim_if_due(&mut self) {
        if self.budget.free() < self.budget.limit() / 4 {
            self.reclaim(None);
        }
    }

    /// Has names given back that are charged to user `uid`, or to anybody. Of other nodes it is only asked:
    /// there is room when they have answered.
    fn reclaim(&mut self, uid: Option<u32>) {
        self.sweep.reclaim(uid, self.excess(), self.slots.len());
        self.wake_sweeper();
    }

    /// Lets all names come to rest.
    fn settle_soon(&mut self) {
        self.sweep.settle(self.slots.len());
        self.wake_sweeper();
    }

    /// Does some of what need not be done at once. Returns whether there is more.
    pub(crate) fn sweep(&mut self) -> bool {
        for _ in 0..STEP {
            match self.sweep.next(self.slots.len()) {
                None => return false,
                Some(SweepStep::Settle(at)) => drop(self.settle(at, false)),
                Some(SweepStep::GiveBack(at, uid)) => {
                    let known = self.get_mut(at);
                    let known = known.filter(|name| uid.is_none_or(|uid| name.uid() == uid));
                    if known.is_some_and(|name| name.owners.is_empty() && name.give_back()) {
                        self.settle(at, false);
                        self.sweep.given_back();
                    }
                }
            }
        }
        true
    }

    /// The place of a name that somebody else knows; it is made if it is not there, however many there are.
    ///
    /// # Errors
    ///
    /// [`ENOMEM`].
    pub(crate) fn find_or_learn(&mut self, name: &[u8]) -> Result<usize> {
        match self.find(name) {
            Some(at) => Ok(at),
            None => {
                let charge = self.budget.root().charge_unbounded(1);
                self.make(name, charge)
            }
        }
    }

    fn make(&mut self, name: &[u8], charge: Charge) -> Result<usize> {
        let mut bytes = KVec::with_capacity(name.len(), GFP_KERNEL)?;
        bytes.extend_from_slice(name, GFP_KERNEL)?;
        let bytes = Arc::new(bytes, GFP_KERNEL)?;
        let hash = placement::hash(name);
        let master = self.master_of(hash);
        let new = KBox::new(Name::new(bytes, hash, master, charge), GFP_KERNEL)?;
        let at = match self.free.pop() {
            Some(at) => at as usize,
            None => {
                // Room for its number when it becomes free, so that freeing never fails.
                let more = self.slots.len() + 1;
                self.free.reserve(more, GFP_KERNEL)?;
                self.slots.push(None, GFP_KERNEL)?;
                self.slots.len() - 1
            }
        };
        let key = (placement::hash_from(self.basis, name), at as u32);
        if let Err(e) = self.index.try_create_and_insert(key, (), GFP_KERNEL) {
            let _ = self.free.push_within_capacity(at as u32);
            return Err(e);
        }
        if let Some(slot) = self.slots.get_mut(at) {
            *slot = Some(new);
            self.count += 1;
        }
        Ok(at)
    }

    /// Who masters a name; 0 if this node has no part in that.
    pub(crate) fn master_of(&self, hash: u64) -> NodeId {
        match self.view.has(self.me, self.boot) {
            true => self.view.master(hash).unwrap_or(0),
            false => 0,
        }
    }

    /// Forgets what was the part of a session of the name at `at`.
    pub(crate) fn forget(&mut self, at: usize, owner: Option<KBox<Owner>>) {
        let Some(owner) = owner else {
            return;
        };
        self.users -= 1;
        if let Some(until) = owner.until {
            self.expiries.remove(until, at, owner.session.id);
        }
    }

    pub(crate) fn remove_if_unused(&mut self, at: usize) {
        let Some(name) = self.get(at).filter(|name| name.is_unused()) else {
            return;
        };
        let token = name.resource.as_ref().map_or(Token(0), Resource::token);
        if token.is_late() && token.view() == self.view.number {
            // Other names would begin where this one has ended.
            return;
        }
        let key = (placement::hash_from(self.basis, &name.bytes), at as u32);
        self.floor = self.floor.max(token);
        self.index.remove(&key);
        let gone = self.slots.get_mut(at).and_then(Option::take);
        self.count -= usize::from(gone.is_some());
        let _ = self.free.push_within_capacity(at as u32);
    }

    /// Whether a message of this view can be taken.
    ///
    /// # Errors
    ///
    /// [`ESTALE`] if the view has passed, [`EAGAIN`] if it has not come yet.
    pub(crate) fn check_view(&self, view: u64) -> Result {
        match view.cmp(&self.view.number) {
            _ if !self.view.has(self.me, self.boot) => Err(EAGAIN),
            core::cmp::Ordering::Less => Err(ESTALE),
            core::cmp::Ordering::Equal => Ok(()),
            core::cmp::Ordering::Greater => Err(EAGAIN),
        }
    }

    /// The resource of a name that this node masters; it is made if it is not there.
    pub(crate) fn resource(&mut self, at: usize) -> Option<&mut Resource<Items<Entry>>> {
        let (me, view, floor) = (self.me, self.view.number, self.floor);
        let is_recovering = self.recovery.is_some();
        let former = self.former.as_ref();
        let recovery = self.recovery.as_ref();
        let has_lost = self.view.has_lost || recovery.is_some_and(|recovery| recovery.has_lost);
        let name = self.slots.get_mut(at)?.as_deref_mut()?;
        if name.master != me {
            return None;
        }
        let was_mine = former.is_some_and(|view| view.master(name.hash) == Some(me));
        let make = || match is_recovering && !was_mine {
            true => Resource::recovering(Items::new(), view, !has_lost),
            // A node that is gone may have had it alone.
            false if has_lost && !was_mine => {
                Resource::new(Items::new(), view, floor).of_unknown_value()
            }
            false => Resource::new(Items::new(), view, floor),
        };
        Some(name.resource.get_or_insert_with(make))
    }

    /// Lets a name come to rest: grants what can be granted, and notes what others are to be told. With
    /// `direct` a claim for another master is returned instead, if nobody else sends one.
    pub(crate) fn settle(&mut self, at: usize, direct: bool) -> Option<Outgoing> {
        let now = now_ms();
        let has_lease = self.lease.is_here() && !self.is_stopped;
        let holds = self.lease.holds();
        let (me, view) = (self.me, self.view.number);
        for _ in 0..MAX_STEPS {
            let name = self.slots.get_mut(at)?.as_deref_mut()?;
            if !holds {
                name.holder.lapse();
            }
            name.holder.pump(has_lease);
            if name.master != me {
                break;
            }
            let seq = &mut self.seq;
            let claim = name.holder.claim(|| {
                *seq += 1;
                *seq
            });
            let mut moved = false;
            if let Some(claim) = claim {
                let answer = self.resource(at)?.claim(me, &claim, view);
                self.get_mut(at)?.holder.answer(claim.seq, &answer);
                moved = true;
            }
            let name = self.get_mut(at)?;
            if let Some(resource) = &mut name.resource {
                if let Some(notice) = resource.notice(me) {
                    name.holder.notice(&notice);
                    resource.told(me, &notice);
                    moved = true;
                }
            }
            if !moved {
                break;
            }
        }
        let seq = &mut self.seq;
        let name = self.slots.get_mut(at)?.as_deref_mut()?;
        name.tell_owners(now);
        let mut to = 0;
        let mut is_urgent = true;
        let mut outgoing = None;
        if name.master == me {
            let told = name.resource.iter().flat_map(|resource| resource.notices());
            to = told
                .filter(|node| *node != me)
                .fold(0, |to, node| to | bit(node));
        } else if name.master != 0 && !name.is_sending && !name.reports {
            is_urgent = name.holder.is_waited_for();
            // A report comes before all claims, which build on it.
            let claim = name.holder.claim(|| {
                *seq += 1;
                *seq
            });
            if let Some(claim) = claim {
                to = bit(name.master);
                let mut bytes = KVec::new();
                if direct && bytes.extend_from_slice(&name.bytes, GFP_KERNEL).is_ok() {
                    to = 0;
                    name.is_sending = true;
                    outgoing = Some(Outgoing {
                        at,
                        master: name.master,
                        view,
                        claim,
                        uid: name.claimant(),
                        name: bytes,
                    });
                }
            }
        }
        for node in NodeSetIter(to) {
            self.queue(node, at, is_urgent);
        }
        self.remove_if_unused(at);
        outgoing
    }

    /// Notes that a node is to be told something of the name at `at`.
    fn queue(&mut self, node: NodeId, at: usize, is_urgent: bool) {
        let index = usize::from(node).wrapping_sub(1);
        let Some(name) = self.slots.get_mut(at).and_then(|slot| slot.as_deref_mut()) else {
            return;
        };
        let queued = match is_urgent {
            true => &mut name.hurried,
            false => &mut name.queued,
        };
        if *queued & bit(node) == 0 {
            let outbox = self.outboxes.get_mut(index);
            match outbox.map(|outbox| outbox.push(at as u32, is_urgent)) {
                Some(Ok(())) => *queued |= bit(node),
                _ => self.overflown |= bit(node),
            }
        }
        self.wake(node);
    }

    pub(crate) fn wake(&self, node: NodeId) {
        if let Some(teller) = self.tellers.get(usize::from(node).wrapping_sub(1)) {
            teller.wake_now();
        }
    }

    /// The next name of which a node is to be told something. It is not noted any more then.
    pub(crate) fn next_for(&mut self, node: NodeId) -> Option<usize> {
        if self.overflown & bit(node) != 0 {
            self.overflown &= !bit(node);
            for at in 0..self.slots.len() {
                self.settle(at, false);
            }
        }
        let outbox = self.outboxes.get_mut(usize::from(node).wrapping_sub(1))?;
        let (at, was_urgent) = outbox.pop()?;
        let at = at as usize;
        if let Some(name) = self.get_mut(at) {
            match was_urgent {
                true => name.hurried &= !bit(node),
                false => name.queued &= !bit(node),
            }
        }
        Some(at)
    }

    /// The claim of the name at `at` for the master `node`, if there is one and nobody else sends it.
    pub(crate) fn claim_for(&mut self, node: NodeId, at: usize) -> Option<Outgoing> {
        match self.get(at).is_some_and(|name| name.master == node) {
            true => self.settle(at, true),
            false => None,
        }
    }

    /// A claim was answered, or failed: then it is sent again.
    pub(crate) fn sent(&mut self, out: &Outgoing, answer: Result<Answer>) {
        let Some(name) = self.get_mut(out.at) else {
            return;
        };
        name.is_sending = false;
        if let Ok(answer) = answer {
            name.holder.answer(out.claim.seq, &answer);
        }
        self.settle(out.at, false);
    }

    /// There is a lease again: grants go on.
    pub(crate) fn resume(&mut self) {
        self.has_lapsed = false;
        if self.users > 0 {
            self.settle_soon();
        }
    }

    /// Takes the locks from all programs if the time is over for which they have them. Returns when that is
    /// to be looked at again, if they have any.
    pub(crate) fn lapse_if_due(&mut self) -> Option<u64> {
        let until = self.lease.hold_until();
        if self.users == 0 || self.has_lapsed || until == u64::MAX {
            return None;
        }
        if self.lease.holds() {
            return Some(until);
        }
        self.has_lapsed = true;
        self.settle_soon();
        None
    }

    /// The same for the name at `at`, whose owner is about to be told how it stands.
    pub(crate) fn lapse_at(&mut self, at: usize) {
        if !self.lease.holds() {
            if let Some(name) = self.get_mut(at) {
                name.holder.lapse();
            }
        }
    }

    /// Ends all waits and takes the locks from all programs, and refuses more as long as `stopped`.
    pub(crate) fn set_stopped(&mut self, stopped: bool) {
        self.is_stopped = stopped;
        for at in 0..self.slots.len() {
            if let Some(name) = self.get_mut(at).filter(|_| stopped) {
                name.holder.evict();
                for owner in &name.owners {
                    owner.session.wake();
                }
            }
            self.settle(at, false);
        }
    }

    pub(crate) fn settle_all(&mut self) {
        for at in 0..self.slots.len() {
            self.settle(at, false);
        }
    }
}
