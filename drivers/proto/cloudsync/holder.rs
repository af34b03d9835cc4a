// SPDX-License-Identifier: GPL-2.0

//! A name at a node that uses it: what the node was granted, and which of its programs have it or wait.
//!
//! Invariants:
//!
//! 1. The node's mode covers what each local lock holds, and the local locks are compatible. The mode
//!    shrinks when a claim says so is made, before it is sent: the master never knows of less.
//! 2. Local locks are granted conversions first, then first come, first served.
//! 3. A node that knows of somebody whom it excludes grants its mode to no program but the one that it
//!    was claimed for: it gives it up when those that have it are done, and claims it again behind the other.
//! 4. A name is claimed only when the programs that have it would let the next one in: two nodes whose
//!    readers will end never look like two conversions that wait for each other.

mod local;

pub use local::{Fate, Local, Refusal};

use super::{
    list::{Full, List},
    resource::{Answer, Claim, Grant, Notice, Report},
    Era, Mode, Token, Value, VALUE,
};
use local::Counts;

/// Local locks of one name: what is done for each of them takes time that grows with their number.
const MAX_LOCALS: usize = 1024;

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Holder<L> {
    locals: L,
    mode: Option<Mode>,
    era: Era,
    value: Value,
    /// The value was written here, and the master does not know it yet.
    is_dirty: bool,
    /// The latest claim.
    seq: u64,
    /// A claim that is not answered yet.
    open: Option<Claim>,
    /// What was claimed and is not granted yet.
    asked: Option<Mode>,
    /// The local lock that the latest claim was made for; 0 if it was for none.
    asker: u64,
    /// What somebody waits for.
    block: Option<Mode>,
    /// Nobody does: room is short.
    is_spare: bool,
    /// It was granted, and nobody has been let in since.
    is_fresh: bool,
    /// The master believes something that is not so.
    disowns: bool,
}

impl<L: List<Local>> Holder<L> {
    /// A name that this node has nothing of. `locals` is empty.
    pub fn new(locals: L) -> Self {
        Holder {
            locals,
            mode: None,
            era: Era::new(0),
            value: Value::ZERO,
            is_dirty: false,
            seq: 0,
            open: None,
            asked: None,
            asker: 0,
            block: None,
            is_spare: false,
            is_fresh: false,
            disowns: false,
        }
    }

    /// The locks of programs, in their order.
    pub fn locals(&self) -> &[Local] {
        self.locals.items()
    }

    /// What the node was granted.
    pub fn mode(&self) -> Option<Mode> {
        self.mode
    }

    /// Whether what a local lock holds keeps somebody out, here or on another node, and what that one
    /// waits for. `next` is from [`Self::next`].
    pub fn keeps_out(&self, local: &Local, next: Option<(Local, Mode)>) -> Option<Mode> {
        let held = local.held?;
        let next = next.filter(|(next, _)| next.id != local.id);
        let waits = [self.block, next.map(|(_, want)| want)];
        waits
            .into_iter()
            .flatten()
            .find(|want| !held.is_compatible(*want))
    }

    /// The value block, as far as it is known here.
    pub fn value(&self) -> &Value {
        &self.value
    }

    /// The lock `id`.
    pub fn local(&self, id: u64) -> Option<Local> {
        self.locals().iter().find(|local| local.id == id).copied()
    }

    /// Has the node give back what no program uses, as if somebody waited for it. Returns whether there is
    /// anything to give back.
    pub fn give_back(&mut self) -> bool {
        let keeps = self.locals().is_empty() && self.mode.is_some() && self.open.is_none();
        if keeps {
            self.is_spare = self.block.is_none();
            self.block = Some(Mode::Ex);
        }
        keeps
    }

    /// Whether somebody waits whom this node may keep out.
    pub fn is_waited_for(&self) -> bool {
        self.block.is_some() && !self.is_spare
    }

    /// Whether a program has it or waits for it.
    pub fn is_in_use(&self) -> bool {
        let mut locals = self.locals().iter();
        locals.any(|local| local.held.is_some() || local.want.is_some())
    }

