// SPDX-License-Identifier: GPL-2.0

//! Tracepoints: `/sys/kernel/tracing/events/virgo`, for perf, bpftrace and trace-cmd.
//!
//! A tracepoint that is switched off costs a load and a branch. All may be used in any context: what
//! reads them neither sleeps nor takes a lock of ours.
//!
//! C header: `drivers/linux/trace.h`, which says what the fields mean in each.

use crate::helpers;
use kernel::{
    bindings,
    prelude::*,
    time::{
        Instant,
        Monotonic, //
    }, //
};

/// The fields of an event, the same in all.
#[derive(Clone, Copy, Default)]
pub struct TraceEvent {
    /// Number of the other node; 0 if no other takes part.
    pub node: u32,
    /// Port of the service.
    pub port: u32,
    /// Number of the operation.
    pub op: u32,
    /// What tells it from others of its kind.
    pub id: u64,
    /// Bytes.
    pub size: u64,
    /// 0 or a negative errno.
    pub status: i32,
    /// Nanoseconds that it took.
    pub ns: u64,
}

impl TraceEvent {
    /// The event, with what came of it and the time since `start`.
    pub fn ended<T>(self, result: &Result<T>, start: Option<Instant<Monotonic>>) -> Self {
        let took = start.map_or(0, |start| start.elapsed().as_nanos());
        TraceEvent {
            status: result.as_ref().err().map_or(0, |e| e.to_errno()),
            ns: u64::try_from(took).unwrap_or(0),
            ..self
        }
    }
}

macro_rules! tracepoints {
    ($($(#[$doc:meta])* $name:ident, $is_on:ident, $key:ident, $call:ident;)*) => {$(
        /// Whether somebody listens to the tracepoint of this name.
        #[inline(always)]
        pub fn $is_on() -> bool {
            // SAFETY: the key belongs to a tracepoint that trace.c defines.
            unsafe {
                kernel::jump_label::static_branch_unlikely!(
                    helpers::$key,
                    bindings::tracepoint,
                    key
                )
            }
        }

        $(#[$doc])*
        #[inline(always)]
        pub fn $name(event: impl FnOnce() -> TraceEvent) {
            if $is_on() {
                let e = event();
                // SAFETY: takes numbers only, in any context.
                unsafe { helpers::$call(e.node, e.port, e.op, e.id, e.size, e.status, e.ns) };
            }
        }
    )*};
}

tracepoints! {
    /// A request to another node was handed to its connection.
    request, request_is_on, __tracepoint_virgo_request, rust_do_trace_virgo_request;
    /// The call that made a request has ended.
    reply, reply_is_on, __tracepoint_virgo_reply, rust_do_trace_virgo_reply;
    /// A request of a peer, or a command of a text session, was carried out.
    serve, serve_is_on, __tracepoint_virgo_serve, rust_do_trace_virgo_serve;
    /// An attempt to connect to another node has ended.
    reconnect, reconnect_is_on, __tracepoint_virgo_reconnect, rust_do_trace_virgo_reconnect;
    /// A session has begun, proved who it is, or ended.
    session, session_is_on, __tracepoint_virgo_session, rust_do_trace_virgo_session;
    /// A job of `virgo_clone` has begun or ended on this node.
    job, job_is_on, __tracepoint_virgo_job, rust_do_trace_virgo_job;
    /// A message was published.
    publish, publish_is_on, __tracepoint_virgo_publish, rust_do_trace_virgo_publish;
}
