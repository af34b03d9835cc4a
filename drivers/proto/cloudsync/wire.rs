// SPDX-License-Identifier: GPL-2.0

//! What nodes say to each other about locks: integers in little-endian order, without padding.
//!
//! | op      | request body                                    | reply body | repeated |
//! |---------|--------------------------------------------------|--------|----------|
//! | Member  | an [`Ask`]                                        | a [`Told`] | done again |
//! | Claim   | view, uid (4 bytes), name, a [`Claim`]            | an [`Answer`] | done again |
//! | Notices | view, then name and [`Notice`], as often as there are | empty | done again |
//! | Reports | view, 1 if these are the last, then name and [`Report`] | empty | done again |
//!
//! A view is a number of 8 bytes: `ESTALE` answers one that has passed, `EAGAIN` one that has not come
//! yet. A name is a byte with its length and its bytes. All of these may be done twice: claims and what
//! follows from them have numbers. A record that means nothing is refused with `EINVAL`.

use super::{
    is_name,
    membership::{Ask, Told},
    resource::{Answer, Claim, Grant, Notice, Report},
    view::{Member, View},
    Era, Mode, Modes, Token, Value, MAX_NAME, VALUE,
};

/// Operation numbers in [`crate::frame::Header::op`].
pub mod op {
    /// Views and the lease.
    pub const MEMBER: u16 = 1;
    /// What a node keeps and wants of a name.
    pub const CLAIM: u16 = 2;
    /// What the master of names says by itself.
    pub const NOTICES: u16 = 3;
    /// What a node has of names that another one masters now.
    pub const REPORTS: u16 = 4;
}

/// Bytes of the longest [`Grant`].
const MAX_GRANT: usize = 8 + 2 + 9 + MAX_VALUE;

const MAX_VALUE: usize = VALUE + 8 + 1;

/// Bytes of the longest [`Answer`].
pub const MAX_ANSWER: usize = 1 + MAX_GRANT;

/// Bytes of the longest request for a claim.
pub const MAX_CLAIM: usize = 8 + 4 + 1 + MAX_NAME + 8 + 3 + 9 + MAX_VALUE;

/// Bytes of the longest name with a [`Notice`] or [`Report`].
pub const MAX_RECORD: usize = 1 + MAX_NAME + 1 + MAX_GRANT;

/// Bytes of the longest [`Ask`] or [`Told`] of `nodes` nodes.
pub const fn max_member(nodes: usize) -> usize {
    let view = 8 + 8 + 4 + 2;
    nodes.saturating_mul(17).saturating_add(view + 32)
}

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
        if let Some(view) = &told.latest {
            self.view(view);
        }
    }
}

/// Reads records one behind the other. Each function returns `None` for what means nothing.
pub struct In<'a>(pub &'a [u8]);

