// SPDX-License-Identifier: GPL-2.0

//! EventNet's recorder: what every module of VIRGO does becomes events, while that is switched on.
//!
//! ```text
//! log        what modules say by themselves
//! sink       messages for EventNet's files
//! hooks      where calls, requests and replies become events
//! origin     what a task does because of another one
//! scope      which event the current task has recorded last
//! recorder   numbers, stamps and vector clocks
//! rings      where the events lie, a ring for each processor
//! switch     what is recorded
//! ```
//!
//! virgo_eventnet shows the events to people and other nodes; this works without it.

pub(crate) mod hooks;
mod log;
mod origin;
mod recorder;
mod rings;
mod scope;
mod sink;
mod switch;

pub use log::{
    log,
    log_event, //
};
pub use origin::{
    Entered,
    Origin,
    OriginCell,
    Work, //
};
pub use recorder::{
    read,
    record_kinds,
    replaced,
    ring_count, //
};
pub use sink::{
    lost_messages,
    MessageSink,
    SinkRegistration, //
};
pub use switch::{
    is_on,
    one_in, //
};

/// The recorder, for as long as the module is loaded.
pub(crate) struct Recorder(());

impl Recorder {
    /// Called once, in the module's initialisation.
    pub(crate) fn new() -> Self {
        recorder::init();
        sink::init();
        Recorder(())
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        recorder::exit();
    }
}
