// SPDX-License-Identifier: GPL-2.0

//! All names that this node knows, and the view that says who masters them.
//!
//! [`Names`] lies under one mutex, which is held while the state machines work and never while another
//! node is waited for. What others are to be told is noted in their outboxes, which [`crate::teller`]
//! empties.

use crate::{
    items::Items,
    name::Name,
    recovery::Recovery, //
};
use kernel::{
    prelude::*,
    rbtree::RBTree, //
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
            Notice,
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
        Nodes, //
    }, //
};
use virgo_utils::budget::Budget;

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
    count: usize,
    /// Slots by a hash of the name that others cannot foresee.
    index: RBTree<(u64, u32), ()>,
    basis: u64,
    pub(crate) view: View<MAX_NODES>,
    /// The view before, if this node was a member of it and has gone on from there.
    pub(crate) former: Option<View<MAX_NODES>>,
    pub(crate) recovery: Option<Recovery>,
    /// Until when this node may use what it was granted, by its own clock.
    pub(crate) lease_until: u64,
    /// Until when its programs have what they were granted.
    hold_until: u64,
    /// That is over, and they were told.
    has_lapsed: bool,
    /// The last claim.
    seq: u64,
    /// The largest token of a name that is forgotten.
    floor: Token,
    /// Local locks held and waited for.
    pub(crate) users: usize,
    outboxes: KVec<KVVec<u32>>,
    /// Nodes that are to be told everything that they have not been told, as bits.
    overflown: u64,
    /// Nodes that have not got this node's reports.
    pub(crate) unreported: u64,
    tellers: KVec<WorkHandle>,
    pub(crate) is_stopped: bool,
}

impl Names {
    /// Room for `max` names. Made in its box, since it has two views, too much for the stack. May sleep.
    pub(crate) fn new(me: NodeId, boot: u64, max: u64) -> Result<KBox<Self>> {
        let mut outboxes = KVec::new();
        for _ in 0..MAX_NODES {
            outboxes.push(KVVec::new(), GFP_KERNEL)?;
        }
        let budget = Budget::new(max)?;
        let names = init!(Names {
            me,
            boot,
            budget,
            slots: KVVec::new(),
            free: KVVec::new(),
            count: 0,
            index: RBTree::new(),
            basis: crypto::random_u64(),
            view: View::NONE,
            former: None,
            recovery: None,
            lease_until: 0,
            hold_until: 0,
            has_lapsed: false,
            seq: 0,
            floor: Token(0),
            users: 0,
            outboxes,
            overflown: 0,
            unreported: 0,
            tellers: KVec::new(),
            is_stopped: false,
        });
        KBox::init(names, GFP_KERNEL)
    }

    /// Who tells the other nodes, by number from 1.
    pub(crate) fn set_tellers(&mut self, tellers: KVec<WorkHandle>) {
        self.tellers = tellers;
    }

    pub(crate) fn len(&self) -> usize {
        self.count
    }

    pub(crate) fn view(&self) -> &View<MAX_NODES> {
        &self.view
    }

    pub(crate) fn has_lease(&self) -> bool {
        now_ms() < self.lease_until
    }

    /// The names, with their places.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (usize, &Name)> {
        let slots = self.slots.iter().enumerate();
        slots.filter_map(|(at, slot)| Some((at, slot.as_deref()?)))
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
        let charge = self.budget.charge(uid, 1)?;
        let mut bytes = KVec::with_capacity(name.len(), GFP_KERNEL)?;
        bytes.extend_from_slice(name, GFP_KERNEL)?;
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

