// SPDX-License-Identifier: GPL-2.0

//! A name at its master: which nodes hold it, which wait, and what they are to be told.
//!
//! Each node has one entry. What it says of itself is a [`Claim`]: what it keeps and what it wants.
//! Claims of a node are numbered, so one that comes twice or late changes nothing.
//!
//! Invariants:
//!
//! 1. The modes that two nodes hold are compatible. A node may have given up more than this knows.
//! 2. Grants go to conversions before new requests, and new requests are served first come, first
//!    served: who waits is not overtaken by who came later, however compatible that is. (A cycle of
//!    conversions that wait for each other has two that do so directly: see the table of modes.)
//! 3. While the resource is closed, after a change of view, nothing is granted.

mod message;
#[cfg(test)]
mod tests;

pub use message::{Answer, Claim, Grant, Notice, Report};

use super::{
    list::{Full, List},
    Era, Mode, Token, Value,
};
use crate::vuid::NodeId;

/// A node at a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Entry {
    /// Its number.
    pub node: NodeId,
    /// Its latest claim.
    pub seq: u64,
    /// What it holds.
    pub held: Option<Mode>,
    /// What it waits for.
    pub want: Option<Mode>,
    /// It does not know yet of its grant.
    untold: bool,
    /// What it knows that others wait for.
    block: Option<Mode>,
}

/// No node has this number or a larger one.
const BURIED: NodeId = 0x80;

/// What a node is called whose former incarnation holds something.
pub const fn buried(node: NodeId) -> NodeId {
    node | BURIED
}

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Resource<L> {
    entries: L,
    era: Era,
    value: Value,
    is_open: bool,
    /// The grants that share the token are known from who holds one.
    knows_era: bool,
    /// Nodes are to give it back that do not use it.
    recalls: bool,
}

impl<L: List<Entry>> Resource<L> {
    /// A name that nobody has. `entries` is empty; tokens are larger than `floor`.
    pub fn new(entries: L, view: u64, floor: Token) -> Self {
        let mut era = Era::new(view);
        era.token = era.token.max(floor);
        Resource {
            entries,
            era,
            value: Value::ZERO,
            is_open: true,
            knows_era: true,
            recalls: false,
        }
    }

    /// The same, if who has written the value block may be gone.
    pub fn of_unknown_value(mut self) -> Self {
        self.value.is_valid = false;
        self
    }

    /// A name of which others may know more: it is closed until [`Self::open`]. Its value block is valid
    /// if `is_valid`, or when somebody reports the latest.
    pub fn recovering(entries: L, view: u64, is_valid: bool) -> Self {
        let mut resource = Self::new(entries, view, Token(0));
        resource.value.is_valid = is_valid;
        resource.is_open = false;
        resource.knows_era = false;
        resource
    }

    /// Nodes, those that wait in their order.
    pub fn entries(&self) -> &[Entry] {
        self.entries.items()
    }

    /// The latest token.
    pub fn token(&self) -> Token {
        self.era.token
    }

    /// Whether something may be granted.
    pub fn is_open(&self) -> bool {
        self.is_open
    }

    /// Whether nobody has it and nobody waits.
    pub fn is_unused(&self) -> bool {
        self.entries().is_empty()
    }

    fn find(&self, node: NodeId) -> Option<(usize, Entry)> {
        let mut entries = self.entries().iter().enumerate();
        let (at, entry) = entries.find(|(_, entry)| entry.node == node)?;
        Some((at, *entry))
    }

    fn entry_mut(&mut self, node: NodeId) -> Option<&mut Entry> {
        let mut entries = self.entries.items_mut().iter_mut();
        entries.find(|entry| entry.node == node)
    }

    /// Whether `mode` is compatible with what all but `node` hold.
    fn allows(&self, node: NodeId, mode: Mode) -> bool {
        let others = self.entries().iter().filter(|entry| entry.node != node);
        others
            .filter_map(|entry| entry.held)
            .all(|held| held.is_compatible(mode))
    }

    /// Who is granted next: a conversion, or else who waits longest. A conversion that can be granted
    /// goes before one that cannot, which may wait for what the other holds.
    fn head(&self) -> Option<Entry> {
        let waiting = || self.entries().iter().filter(|entry| entry.want.is_some());
        let converting = || waiting().filter(|entry| entry.held.is_some());
        let allowed = |entry: &&Entry| entry.want.is_some_and(|want| self.allows(entry.node, want));
        let next = converting().find(allowed);
        let next = next
            .or_else(|| converting().next())
            .or_else(|| waiting().next());
        next.copied()
    }

