// SPDX-License-Identifier: GPL-2.0

//! virgo_kingcobra: does what requests in the queue want, keeps a record of each and of what came of
//! it, and replies.

mod cobra;
mod log;

use crate::cobra::{
    Cobra,
    Front,
    Stop, //
};
use kernel::{
    prelude::*,
    sync::Arc, //
};
use linux::work::Queue;
use virgo_utils::requests::HandlerRegistration;

module! {
    type: Module,
    name: "virgo_kingcobra",
    authors: ["The VIRGO developers"],
    description: "VIRGO: requests and replies",
    license: "GPL",
    params: {
        max_running: u32 {
            default: 16,
            description: "Requests that are being done at a time (1 to 256)",
        },
        persist: u8 {
            default: 1,
            description: "0: keep no record of requests and replies on disk",
        },
    },
}

/// Fields are dropped in order: first no request comes in any more, then those that wait go back to
/// the queue, and those that are being done end.
struct Module {
    _handler: HandlerRegistration,
    _stop: Stop,
    _work: Arc<Queue>,
}

impl kernel::Module for Module {
    fn init(module: &'static ThisModule) -> Result<Self> {
        let running = module_parameters::max_running.value().clamp(1, 256);
        let work = Queue::unbound(c"virgo_kingcobra", running as c_int)?;
        let cobra = Cobra::new(module_parameters::persist.value() != 0)?;
        let front = Front::handler(cobra.clone(), work.clone())?;
        Ok(Module {
            _handler: HandlerRegistration::new(module, front)?,
            _stop: Stop(cobra),
            _work: work,
        })
    }
}
