// SPDX-License-Identifier: GPL-2.0

//! A view that this node proposes, and what comes of the promises that it gets.

use super::Told;
use crate::{
    cloudsync::view::{Member, View},
    vuid::{bit, NodeId},
};

/// See the module.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Proposal<const N: usize> {
    /// Its number.
    pub(super) number: u64,
    /// Who has answered, or was not reached.
    pub(super) asked: u64,
    /// Who has promised: incarnation, and whether it is a member of the base if that has this number.
    promises: [(u64, u64); N],
    /// Of these, who does not know that those who were left out before cannot use anything any more.
    unsettled: u64,
    /// The latest view that somebody has told.
    base: View<N>,
    /// Who has not answered by then is not waited for.
    pub(super) until: u64,
}

impl<const N: usize> Proposal<N> {
    /// One that nobody has promised yet, of a node whose latest view is `base`.
    pub(super) fn new(number: u64, base: View<N>, until: u64) -> Self {
        Proposal {
            number,
            asked: 0,
            promises: [(0, 0); N],
            unsettled: 0,
            base,
            until,
        }
    }

    /// Notes a promise: by which incarnation, whose latest view has which number.
    pub(super) fn note(&mut self, node: NodeId, promise: (u64, u64), is_settled: bool) {
        self.asked |= bit(node);
        if !is_settled {
            self.unsettled |= bit(node);
        }
        let index = usize::from(node).wrapping_sub(1);
        if let Some(noted) = self.promises.get_mut(index) {
            *noted = promise;
        }
    }

    /// Another node has promised.
    pub(super) fn promised(&mut self, node: NodeId, told: &Told<N>) {
        let number = told.latest.as_ref().map_or(0, |latest| latest.number);
        self.note(node, (told.boot, number), told.is_settled);
        let Some(latest) = &told.latest else {
            return;
        };
        // Of one that was forgotten but for its number somebody else may know the rest.
        let knows_more = number == self.base.number && self.base.nodes().next().is_none();
        if number > self.base.number || knows_more {
            self.base = *latest;
        }
    }

    /// The latest view that somebody has told.
    pub(super) fn base(&self) -> &View<N> {
        &self.base
    }

    /// Who has promised, as bits.
    pub(super) fn promised_by(&self) -> u64 {
        let promises = (1..).zip(&self.promises);
        let promised = promises.filter(|(_, promise)| promise.0 != 0);
        promised.fold(0, |all, (node, _)| all | bit(node))
    }

    /// Who of them is a member of the base, has installed it and has not restarted since, as bits.
    pub(super) fn continuing(&self) -> u64 {
        let base = &self.base;
        let each = (1..).zip(base.members.iter().zip(&self.promises));
        let goes_on = |(before, (boot, latest)): (&Member, &(u64, u64))| {
            *boot != 0 && *boot == before.boot && *latest == base.number && base.number != 0
        };
        let continuing = each.filter(|(_, each)| goes_on(*each));
        continuing.fold(0, |all, (node, _)| all | bit(node))
    }

    /// The view: those of `chosen` who have promised. Members of the base continue if they have installed it
    /// and not restarted since; others are known to be lost.
    pub(super) fn view(&self, chosen: u64, lease_ms: u32) -> View<N> {
        let base = &self.base;
        let mut view = View {
            number: self.number,
            base: base.number,
            lease_ms,
            ..View::NONE
        };
        let known = base.number != 0;
        // Without its members nobody knows whom the base had.
        let mut has_lost = known && base.nodes().next().is_none();
        let continuing = self.continuing() & chosen;
        let each = view
            .members
            .iter_mut()
            .zip(&base.members)
            .zip(&self.promises);
        for (node, ((member, before), (boot, _))) in (1..).zip(each) {
            let continues = continuing & bit(node) != 0;
            let is_unsettled = self.unsettled & bit(node) != 0;
            has_lost |= before.boot != 0 && (!continues || is_unsettled);
            if *boot != 0 && chosen & bit(node) != 0 {
                *member = Member {
                    boot: *boot,
                    joined: match continues {
                        true => before.joined,
                        false => self.number,
                    },
                };
            }
        }
        view.has_lost = has_lost;
        view
    }
}
