// SPDX-License-Identifier: GPL-2.0

//! What is done to many names at once, and need not be done at once: a few at a time, and in between
//! others get the mutex.

use crate::{
    cluster::Cluster,
    names::Names, //
};
use kernel::sync::Arc;
use linux::work::{
    Run,
    Task, //
};

/// Names that are looked at while the mutex is held.
const STEP: usize = 64;

/// Names that are looked at for one who needs room.
const LOOK: usize = 4096;

/// Names that are given back for him: of these more the fewer there is room for.
const LEAST: u64 = 16;
const MOST: u64 = 1024;

/// Names that are to be given back. Nodes keep what they were granted for the next program, and who has locked
/// many names, one after the other, holds none of them.
struct Wanted {
    /// Charged to this user, or to anybody.
    uid: Option<u32>,
    names: u64,
    look: usize,
}

/// What is to be done.
pub(crate) struct Sweep {
    /// Names that are to come to rest from this place on.
    unsettled: core::ops::Range<usize>,
    wanted: Option<Wanted>,
    /// Which name is given back next: those that were made first before others.
    hand: usize,
}

impl Sweep {
    pub(crate) const fn new() -> Self {
        Sweep {
            unsettled: 0..0,
            wanted: None,
            hand: 0,
        }
    }
}

impl Names {
    /// Lets all names come to rest.
    pub(crate) fn settle_soon(&mut self) {
        self.sweep.unsettled = 0..self.slots.len();
        self.wake_sweeper();
    }

    /// Has names given back that are charged to user `uid`, or to anybody, unless that is being done. While it
    /// is for another user it is done for anybody, so that nobody keeps others from it. Of other nodes it is only asked: there is room when they have answered.
    pub(crate) fn reclaim(&mut self, uid: Option<u32>) {
        let names = self.excess().clamp(LEAST, MOST);
        let look = LOOK.min(self.slots.len());
        let wanted = Wanted { uid, names, look };
        let pending = self.sweep.wanted.get_or_insert(wanted);
        if pending.uid.is_some() && pending.uid != uid {
            *pending = Wanted {
                uid: None,
                names,
                look,
            };
        }
        self.wake_sweeper();
    }

    /// Does some of it. Returns whether there is more.
    fn sweep(&mut self) -> bool {
        for _ in 0..STEP {
            if let Some(at) = self.sweep.unsettled.next() {
                self.settle(at, false);
            } else if !self.give_next_back() {
                return false;
            }
        }
        true
    }

    /// Looks at one name. Returns whether there may be more.
    fn give_next_back(&mut self) -> bool {
        let Some(wanted) = &mut self.sweep.wanted else {
            return false;
        };
        let Some(look) = wanted.look.checked_sub(1).filter(|_| wanted.names > 0) else {
            self.sweep.wanted = None;
            return false;
        };
        wanted.look = look;
        let uid = wanted.uid;
        let at = self.sweep.hand;
        self.sweep.hand = match at + 1 < self.slots.len() {
            true => at + 1,
            false => 0,
        };
        let known = self.get_mut(at);
        let known = known.filter(|name| uid.is_none_or(|uid| name.uid() == uid));
        let gives = known.is_some_and(|name| name.owners.is_empty() && name.give_back());
        if gives {
            self.settle(at, false);
            if let Some(wanted) = &mut self.sweep.wanted {
                wanted.names = wanted.names.saturating_sub(1);
            }
        }
        true
    }
}

/// The work that does it.
pub(crate) struct Sweeper(pub(crate) Arc<Cluster>);

impl Run for Sweeper {
    fn run(task: &Task<Self>) {
        let more = task.0.names.lock().sweep();
        if more {
            task.schedule();
        }
    }
}
