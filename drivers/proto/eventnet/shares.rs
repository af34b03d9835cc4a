// SPDX-License-Identifier: GPL-2.0

//! By how much each user has made a file grow, so that none fills it for all.

use core::ops::DerefMut;

/// Users to tell apart: more than may have keys at a time.
pub const MAX_USERS: usize = 300;

/// What one user has added.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FileShare {
    uid: u32,
    bytes: u64,
}

/// The bytes of a file by who has added them, as far as it is known. `B` has a place for each user; of more
/// than these, those with little are forgotten.
pub struct FileShares<B> {
    parts: B,
    count: usize,
}

impl<B: DerefMut<Target = [FileShare]>> FileShares<B> {
    /// Of a file of which nothing is known.
    pub fn new(parts: B) -> Self {
        FileShares { parts, count: 0 }
    }

    fn parts(&self) -> &[FileShare] {
        self.parts.get(..self.count).unwrap_or_default()
    }

    /// Bytes that `uid` has added.
    pub fn of(&self, uid: u32) -> u64 {
        let part = self.parts().iter().find(|part| part.uid == uid);
        part.map_or(0, |part| part.bytes)
    }

    fn all(&self) -> u64 {
        self.parts()
            .iter()
            .fold(0, |all, part| all.saturating_add(part.bytes))
    }

    /// The file has been found to have `size` bytes. If others have cut it, nobody knows whose bytes are
    /// left: all users begin anew.
    pub fn found(&mut self, size: u64) {
        if size < self.all() {
            self.count = 0;
        }
    }

    /// `uid` has added `bytes`.
    pub fn add(&mut self, uid: u32, bytes: u64) {
        let known = self.parts.get_mut(..self.count).unwrap_or_default();
        if let Some(part) = known.iter_mut().find(|part| part.uid == uid) {
            part.bytes = part.bytes.saturating_add(bytes);
            return;
        }
        let place = match self.parts.get_mut(self.count) {
            Some(place) => {
                self.count = self.count.saturating_add(1);
                Some(place)
            }
            None => self.parts.iter_mut().min_by_key(|part| part.bytes),
        };
        if let Some(place) = place {
            *place = FileShare { uid, bytes };
        }
    }
}

/// What a message of `bytes` has added to a file that `all` messages together have made grow by `growth`
/// bytes: what was there already, or was said twice, adds nothing.
pub fn added(bytes: u64, all: u64, growth: u64) -> u64 {
    let product = bytes.saturating_mul(growth.min(all));
    product.checked_div(all).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::{boxed::Box, vec};

    fn shares() -> FileShares<Box<[FileShare]>> {
        FileShares::new(vec![FileShare::default(); MAX_USERS].into_boxed_slice())
    }

    #[test]
    fn a_file_that_was_cut_is_nobodys() {
        let mut shares = shares();
        shares.add(1, 100);
        shares.add(2, 50);
        shares.add(1, 10);
        shares.found(160);
        assert_eq!((shares.of(1), shares.of(2), shares.of(3)), (110, 50, 0));
        shares.found(159);
        assert_eq!((shares.of(1), shares.of(2)), (0, 0));
        shares.add(2, 7);
        assert_eq!(shares.of(2), 7);
    }

    #[test]
    fn of_too_many_users_those_with_much_are_kept() {
        let mut shares = shares();
        for uid in 0..MAX_USERS as u32 {
            shares.add(uid, 1000 + u64::from(uid));
        }
        shares.add(70_000, 1);
        assert_eq!(
            (shares.of(0), shares.of(1), shares.of(70_000)),
            (0, 1001, 1)
        );
        shares.add(70_001, 2000);
        assert_eq!((shares.of(70_000), shares.of(70_001)), (0, 2000));
    }

    proptest! {
        /// The parts of a batch are no more than the file has grown by, and nobody has more than was said.
        #[test]
        fn parts_are_what_the_file_has_grown_by(
            said in prop::collection::vec(1u64..100_000, 1..50),
            growth in 0u64..3_000_000,
        ) {
            let all = said.iter().sum();
            let parts: u64 = said.iter().map(|&bytes| {
                let part = added(bytes, all, growth);
                assert!(part <= bytes);
                part
            }).sum();
            prop_assert!(parts <= growth.min(all));
            prop_assert!(parts + said.len() as u64 >= growth.min(all));
        }
    }
}
