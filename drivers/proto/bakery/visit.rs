// SPDX-License-Identifier: GPL-2.0

//! The machine of one visit: from the doorway until the participant has the lock, or gives up; and its way out.

use super::{
    step::{BakeryCell, BakeryStep, LoadOrder, StoreOrder},
    MAX_PARTICIPANTS,
};

/// How a participant goes along the others while it waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum WaitLoops {
    /// Once: of each the flag, and then its ticket.
    One,
    /// Twice: the flags of all, and then the tickets of all.
    Two,
}

/// What a participant does between the doorway, or the return of its ticket, and what follows: it wakes who is next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Telling {
    /// The full barrier before it looks whether anybody sleeps.
    Fence,
    /// Whether anybody does.
    Sleepers,
    /// Looks at the ticket of `other`. `first` is the one that comes first so far.
    Find {
        other: u16,
        first: Option<(u64, u16)>,
    },
    /// Wakes that participant.
    Wake(u16),
}

/// What follows [`Telling`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Next {
    Wait,
    Left,
    Exhausted,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Phase {
    RaiseFlag,
    DoorwayFence,
    /// Looks at the ticket of `other`; `largest` is that of those before.
    FindLargest {
        other: u16,
        largest: u64,
    },
    TakeTicket,
    LowerFlag,
    GiveTicketBack,
    Tell(Telling),
    /// Looks at the cell.
    Look(BakeryCell),
    /// The cell was not as it has to be.
    Blocked(BakeryCell),
    /// Counts itself as a sleeper, because of this cell.
    Join(BakeryCell),
    Asleep(BakeryCell),
    /// Looks at the cell, and sleeps again if that is as it was.
    LookAgain(BakeryCell),
    /// Has counted itself as a sleeper, and is none any more. The cell is as it has to be.
    Leave(BakeryCell),
    /// Likewise, but it gives up.
    LeaveUnserved,
    Entered,
    Left,
    Exhausted,
}

/// A participant on its way in, or out. It knows which access comes next ([`Self::next`]), and goes on when that was done
/// ([`Self::advance`]); it does none itself.
///
/// # Invariants
///
/// `me < participants <= MAX_PARTICIPANTS`. Cells of `me` are only stored, cells of others only loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Visit {
    me: u16,
    participants: u16,
    loops: WaitLoops,
    /// 0 before one was taken, and on the way out.
    ticket: u64,
    next: Next,
    phase: Phase,
}

impl Visit {
    /// Participant `me` of so many begins its doorway. `None` if there is no such participant, or there are more than
    /// [`MAX_PARTICIPANTS`].
    pub fn entering(me: u16, participants: u16, loops: WaitLoops) -> Option<Self> {
        // INVARIANT: Checked here.
        (me < participants && participants <= MAX_PARTICIPANTS).then_some(Visit {
            me,
            participants,
            loops,
            ticket: 0,
            next: Next::Wait,
            phase: Phase::RaiseFlag,
        })
    }

    /// Participant `me`, which has the lock, leaves. `None` as for [`Self::entering`].
    pub fn leaving(me: u16, participants: u16) -> Option<Self> {
        let mut visit = Self::entering(me, participants, WaitLoops::One)?;
        visit.give_ticket_back();
        Some(visit)
    }

    /// What comes next.
    #[inline]
    pub fn next(&self) -> BakeryStep {
        use BakeryCell::{Flag, Ticket};
        use LoadOrder::{Acquire, Relaxed};
        match self.phase {
            // What orders it is the barrier behind it.
            Phase::RaiseFlag => BakeryStep::Store(Flag(self.me), 1, StoreOrder::Relaxed),
            Phase::DoorwayFence | Phase::Tell(Telling::Fence) => BakeryStep::Fence,
            // Any value will do that was there after the barrier: nothing else is read because of it.
            Phase::FindLargest { other, .. } => BakeryStep::Load(Ticket(other), Relaxed),
            // Whoever reads this ticket instead of 0 sees what was done under the lock before.
            Phase::TakeTicket => {
                BakeryStep::Store(Ticket(self.me), self.ticket, StoreOrder::Release)
            }
            // Whoever reads 0 sees the ticket.
            Phase::LowerFlag => BakeryStep::Store(Flag(self.me), 0, StoreOrder::Release),
            // Whoever reads 0 sees what was done under the lock.
            Phase::GiveTicketBack => BakeryStep::Store(Ticket(self.me), 0, StoreOrder::Release),
            Phase::Tell(Telling::Sleepers) => BakeryStep::ReadSleepers,
            Phase::Tell(Telling::Find { other, .. }) => BakeryStep::Load(Ticket(other), Relaxed),
            Phase::Tell(Telling::Wake(other)) => BakeryStep::Wake(other),
            // See `LowerFlag`, and `GiveTicketBack`.
            Phase::Look(cell) | Phase::LookAgain(cell) => BakeryStep::Load(cell, Acquire),
            Phase::Blocked(_) => BakeryStep::Blocked,
            Phase::Join(_) => BakeryStep::JoinSleepers,
            Phase::Asleep(_) => BakeryStep::Asleep,
            Phase::Leave(_) | Phase::LeaveUnserved => BakeryStep::LeaveSleepers,
            Phase::Entered => BakeryStep::Entered,
            Phase::Left => BakeryStep::Left,
            Phase::Exhausted => BakeryStep::Exhausted,
        }
    }