    /// Grants what can be.
    fn pump(&mut self, view: u64) {
        while let (
            true,
            Some(Entry {
                node,
                want: Some(want),
                ..
            }),
        ) = (self.is_open, self.head())
        {
            if !self.allows(node, want) || self.era.grant(want, Token::of_view(view)).is_none() {
                return;
            }
            if let Some(entry) = self.entry_mut(node) {
                entry.held = Some(want);
                entry.want = None;
                entry.untold = true;
                entry.block = None;
            }
        }
    }

    /// What somebody waits for whom this entry excludes.
    fn blocked(&self, entry: &Entry) -> Option<Mode> {
        let head = self.head().filter(|head| head.node != entry.node)?;
        head.want
            .filter(|want| entry.held.is_some_and(|held| !held.is_compatible(*want)))
    }

    fn grant(&self, entry: &Entry, mode: Mode) -> Grant {
        Grant {
            seq: entry.seq,
            mode,
            era: self.era,
            value: self.value,
            block: self.blocked(entry),
        }
    }

    /// Room is short: nodes that do not use it are to give it back. Returns whether any has it.
    pub fn recall(&mut self) -> bool {
        for entry in self.entries.items_mut() {
            // Who used it when it was told so last may not any more.
            entry.block = entry.block.filter(|block| *block != Mode::Nl);
        }
        self.recalls = self.entries().iter().any(|entry| entry.held.is_some());
        self.recalls
    }

    /// Takes a claim. Others may be told something then: see [`Self::notices`].
    pub fn claim(&mut self, node: NodeId, claim: &Claim, view: u64) -> Answer {
        let former = self.find(node);
        let had = match former {
            Some((_, entry)) if claim.seq < entry.seq => return Answer::Stale,
            Some((_, entry)) if claim.seq == entry.seq => {
                // Whether the first answer came nobody knows, nor whether it said who waits.
                if let Some(entry) = self.entry_mut(node) {
                    entry.block = None;
                }
                return self.answer(node, claim);
            }
            Some((_, entry)) => entry.held,
            None => None,
        };
        if claim
            .keep
            .is_some_and(|keep| !had.is_some_and(|had| had.covers(keep)))
        {
            return Answer::Stale;
        }
        if let Some(had) = had {
            self.era.merge(claim.era);
            if let Some(value) = claim.value.filter(|_| had.writes()) {
                self.value.merge(&value);
            }
        }
        if let Some((at, _)) = former {
            self.entries.remove(at);
        }
        self.recalls &= claim.want.is_none();
        if claim.keep.is_some() || claim.want.is_some() {
            let entry = Entry {
                node,
                seq: claim.seq,
                held: claim.keep,
                want: claim.want,
                untold: false,
                block: None,
            };
            if let Err(Full) = self.entries.push(entry) {
                return Answer::NoMemory;
            }
        }
        self.pump(view);
        let answer = self.answer(node, claim);
        if let Answer::Granted(grant) = answer {
            // Only the first answer: of a later one nobody knows whether it is still waited for.
            self.told(node, &Notice::Grant(grant));
        }
        if matches!(answer, Answer::Busy | Answer::Deadlock | Answer::Exhausted) {
            self.give_up(node);
            self.pump(view);
        }
        answer
    }

    /// How things stand for the claim that this node made last.
    fn answer(&self, node: NodeId, claim: &Claim) -> Answer {
        let Some((_, entry)) = self.find(node) else {
            return Answer::Done;
        };
        let Some(want) = entry.want else {
            return match (entry.held, claim.want) {
                (Some(held), Some(_)) if claim.want == Some(held) => {
                    Answer::Granted(self.grant(&entry, held))
                }
                (_, Some(_)) => Answer::Busy,
                _ => Answer::Done,
            };
        };
        if claim.tries {
            return Answer::Busy;
        }
        if self.is_open && self.allows(node, want) && self.head() == Some(entry) {
            return Answer::Exhausted;
        }
        let waits_for = |other: &Entry| {
            let (Some(held), Some(theirs), Some(wanted)) = (entry.held, other.held, other.want)
            else {
                return false;
            };
            !theirs.is_compatible(want) && !held.is_compatible(wanted)
        };
        let mut others = self.entries().iter().filter(|other| other.node != node);
        match others.any(waits_for) {
            true => Answer::Deadlock,
            false => Answer::Queued,
        }
    }

    /// The node does not wait any more.
    fn give_up(&mut self, node: NodeId) {
        match self.find(node) {
            Some((at, Entry { held: None, .. })) => drop(self.entries.remove(at)),
            _ => {
                if let Some(entry) = self.entry_mut(node) {
                    entry.want = None;
                }
            }
        }
    }

    /// What this node is to be told, if anything.
    pub fn notice(&self, node: NodeId) -> Option<Notice> {
        let (_, entry) = self.find(node)?;
        self.notice_of(&entry)
    }

