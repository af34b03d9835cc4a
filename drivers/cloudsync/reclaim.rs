// SPDX-License-Identifier: GPL-2.0

//! Names that nobody uses are given back when room is short: nodes keep what they were granted for the next
//! program, and who has locked many names, one after the other, holds none of them.

use crate::names::Names;

/// Names that are looked at in one go.
const LOOK: usize = 4096;

/// Names that are given back in one go: of these more the fewer there is room for.
const LEAST: u64 = 16;
const MOST: u64 = 1024;

impl Names {
    /// Has names given back that are charged to user `uid`, or to anybody, those first that were made first.
    /// Of other nodes it is only asked: there is room when they have answered.
    pub(crate) fn reclaim(&mut self, uid: Option<u32>) {
        let mut left = self.excess().clamp(LEAST, MOST);
        for _ in 0..LOOK.min(self.slots.len()) {
            let at = self.hand;
            self.hand = match at + 1 < self.slots.len() {
                true => at + 1,
                false => 0,
            };
            let known = self.get_mut(at);
            let Some(name) = known.filter(|name| uid.is_none_or(|uid| name.uid() == uid)) else {
                continue;
            };
            if name.owners.is_empty() && name.give_back() {
                self.settle(at, false);
                left -= 1;
            }
            if left == 0 {
                return;
            }
        }
    }
}
