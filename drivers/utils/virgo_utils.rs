// SPDX-License-Identifier: GPL-2.0

//! virgo_utils: everything that services have in common.
//!
//! A service implements [`Service`] and puts a [`Server`] into its module; to use the same
//! service of other nodes it has a [`Client`]. Sockets, sessions, authentication, limits,
//! at-most-once and counting are here, once.

#![deny(missing_docs)]

mod attached;
mod attempt;
mod backlog;
pub mod budget;
pub mod buffer;
mod client;
mod debug_files;
mod deferred;
mod destination;
mod dial;
pub mod diversion;
mod exchange;
mod frames;
pub mod functions;
mod input;
mod limit;
mod limits;
mod link;
mod outbound;
mod output;
mod peers;
pub mod pieces;
mod reply;
pub mod requests;
pub mod retry;
mod send;
mod server;
mod service;
mod session;
mod sessions;
mod stats;
pub mod table;
mod text;
mod ticket;
mod user;

pub use attached::{
    Attached,
    Attachment, //
};
pub use attempt::Attempt;
pub use backlog::{
    Backlog,
    RetryWork, //
};
pub use client::{
    Client,
    Data,
    ReplyDeadline,
    Request, //
};
pub use deferred::Deferred;
pub use exchange::PendingCall;
pub use reply::{
    from_wire,
    to_wire,
    Failure,
    Reply, //
};
pub use server::Server;
pub use service::{
    Body,
    Caller,
    Command,
    Operation,
    Peer,
    Repeat,
    Service, //
};
pub use stats::Stats;
pub use user::User;

use kernel::prelude::*;

module! {
    type: Utils,
    name: "virgo_utils",
    authors: ["The VIRGO developers"],
    description: "VIRGO: sessions, authentication and remote procedure calls",
    license: "GPL",
    params: {
        max_sessions: u32 {
            default: 256,
            description: "Text sessions of one service (2 to 2000)",
        },
        max_unauthenticated: u32 {
            default: 64,
            description: "Sessions of one service from unknown addresses, not authenticated (1 to 1024)",
        },
        max_line: u32 {
            default: 66048,
            description: "Bytes of a text line (512 to 1048576)",
        },
        client_slots: u32 {
            default: 256,
            description: "Requests under way at one service of one node (4 to 256)",
        },
        log_burst: u32 {
            default: 10,
            description: "Log lines in 5 s that the peers of one service can cause",
        },
        user_share: u32 {
            default: 50,
            description: "Most of each budget that one user other than root may have (1 to 100 %)",
        },
    },
}

struct Utils;

impl kernel::Module for Utils {
    fn init(_module: &'static ThisModule) -> Result<Self> {
        functions::init();
        requests::init();
        Ok(Utils)
    }
}
