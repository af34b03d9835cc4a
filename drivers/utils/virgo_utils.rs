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
pub mod clock;
mod datagram;
pub mod diversion;
pub mod eventnet;
pub mod functions;
mod input;
mod node_reports;
mod params;
pub mod pieces;
mod ratelimit;
mod reply;
mod request_body;
pub mod requests;
pub mod retry;
mod server;
mod service;
pub mod skbuff;
mod stats;
mod stop;
pub mod table;
mod user;
pub mod variables;
mod waiting;
pub mod workers;

pub use attached::{
    Attached,
    Attachment, //
};
pub use attempt::Attempt;
pub use backlog::{
    Backlog,
    Reservation,
    RetryWork, //
};
pub use client::exchange::PendingCall;
pub use client::request::{
    Data,
    ReplyDeadline,
    Request, //
};
pub use client::Client;
pub use node_reports::NodeReports;
pub use ratelimit::LogLimit;
pub use reply::{
    from_wire,
    to_wire,
    Failure,
    Reply, //
};
pub use request_body::RequestBody;
pub use server::deferred::{
    Deferred,
    ReplyWatch, //
};
pub use server::peer::Peer;
pub use server::Server;
pub use service::{
    Body,
    BriefOperation,
    BriefReply,
    BriefRequest,
    Caller,
    Command,
    Operation,
    Repeat,
    Service, //
};
pub use stats::Stats;
pub use stop::Stop;
pub use user::User;
pub use waiting::take_given_up;

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
        clock_skew_ms: u32 {
            default: 10_000,
            description: "How far ahead another node's clock may be to be followed, in ms (1 to 3600000)",
        },
        event_ring_kb: u32 {
            default: 256,
            description: "Events that each processor keeps once they are recorded, in KiB (4 to 65536)",
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

/// Fields are dropped in order: the registry goes last.
struct Utils {
    _recorder: eventnet::Recorder,
    _log_burst: variables::Variable,
    _variables: variables::Registry,
}

impl kernel::Module for Utils {
    fn init(_module: &'static ThisModule) -> Result<Self> {
        functions::init();
        requests::init();
        let registry = variables::Registry::new();
        Ok(Utils {
            _recorder: eventnet::Recorder::new(),
            _log_burst: variables::Variable::declare(&ratelimit::LOG_BURST)?,
            _variables: registry,
        })
    }
}
