// SPDX-License-Identifier: GPL-2.0
//! Finds out from logs what VIRGO's kernel variables are to be.
//!
//! Memory is bounded, however long the log is: what is frequent is found by a count-min sketch with the
//! top keys beside it, what is different is counted by HyperLogLog, run times are kept as quantile
//! sketches (DDSketch). [`exact`] counts the same exactly, for comparison.

pub mod exact;
pub mod follow;
pub mod line;
pub mod miner;
pub mod rate;
pub mod runs;
pub mod serve;
pub mod told;
pub mod traffic;

pub use miner::Miner;