    /// Whether the node has nothing of it, and nothing to say.
    pub fn is_unused(&self) -> bool {
        self.locals().is_empty()
            && self.mode.is_none()
            && self.asked.is_none()
            && self.open.is_none()
            && !self.disowns
    }

    fn local_mut(&mut self, id: u64) -> Option<&mut Local> {
        self.locals
            .items_mut()
            .iter_mut()
            .find(|local| local.id == id)
    }

    fn remove(&mut self, id: u64) {
        if let Some(at) = self.locals().iter().position(|local| local.id == id) {
            self.locals.remove(at);
        }
    }

    /// Whether the other local locks let `id` have `mode`.
    fn allows(&self, id: u64, mode: Mode) -> bool {
        let others = self.locals().iter().filter(|local| local.id != id);
        others
            .filter_map(|local| local.held)
            .all(|held| held.is_compatible(mode))
    }

    /// What the programs hold.
    fn used(&self) -> Option<Mode> {
        let held = self.locals().iter().filter_map(|local| local.held);
        held.reduce(Mode::join)
    }

    /// The local lock that is granted next.
    pub fn next(&self) -> Option<(Local, Mode)> {
        let held = Counts::of(self.locals());
        let waiting = || self.locals().iter().filter(|local| local.want.is_some());
        let converting = || waiting().filter(|local| local.held.is_some());
        let allowed = |local: &&Local| local.want.is_some_and(|want| held.allow(local, want));
        let next = converting().find(allowed);
        let next = next
            .or_else(|| converting().next())
            .or_else(|| waiting().next())?;
        Some((*next, next.want?))
    }

    /// A program wants the lock.
    ///
    /// # Errors
    ///
    /// [`Refusal`].
    pub fn request(&mut self, id: u64, mode: Mode, tries: bool) -> Result<(), Refusal> {
        if self.local(id).is_some() {
            return Err(Refusal::Exists);
        }
        if self.locals().len() >= MAX_LOCALS {
            return Err(Refusal::NoMemory);
        }
        if tries && (self.next().is_some() || !self.allows(id, mode) || self.is_blocked()) {
            return Err(Refusal::Busy);
        }
        let local = Local {
            id,
            held: None,
            want: Some(mode),
            tries,
            token: Token(0),
            fate: Fate::Fine,
        };
        self.locals.push(local).map_err(|Full| Refusal::NoMemory)
    }

    /// A program wants another mode of the lock that it has. A weaker one it has at once.
    ///
    /// # Errors
    ///
    /// [`Refusal`]; the lock is as it was.
    pub fn convert(&mut self, id: u64, mode: Mode, tries: bool) -> Result<(), Refusal> {
        let local = self.local(id).ok_or(Refusal::Missing)?;
        let held = match local {
            Local {
                fate: Fate::Lost, ..
            } => return Err(Refusal::Lost),
            Local { want: Some(_), .. } => return Err(Refusal::Waits),
            Local {
                held: Some(held), ..
            } => held,
            _ => return Err(Refusal::Missing),
        };
        let weaker = held.covers(mode);
        if !weaker {
            let waits_for = |other: &Local| {
                let (Some(theirs), Some(wanted)) = (other.held, other.want) else {
                    return false;
                };
                !theirs.is_compatible(mode) && !held.is_compatible(wanted)
            };
            let mut others = self.locals().iter().filter(|other| other.id != id);
            if others.any(waits_for) {
                return Err(Refusal::Deadlock);
            }
            if tries && !self.allows(id, mode) {
                return Err(Refusal::Busy);
            }
        }
        // A weaker mode is a grant like any other: those that share it share its token.
        let token = match weaker {
            true => self.era.grant(mode, Token(0)).ok_or(Refusal::Exhausted)?,
            false => local.token,
        };
        if let Some(local) = self.local_mut(id) {
            local.tries = tries;
            local.fate = Fate::Fine;
            local.token = token;
            match weaker {
                true => local.held = Some(mode),
                false => local.want = Some(mode),
            }
        }
        Ok(())
    }

