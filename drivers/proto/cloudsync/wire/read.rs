// SPDX-License-Identifier: GPL-2.0

//! Reading of records, which may be any bytes.

use crate::cloudsync::{
    is_name,
    membership::{Ask, Links, Told},
    resource::{Answer, Claim, Grant, Notice, Report},
    view::{Member, View},
    Era, Mode, Modes, Token, Value,
};

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
            8 => Answer::Quota,
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
            wait_ms: self.u32()?,
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
        let links = Links {
            hears: self.u64()?,
            misses: self.u64()?,
        };
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
            links,
            latest,
        })
    }
}
