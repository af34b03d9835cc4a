// SPDX-License-Identifier: GPL-2.0
//! How much a test does of what it repeats.
//!
//! The debug kernel is ten to thirty times slower than the slim one when its processor is emulated,
//! so the usual run on it does less of everything, and `make soak` does it in full. The environment
//! says which it is: `VIRGO_LANE=debug`, and `VIRGO_SOAK` for a soak run.

use std::env;

/// Names of the variables.
pub const VARIABLES: [&str; 2] = ["VIRGO_LANE", "VIRGO_SOAK"];

/// A number of repetitions.
pub struct Rounds {
    /// On the debug kernel.
    pub debug: usize,
    /// On the slim kernel, or any that is not known.
    pub slim: usize,
    /// In a soak run.
    pub soak: usize,
}

impl Rounds {
    /// The number that holds here.
    pub fn count(&self) -> usize {
        let [lane, soak] = VARIABLES.map(env::var_os);
        if soak.is_some() {
            self.soak
        } else if lane.is_some_and(|lane| lane == "debug") {
            self.debug
        } else {
            self.slim
        }
    }
}
