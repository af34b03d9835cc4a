// SPDX-License-Identifier: GPL-2.0

//! What comes over the stream: lines of `key=value` pairs.
//!
//! The host is trusted to set variables, not to behave: a line that is not understood, or has a value
//! that is out of bounds, changes nothing and is counted; one that does not end, ends the connection. Only so
//! many lines are taken in a second: the rest waits in the network, and with it the host.

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
    deadline::Deadline,
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
        source::ValueSource,
        MAX_STREAM_LINE,
        STREAM_HOST,
        STREAM_SWITCH, //
    },
    line::Splitter, //
};
use virgo_utils::variables::{
    Refused,
    Setter,
    ValueOrigin, //
};

/// Lines that are taken in a row before other work gets its turn.
const BUDGET: u32 = 64;

/// Length of a period, in which so many lines are taken, in milliseconds.
const PERIOD_MS: u32 = 100;

/// Bytes asked for at a time.
const PIECE: usize = 4096;

/// Whether a line of the stream may set `key`: not where the stream comes from.
fn may_set(key: &str) -> bool {
    key != STREAM_SWITCH && key != STREAM_HOST
}

/// The reader of a connection.
pub(crate) struct StreamInput {
    setter: Arc<Setter>,
    status: Arc<StreamStatus>,
    /// Of the connector, to be called when the connection has ended.
    ended: WorkHandle,
    is_over: Atomic<bool>,
    /// Lines in a period.
    max_lines: u32,
    /// Only the work uses it, once at a time: the lock proves that.
    state: Pin<KBox<Mutex<State>>>,
}

struct State {
    bytes: KVVec<u8>,
    splitter: Splitter,
    period: Deadline,
    /// Lines taken in the period.
    taken: u32,
    /// A refused line has been said in the log.
    complained: bool,
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
    /// Takes at most `max_lines` a second. May sleep.
    ///
    /// # Errors
    ///
    /// [`ENOMEM`].
    pub(crate) fn new(
        setter: Arc<Setter>,
        status: Arc<StreamStatus>,
        ended: WorkHandle,
        max_lines: u32,
    ) -> Result<Self> {
        let state = State {
            bytes: KVVec::new(),
            splitter: Splitter::new(),
            period: Deadline::after_ms(PERIOD_MS),
            taken: 0,
            complained: false,
        };
        Ok(StreamInput {
            setter,
            status,
            ended,
            is_over: Atomic::new(false),
            max_lines: (max_lines / (1000 / PERIOD_MS)).max(1),
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
                if state.period.passed() {
                    state.period = Deadline::after_ms(PERIOD_MS);
                    state.taken = 0;
                }
                if budget == 0 {
                    break Some(Next::Again);
                }
                if state.taken >= self.max_lines {
                    break Some(Next::Later(state.period.left_ms().max(1)));
                }
                let rest = state.bytes.get(used..).unwrap_or_default();
                let Some(line) = state.splitter.next(rest) else {
                    break None;
                };
                let text = rest.get(..line.text).unwrap_or_default();
                self.take(text, &mut state.complained);
                used = used.saturating_add(line.whole);
                state.taken = state.taken.saturating_add(1);
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

    /// Does what a line says, all of it or nothing.
    fn take(&self, line: &[u8], complained: &mut bool) {
        let origin = ValueOrigin {
            source: ValueSource::Stream,
            uid: 0,
        };
        match self.setter.set_allowed(line, origin, may_set) {
            Ok(count) => {
                self.status.lines.fetch_add(1, Relaxed);
                self.status.values.fetch_add(count as u64, Relaxed);
                self.status.failures.store(0, Relaxed);
            }
            Err(refused) => {
                self.status.refused.fetch_add(1, Relaxed);
                if core::mem::replace(complained, true) {
                    return;
                }
                match refused {
                    Refused::Text { reason, .. } => {
                        pr_warn!("a line of the stream is passed over: {}\n", *reason);
                    }
                    Refused::Error(error) => {
                        pr_warn!("a line of the stream is passed over: {error:?}\n");
                    }
                }
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
