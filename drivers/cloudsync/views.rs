// SPDX-License-Identifier: GPL-2.0

//! What a change of view does to the names: locks move to other masters, and those of lost nodes end.

use crate::{
    name::Name,
    names::Names,
    recovery::Recovery, //
};
use kernel::prelude::*;
use linux::deadline::now_ms;
use virgo_proto::{
    cloudsync::{
        resource::{
            buried,
            Report, //
        },
        view::View,
        MAX_NODES, //
    },
    vuid::{
        bit,
        NodeId,
        NodeSetIter, //
    }, //
};

impl Names {
    /// Takes what a node has of a name that this node masters now.
    ///
    /// # Errors
    ///
    /// [`ENOMEM`].
    pub(crate) fn reported(&mut self, node: NodeId, bytes: &[u8], report: &Report) -> Result {
        // There are as many as others hold.
        let at = self.find_or_learn(bytes)?;
        let Some(resource) = self.resource(at) else {
            self.remove_if_unused(at);
            return Err(EINVAL);
        };
        match resource.is_open() {
            true => Ok(()),
            false => resource.recover(node, report).map_err(|_| ENOMEM),
        }
    }

    /// A node has reported everything.
    pub(crate) fn reported_all(&mut self, node: NodeId) {
        if let Some(recovery) = &mut self.recovery {
            recovery.awaited &= !bit(node);
        }
        self.open_if_due();
    }

    /// Ends a recovery when all is known. Returns when to call this again.
    pub(crate) fn open_if_due(&mut self) -> Option<u64> {
        let recovery = self.recovery.as_ref()?;
        if recovery.awaited != 0 {
            return None;
        }
        if now_ms() < recovery.opens_at {
            return Some(recovery.opens_at);
        }
        let gone = recovery.gone;
        self.recovery = None;
        let view = self.view.number;
        for at in 0..self.slots.len() {
            let Some(name) = self.get_mut(at) else {
                continue;
            };
            if let Some(resource) = &mut name.resource {
                for node in NodeSetIter(gone) {
                    resource.remove(buried(node), view);
                }
                if !resource.is_open() {
                    resource.open(view);
                }
            }
            self.settle(at, false);
        }
        // Reports are taken however many there are.
        self.reclaim_if_due();
        None
    }

    /// Another view is installed.
    pub(crate) fn install(&mut self, view: &View<MAX_NODES>, opens_at: u64) {
        let me = self.me;
        let before = core::mem::replace(&mut self.view, *view);
        let is_member = view.has(me, self.boot);
        let continues = is_member
            && before.number == view.base
            && view.member(me).joined < view.number
            && before.has(me, self.boot);
        self.lease.renew(continues);
        let members = view.continuing().fold(0, |bits, node| bits | bit(node));
        let gone = before.nodes().filter(|node| members & bit(*node) == 0);
        let gone = gone.fold(0, |bits, node| bits | bit(node));
        // A recovery that was going on goes on with what it had not got. What its view was told of is not
        // all that there was.
        let earlier = self.recovery.take();
        self.former = (continues && earlier.is_none()).then_some(before);
        let (was_gone, was_until, had_lost) = earlier.map_or((0, 0, false), |earlier| {
            (earlier.gone, earlier.opens_at, earlier.has_lost)
        });
        self.recovery = is_member.then_some(Recovery {
            awaited: members & !bit(me),
            opens_at: opens_at.max(was_until),
            gone: gone | was_gone,
            has_lost: view.has_lost || had_lost,
        });
        let others = view.nodes().filter(|node| *node != me);
        self.unreported = match continues {
            true => others.fold(0, |bits, node| bits | bit(node)),
            false => 0,
        };
        for at in 0..self.slots.len() {
            self.install_at(at, continues, gone);
        }
        self.settle_all();
        self.open_if_due();
        for node in NodeSetIter(self.unreported) {
            self.wake(node);
        }
    }

    fn install_at(&mut self, at: usize, continues: bool, gone: u64) {
        let (me, view, has_lost) = (self.me, self.view.number, self.view.has_lost);
        let Some(hash) = self.get(at).map(|name| name.hash) else {
            return;
        };
        let master = self.master_of(hash);
        let stays = |former| self.view.keeps(former, master);
        let stays = self.get(at).is_some_and(|name| stays(name.master));
        let Some(name) = self.get_mut(at) else {
            return;
        };
        name.master = master;
        if !continues {
            name.holder.lose();
            name.resource = None;
            name.former = None;
            name.reports = false;
            return;
        }
        if let Some(resource) = &mut name.resource {
            for node in NodeSetIter(gone) {
                resource.bury(node, view);
            }
            if has_lost {
                resource.doubt_value();
            }
        }
        if stays {
            return;
        }
        // What was not open yet its holders report once more.
        let known = name.resource.take().filter(|resource| resource.is_open());
        name.former = known
            .filter(|_| name.master != me)
            .map(|resource| resource.report());
        name.holder.remaster();
        name.reports =
            name.master != me && (name.holder.report().is_some() || name.former.is_some());
        let own = name.holder.report();
        if let (true, Some(report)) = (name.master == me, own) {
            if let Some(resource) = self.resource(at) {
                // There is room for the first one, or the name stays closed.
                let _ = resource.recover(me, &report);
            }
        }
    }

    /// Whether this node has to report to another.
    pub(crate) fn reports_to(&self, node: NodeId) -> bool {
        self.unreported & bit(node) != 0
    }

    /// The next name from `at` on that is reported to `node`, with its place.
    pub(crate) fn next_report(&self, node: NodeId, at: usize) -> Option<(usize, &Name)> {
        let slots = self.slots.iter().enumerate().skip(at);
        let mut names = slots.filter_map(|(at, slot)| Some((at, slot.as_deref()?)));
        names.find(|(_, name)| name.reports && name.master == node)
    }

    /// `node` has got everything that this node had to report in `view`.
    pub(crate) fn all_told(&mut self, node: NodeId, view: u64) {
        if self.view.number != view {
            return;
        }
        self.unreported &= !bit(node);
        for at in 0..self.slots.len() {
            if let Some(name) = self.get_mut(at).filter(|name| name.master == node) {
                name.reports = false;
                name.former = None;
                self.settle(at, false);
            }
        }
    }
}
