// SPDX-License-Identifier: GPL-2.0

//! What a visit does next: one access to what the participants share, or what its driver has to see to.

/// A cell that participants share. All begin with 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum BakeryCell {
    /// 1 while this participant is in its doorway. Only that one stores.
    Flag(u16),
    /// The ticket of this participant; 0 if it has none. Only that one stores.
    Ticket(u16),
}

/// How a load is ordered, as in the kernel's memory model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LoadOrder {
    /// Not at all.
    Relaxed,
    /// Before whatever its participant does later.
    Acquire,
}

/// How a store is ordered, as in the kernel's memory model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StoreOrder {
    /// Not at all.
    Relaxed,
    /// After whatever its participant has done before.
    Release,
}

/// What comes next in a visit. After the accesses, from [`Self::Load`] to [`Self::Wake`], the driver calls
/// [`Visit::advance`](super::Visit::advance).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BakeryStep {
    /// Loads the cell, and hands on what it has.
    Load(BakeryCell, LoadOrder),
    /// Stores the number in the cell.
    Store(BakeryCell, u64, StoreOrder),
    /// A full barrier: orders all before it against all behind it.
    Fence,
    /// Adds 1 to the number of sleepers, atomically and without an order.
    JoinSleepers,
    /// Subtracts 1 from it, likewise.
    LeaveSleepers,
    /// Loads it without an order, and hands it on.
    ReadSleepers,
    /// Wakes this participant, if it sleeps.
    Wake(u16),
    /// Somebody is before this participant. The driver may [look again](super::Visit::look) at once, have the participant
    /// [fall asleep](super::Visit::fall_asleep), or [give up](super::Visit::give_up).
    Blocked,
    /// The participant is to sleep: the driver sees to it that it can be woken from now on, has a full barrier, and lets it
    /// [look](super::Visit::look) again; if it is still to sleep then, the driver waits until it is woken, and does
    /// the same once more. It may [give up](super::Visit::give_up) instead.
    Asleep,
    /// The participant has the lock.
    Entered,
    /// The participant is outside: it has left, or given up.
    Left,
    /// The participant is outside: there was no ticket left.
    Exhausted,
}
