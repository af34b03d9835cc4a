// SPDX-License-Identifier: GPL-2.0

//! VIRGO unique ids: 64 bits that name an object of cluster memory on every node.
//!
//! ```text
//!  63   56 55                     16 15      0
//! +-------+-------------------------+---------+
//! | node  | slot, generation, mixed |  check  |
//! +-------+-------------------------+---------+
//! ```
//!
//! Users treat an id as opaque. `check` is a hash of the rest that every node can compute: it tells
//! an id that was mistyped or invented from one that was issued. Slot and generation are mixed under
//! a key that only the node knows on which the object lies. It makes the key from random bytes when
//! its module is loaded, so an id of a former load names an arbitrary slot and generation, where
//! nothing is, and nobody can derive the id of somebody else's object from one of his own. No key of
//! the cluster is part of an id: ids stay valid when that key changes.
//!
//! The mixing is no encryption. It is a guard against mistakes and guesses, not the access control:
//! that is the owner's uid, checked where the object lies.

use crate::hex;
use core::fmt;

/// Number of a node, from 1.
pub type NodeId = u8;

/// The bit of a node in a set of nodes: bit `n - 1` for node `n`; none for a number that no node has.
pub const fn bit(node: NodeId) -> u64 {
    match 1u64.checked_shl((node as u32).wrapping_sub(1)) {
        Some(bit) => bit,
        None => 0,
    }
}

/// The nodes of a set, in order.
#[derive(Clone, Copy, Debug)]
pub struct NodeSetIter(pub u64);

impl Iterator for NodeSetIter {
    type Item = NodeId;

    fn next(&mut self) -> Option<NodeId> {
        // None for the empty set, as no node has the number 65.
        let node = NodeId::try_from(self.0.trailing_zeros())
            .ok()?
            .checked_add(1)?;
        let first = bit(node);
        self.0 &= !first;
        (first != 0).then_some(node)
    }
}

/// Bits of the number of a slot, and of a generation.
const BITS: u32 = 20;

/// Slots a node can have: 2^20.
pub const MAX_SLOTS: u32 = 1 << BITS;

/// Generations before a slot's counter starts again: 2^20.
pub const GENERATIONS: u32 = 1 << BITS;

/// The generation of a slot that is used once more, after `generation`. `None` if the slot has had
/// all generations since its `first` one: it is not used any more, so no id is issued twice.
pub const fn next_generation(generation: u32, first: u32) -> Option<u32> {
    let next = generation.wrapping_add(1) % GENERATIONS;
    if next == first % GENERATIONS {
        None
    } else {
        Some(next)
    }
}

/// What a VUID says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Vuid {
    /// Where the object lies.
    pub node: NodeId,
    /// Place in that node's table, below [`MAX_SLOTS`].
    pub slot: u32,
    /// How often the place was reused, below [`GENERATIONS`].
    pub generation: u32,
}

/// What a node mixes slots and generations with: any four numbers.
#[derive(Clone, Copy)]
pub struct MixKey(pub [u64; 4]);

impl Vuid {
    /// The id as users see it.
    pub fn seal(self, key: &MixKey) -> u64 {
        let (mut a, mut b) = (self.slot & MASK, self.generation & MASK);
        for factor in key.0 {
            (a, b) = (b, a ^ hash(factor, b));
        }
        let name = (u64::from(self.node) << 56) | (u64::from(a) << 36) | (u64::from(b) << 16);
        with_check(name)
    }

    /// The node that `id` speaks of, whether it was issued or not: where to ask.
    pub const fn node_of(id: u64) -> NodeId {
        (id >> 56) as NodeId
    }

    /// What the user's `id` says, if it is of the node that has `key`; `None` if no node ever
    /// issued it.
    pub fn open(id: u64, key: &MixKey) -> Option<Vuid> {
        let node = Self::node_of(id);
        if node == 0 || with_check(id) != id {
            return None;
        }
        let (mut a, mut b) = ((id >> 36) as u32 & MASK, (id >> 16) as u32 & MASK);
        for factor in key.0.into_iter().rev() {
            (a, b) = (b ^ hash(factor, a), a);
        }
        Some(Vuid {
            node,
            slot: a,
            generation: b,
        })
    }
}