    pub(crate) fn remove_if_unused(&mut self, at: usize) {
        let Some(name) = self.get(at).filter(|name| name.is_unused()) else {
            return;
        };
        let token = name.resource.as_ref().map_or(Token(0), Resource::token);
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
        let has_lost = self.view.has_lost;
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
        let has_lease = now < self.lease_until && !self.is_stopped;
        let holds = now < self.hold_until;
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
        let mut outgoing = None;
        if name.master == me {
            let told = name.resource.iter().flat_map(|resource| resource.notices());
            to = told
                .filter(|node| *node != me)
                .fold(0, |to, node| to | bit(node));
        } else if name.master != 0 && !name.is_sending && !name.reports {
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
        for node in Nodes(to) {
            self.queue(node, at);
        }
        self.remove_if_unused(at);
        outgoing
    }

    /// Notes that a node is to be told something of the name at `at`.
    fn queue(&mut self, node: NodeId, at: usize) {
        let index = usize::from(node).wrapping_sub(1);
        let Some(name) = self.slots.get_mut(at).and_then(|slot| slot.as_deref_mut()) else {
            return;
        };
        if name.queued & bit(node) == 0 {
            let outbox = self.outboxes.get_mut(index);
            match outbox.map(|outbox| outbox.push(at as u32, GFP_KERNEL)) {
                Some(Ok(())) => name.queued |= bit(node),
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
        let at = outbox.pop()? as usize;
        if let Some(name) = self.get_mut(at) {
            name.queued &= !bit(node);
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

    /// Takes a claim of another node, for user `uid`.
    ///
    /// # Errors
    ///
    /// As for [`Self::check_view`]; [`EINVAL`] if this node is not the master.
    pub(crate) fn claimed(
        &mut self,
        node: NodeId,
        view: u64,
        uid: u32,
        bytes: &[u8],
        claim: &Claim,
    ) -> Result<Answer> {
        self.check_view(view)?;
        // Who gives something back needs nothing, and who keeps something has been here before.
        let uid = match (claim.keep, claim.want) {
            (None, Some(_)) => uid,
            _ => 0,
        };
        let at = match self.find_or_make(bytes, uid) {
            Ok(at) => at,
            Err(e) if e == EDQUOT => return Ok(Answer::Quota),
            Err(_) => return Ok(Answer::NoMemory),
        };
        let Some(resource) = self.resource(at) else {
            self.remove_if_unused(at);
            return Err(EINVAL);
        };
        let answer = resource.claim(node, claim, view);
        self.settle(at, false);
        Ok(answer)
    }

    /// What `node` is to be told of the name at `at` as its master.
    pub(crate) fn notice_for(&self, node: NodeId, at: usize) -> Option<(Notice, &[u8])> {
        let name = self.get(at).filter(|name| name.master == self.me)?;
        let notice = name.resource.as_ref()?.notice(node)?;
        Some((notice, &name.bytes))
    }

    /// `node` was told this.
    pub(crate) fn notified(&mut self, node: NodeId, at: usize, notice: &Notice) {
        if let Some(resource) = self.get_mut(at).and_then(|name| name.resource.as_mut()) {
            resource.told(node, notice);
        }
        self.settle(at, false);
    }

    /// The master of a name has said something.
    ///
    /// # Errors
    ///
    /// As for [`Self::find_or_make`].
    pub(crate) fn noticed(&mut self, bytes: &[u8], notice: &Notice) -> Result {
        let at = self.find_or_make(bytes, 0)?;
        if let Some(name) = self.get_mut(at) {
            name.holder.notice(notice);
        }
        self.settle(at, false);
        Ok(())
    }

    /// Until when this node may grant what it has, and its programs have what they were granted; for ever if
    /// it needs no other node.
    pub(crate) fn set_lease(&mut self, lease: u64, hold: u64) {
        let had = self.has_lease();
        self.lease_until = lease;
        if self.hold_until == u64::MAX && hold != u64::MAX {
            // It needs others from now on, and has not asked them yet.
            self.hold_until = now_ms().saturating_add(self.view.lease_ms.into());
        }
        self.hold_until = self.hold_until.max(hold);
        if !had && self.has_lease() && self.users > 0 {
            self.has_lapsed = false;
            self.settle_all();
        }
    }

    /// Takes the locks from all programs if the time is over for which they have them. Returns when that is
    /// to be looked at again, if they have any.
    pub(crate) fn lapse_if_due(&mut self) -> Option<u64> {
        if self.users == 0 || self.has_lapsed || self.hold_until == u64::MAX {
            return None;
        }
        if now_ms() < self.hold_until {
            return Some(self.hold_until);
        }
        self.has_lapsed = true;
        self.settle_all();
        None
    }

    /// The cluster went on without this node: its programs have nothing more.
    pub(crate) fn forget_hold(&mut self) {
        self.hold_until = 0;
    }

    /// The same for the name at `at`, whose owner is about to be told how it stands.
    pub(crate) fn lapse_at(&mut self, at: usize) {
        if now_ms() >= self.hold_until {
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