    /// Writes the value block for the lock `id`. Without effect if it may not.
    pub fn write(&mut self, id: u64, bytes: &[u8; VALUE]) {
        let Some(Local {
            held: Some(held),
            token,
            ..
        }) = self.local(id)
        else {
            return;
        };
        if held.writes() {
            self.value = Value {
                bytes: *bytes,
                version: token,
                is_valid: true,
            };
            self.is_dirty = true;
        }
    }

    /// The lock `id` is gone. Returns what it was.
    pub fn unlock(&mut self, id: u64) -> Option<Local> {
        let local = self.local(id)?;
        self.remove(id);
        Some(local)
    }

    /// The lock `id` does not wait any more; what it holds it keeps.
    pub fn cancel(&mut self, id: u64) {
        match self.local(id) {
            Some(Local { held: None, .. }) => self.remove(id),
            _ => {
                if let Some(local) = self.local_mut(id) {
                    local.want = None;
                }
            }
        }
    }

    /// Grants what can be, if the lease allows to use anything. Returns whether something was.
    pub fn pump(&mut self, has_lease: bool) -> bool {
        let mut granted = false;
        while let (true, Some((local, want))) = (has_lease, self.next()) {
            let covered = self.mode.is_some_and(|mode| mode.covers(want));
            let gives_way = local.held.is_none() && self.is_blocked();
            if !covered || gives_way || !self.allows(local.id, want) {
                break;
            }
            let token = self.era.grant(want, Token(0));
            self.is_fresh = false;
            if let Some(local) = self.local_mut(local.id) {
                local.want = None;
                match token {
                    Some(token) => {
                        local.held = Some(want);
                        local.token = token;
                    }
                    None => local.fate = Fate::Refused(Answer::Exhausted),
                }
            }
            granted = true;
        }
        granted
    }

    /// Whether somebody waits whom the node excludes, and it is time to care: who was claimed for comes
    /// in first, or the nodes would hand the name round without anybody using it.
    fn is_blocked(&self) -> bool {
        let (Some(mode), Some(block)) = (self.mode, self.block) else {
            return false;
        };
        let lets_in =
            |(local, want): (Local, Mode)| mode.covers(want) && self.allows(local.id, want);
        let is_due = !self.is_fresh || !self.next().is_some_and(lets_in);
        is_due && !mode.is_compatible(block)
    }

    /// What the master is to be told next: what was told and not answered, or something new, which
    /// gets the number `seq`: larger than all before, of this node.
    pub fn claim(&mut self, seq: impl FnOnce() -> u64) -> Option<Claim> {
        if self.open.is_some() {
            return self.open;
        }
        let used = self.used();
        let lets = |block: Mode| used.is_none_or(|used| used.is_compatible(block));
        let gives_way = self.is_blocked() && self.block.is_some_and(lets);
        let next = self
            .next()
            .filter(|(local, want)| self.allows(local.id, *want));
        let need = next.map(|(local, want)| (local, used.map_or(want, |used| used.join(want))));
        // What the node has already need not be claimed, unless it gives it to another first.
        let need =
            need.filter(|(_, need)| gives_way || !self.mode.is_some_and(|mode| mode.covers(*need)));
        let want = need.map(|(_, need)| need);
        // These are not kept without need: the value that comes with them may become outdated.
        let idle = self.locals().is_empty() && matches!(self.mode, Some(Mode::Nl | Mode::Cr));
        let keep = match gives_way || want.is_some() || idle || self.disowns {
            true => used,
            false => self.mode,
        };
        let same = want == self.asked && keep == self.mode;
        if same && !self.disowns {
            return None;
        }
        let writes = keep.is_some_and(Mode::writes);
        let claim = Claim {
            seq: seq(),
            keep,
            want,
            tries: need.is_some_and(|(local, _)| local.tries),
            era: self.era,
            value: (self.is_dirty && !writes).then_some(self.value),
        };
        self.seq = claim.seq;
        self.mode = keep;
        self.asked = want;
        self.asker = need.map_or(0, |(local, _)| local.id);
        self.block = None;
        self.is_spare = false;
        self.disowns = false;
        self.open = Some(claim);
        self.open
    }

