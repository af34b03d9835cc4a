// SPDX-License-Identifier: GPL-2.0

//! What comes over the stream: lines of `key=value` pairs.
//!
//! The host is trusted to set variables, not to behave: a line that is not understood, or has a value
//! that is out of bounds, changes nothing and is counted; one that does not end, ends the connection. Only so
//! many values are taken in a second: the rest waits in the network, and with it the host.

use crate::stream_status::StreamStatus;
use kernel::{
    prelude::*,
    sync::{
        atomic::{
            Atomic,
            Relaxed, //
        },
        Arc,
        Mutex, //
    }, //
};
use linux::{
    deadline,
    net::{
        SocketHandler,
        Stream,
        WatchedSocket, //
    },
    work::{
        Task,
        WorkHandle, //
    }, //
};
use virgo_proto::{
    analytics::{
        allowance::Allowance,
        source::ValueSource,
        MAX_STREAM_LINE,
        MAX_STREAM_PAIRS,
        STREAM_HOST,
        STREAM_SWITCH, //
    },
    line::Splitter, //
};
use virgo_utils::variables::{
    Refused,
    Setter,
    SourceRules,
    ValueOrigin, //
};

/// Lines that are taken in a row before other work gets its turn.
const BUDGET: u32 = 64;

/// Bytes asked for at a time.
const PIECE: usize = 4096;

/// Whether one may set `key` who is not root: not whether there is a stream and where it comes from, since
/// the stream is root's.
pub(crate) fn may_set(key: &str) -> bool {
    key != STREAM_SWITCH && key != STREAM_HOST
}

/// What a line of the stream may say.
const RULES: SourceRules = SourceRules {
    max_pairs: MAX_STREAM_PAIRS,
    may_set,
};

/// How many values a line counts as: none is free, and of one that was refused all may have been looked at.
fn cost(line: &[u8], taken: Option<usize>) -> u64 {
    let most = || line.iter().filter(|byte| **byte == b',').count() + 1;
    let values = taken.unwrap_or_else(|| most().min(MAX_STREAM_PAIRS));
    values.max(1) as u64
}

/// The reader of a connection.
pub(crate) struct StreamInput {
    setter: Arc<Setter>,
    status: Arc<StreamStatus>,
    /// Of the connector, to be called when the connection has ended.
    ended: WorkHandle,
    is_over: Atomic<bool>,
    /// Only the work uses it, once at a time: the lock proves that.
    state: Pin<KBox<Mutex<State>>>,
}

struct State {
    bytes: KVVec<u8>,
    splitter: Splitter,
    allowance: Allowance,
}

/// What the work does next.
#[derive(Clone, Copy)]
enum Next {
    /// Nothing, until more has come.
    Wait,
    /// Others first, then more.
    Again,
    /// The rest in so many milliseconds.
    Later(u32),
    /// The connection is over.
    End,
}

impl StreamInput {
    /// Takes at most `rate` values a second. May sleep.
    ///
    /// # Errors
    ///
    /// [`ENOMEM`].
    pub(crate) fn new(
        setter: Arc<Setter>,
        status: Arc<StreamStatus>,
        ended: WorkHandle,
        rate: u32,
    ) -> Result<Self> {
        let state = State {
            bytes: KVVec::new(),
            splitter: Splitter::new(),
            allowance: Allowance::new(rate, deadline::now_ms()),
        };
        Ok(StreamInput {
            setter,
            status,
            ended,
            is_over: Atomic::new(false),
            state: KBox::pin_init(
                kernel::new_mutex!(state, "virgo_analytics_input"),
                GFP_KERNEL,
            )?,
        })
    }

    /// Whether the host has ended the connection, or was to be rid of.
    pub(crate) fn has_ended(&self) -> bool {
        self.is_over.load(Relaxed)
    }

    fn work(&self, stream: &Stream) -> Result<Next> {
        let mut state = self.state.lock();
        let state = &mut *state;
        let mut budget = BUDGET;
        loop {
            let mut used = 0;
            let next = loop {
                if budget == 0 {
                    break Some(Next::Again);
                }
                let wait = state.allowance.wait_ms(deadline::now_ms());
                if wait > 0 {
                    break Some(Next::Later(wait));
                }
                let rest = state.bytes.get(used..).unwrap_or_default();
                let Some(line) = state.splitter.next(rest) else {
                    break None;
                };
                let text = rest.get(..line.text).unwrap_or_default();
                state.allowance.take(cost(text, self.take(text)));
                used = used.saturating_add(line.whole);
                budget -= 1;
            };
            let used = used.min(state.bytes.len());
            let left = state.bytes.len() - used;
            if used > 0 && left > 0 {
                state.bytes.copy_within(used.., 0);
            }
            state.bytes.truncate(left);
            if let Some(next) = next {
                return Ok(next);
            }
            if state.bytes.len() > MAX_STREAM_LINE {
                self.status.refused.fetch_add(1, Relaxed);
                return Ok(Next::End);
            }
            match stream.receive(&mut state.bytes, PIECE)? {
                Some(0) => return Ok(Next::End),
                Some(_) => (),
                None => return Ok(Next::Wait),
            }
        }
    }

    /// Does what a line says, all of it or nothing. How many pairs it has, if it was not refused.
    fn take(&self, line: &[u8]) -> Option<usize> {
        let origin = ValueOrigin::new(ValueSource::Stream, 0);
        match self.setter.set_by(&RULES, line, origin) {
            Ok(count) => {
                self.status.lines.fetch_add(1, Relaxed);
                self.status
                    .values
                    .fetch_add(count.variables as u64, Relaxed);
                if count.variables > 0 {
                    self.status.failures.store(0, Relaxed);
                }
                Some(count.pairs)
            }
            Err(refused) => {
                self.status.refused.fetch_add(1, Relaxed);
                match refused {
                    _ if !self.status.log.pass() => (),
                    Refused::Text { reason, .. } => {
                        pr_warn!("a line of the stream is passed over: {}\n", *reason);
                    }
                    Refused::Error(error) => {
                        pr_warn!("a line of the stream is passed over: {error:?}\n");
                    }
                }
                None
            }
        }
    }
}

impl SocketHandler for StreamInput {
    type Socket = Stream;

    fn socket_ready(watch: &Task<WatchedSocket<Self>>) {
        if watch.has_ended() {
            return;
        }
        match watch.work(&watch.socket) {
            Ok(Next::Wait) => (),
            Ok(Next::Again) => watch.schedule(),
            Ok(Next::Later(ms)) => watch.schedule_after_ms(ms),
            Ok(Next::End) | Err(_) => {
                watch.is_over.store(true, Relaxed);
                watch.socket.shutdown();
                watch.ended.wake_now();
            }
        }
    }
}
