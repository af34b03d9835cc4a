// SPDX-License-Identifier: GPL-2.0

//! A service in as few lines as it takes; `docs/adding-a-service.md` walks through it.

use kernel::{
    prelude::*,
    sync::Arc, //
};
use virgo_utils::*;

module! {
    type: Module,
    name: "virgo_sample_echo",
    authors: ["The VIRGO developers"],
    description: "VIRGO: sample service that repeats what it is told",
    license: "GPL",
}

struct Echo;

impl Service for Echo {
    const NAME: &'static CStr = c"sample_echo";
    const PORT: u16 = 7007;
    const COMMANDS: &'static [Command<Self>] = &[Command {
        names: &["echo"],
        usage: "(text)",
        run: |_, _, command, reply| reply.text(command.body),
    }];
}

#[pin_data]
struct Module {
    #[pin]
    _server: Server<Echo>,
}

impl kernel::InPlaceModule for Module {
    fn init(module: &'static ThisModule) -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            _server <- Server::new(module, Arc::new(Echo, GFP_KERNEL)?, Stats::new::<Echo>()?),
        }? Error)
    }
}
