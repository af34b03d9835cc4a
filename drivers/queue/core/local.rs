// SPDX-License-Identifier: GPL-2.0

//! Taking messages from channels of this node, and saying what becomes of them.

use crate::channel::{
    Channel,
    ChannelRef, //
};
use kernel::{
    prelude::*,
    sync::atomic::Relaxed, //
};
use linux::deadline::Deadline;

/// What becomes of a delivery.
#[derive(Clone, Copy)]
pub(crate) enum Done {
    /// It is done.
    Acked,
    /// Others may have the message in so many milliseconds.
    Back(u32),
    /// It was none: nobody has seen the message.
    Untaken,
}

/// A message that was taken, wherever it was.
pub(crate) struct Delivery<'a> {
    pub(crate) id: u64,
    pub(crate) position: u64,
    pub(crate) deliveries: u32,
    pub(crate) subject: &'a [u8],
    pub(crate) data: &'a [u8],
    /// Whether somebody waits for a reply.
    pub(crate) is_request: bool,
}

/// Says what becomes of delivery `id` of a channel of this node. May sleep.
///
/// # Errors
///
/// [`ESTALE`] if `consumer` does not have it (any more).
pub(crate) fn done_here(channel: &ChannelRef, consumer: u64, id: u64, done: Done) -> Result {
    match done {
        Done::Acked => Channel::ack(channel, consumer, id),
        Done::Back(delay_ms) => Channel::give_back(channel, consumer, id, delay_ms),
        Done::Untaken => Channel::untake(channel, consumer, id),
    }
}

/// Takes messages of a channel of this node, up to `count`, at least one, and shows each to `give`;
/// one for which that fails is given back. Waits until `deadline` for the first. Returns how many.
/// Sleeps, killably.
///
/// # Errors
///
/// Those of the first one: what was given stays given, whatever happens then.
pub(crate) fn take_here(
    channel: &ChannelRef,
    consumer: u64,
    acked: bool,
    count: u32,
    deadline: Deadline,
    mut give: impl FnMut(&Delivery<'_>) -> Result,
) -> Result<usize> {
    let mut given = 0;
    while given < count as usize {
        // Not for good before the program has it.
        let taken = match Channel::take(channel, consumer, false) {
            Ok(Some(taken)) => taken,
            Ok(None) | Err(_) if given > 0 => break,
            Ok(None) => match channel.wait(deadline)? {
                true => continue,
                false => return Err(ETIMEDOUT),
            },
            Err(e) => return Err(e),
        };
        let message = &taken.item;
        let shown = give(&Delivery {
            id: taken.id,
            position: message.position.load(Relaxed),
            deliveries: taken.deliveries,
            subject: message.subject(),
            data: message.data(),
            is_request: message.reply.is_some(),
        });
        let done = match (shown, acked) {
            (Ok(()), true) => Channel::ack(channel, consumer, taken.id),
            (Ok(()), false) => Ok(()),
            (Err(e), _) => {
                // If its time is over others have it already.
                let _ = Channel::untake(channel, consumer, taken.id);
                Err(e)
            }
        };
        match (done, given) {
            (Ok(()), _) => given += 1,
            (Err(e), 0) => return Err(e),
            (Err(_), _) => break,
        }
    }
    Ok(given)
}
