// SPDX-License-Identifier: GPL-2.0

//! Publishers that wait for room in a channel that blocks.
//!
//! What becomes free is promised to those who have waited for longest, as many as it is enough for, and
//! these are woken: see [`virgo_proto::queue::room`]. If there are many the channel's task goes on with them.

use super::{
    Channel,
    ChannelRef,
    Clock,
    State, //
};
use kernel::prelude::*;
use linux::{
    deadline::Deadline,
    waiters::{
        Waiters,
        Woken, //
    },
    work::{
        yield_now,
        Task, //
    }, //
};
use virgo_proto::queue::{
    room::WaitingPublishers,
    state::{
        OverflowPolicy,
        Promise,
        WantedRoom, //
    }, //
};

/// A message as those are told who wait.
fn packed(WantedRoom { bytes, uid }: WantedRoom) -> u64 {
    (u64::from(bytes) << u32::BITS) | u64::from(uid)
}

fn unpacked(wants: u64) -> WantedRoom {
    WantedRoom {
        bytes: (wants >> u32::BITS) as u32,
        uid: wants as u32,
    }
}

/// Publishers that wait, under the lock of the channel's state.
struct Publishers<'a>(&'a Waiters);

impl WaitingPublishers for Publishers<'_> {
    fn begin(&mut self) {
        self.0.begin();
    }

    fn next(&self) -> Option<WantedRoom> {
        self.0.next().map(unpacked)
    }

    fn pass(&mut self) {
        self.0.pass();
    }

    fn select(&mut self) {
        self.0.select_next();
    }
}

/// The turn of a task that has waited for room, which is promised to it. What it does not use is offered to
/// the next ones when this is dropped.
pub(crate) struct Turn {
    channel: ChannelRef,
    /// What is promised.
    wanted: Option<WantedRoom>,
}

impl Turn {
    /// The room is not promised any more: what is put in under this hold of the lock finds it.
    pub(super) fn redeem(turn: &mut Option<Turn>, state: &mut State) {
        if let Some(wanted) = turn.as_mut().and_then(|turn| turn.wanted.take()) {
            state.queue.withdraw(wanted);
        }
    }

    /// The room is anybody's who comes first.
    pub(crate) fn forgo(turn: &mut Option<Turn>) {
        if let Some(channel) = turn.as_ref().map(|turn| turn.channel.clone()) {
            Self::redeem(turn, &mut channel.state.lock());
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut state = self.channel.state.lock();
        if let Some(wanted) = self.wanted {
            state.queue.withdraw(wanted);
        }
        drop(state);
        self.channel.offer_room();
    }
}

impl State {
    /// Offers what has become free to some who wait. Returns whether others are to be
    /// [asked](Self::ask_more), too.
    fn offer_room(&mut self, room: &Waiters) -> bool {
        self.offers.freed(&mut self.queue, &mut Publishers(room))
    }

    fn ask_more(&mut self, room: &Waiters) -> bool {
        self.offers.step(&mut self.queue, &mut Publishers(room))
    }
}

/// The room of a channel's task.
pub(super) trait Offering {
    /// Room may have become free. Any context.
    fn offer_room(&self);
    /// Asks those who wait and were not asked yet, by runs of the task.
    fn go_on_offering(&self);
}

impl Offering for Task<Channel> {
    fn offer_room(&self) {
        if self.policy != OverflowPolicy::Block {
            return;
        }
        let mut state = self.state.lock();
        if state.offer_room(&self.room) {
            self.run_now(&mut state);
        }
    }

    fn go_on_offering(&self) {
        if self.policy != OverflowPolicy::Block {
            return;
        }
        let mut state = self.state.lock();
        if state.ask_more(&self.room) {
            self.run_now(&mut state);
        }
    }
}

impl Channel {
    /// Waits until there is room for so many bytes of user `uid`, or the channel is deleted; before others who
    /// wait if the task had its turn `before`, in vain. `None` at the deadline. Sleeps, killably.
    ///
    /// # Errors
    ///
    /// [`EINTR`].
    pub(crate) fn wait_for_room(
        task: &ChannelRef,
        bytes: u32,
        uid: u32,
        deadline: Deadline,
        before: Option<Turn>,
    ) -> Result<Option<Turn>> {
        let wanted = WantedRoom { bytes, uid };
        let is_first = before.is_some();
        // Those whose messages are smaller may have room.
        drop(before);
        let mut state = task.state.lock();
        let turn = |wanted| Turn {
            channel: task.clone(),
            wanted,
        };
        if state.over {
            return Ok(Some(turn(None)));
        }
        if state.queue.promise(wanted, 0) == Promise::Given {
            return Ok(Some(turn(Some(wanted))));
        }
        state.offers.joined(wanted);
        match task
            .room
            .wait_for(state, deadline, packed(wanted), is_first)?
        {
            Woken::Selected => Ok(Some(turn(Some(wanted)))),
            // It is deleted.
            Woken::Expelled => Ok(Some(turn(None))),
            Woken::TooLate | Woken::Looked => {
                task.count_lost();
                Ok(None)
            }
        }
    }

    /// Nobody waits any more: the channel has ended, and no others will. May sleep.
    pub(super) fn dismiss_publishers(&self) {
        while self.room.expel() {
            yield_now();
        }
    }
}