    fn notice_of(&self, entry: &Entry) -> Option<Notice> {
        if let (true, Some(held)) = (entry.untold, entry.held) {
            return Some(Notice::Grant(self.grant(entry, held)));
        }
        let mode = match (self.blocked(entry), entry.block) {
            (Some(mode), _) => mode,
            // Nobody waits any more, or ever has: what is not used may go.
            (None, Some(_)) => Mode::Nl,
            (None, None) if self.recalls && entry.held.is_some() => Mode::Nl,
            (None, None) => return None,
        };
        let seq = entry.seq;
        (entry.block != Some(mode)).then_some(Notice::Block { seq, mode })
    }

    /// The nodes that are to be told something.
    pub fn notices(&self) -> impl Iterator<Item = NodeId> + '_ {
        let entries = self.entries().iter().filter(|entry| entry.node < BURIED);
        entries.filter_map(|entry| self.notice_of(entry).map(|_| entry.node))
    }

    /// The node has got this notice.
    pub fn told(&mut self, node: NodeId, notice: &Notice) {
        let (seq, block) = match notice {
            Notice::Grant(grant) => (grant.seq, grant.block),
            Notice::Block { seq, mode } => (*seq, Some(*mode)),
        };
        if let Some(entry) = self.entry_mut(node).filter(|entry| entry.seq == seq) {
            if let Notice::Grant(_) = notice {
                entry.untold = false;
            }
            entry.block = block;
        }
    }

    /// Learns what a node holds that was granted by another master. The resource must be closed.
    ///
    /// # Errors
    ///
    /// [`Full`]; then the resource must stay closed.
    pub fn recover(&mut self, node: NodeId, report: &Report) -> Result<(), Full> {
        match self.find(node) {
            Some((_, entry)) if entry.seq > report.seq => (),
            Some((at, _)) => drop(self.entries.remove(at)),
            None => (),
        }
        if self.find(node).is_none() && report.held.is_some() {
            self.entries.push(Entry {
                node,
                seq: report.seq,
                held: report.held,
                want: None,
                untold: false,
                block: None,
            })?;
        }
        // Who excludes writers knows all grants that there may be besides its own. If nobody does, the
        // next grant gets a token of this view: who is gone may have made any of the former ones.
        if report
            .held
            .is_some_and(|held| !held.is_compatible(Mode::Pw))
        {
            match self.knows_era {
                true => self.era.merge(report.era),
                false => self.era = report.era,
            }
            self.knows_era = true;
        }
        if report.is_newest || report.value.version > self.value.version {
            let is_valid = match report.is_newest {
                true => report.value.is_valid,
                false => self.value.is_valid,
            };
            if report.value.version >= self.value.version {
                self.value = Value {
                    is_valid,
                    ..report.value
                };
            }
        }
        Ok(())
    }

    /// Somebody is gone who has not reported, and may have written a value that nobody knows.
    pub fn doubt_value(&mut self) {
        if !self.is_open {
            self.value.is_valid = false;
        }
    }

    /// All have reported, and who is gone cannot use anything any more: grants begin.
    pub fn open(&mut self, view: u64) {
        self.is_open = true;
        self.pump(view);
    }

    /// A node is gone, but may use what it has until its lease ends: [`Self::remove`] of [`buried`] says
    /// that it has. Meanwhile its number may be another incarnation's.
    pub fn bury(&mut self, node: NodeId, view: u64) {
        match self.find(node) {
            Some((at, Entry { held: None, .. })) => drop(self.entries.remove(at)),
            _ => {
                if let Some(entry) = self.entry_mut(node) {
                    entry.node = buried(node);
                    entry.want = None;
                    entry.untold = false;
                }
            }
        }
        // Nobody waits behind it any more.
        self.pump(view);
    }

    /// A node is gone, and its lease has run out. What it had is free.
    pub fn remove(&mut self, node: NodeId, view: u64) {
        // One that came back and went again while its leases last is there twice.
        while let Some((at, entry)) = self.find(node) {
            self.entries.remove(at);
            if entry.held.is_some_and(Mode::writes) {
                // It may have written a value and made grants that nobody knows.
                self.value.is_valid = false;
                self.era.merge(Era::new(view));
            }
        }
        self.pump(view);
    }

    /// What this master knows, for another one: nobody is said to hold anything, each says that itself.
    pub fn report(&self) -> Report {
        let mut writers = self.entries().iter().filter_map(|entry| entry.held);
        Report {
            seq: 0,
            held: None,
            era: self.era,
            value: self.value,
            is_newest: !writers.any(Mode::writes),
        }
    }
}
