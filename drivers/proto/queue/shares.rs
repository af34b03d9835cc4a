// SPDX-License-Identifier: GPL-2.0

//! How much of a queue each of its publishers uses, so that one user cannot fill a queue that others
//! publish to as well.
//!
//! Users are hashed into a fixed number of buckets, as flows are by stochastic fairness queueing
//! (McKenney, 1990): constant time and memory, without allocation, under a lock with interrupts off.
//! Users of one bucket share what one may have. The hash is keyed, so that nobody can choose whose
//! bucket it is.

/// Buckets.
const BUCKETS: usize = 64;

/// A hash of 32 bits is shifted by so many to be the number of a bucket.
const HASH_SHIFT: u32 = u32::BITS.saturating_sub(BUCKETS.ilog2());

/// Bytes are counted in units of this many, rounded up, so that a bucket's counter has 32 bits.
const UNIT: u32 = 64;

/// Who owns a queue, and what others may use of it.
#[derive(Clone, Copy, Debug)]
pub struct Sharing {
    /// The uid that owns the queue. It may use all of it, and so may root.
    pub owner: u32,
    /// What one other user may use, in percent of the bounds.
    pub percent: u32,
    /// A random number, by which users are hashed.
    pub key: u32,
}

/// The use of one bucket.
#[derive(Clone, Copy)]
struct Use {
    messages: u32,
    units: u32,
}

/// See the module.
pub struct Shares {
    sharing: Sharing,
    buckets: [Use; BUCKETS],
}

fn units(bytes: u32) -> u32 {
    bytes.div_ceil(UNIT)
}

impl Shares {
    /// Nothing is used.
    pub const fn new(sharing: Sharing) -> Self {
        const UNUSED: Use = Use {
            messages: 0,
            units: 0,
        };
        Shares {
            sharing,
            buckets: [UNUSED; BUCKETS],
        }
    }

    /// The bucket of `uid`; `None` for those who may use all.
    #[inline]
    fn bucket(&mut self, uid: u32) -> Option<&mut Use> {
        if uid == 0 || uid == self.sharing.owner {
            return None;
        }
        // Multiplicative hashing (Knuth); the upper bits are the well mixed ones.
        let hash = (uid ^ self.sharing.key).wrapping_mul(0x9e37_79b1);
        let hash = (hash ^ (hash >> 15)).wrapping_mul(0x85eb_ca6b);
        self.buckets.get_mut(hash.wrapping_shr(HASH_SHIFT) as usize)
    }

    /// Whether `uid` may have another message of so many bytes in a queue with these bounds. One
    /// message is within everybody's share.
    pub fn has_room(&mut self, uid: u32, bytes: u32, max_messages: u32, max_bytes: u64) -> bool {
        let percent = u64::from(self.sharing.percent);
        let Some(used) = self.bucket(uid) else {
            return true;
        };
        if used.messages == 0 {
            return true;
        }
        let share = |all: u64| {
            let rest = (all % 100).saturating_mul(percent) / 100;
            (all / 100).saturating_mul(percent).saturating_add(rest)
        };
        let messages = u64::from(used.messages.saturating_add(1));
        let bytes = u64::from(used.units.saturating_add(units(bytes))).saturating_mul(UNIT.into());
        messages <= share(max_messages.into()) && bytes <= share(max_bytes)
    }

    /// A message of `uid` has come in.
    pub fn add(&mut self, uid: u32, bytes: u32) {
        if let Some(used) = self.bucket(uid) {
            used.messages = used.messages.saturating_add(1);
            used.units = used.units.saturating_add(units(bytes));
        }
    }

    /// A message of `uid` has left.
    pub fn remove(&mut self, uid: u32, bytes: u32) {
        if let Some(used) = self.bucket(uid) {
            used.messages = used.messages.saturating_sub(1);
            used.units = used.units.saturating_sub(units(bytes));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shares(key: u32) -> Shares {
        Shares::new(Sharing {
            owner: 7,
            percent: 50,
            key,
        })
    }

    #[test]
    fn a_user_has_half_and_others_have_theirs() {
        let mut shares = shares(1);
        for _ in 0..5 {
            assert!(shares.has_room(1000, 100, 10, 1 << 20));
            shares.add(1000, 100);
        }
        assert!(!shares.has_room(1000, 100, 10, 1 << 20));
        for exempt in [0, 7] {
            shares.add(exempt, 100);
            assert!(shares.has_room(exempt, 100, 1, 1));
        }
        shares.remove(1000, 100);
        assert!(shares.has_room(1000, 100, 10, 1 << 20));
    }

    #[test]
    fn bytes_have_a_share_and_one_message_is_always_in_it() {
        let mut shares = shares(2);
        assert!(shares.has_room(1000, 1 << 20, 10, 1 << 20));
        shares.add(1000, 600);
        assert!(!shares.has_room(1000, 600, 10, 2000));
        assert!(shares.has_room(1000, 300, 10, 2000));
    }

    #[test]
    fn few_users_share_a_bucket_and_which_is_not_known() {
        let victims = |key| {
            let mut shares = shares(key);
            for _ in 0..10 {
                shares.add(1000, 1);
            }
            let locked_out = move |&uid: &u32| !shares.has_room(uid, 1, 10, 1 << 20);
            (1001..2001)
                .filter(locked_out)
                .collect::<std::vec::Vec<_>>()
        };
        let (first, second) = (victims(1), victims(2));
        assert!(first.len() < 50 && second.len() < 50);
        assert_ne!(first, second);
    }
}
