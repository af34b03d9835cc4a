// SPDX-License-Identifier: GPL-2.0

//! virgo_kingcobra: does what requests in the queue want, keeps a record of each and of what came of
//! it, and replies.

mod handler;
mod job;
mod log;
mod service;

use crate::{
    handler::RequestHandler,
    service::{
        KingcobraService,
        ServiceStop, //
    }, //
};
use kernel::{
    prelude::*,
    sync::Arc, //
};
use linux::work::WorkQueue;
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
        max_log_bytes: u64 {
            default: 67108864,
            description: "Bytes of the record after which another file is begun (4096 at least); one former file is kept",
        },
    },
}

/// Fields are dropped in order: first no request comes in any more, then those that wait go back to
/// the queue, and those that are being done end.
struct Module {
    _handler: HandlerRegistration,
    _stop: ServiceStop,
    _work: Arc<WorkQueue>,
}

impl kernel::Module for Module {
    fn init(module: &'static ThisModule) -> Result<Self> {
        let running = module_parameters::max_running.value().clamp(1, 256);
        let work = WorkQueue::unbound(c"virgo_kingcobra", running as c_int)?;
        let max_log_bytes = match module_parameters::persist.value() {
            0 => None,
            _ => Some(module_parameters::max_log_bytes.value().max(4096)),
        };
        let service = KingcobraService::new(max_log_bytes)?;
        let handler = RequestHandler::make(service.clone(), work.clone(), running as usize)?;
        let stop = ServiceStop(service);
        // Last: whoever finds it may use it.
        let handler = HandlerRegistration::new(module, handler)?;
        Ok(Module {
            _handler: handler,
            _stop: stop,
            _work: work,
        })
    }
}
