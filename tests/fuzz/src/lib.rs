// SPDX-License-Identifier: GPL-2.0

//! What must hold of `virgo-proto` for any input. Each target takes bytes as libFuzzer makes them
//! up, and panics if they break a promise of the crate. `run` runs them.

mod analytics;
mod command;
mod config;
mod datagram;
mod frame;
mod line;
mod queue;
mod slots;

/// A target: panics if `virgo-proto` breaks a promise on these bytes.
pub type Target = fn(&[u8]);

/// The target with this name.
pub fn target(name: &str) -> Option<Target> {
    Some(match name {
        "analytics" => analytics::check,
        "command" => command::check,
        "config" => config::check,
        "datagram" => datagram::check,
        "frame" => frame::check,
        "line" => line::check,
        "queue" => queue::check,
        "slots" => slots::check,
        _ => return None,
    })
}