impl<'a> In<'a> {
    /// Whether there is nothing more.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Nothing may follow.
    pub fn end(&self) -> Option<()> {
        self.is_empty().then_some(())
    }

    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(taken)
    }

    fn array<const L: usize>(&mut self) -> Option<[u8; L]> {
        self.take(L)?.try_into().ok()
    }

    fn u8(&mut self) -> Option<u8> {
        self.array().map(u8::from_le_bytes)
    }

    /// A number.
    pub fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    /// A number.
    pub fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    /// 0 or 1.
    pub fn flag(&mut self) -> Option<bool> {
        match self.u8()? {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        }
    }

    /// Two flags.
    fn flags(&mut self) -> Option<(bool, bool)> {
        match self.u8()? {
            bits @ 0..=3 => Some((bits & 1 != 0, bits & 2 != 0)),
            _ => None,
        }
    }

    fn mode(&mut self) -> Option<Option<Mode>> {
        match self.u8()? {
            0 => Some(None),
            number => Mode::from_wire(number).map(Some),
        }
    }

    /// A name of a lock.
    pub fn name(&mut self) -> Option<&'a [u8]> {
        let len = self.u8()?;
        self.take(len.into()).filter(|name| is_name(name))
    }

    fn era(&mut self) -> Option<Era> {
        Some(Era {
            token: Token(self.u64()?),
            modes: Modes::from_wire(self.u8()?),
        })
    }

    fn value(&mut self) -> Option<Value> {
        Some(Value {
            bytes: self.array()?,
            version: Token(self.u64()?),
            is_valid: self.flag()?,
        })
    }

    /// A claim.
    pub fn claim(&mut self) -> Option<Claim> {
        let (seq, keep, want, era) = (self.u64()?, self.mode()?, self.mode()?, self.era()?);
        let (tries, has_value) = self.flags()?;
        let value = match has_value {
            true => Some(self.value()?),
            false => None,
        };
        Some(Claim {
            seq,
            keep,
            want,
            tries,
            era,
            value,
        })
    }

    fn grant(&mut self) -> Option<Grant> {
        Some(Grant {
            seq: self.u64()?,
            mode: self.mode()??,
            block: self.mode()?,
            era: self.era()?,
            value: self.value()?,
        })
    }

    /// An answer.
    pub fn answer(&mut self) -> Option<Answer> {
        Some(match self.u8()? {
            0 => Answer::Done,
            1 => Answer::Granted(self.grant()?),
            2 => Answer::Queued,
            3 => Answer::Busy,
            4 => Answer::Deadlock,
            5 => Answer::Exhausted,
            6 => Answer::NoMemory,
            7 => Answer::Stale,
            _ => return None,
        })
    }

    /// A notice.
    pub fn notice(&mut self) -> Option<Notice> {
        match self.u8()? {
            0 => self.grant().map(Notice::Grant),
            1 => Some(Notice::Block {
                seq: self.u64()?,
                mode: self.mode()??,
            }),
            _ => None,
        }
    }

    /// A report.
    pub fn report(&mut self) -> Option<Report> {
        let (seq, held, is_newest) = (self.u64()?, self.mode()?, self.flag()?);
        Some(Report {
            seq,
            held,
            is_newest,
            era: self.era()?,
            value: self.value()?,
        })
    }

    fn view<const N: usize>(&mut self) -> Option<View<N>> {
        let mut view = View {
            number: self.u64()?,
            base: self.u64()?,
            lease_ms: self.u32()?,
            has_lost: self.flag()?,
            ..View::NONE
        };
        for _ in 0..self.u8()? {
            let node = usize::from(self.u8()?).checked_sub(1)?;
            let member = view.members.get_mut(node)?;
            *member = Member {
                boot: self.u64().filter(|boot| *boot != 0)?,
                joined: self.u64()?,
            };
        }
        Some(view)
    }

    /// What one node asks another.
    pub fn ask<const N: usize>(&mut self) -> Option<Ask<N>> {
        Some(match self.u8()? {
            0 => Ask::Beat { view: self.u64()? },
            1 => Ask::Fetch,
            2 => Ask::Prepare {
                number: self.u64()?,
                boot: self.u64()?,
            },
            3 => Ask::Commit(self.view()?),
            _ => return None,
        })
    }

    /// What is answered.
    pub fn told<const N: usize>(&mut self) -> Option<Told<N>> {
        let (boot, promised, view) = (self.u64()?, self.u64()?, self.u64()?);
        let (yes, has_latest) = self.flags()?;
        let is_settled = self.flag()?;
        let latest = match has_latest {
            true => Some(self.view()?),
            false => None,
        };
        Some(Told {
            boot,
            promised,
            view,
            yes,
            is_settled,
            latest,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::vec::Vec;

    fn mode() -> impl Strategy<Value = Option<Mode>> {
        (0u8..7).prop_map(Mode::from_wire)
    }

    fn era() -> impl Strategy<Value = Era> {
        (any::<u64>(), any::<u8>()).prop_map(|(token, bits)| Era {
            token: Token(token),
            modes: Modes::from_wire(bits),
        })
    }

    fn value() -> impl Strategy<Value = Value> {
        (any::<u8>(), any::<u64>(), any::<bool>()).prop_map(|(byte, version, is_valid)| Value {
            bytes: [byte; VALUE],
            version: Token(version),
            is_valid,
        })
    }

    fn written(write: impl FnOnce(&mut Out<'_>)) -> Vec<u8> {
        let mut bytes = [0; 4096];
        let mut out = Out::new(&mut bytes);
        write(&mut out);
        let len = out.finish().unwrap();
        bytes[..len].to_vec()
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(
            (seq, keep, want, tries) in (any::<u64>(), mode(), mode(), any::<bool>()),
            (era, value, has_value) in (era(), value(), any::<bool>()),
        ) {
            let claim = Claim { seq, keep, want, tries, era, value: has_value.then_some(value) };
            let bytes = written(|out| out.claim(&claim));
            prop_assert_eq!(In(&bytes).claim(), Some(claim));
            let grant = Grant { seq, mode: keep.unwrap_or(Mode::Ex), era, value, block: want };
            for answer in [Answer::Granted(grant), Answer::Queued, Answer::Stale] {
                let bytes = written(|out| out.answer(&answer));
                prop_assert!(bytes.len() <= MAX_ANSWER);
                prop_assert_eq!(In(&bytes).answer(), Some(answer));
            }
            for notice in [Notice::Grant(grant), Notice::Block { seq, mode: Mode::Pr }] {
                let bytes = written(|out| out.notice(&notice));
                prop_assert_eq!(In(&bytes).notice(), Some(notice));
            }
            let report = Report { seq, held: keep, era, value, is_newest: tries };
            let bytes = written(|out| out.report(&report));
            prop_assert_eq!(In(&bytes).report(), Some(report));
        }

        #[test]
        fn views_are_read_as_they_are_written(
            numbers in any::<[u64; 3]>(),
            members in any::<[(u64, u64); 5]>(),
            has_lost in any::<bool>(),
        ) {
            let members = members.map(|(boot, joined)| match boot % 3 {
                0 => Member::default(),
                _ => Member { boot: boot.max(1), joined },
            });
            let [number, base, promised] = numbers;
            let view = View::<5> { number, base, lease_ms: 7, has_lost, members };
            for ask in [Ask::Commit(view), Ask::Fetch, Ask::Beat { view: base }, Ask::Prepare { number, boot: 3 }] {
                let bytes = written(|out| out.ask(&ask));
                prop_assert!(bytes.len() <= max_member(5));
                prop_assert_eq!(In(&bytes).ask(), Some(ask));
            }
            let told = Told { boot: 9, promised, view: number, yes: has_lost, is_settled: !has_lost, latest: Some(view) };
            let bytes = written(|out| out.told(&told));
            prop_assert!(bytes.len() <= max_member(5));
            prop_assert_eq!(In(&bytes).told(), Some(told));
        }

        #[test]
        fn any_bytes_may_come(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = In(&bytes).claim();
            let _ = In(&bytes).answer();
            let _ = In(&bytes).notice();
            let _ = In(&bytes).report();
            let _ = In(&bytes).ask::<5>();
            let _ = In(&bytes).told::<5>();
        }
    }

    #[test]
    fn the_longest_claim_fits() {
        let claim = Claim {
            seq: 1,
            keep: None,
            want: Some(Mode::Ex),
            tries: true,
            era: Era::new(1),
            value: Some(Value::ZERO),
        };
        let bytes = written(|out| {
            out.u64(1);
            out.u32(0);
            out.name(&[b'x'; MAX_NAME]);
            out.claim(&claim);
        });
        assert!(bytes.len() <= MAX_CLAIM);
        let mut small = [0; 10];
        let mut out = Out::new(&mut small);
        out.claim(&claim);
        assert_eq!(out.finish(), None);
        assert_eq!(In(&[0]).name(), None);
    }
}
