// SPDX-License-Identifier: GPL-2.0
//! The most frequent sequences of bytes, in bounded memory: the Space-Saving algorithm
//! (Metwally, Agrawal, El Abbadi 2005). A count is too high by its error at most.

use std::collections::{BTreeSet, HashMap};

/// The most frequent sequences of one length.
pub struct TopSequences {
    length: usize,
    capacity: usize,
    counts: HashMap<Vec<u8>, (u64, u64)>,
    by_count: BTreeSet<(u64, Vec<u8>)>,
}

/// A sequence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frequent {
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// How often it was seen, at most.
    pub count: u64,
    /// By how much that may be too high.
    pub error: u64,
}

impl TopSequences {
    /// Counts sequences of `length` bytes, and remembers `capacity` of them.
    pub fn new(length: usize, capacity: usize) -> Self {
        TopSequences {
            length: length.max(1),
            capacity: capacity.max(1),
            counts: HashMap::new(),
            by_count: BTreeSet::new(),
        }
    }

    /// Counts all sequences in `data`.
    pub fn add(&mut self, data: &[u8]) {
        for sequence in data.windows(self.length) {
            self.count(sequence);
        }
    }

    fn count(&mut self, sequence: &[u8]) {
        if let Some((count, _)) = self.counts.get_mut(sequence) {
            self.by_count.remove(&(*count, sequence.to_vec()));
            *count += 1;
            self.by_count.insert((*count, sequence.to_vec()));
            return;
        }
        let mut least = 0;
        if self.counts.len() >= self.capacity {
            if let Some((count, evicted)) = self.by_count.pop_first() {
                self.counts.remove(&evicted);
                least = count;
            }
        }
        self.counts.insert(sequence.to_vec(), (least + 1, least));
        self.by_count.insert((least + 1, sequence.to_vec()));
    }

    /// The `k` most frequent ones, most frequent first.
    pub fn top(&self, k: usize) -> Vec<Frequent> {
        let frequent = |(count, bytes): &(u64, Vec<u8>)| Frequent {
            bytes: bytes.clone(),
            count: *count,
            error: self.counts.get(bytes).map_or(0, |&(_, error)| error),
        };
        self.by_count.iter().rev().take(k).map(frequent).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_frequent_is_found_in_noise() {
        let mut random = fastrand::Rng::with_seed(1);
        let mut top = TopSequences::new(4, 200);
        for _ in 0..2000 {
            let noise: Vec<u8> = (0..16).map(|_| random.u8(..)).collect();
            top.add(&noise);
            top.add(b"USBC");
        }
        let first = top.top(1).remove(0);
        assert_eq!(first.bytes, b"USBC");
        assert!((2000..=2000 + first.error).contains(&first.count));
    }

    #[test]
    fn counts_are_exact_while_there_is_room() {
        let mut top = TopSequences::new(2, 100);
        top.add(b"abababx");
        let top = top.top(2);
        assert_eq!(
            (&top[0].bytes[..], top[0].count, top[0].error),
            (&b"ab"[..], 3, 0)
        );
        assert_eq!((&top[1].bytes[..], top[1].count), (&b"ba"[..], 2));
    }
}
