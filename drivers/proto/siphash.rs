// SPDX-License-Identifier: GPL-2.0

//! SipHash-2-4 (Aumasson and Bernstein 2012): hashes of what others choose. Who does not know the key
//! cannot find texts that have the same hash.

/// A secret key.
#[derive(Clone, Copy)]
pub struct SipKey(pub [u64; 2]);

struct State([u64; 4]);

impl State {
    fn round(&mut self) {
        let [mut a, mut b, mut c, mut d] = self.0;
        a = a.wrapping_add(b);
        b = b.rotate_left(13) ^ a;
        a = a.rotate_left(32);
        c = c.wrapping_add(d);
        d = d.rotate_left(16) ^ c;
        a = a.wrapping_add(d);
        d = d.rotate_left(21) ^ a;
        c = c.wrapping_add(b);
        b = b.rotate_left(17) ^ c;
        c = c.rotate_left(32);
        self.0 = [a, b, c, d];
    }

    fn take(&mut self, word: u64) {
        let [.., d] = &mut self.0;
        *d ^= word;
        self.round();
        self.round();
        let [a, ..] = &mut self.0;
        *a ^= word;
    }
}

impl SipKey {
    /// The hash of `bytes`.
    pub fn hash(&self, bytes: &[u8]) -> u64 {
        let SipKey([low, high]) = *self;
        let mut state = State([
            low ^ 0x736f_6d65_7073_6575,
            high ^ 0x646f_7261_6e64_6f6d,
            low ^ 0x6c79_6765_6e65_7261,
            high ^ 0x7465_6462_7974_6573,
        ]);
        let mut words = bytes.chunks_exact(8);
        for word in &mut words {
            state.take(u64::from_le_bytes(word.try_into().unwrap_or_default()));
        }
        // The bytes that are left, the first one lowest; the length is the highest.
        let rest = words.remainder().iter().rev();
        let rest = rest.fold(0u64, |rest, &byte| rest << 8 | u64::from(byte));
        state.take(rest | (bytes.len() as u64) << 56);
        let [.., c, _] = &mut state.0;
        *c ^= 0xff;
        for _ in 0..4 {
            state.round();
        }
        state.0.iter().fold(0, |hash, word| hash ^ word)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    #[test]
    fn the_vectors_of_its_authors() {
        let key = SipKey([0x0706_0504_0302_0100, 0x0f0e_0d0c_0b0a_0908]);
        let text: Vec<u8> = (0..15).collect();
        assert_eq!(key.hash(&text), 0xa129_ca61_49be_45e5);
        assert_eq!(key.hash(b""), 0x726f_db47_dd0e_0e31);
        assert_eq!(key.hash(&text[..1]), 0x74f8_39c5_93dc_67fd);
    }

    #[test]
    fn another_key_gives_other_hashes() {
        let hash = |key| SipKey([key, 0]).hash(b"localhost_load");
        assert_ne!(hash(1), hash(2));
    }
}
