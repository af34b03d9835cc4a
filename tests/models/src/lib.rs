// SPDX-License-Identifier: GPL-2.0

//! Models of VIRGO's distributed state machines: the machines are those of `virgo-proto`, the network and
//! the faults are the model's. `tests/` has them checked.

pub mod links;
pub mod locks;
pub mod rollouts;
pub mod views;
