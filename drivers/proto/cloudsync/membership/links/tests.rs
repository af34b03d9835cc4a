// SPDX-License-Identifier: GPL-2.0

use super::*;
use std::vec::Vec;

#[test]
fn a_majority_that_hears_each_other_is_found() {
    let pairs: Vec<(NodeId, NodeId)> = (1..=5)
        .flat_map(|a| (a + 1..=5).map(move |b| (a, b)))
        .collect();
    for broken in 0..1 << pairs.len() {
        let mut odds = Odds([0; 5]);
        let each = pairs.iter().enumerate();
        for (_, (a, b)) in each.filter(|(at, _)| broken & (1 << at) != 0) {
            odds.add(*a, *b);
        }
        let is_whole = |nodes: u64| NodeSetIter(nodes).all(|node| odds.of(node) & nodes == 0);
        let all = 0b11111u64;
        let is_there = (0..=all).any(|nodes: u64| nodes.count_ones() >= 3 && is_whole(nodes));
        let chosen = odds.choose(all, 0, 3);
        assert!(is_whole(chosen));
        assert_eq!(chosen.count_ones() >= 3, is_there, "{:?}", odds.0);
    }
}