    /// The master has answered claim `seq`.
    pub fn answer(&mut self, seq: u64, answer: &Answer) {
        let Some(claim) = self.open.filter(|claim| claim.seq == seq) else {
            if let (Answer::Granted(grant), true) = (answer, seq == self.seq) {
                self.learn(grant);
            }
            return;
        };
        self.open = None;
        if claim.value.is_some_and(|value| value == self.value) {
            self.is_dirty = false;
        }
        match answer {
            Answer::Done | Answer::Queued => (),
            Answer::Granted(grant) => self.accept(grant),
            Answer::Busy
            | Answer::Deadlock
            | Answer::Exhausted
            | Answer::NoMemory
            | Answer::Quota => {
                self.asked = None;
                // Not who is next by now, if that one has given up.
                let asker = self.asker;
                if let Some(local) = self.local_mut(asker).filter(|local| local.want.is_some()) {
                    local.want = None;
                    local.fate = Fate::Refused(*answer);
                }
            }
            Answer::Stale => self.lose(),
        }
    }

    /// A grant that is here already comes again: the master believes that this node knows all of it.
    fn learn(&mut self, grant: &Grant) {
        if self.mode == Some(grant.mode) && self.asked.is_none() {
            self.block = grant.block.or(self.block);
        }
    }

    fn accept(&mut self, grant: &Grant) {
        self.mode = Some(grant.mode);
        self.is_fresh = true;
        self.asked = None;
        self.era.merge(grant.era);
        self.value = match self.value.version > grant.value.version && self.is_dirty {
            true => self.value,
            false => grant.value,
        };
        // A notice may have been faster than the grant.
        self.block = grant.block.or(self.block);
    }

    /// The master has said something by itself.
    pub fn notice(&mut self, notice: &Notice) {
        let seq = match notice {
            Notice::Grant(grant) => grant.seq,
            Notice::Block { seq, .. } => *seq,
        };
        match notice {
            Notice::Grant(grant) if seq == self.seq && self.asked.is_some() => {
                self.open = None;
                self.accept(grant);
            }
            Notice::Grant(grant) if seq == self.seq => self.learn(grant),
            Notice::Block { mode, .. } if seq == self.seq => {
                self.block = Some(*mode).filter(|mode| *mode != Mode::Nl);
                self.is_spare = false;
                if self.block.is_none() {
                    self.give_back();
                }
            }
            _ => (),
        }
        // The master has taken an earlier claim for the latest, and is told once more.
        self.disowns |= self.mode.is_none() && self.asked.is_none();
    }

    /// What another master of the name is to know. `None` if that is nothing.
    pub fn report(&self) -> Option<Report> {
        if self.mode.is_none() && !self.is_dirty {
            return None;
        }
        Some(Report {
            seq: self.seq,
            held: self.mode,
            era: self.era,
            value: self.value,
            // What it has written and claimed to have given up others may have written since: the claim may
            // have been taken, though its answer did not come.
            is_newest: self.mode.is_some_and(|mode| !mode.is_compatible(Mode::Pw)),
        })
    }

    /// Another node masters the name now: what was asked of the former one is asked again.
    pub fn remaster(&mut self) {
        self.open = None;
        self.asked = None;
        self.block = None;
        self.is_spare = false;
        self.disowns = false;
    }

    /// The cluster went on without this node: what it had is not its own any more.
    pub fn lose(&mut self) {
        self.remaster();
        self.mode = None;
        self.is_dirty = false;
        self.evict();
    }

    /// Takes the lock from all programs that have it. The node keeps its mode.
    pub fn evict(&mut self) {
        self.evict_if(|_| true);
    }

    /// The node's lease has ended: takes the lock from all programs that keep others out by it. The node keeps
    /// its mode, which it may use again with its next lease in the same view.
    pub fn lapse(&mut self) {
        self.evict_if(|held| held != Mode::Nl);
    }

    fn evict_if(&mut self, ends: impl Fn(Mode) -> bool) {
        for local in self.locals.items_mut() {
            if local.held.is_some_and(&ends) {
                local.held = None;
                local.want = None;
                local.fate = Fate::Lost;
            }
        }
    }
}

#[cfg(test)]
#[path = "holder/tests.rs"]
mod tests;
