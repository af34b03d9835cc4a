// SPDX-License-Identifier: GPL-2.0

//! Which node masters a name: the one with the highest score of all members (rendezvous hashing, Thaler
//! and Ravishankar 1996). When a node leaves, only the names that it mastered move; when one comes, only
//! those that it masters from then on.

use crate::vuid::NodeId;

/// The hash of a name. Nodes of all versions must agree on it.
pub fn hash(name: &[u8]) -> u64 {
    hash_from(0xcbf2_9ce4_8422_2325, name)
}

/// The hash of a name from a basis of one's own (FNV-1a).
pub fn hash_from(basis: u64, name: &[u8]) -> u64 {
    name.iter().fold(basis, |hash, &byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// The end of SplitMix64: each bit of the result depends on each of `x`.
fn mix(x: u64) -> u64 {
    let x = (x ^ x.wrapping_shr(30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ x.wrapping_shr(27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ x.wrapping_shr(31)
}

/// The master of a name with this hash. `None` without members.
pub fn master(hash: u64, members: impl Iterator<Item = NodeId>) -> Option<NodeId> {
    let score = |node: &NodeId| {
        let salt = u64::from(*node).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        (mix(hash ^ salt), *node)
    };
    members.max_by_key(score)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{format, vec, vec::Vec};

    #[test]
    fn only_names_of_who_leaves_move() {
        let mut counts = vec![0; 6];
        for i in 0..5000 {
            let hash = hash(format!("name{i}").as_bytes());
            let with = master(hash, 1..=5).unwrap();
            counts[usize::from(with)] += 1;
            for gone in 1..=5 {
                let without = master(hash, (1..=5).filter(|node| *node != gone)).unwrap();
                assert!(without == with || with == gone);
            }
        }
        let counts: Vec<i32> = counts.into_iter().skip(1).collect();
        assert!(
            counts.iter().all(|count| (850..1150).contains(count)),
            "{counts:?}"
        );
        assert_eq!(master(7, core::iter::empty()), None);
    }
}
