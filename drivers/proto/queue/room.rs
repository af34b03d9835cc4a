// SPDX-License-Identifier: GPL-2.0

//! Who gets the room that becomes free in a queue that blocks: the publishers that wait for it, in the
//! order in which they have come.
//!
//! As many are selected as there is room for, and it is promised to them until each looks again. One
//! whose message has no room, since it is large or its user has the share that one may have, keeps its
//! place, and those behind it are asked. So room is left unused only if it is too little for all.
//!
//! There may be tens of thousands of them, and the queue is locked with interrupts off: they are asked
//! [`STEP`] at a time. What becomes free while they are is offered to all once more, from the first one
//! on, but not before the last one was asked: those behind are never passed over for good.

use super::{
    slab::Places,
    state::{Promise, Queue, WantedRoom, STEP},
};

/// Publishers that wait, in order, and the one that is asked next.
pub trait WaitingPublishers {
    /// The first one is asked next.
    fn begin(&mut self);

    /// What the one that is asked next wants; `None` at the end.
    fn next(&self) -> Option<WantedRoom>;

    /// The one behind it is asked next.
    fn pass(&mut self);

    /// It is told that there is room, and is on the line no more. The one behind it is asked next.
    fn select(&mut self);
}

/// How far those who wait have been asked.
pub struct Offers {
    /// Not all have been asked yet.
    is_under_way: bool,
    /// They are all asked once more then: more has become free.
    again: bool,
    /// None wants less than this.
    smallest: u32,
    /// None of those that were passed, or have come since the first one was asked, does.
    passed: u32,
}

impl Offers {
    /// Nobody waits.
    pub const fn new() -> Self {
        Offers {
            is_under_way: false,
            again: false,
            smallest: u32::MAX,
            passed: u32::MAX,
        }
    }

    /// One more waits, on the line from now on.
    pub fn joined(&mut self, wanted: WantedRoom) {
        self.smallest = self.smallest.min(wanted.bytes);
        self.passed = self.passed.min(wanted.bytes);
    }

    /// Room may have become free: asks some of those who wait. Returns whether others are to be asked,
    /// by [`Self::step`].
    pub fn freed<P: Places>(
        &mut self,
        queue: &mut Queue<P>,
        line: &mut impl WaitingPublishers,
    ) -> bool {
        match self.is_under_way {
            true => self.again = true,
            false => self.begin(line),
        }
        self.step(queue, line)
    }

    fn begin(&mut self, line: &mut impl WaitingPublishers) {
        (self.is_under_way, self.again, self.passed) = (true, false, u32::MAX);
        line.begin();
    }

    /// Asks the next ones. Returns whether others are to be asked after them.
    pub fn step<P: Places>(
        &mut self,
        queue: &mut Queue<P>,
        line: &mut impl WaitingPublishers,
    ) -> bool {
        if !self.is_under_way {
            return false;
        }
        for _ in 0..STEP {
            let Some(wanted) = line.next() else {
                // All that are on the line were passed, or have come since.
                self.smallest = self.passed;
                if !self.again {
                    self.is_under_way = false;
                    return false;
                }
                self.begin(line);
                continue;
            };
            match queue.promise(wanted, self.smallest) {
                Promise::Given => line.select(),
                Promise::NotThis => {
                    self.passed = self.passed.min(wanted.bytes);
                    line.pass();
                }
                Promise::None => {
                    self.is_under_way = false;
                    return false;
                }
            }
        }
        true
    }
}

impl Default for Offers {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests;
