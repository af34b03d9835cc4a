// SPDX-License-Identifier: GPL-2.0

//! Writing of records.

use crate::cloudsync::{
    membership::{Ask, Told},
    resource::{Answer, Claim, Grant, Notice, Report},
    view::View,
    Era, Mode, Value,
};

/// Writes records one behind the other.
pub struct Out<'a> {
    bytes: &'a mut [u8],
    len: usize,
    is_full: bool,
}

impl<'a> Out<'a> {
    /// Writes to `bytes`.
    pub fn new(bytes: &'a mut [u8]) -> Self {
        Out {
            bytes,
            len: 0,
            is_full: false,
        }
    }

    /// How many bytes were written. `None` if there was no room for all.
    pub fn finish(self) -> Option<usize> {
        (!self.is_full).then_some(self.len)
    }

    /// Room that is left.
    pub fn room(&self) -> usize {
        self.bytes.len().saturating_sub(self.len)
    }

    /// Appends bytes.
    pub fn put(&mut self, bytes: &[u8]) {
        let end = self.len.saturating_add(bytes.len());
        match self.bytes.get_mut(self.len..end) {
            Some(to) => {
                to.copy_from_slice(bytes);
                self.len = end;
            }
            None => self.is_full = true,
        }
    }

    fn u8(&mut self, value: u8) {
        self.put(&[value]);
    }

    /// Appends a number.
    pub fn u32(&mut self, value: u32) {
        self.put(&value.to_le_bytes());
    }

    /// Appends a number.
    pub fn u64(&mut self, value: u64) {
        self.put(&value.to_le_bytes());
    }

    fn flag(&mut self, value: bool) {
        self.u8(value.into());
    }

    fn mode(&mut self, mode: Option<Mode>) {
        self.u8(mode.map_or(0, Mode::to_wire));
    }

    /// Appends a name.
    pub fn name(&mut self, name: &[u8]) {
        match u8::try_from(name.len()) {
            Ok(len) => self.u8(len),
            Err(_) => self.is_full = true,
        }
        self.put(name);
    }

    fn era(&mut self, era: Era) {
        self.u64(era.token.0);
        self.u8(era.modes.to_wire());
    }

    fn value(&mut self, value: &Value) {
        self.put(&value.bytes);
        self.u64(value.version.0);
        self.flag(value.is_valid);
    }

    /// Appends a claim.
    pub fn claim(&mut self, claim: &Claim) {
        self.u64(claim.seq);
        self.mode(claim.keep);
        self.mode(claim.want);
        self.era(claim.era);
        self.u8(u8::from(claim.tries) | (u8::from(claim.value.is_some()) << 1));
        if let Some(value) = &claim.value {
            self.value(value);
        }
    }

    fn grant(&mut self, grant: &Grant) {
        self.u64(grant.seq);
        self.mode(Some(grant.mode));
        self.mode(grant.block);
        self.era(grant.era);
        self.value(&grant.value);
    }

    /// Appends an answer.
    pub fn answer(&mut self, answer: &Answer) {
        self.u8(match answer {
            Answer::Done => 0,
            Answer::Granted(_) => 1,
            Answer::Queued => 2,
            Answer::Busy => 3,
            Answer::Deadlock => 4,
            Answer::Exhausted => 5,
            Answer::NoMemory => 6,
            Answer::Stale => 7,
            Answer::Quota => 8,
        });
        if let Answer::Granted(grant) = answer {
            self.grant(grant);
        }
    }

    /// Appends a notice.
    pub fn notice(&mut self, notice: &Notice) {
        match notice {
            Notice::Grant(grant) => {
                self.u8(0);
                self.grant(grant);
            }
            Notice::Block { seq, mode } => {
                self.u8(1);
                self.u64(*seq);
                self.mode(Some(*mode));
            }
        }
    }

    /// Appends a report.
    pub fn report(&mut self, report: &Report) {
        self.u64(report.seq);
        self.mode(report.held);
        self.flag(report.is_newest);
        self.era(report.era);
        self.value(&report.value);
    }

    fn view<const N: usize>(&mut self, view: &View<N>) {
        self.u64(view.number);
        self.u64(view.base);
        self.u32(view.lease_ms);
        self.u32(view.wait_ms);
        self.flag(view.has_lost);
        self.u8(view.nodes().count().try_into().unwrap_or(u8::MAX));
        for node in view.nodes() {
            let member = view.member(node);
            self.u8(node);
            self.u64(member.boot);
            self.u64(member.joined);
        }
    }

    /// Appends what one node asks another.
    pub fn ask<const N: usize>(&mut self, ask: &Ask<N>) {
        match ask {
            Ask::Beat { view } => {
                self.u8(0);
                self.u64(*view);
            }
            Ask::Fetch => self.u8(1),
            Ask::Prepare { number, boot } => {
                self.u8(2);
                self.u64(*number);
                self.u64(*boot);
            }
            Ask::Commit(view) => {
                self.u8(3);
                self.view(view);
            }
        }
    }

    /// Appends what is answered.
    pub fn told<const N: usize>(&mut self, told: &Told<N>) {
        self.u64(told.boot);
        self.u64(told.promised);
        self.u64(told.view);
        self.u8(u8::from(told.yes) | (u8::from(told.latest.is_some()) << 1));
        self.flag(told.is_settled);
        self.u64(told.links.hears);
        self.u64(told.links.misses);
        if let Some(view) = &told.latest {
            self.view(view);
        }
    }
}
