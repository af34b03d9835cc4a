// SPDX-License-Identifier: GPL-2.0

//! VIRGO unique ids: 64 bits that name an object of cluster memory on every node.
//!
//! ```text
//!  63   56 55        36 35        16 15      0
//! +-------+------------+------------+---------+
//! | node  |    slot    | generation |  check  |
//! +-------+------------+------------+---------+
//! ```
//!
//! Users treat an id as opaque. `check` is a keyed hash of the rest (SipHash-1-3 under a key that
//! every node derives from the cluster's key), so an invented id is told from one that was
//! issued and has been freed since. It is a guard against mistakes and guesses, not the access
//! control: that is the owner's uid, checked where the object lies.

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

/// Slots a node can have: 2^20.
pub const MAX_SLOTS: u32 = 1 << 20;

/// Generations before a slot's counter starts again: 2^20.
pub const GENERATIONS: u32 = 1 << 20;

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

/// Key of the check value.
#[derive(Clone, Copy)]
pub struct CheckKey(pub [u64; 2]);

impl Vuid {
    /// The id as users see it.
    pub fn seal(self, key: &CheckKey) -> u64 {
        let name = self.name();
        name | u64::from(check(key, name))
    }

    /// The node that `id` speaks of, whether it was issued or not: where to ask.
    pub const fn node_of(id: u64) -> NodeId {
        (id >> 56) as NodeId
    }

    /// What the user's `id` says; `None` if no node ever issued it.
    pub fn open(id: u64, key: &CheckKey) -> Option<Vuid> {
        let name = id & !0xffff;
        if id & 0xffff != u64::from(check(key, name)) {
            return None;
        }
        let [_, _, a, b, c, d, e, node] = id.to_le_bytes();
        let generation = u32::from_le_bytes([a, b, c & 0x0f, 0]);
        let slot = u32::from_le_bytes([c, d, e, 0]) >> 4;
        (node != 0).then_some(Vuid {
            node,
            slot,
            generation,
        })
    }

    fn name(self) -> u64 {
        let slot = u64::from(self.slot & 0xf_ffff);
        let generation = u64::from(self.generation & 0xf_ffff);
        (u64::from(self.node) << 56) | (slot << 36) | (generation << 16)
    }
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

fn check(key: &CheckKey, name: u64) -> u16 {
    let [a, b, ..] = siphash(key, name).to_le_bytes();
    u16::from_le_bytes([a, b])
}

/// SipHash-1-3 of one 64-bit word in little-endian order (Aumasson and Bernstein, 2012). The
/// kernel has 2-4 only, and host tools check ids too.
fn siphash(key: &CheckKey, word: u64) -> u64 {
    let [k0, k1] = key.0;
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

    const KEY: CheckKey = CheckKey([0x0706_0504_0302_0100, 0x0f0e_0d0c_0b0a_0908]);

    #[test]
    fn foreign_keys_and_node_zero_are_refused() {
        let v = Vuid {
            node: 1,
            slot: 2,
            generation: 3,
        };
        assert_eq!(Vuid::open(v.seal(&CheckKey([1, 2])), &KEY), None);
        let zero = Vuid { node: 0, ..v };
        assert_eq!(Vuid::open(zero.seal(&KEY), &KEY), None);
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

    proptest! {
        #[test]
        fn siphash_is_that_of_others(key in any::<[u64; 2]>(), word in any::<u64>()) {
            let [k0, k1] = key;
            let peer = siphasher::sip::SipHasher13::new_with_keys(k0, k1);
            prop_assert_eq!(siphash(&CheckKey(key), word), peer.hash(&word.to_le_bytes()));
        }

        #[test]
        fn seal_and_open_agree(
            node in 1..=255u8,
            slot in 0..MAX_SLOTS,
            generation in 0..GENERATIONS,
        ) {
            let v = Vuid { node, slot, generation };
            prop_assert_eq!(Vuid::open(v.seal(&KEY), &KEY), Some(v));
            prop_assert_eq!(Vuid::node_of(v.seal(&KEY)), node);
        }

        #[test]
        fn one_changed_bit_is_noticed(id in any::<u64>(), bit in 0..64u32) {
            let name = id & !0xffff;
            let sealed = name | u64::from(check(&KEY, name));
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
