// SPDX-License-Identifier: GPL-2.0

//! What a session does next.

/// What to do after the bytes at hand are used.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    /// More bytes are needed; those at hand and the missing ones make so many.
    Receive(usize),
    /// There are more requests at hand.
    Work,
    /// There are, but they cannot be carried out yet; the session is woken when they can.
    Blocked,
    /// Send the replies, then end the session.
    Finish,
}