const MASK: u32 = MAX_SLOTS - 1;

/// The upper bits of a product: in a Feistel network of four rounds, of which the outer two need
/// not be more than this (Naor and Reingold, 1999).
fn hash(factor: u64, half: u32) -> u32 {
    let odd = (u64::from(half) << 1) | 1;
    (odd.wrapping_mul(factor) >> (64 - BITS)) as u32
}

/// `id` with the check value that it should have.
pub fn with_check(id: u64) -> u64 {
    let name = id & !0xffff;
    name | (siphash(&CHECK_KEY, name) & 0xffff)
}

/// Parses an id as people type it: up to 16 hexadecimal digits, perhaps after `0x`, perhaps in
/// double quotes.
pub fn parse_hex(text: &[u8]) -> Option<u64> {
    let text = text.trim_ascii();
    let text = text.strip_prefix(b"\"").unwrap_or(text);
    let text = text.strip_suffix(b"\"").unwrap_or(text);
    let digits = text.strip_prefix(b"0x").unwrap_or(text);
    if digits.is_empty() || digits.len() > 16 {
        return None;
    }
    hex::number(digits)
}

/// An id as people read it: 16 hexadecimal digits.
pub struct Hex(pub u64);

impl Hex {
    /// The digits.
    pub fn digits(&self) -> [u8; 16] {
        let mut digits = [0; 16];
        let mut rest = self.0;
        for digit in digits.iter_mut().rev() {
            *digit = hex::digit((rest & 0xf) as u8);
            rest >>= 4;
        }
        digits
    }
}

impl fmt::Display for Hex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// Key of the check value, the same on all nodes: 'virgo id check 2'.
const CHECK_KEY: [u64; 2] = [0x6469_206f_6772_6976, 0x3220_6b63_6568_6320];

/// SipHash-1-3 of one 64-bit word in little-endian order (Aumasson and Bernstein, 2012). The
/// kernel has 2-4 only, and host tools check ids too.
fn siphash(&[k0, k1]: &[u64; 2], word: u64) -> u64 {
    let mut v = [
        k0 ^ 0x736f_6d65_7073_6575,
        k1 ^ 0x646f_7261_6e64_6f6d,
        k0 ^ 0x6c79_6765_6e65_7261,
        k1 ^ 0x7465_6462_7974_6573,
    ];
    // The second word is the padding of an 8-byte message: its length in the top byte.
    for m in [word, 8 << 56] {
        let [v0, v1, v2, v3] = v;
        let [v0, v1, v2, v3] = round([v0, v1, v2, v3 ^ m]);
        v = [v0 ^ m, v1, v2, v3];
    }
    let [v0, v1, v2, v3] = v;
    let [v0, v1, v2, v3] = round(round(round([v0, v1, v2 ^ 0xff, v3])));
    v0 ^ v1 ^ v2 ^ v3
}

