// SPDX-License-Identifier: GPL-2.0
//! What the test programs share.

pub mod invoke;
pub mod nodes;
pub mod region;
pub mod rounds;
pub mod suite;