    /// The access that came next was done; `seen` is what it has loaded, if it was a load. Nothing happens if it
    /// was none.
    #[inline]
    pub fn advance(&mut self, seen: u64) {
        self.phase = match self.phase {
            Phase::RaiseFlag => Phase::DoorwayFence,
            Phase::DoorwayFence => self.find_largest(0, 0),
            Phase::FindLargest { other, largest } => {
                self.find_largest(other.saturating_add(1), largest.max(seen))
            }
            Phase::TakeTicket => Phase::LowerFlag,
            Phase::LowerFlag | Phase::GiveTicketBack => Phase::Tell(Telling::Fence),
            Phase::Tell(Telling::Fence) => Phase::Tell(Telling::Sleepers),
            Phase::Tell(Telling::Sleepers) => match seen {
                0 => self.told(),
                _ => {
                    let own = (self.ticket != 0).then_some((self.ticket, self.me));
                    self.find_first(0, own)
                }
            },
            Phase::Tell(Telling::Find { other, first }) => {
                let found = (seen != 0).then_some((seen, other));
                let first = match (first, found) {
                    (Some(first), Some(found)) => Some(first.min(found)),
                    (first, found) => first.or(found),
                };
                self.find_first(other.saturating_add(1), first)
            }
            Phase::Tell(Telling::Wake(_)) => self.told(),
            Phase::Look(cell) => match self.may_pass(cell, seen) {
                true => self.look_behind(cell),
                false => Phase::Blocked(cell),
            },
            Phase::Join(cell) => Phase::Asleep(cell),
            Phase::LookAgain(cell) => match self.may_pass(cell, seen) {
                true => Phase::Leave(cell),
                false => Phase::Asleep(cell),
            },
            Phase::Leave(cell) => self.look_behind(cell),
            Phase::LeaveUnserved => {
                self.give_ticket_back();
                return;
            }
            phase @ (Phase::Blocked(_)
            | Phase::Asleep(_)
            | Phase::Entered
            | Phase::Left
            | Phase::Exhausted) => phase,
        };
    }

    /// Has a participant that is [blocked](BakeryStep::Blocked), or [asleep](BakeryStep::Asleep), look whether it may go on.
    #[inline]
    pub fn look(&mut self) {
        self.phase = match self.phase {
            Phase::Blocked(cell) => Phase::Look(cell),
            Phase::Asleep(cell) => Phase::LookAgain(cell),
            phase => phase,
        };
    }

    /// Has a participant that is [blocked](BakeryStep::Blocked) fall asleep.
    pub fn fall_asleep(&mut self) {
        if let Phase::Blocked(cell) = self.phase {
            self.phase = Phase::Join(cell);
        }
    }

    /// Has a participant that is [blocked](BakeryStep::Blocked), or [asleep](BakeryStep::Asleep), leave without having had
    /// the lock.
    pub fn give_up(&mut self) {
        match self.phase {
            Phase::Blocked(_) => self.give_ticket_back(),
            Phase::Asleep(_) => self.phase = Phase::LeaveUnserved,
            _ => (),
        }
    }

    fn give_ticket_back(&mut self) {
        self.ticket = 0;
        self.next = Next::Left;
        self.phase = Phase::GiveTicketBack;
    }

    /// The first participant from `at` on that is another one.
    #[inline]
    fn other_from(&self, at: u16) -> Option<u16> {
        let other = match at == self.me {
            true => at.saturating_add(1),
            false => at,
        };
        (other < self.participants).then_some(other)
    }

    #[inline]
    fn find_largest(&mut self, from: u16, largest: u64) -> Phase {
        if let Some(other) = self.other_from(from) {
            return Phase::FindLargest { other, largest };
        }
        match largest.checked_add(1) {
            Some(ticket) => {
                self.ticket = ticket;
                Phase::TakeTicket
            }
            None => {
                self.next = Next::Exhausted;
                Phase::LowerFlag
            }
        }
    }

    fn find_first(&self, from: u16, first: Option<(u64, u16)>) -> Phase {
        match (self.other_from(from), first) {
            (Some(other), _) => Phase::Tell(Telling::Find { other, first }),
            (None, Some((_, first))) if first != self.me => Phase::Tell(Telling::Wake(first)),
            _ => self.told(),
        }
    }

    /// Where it goes on when it has told who is next.
    #[inline]
    fn told(&self) -> Phase {
        match self.next {
            Next::Wait => self
                .other_from(0)
                .map_or(Phase::Entered, |other| Phase::Look(BakeryCell::Flag(other))),
            Next::Left => Phase::Left,
            Next::Exhausted => Phase::Exhausted,
        }
    }

    /// Whether a participant with this one's ticket need not wait because of a cell that has `seen`.
    #[inline]
    fn may_pass(&self, cell: BakeryCell, seen: u64) -> bool {
        match cell {
            BakeryCell::Ticket(other) => seen == 0 || (seen, other) > (self.ticket, self.me),
            BakeryCell::Flag(_) => seen == 0,
        }
    }

    /// The cell that it looks at after this one; it has entered if there is none.
    #[inline]
    fn look_behind(&self, cell: BakeryCell) -> Phase {
        use BakeryCell::{Flag, Ticket};
        let behind = |other: u16| self.other_from(other.saturating_add(1));
        let next = match (self.loops, cell) {
            (WaitLoops::One, Flag(other)) => Some(Ticket(other)),
            (WaitLoops::One, Ticket(other)) => behind(other).map(Flag),
            (WaitLoops::Two, Flag(other)) => {
                behind(other).map(Flag).or(self.other_from(0).map(Ticket))
            }
            (WaitLoops::Two, Ticket(other)) => behind(other).map(Ticket),
        };
        next.map_or(Phase::Entered, Phase::Look)
    }
}

#[cfg(test)]
mod tests;
