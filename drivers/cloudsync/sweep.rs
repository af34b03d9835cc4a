// SPDX-License-Identifier: GPL-2.0

//! What is done to many names at once, and need not be done at once: [`STEP`] names at a time, and in between
//! others get the mutex of the names.

use core::ops::Range;

/// Names that are looked at while the mutex is held.
pub(crate) const STEP: usize = 64;

/// Names that are looked at for one who needs room.
const LOOK: usize = 4096;

/// Names that are given back for him: of these more the fewer there is room for.
const LEAST: u64 = 16;
const MOST: u64 = 1024;

/// Names that are to be given back. Nodes keep what they were granted for the next program, and who has locked
/// many names, one after the other, holds none of them.
struct Reclaim {
    /// Charged to this user, or to anybody.
    uid: Option<u32>,
    names: u64,
    look: usize,
}

/// What is to be done.
pub(crate) struct Sweep {
    /// Names that are to come to rest from this place on.
    unsettled: Range<usize>,
    reclaim: Option<Reclaim>,
    /// Which name is given back next: those that were made first before others.
    hand: usize,
}

/// What is done next.
pub(crate) enum SweepStep {
    /// The name at this place comes to rest.
    Settle(usize),
    /// The name at this place is given back, if it is charged to this user, or whomever; then
    /// [`Sweep::given_back`].
    GiveBack(usize, Option<u32>),
}

impl Sweep {
    pub(crate) const fn new() -> Self {
        Sweep {
            unsettled: 0..0,
            reclaim: None,
            hand: 0,
        }
    }

    /// All names, of which there are places for `len`, are to come to rest.
    pub(crate) fn settle(&mut self, len: usize) {
        self.unsettled = 0..len;
    }

    /// So many names, within bounds, are to be given back that are charged to user `uid`, or to anybody, unless
    /// that is being done. While it is done for another user it is done for anybody from now on, so that nobody
    /// keeps others from it.
    pub(crate) fn reclaim(&mut self, uid: Option<u32>, names: u64, len: usize) {
        let all = |uid| Reclaim {
            uid,
            names: names.clamp(LEAST, MOST),
            look: LOOK.min(len),
        };
        match &mut self.reclaim {
            None => self.reclaim = Some(all(uid)),
            Some(pending) if pending.uid.is_some() && pending.uid != uid => *pending = all(None),
            Some(_) => (),
        }
    }

    /// What is next, if anything is; there are places for `len` names.
    pub(crate) fn next(&mut self, len: usize) -> Option<SweepStep> {
        if let Some(at) = self.unsettled.next() {
            return Some(SweepStep::Settle(at));
        }
        let reclaim = self.reclaim.as_mut()?;
        let Some(look) = reclaim.look.checked_sub(1).filter(|_| reclaim.names > 0) else {
            self.reclaim = None;
            return None;
        };
        reclaim.look = look;
        let at = self.hand;
        self.hand = match at + 1 < len {
            true => at + 1,
            false => 0,
        };
        Some(SweepStep::GiveBack(at, reclaim.uid))
    }

    /// A name was given back.
    pub(crate) fn given_back(&mut self) {
        if let Some(reclaim) = &mut self.reclaim {
            reclaim.names = reclaim.names.saturating_sub(1);
        }
    }
}