fn round([mut v0, mut v1, mut v2, mut v3]: [u64; 4]) -> [u64; 4] {
    v0 = v0.wrapping_add(v1);
    v1 = v1.rotate_left(13) ^ v0;
    v0 = v0.rotate_left(32);
    v2 = v2.wrapping_add(v3);
    v3 = v3.rotate_left(16) ^ v2;
    v0 = v0.wrapping_add(v3);
    v3 = v3.rotate_left(21) ^ v0;
    v2 = v2.wrapping_add(v1);
    v1 = v1.rotate_left(17) ^ v2;
    v2 = v2.rotate_left(32);
    [v0, v1, v2, v3]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::string::ToString;

    const KEY: MixKey = MixKey([
        0x0706_0504_0302_0100,
        0xf0e0_d0c0_b0a0_9080,
        0x9e37_79b9_7f4a_7c15,
        0xd1b5_4a32_d192_ed03,
    ]);

    #[test]
    fn node_zero_is_refused() {
        let zero = Vuid {
            node: 0,
            slot: 2,
            generation: 3,
        };
        assert_eq!(Vuid::open(zero.seal(&KEY), &KEY), None);
    }

    #[test]
    fn a_slot_has_each_generation_once() {
        for first in [0, 5, GENERATIONS - 1] {
            let mut generation = first;
            let mut count = 1;
            while let Some(next) = next_generation(generation, first) {
                assert!(next < GENERATIONS);
                generation = next;
                count += 1;
            }
            assert_eq!(count, GENERATIONS);
        }
    }

    #[test]
    fn ids_are_read_as_people_type_them() {
        assert_eq!(parse_hex(b"ff"), Some(255));
        assert_eq!(parse_hex(b" \"00FF\" "), Some(255));
        assert_eq!(parse_hex(b"0xff"), Some(255));
        assert_eq!(parse_hex(b"ffffffffffffffff"), Some(u64::MAX));
        for bad in [&b""[..], b"0x", b"g", b"-1", b"10000000000000000", b"1 2"] {
            assert_eq!(parse_hex(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn a_set_has_its_nodes_once_and_in_order() {
        let all = |set| NodeSetIter(set).collect::<std::vec::Vec<_>>();
        assert!(all(0).is_empty());
        assert_eq!(all(bit(1) | bit(3) | bit(64)), [1, 3, 64]);
        assert_eq!(all(u64::MAX), (1..=64).collect::<std::vec::Vec<_>>());
        assert_eq!((bit(0), bit(65)), (0, 0));
    }

    proptest! {
        #[test]
        fn siphash_is_that_of_others(key in any::<[u64; 2]>(), word in any::<u64>()) {
            let [k0, k1] = key;
            let peer = siphasher::sip::SipHasher13::new_with_keys(k0, k1);
            prop_assert_eq!(siphash(&key, word), peer.hash(&word.to_le_bytes()));
        }

        #[test]
        fn seal_and_open_agree(
            node in 1..=255u8,
            slot in 0..MAX_SLOTS,
            generation in 0..GENERATIONS,
            key in any::<[u64; 4]>(),
        ) {
            let v = Vuid { node, slot, generation };
            let key = MixKey(key);
            prop_assert_eq!(Vuid::open(v.seal(&key), &key), Some(v));
            prop_assert_eq!(Vuid::node_of(v.seal(&key)), node);
        }

        /// What one load of a node has issued is taken for another place by the next.
        #[test]
        fn another_key_names_another_place(
            node in 1..=255u8,
            slot in 0..1000u32,
            generation in 0..GENERATIONS,
            keys in any::<[[u64; 4]; 2]>(),
        ) {
            let v = Vuid { node, slot, generation };
            let [one, other] = keys.map(MixKey);
            let opened = Vuid::open(v.seal(&one), &other).expect("a check that holds");
            prop_assert_eq!(opened.node, node);
            prop_assert!(opened != v);
        }

        /// From an id nobody can tell that of the next slot or generation.
        #[test]
        fn neighbours_look_unlike(
            slot in 1..MAX_SLOTS,
            generation in 1..GENERATIONS,
            key in any::<[u64; 4]>(),
        ) {
            let key = MixKey(key);
            let id = |slot, generation| Vuid { node: 1, slot, generation }.seal(&key);
            let here = id(slot, generation);
            prop_assert!(here.abs_diff(id(slot - 1, generation)) >> 16 > 1);
            prop_assert!(here.abs_diff(id(slot, generation - 1)) >> 16 > 1);
        }

        #[test]
        fn one_changed_bit_is_noticed(id in any::<u64>(), bit in 0..64u32) {
            let sealed = with_check(id);
            prop_assert!(Vuid::open(sealed ^ (1 << bit), &KEY).is_none_or(|_| bit >= 16));
            prop_assert!(bit >= 16 || Vuid::open(sealed ^ (1 << bit), &KEY).is_none());
        }

        #[test]
        fn hex_survives(id in any::<u64>()) {
            prop_assert_eq!(parse_hex(&Hex(id).digits()), Some(id));
            prop_assert_eq!(Hex(id).to_string().into_bytes(), Hex(id).digits().to_vec());
        }
    }
}
