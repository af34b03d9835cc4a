// SPDX-License-Identifier: GPL-2.0
//! A lock as what guards objects.

/// A lock that guards objects, and the token with which it was granted. An object that was told a later
/// token refuses this one: see [`crate::fenced`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fence {
    name: Vec<u8>,
    token: u64,
}

impl Fence {
    /// The lock `name`, granted with `token`: [`Held::token`](crate::lock::Held::token).
    pub fn new(name: impl Into<Vec<u8>>, token: u64) -> Self {
        let name = name.into();
        Self { name, token }
    }

    /// The lock's name.
    pub fn name(&self) -> &[u8] {
        &self.name
    }

    /// Its token.
    pub fn token(&self) -> u64 {
        self.token
    }
}
