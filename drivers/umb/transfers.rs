// SPDX-License-Identifier: GPL-2.0

//! The URBs of an interface: which of them are with the device, and what has become of the others.
//!
//! URBs to and from the device are told apart by their tokens: those below [`INPUTS`] are for input. The
//! lock is taken in any context, for a few instructions.

use crate::waiting::WaitingPrograms;
use kernel::{
    new_spinlock_irq,
    prelude::*,
    sync::{
        Arc,
        SpinLockIrq, //
    }, //
};
use linux::work::WorkQueue;
use linux_usb::urb::Complete;

/// URBs for input. Each takes one packet: a larger one would keep what has come until a short packet
/// ends it, which a device that sends whole packets need not ever send.
pub(crate) const INPUTS: usize = 16;

/// URBs for output.
pub(crate) const OUTPUTS: usize = 4;

/// All URBs for input, as bits.
const ALL_INPUTS: u32 = (1 << INPUTS) - 1;

/// All URBs for output, as bits.
const ALL_OUTPUTS: u32 = (1 << OUTPUTS) - 1;

/// State of the URBs of an interface, told of their completion.
#[pin_data]
pub(crate) struct Transfers {
    #[pin]
    state: SpinLockIrq<State>,
    /// Who waits for any change of it.
    pub(crate) waiters: WaitingPrograms,
}

struct State {
    /// The interface is not bound any more.
    gone: bool,
    suspended: bool,
    /// Open files.
    openers: usize,
    input: Input,
    output: Output,
}

/// # Invariants
///
/// Each URB is in `filled`, or its bit in `idle` is set, or the device has it, or it is being submitted.
struct Input {
    /// Tokens and lengths of those that have brought data, in order.
    filled: [(usize, usize); INPUTS],
    first: usize,
    count: usize,
    idle: u32,
    failed: Option<Error>,
    stalled: bool,
}

struct Output {
    idle: u32,
    in_flight: InFlight,
    failed: Option<Error>,
    stalled: bool,
}

/// The URBs for output that the device has at some time.
#[derive(Clone, Copy)]
pub(crate) struct InFlight {
    /// As bits.
    urbs: u32,
    /// How often each has come back so far.
    returned: [u64; OUTPUTS],
}

impl InFlight {
    fn begin(&mut self, token: usize) {
        self.urbs |= 1 << token;
    }

    fn end(&mut self, token: usize) {
        self.urbs &= !(1 << token);
        if let Some(returned) = self.returned.get_mut(token) {
            *returned += 1;
        }
    }

    /// Whether all of these have come back, given those of now.
    fn have_ended(&self, now: &InFlight) -> bool {
        let counts = self.returned.iter().zip(&now.returned);
        let mut urbs = counts.enumerate();
        urbs.all(|(token, (before, now))| self.urbs & 1 << token == 0 || before != now)
    }
}

/// What there is to be read.
pub(crate) enum ReadReady {
    /// So many bytes in the URB with this token.
    Data(usize, usize),
    /// Nothing; this has happened, which is told once.
    Failed(Error),
    /// Nothing yet.
    Nothing,
}

/// What there is to write with.
pub(crate) enum WriteReady {
    /// The URB with this token, which is the caller's now.
    Urb(usize),
    /// This has happened, which is told once.
    Failed(Error),
    /// The endpoint is stalled; the caller is to end that.
    Stalled,
    /// Nothing yet.
    Nothing,
}

/// Whether a status says that the URB was cancelled here, or the device unplugged.
fn is_cancelled(error: Error) -> bool {
    error == ENOENT || error == ECONNRESET || error == ESHUTDOWN || error == ENODEV
}

impl Transfers {
    pub(crate) fn new(work: &Arc<WorkQueue>) -> Result<Arc<Self>> {
        let state = State {
            gone: false,
            suspended: false,
            openers: 0,
            input: Input {
                filled: [(0, 0); INPUTS],
                first: 0,
                count: 0,
                idle: ALL_INPUTS,
                failed: None,
                stalled: false,
            },
            output: Output {
                idle: ALL_OUTPUTS,
                in_flight: InFlight {
                    urbs: 0,
                    returned: [0; OUTPUTS],
                },
                failed: None,
                stalled: false,
            },
        };
        let waiters = WaitingPrograms::new(work)?;
        Arc::pin_init(
            pin_init!(Self {
                state <- new_spinlock_irq!(state, "umb_transfers"),
                waiters,
            }),
            GFP_KERNEL,
        )
    }

    /// A program has opened the device.
    pub(crate) fn opened(&self) {
        self.state.lock().openers += 1;
    }

    /// A program has closed it; returns whether it was the last one. What nobody was told of is not for the next.
    pub(crate) fn closed(&self) -> bool {
        let mut state = self.state.lock();
        state.openers -= 1;
        let is_last = state.openers == 0;
        if is_last {
            state.output.failed = None;
        }
        is_last
    }

    /// Open files.
    pub(crate) fn openers(&self) -> usize {
        self.state.lock().openers
    }

    /// What a reader would get now.
    pub(crate) fn next_input(&self) -> ReadReady {
        let mut state = self.state.lock();
        let gone = state.gone;
        let input = &mut state.input;
        match input.filled.get(input.first) {
            Some(&(token, len)) if input.count > 0 => ReadReady::Data(token, len),
            _ if gone => ReadReady::Failed(ENODEV),
            _ => input
                .failed
                .take()
                .map_or(ReadReady::Nothing, ReadReady::Failed),
        }
    }

    /// The data of the first URB was read.
    pub(crate) fn input_read(&self) {
        let mut state = self.state.lock();
        let input = &mut state.input;
        if let (Some(&(token, _)), 1..) = (input.filled.get(input.first), input.count) {
            input.idle |= 1 << token;
            input.first = (input.first + 1) % INPUTS;
            input.count -= 1;
        }
    }

    /// The input URBs that the device can have, as bits; they are the caller's to submit.
    pub(crate) fn take_idle_input(&self) -> u32 {
        let mut state = self.state.lock();
        let idle = state.idle_input();
        state.input.idle &= !idle;
        idle
    }

    /// Whether there are such.
    pub(crate) fn has_idle_input(&self) -> bool {
        self.state.lock().idle_input() != 0
    }

    /// Input URBs could not be submitted.
    pub(crate) fn put_back_input(&self, urbs: u32, why: Error) {
        let mut state = self.state.lock();
        state.input.idle |= urbs;
        if why != EPERM {
            state.input.failed = Some(if is_cancelled(why) { ENODEV } else { why });
        }
    }

    /// Whether a reader has something to do: to read, to submit, or to fail.
    pub(crate) fn input_is_due(&self) -> bool {
        let state = self.state.lock();
        let input = &state.input;
        input.count > 0
            || state.gone
            || input.failed.is_some()
            || input.idle != 0 && !state.suspended
    }

    /// Whether a read has something to do at once; to end a stall is that, too.
    pub(crate) fn is_readable(&self) -> bool {
        let state = self.state.lock();
        let input = &state.input;
        input.count > 0 || state.gone || input.failed.is_some() || input.stalled && !state.suspended
    }

    /// Nobody reads any more: what has come is dropped. All input URBs have been cancelled.
    pub(crate) fn drop_input(&self) {
        let mut state = self.state.lock();
        state.input.count = 0;
        state.input.idle = ALL_INPUTS;
        state.input.failed = None;
    }

    /// Whether input is stalled; the caller is to end that. While the device is suspended nobody can.
    pub(crate) fn take_input_stall(&self) -> bool {
        let mut state = self.state.lock();
        !state.suspended && core::mem::take(&mut state.input.stalled)
    }

    /// As [`Self::take_input_stall`].
    pub(crate) fn take_output_stall(&self) -> bool {
        let mut state = self.state.lock();
        !state.suspended && core::mem::take(&mut state.output.stalled)
    }

    /// A stall could not be ended.
    pub(crate) fn put_back_input_stall(&self) {
        self.state.lock().input.stalled = true;
    }

    /// As [`Self::put_back_input_stall`].
    pub(crate) fn put_back_output_stall(&self) {
        self.state.lock().output.stalled = true;
    }

    /// An URB to write with. What has happened stays to be told by the next call if this one does not `tell` it.
    pub(crate) fn take_output(&self, tell: bool) -> WriteReady {
        let mut state = self.state.lock();
        if state.gone {
            return WriteReady::Failed(ENODEV);
        }
        if let Some(why) = state.output.failed {
            if tell {
                state.output.failed = None;
            }
            return WriteReady::Failed(why);
        }
        if state.suspended {
            return WriteReady::Nothing;
        }
        if state.output.stalled {
            return WriteReady::Stalled;
        }
        let token = state.output.idle.trailing_zeros();
        if token >= OUTPUTS as u32 {
            return WriteReady::Nothing;
        }
        state.output.idle &= !(1 << token);
        WriteReady::Urb(token as usize)
    }

    /// The URB is about to be submitted.
    pub(crate) fn output_begins(&self, token: usize) {
        self.state.lock().output.in_flight.begin(token);
    }

    /// It was not used.
    pub(crate) fn put_back_output(&self, token: usize) {
        self.state.lock().output.idle |= 1 << token;
        self.waiters.wake();
    }

    /// It could not be submitted.
    pub(crate) fn output_refused(&self, token: usize) {
        let mut state = self.state.lock();
        state.output.idle |= 1 << token;
        state.output.in_flight.end(token);
        drop(state);
        self.waiters.wake();
    }

    /// Whether a write would not block.
    pub(crate) fn is_writable(&self) -> bool {
        let state = self.state.lock();
        let output = &state.output;
        state.gone || output.failed.is_some() || output.idle != 0 && !state.suspended
    }

    /// The URBs for output that the device has now.
    pub(crate) fn output_in_flight(&self) -> InFlight {
        self.state.lock().output.in_flight
    }

    /// Once these have come back: how that went, which is told once.
    pub(crate) fn output_completed(&self, urbs: &InFlight) -> Option<Result> {
        let mut state = self.state.lock();
        let gone = state.gone;
        let output = &mut state.output;
        match output.failed.take() {
            _ if gone => Some(Err(ENODEV)),
            Some(why) => Some(Err(why)),
            None => urbs.have_ended(&output.in_flight).then_some(Ok(())),
        }
    }

    /// Whether all that was submitted for output is complete.
    pub(crate) fn output_is_drained(&self) -> bool {
        self.state.lock().output.in_flight.urbs == 0
    }

    /// The interface is not bound any more.
    pub(crate) fn set_gone(&self) {
        self.state.lock().gone = true;
        self.waiters.wake();
    }

    pub(crate) fn is_gone(&self) -> bool {
        self.state.lock().gone
    }

    /// URBs cannot be submitted for a while, or can be again.
    pub(crate) fn set_suspended(&self, suspended: bool) {
        self.state.lock().suspended = suspended;
        self.waiters.wake();
    }

    /// The device was reset: no endpoint is stalled any more. It is still suspended.
    pub(crate) fn forget_stalls(&self) {
        let mut state = self.state.lock();
        state.input.stalled = false;
        state.output.stalled = false;
    }
}

impl State {
    /// The input URBs that the device can have, as bits.
    fn idle_input(&self) -> u32 {
        let input = &self.input;
        match self.gone || self.suspended || input.failed.is_some() || input.stalled {
            true => 0,
            false => input.idle,
        }
    }
}

impl Complete for Transfers {
    fn complete(&self, token: usize, len: usize, status: Result) {
        let mut state = self.state.lock();
        let ended = state.gone || state.suspended;
        match token.checked_sub(INPUTS) {
            None => state.input.complete(token, len, status),
            Some(token) => state.output.complete(token, status, ended),
        }
        drop(state);
        self.waiters.wake();
    }
}

impl Input {
    fn complete(&mut self, token: usize, len: usize, status: Result) {
        let at = (self.first + self.count) % INPUTS;
        match self.filled.get_mut(at) {
            Some(entry) if len > 0 => {
                *entry = (token, len);
                self.count += 1;
            }
            _ => self.idle |= 1 << token,
        }
        if let Err(why) = status {
            self.stalled |= why == EPIPE;
            if !is_cancelled(why) {
                self.failed = Some(why);
            }
        }
    }
}

impl Output {
    /// `ended`: transfers are being cancelled here.
    fn complete(&mut self, token: usize, status: Result, ended: bool) {
        self.idle |= 1 << token;
        self.in_flight.end(token);
        if let Err(why) = status {
            self.stalled |= why == EPIPE;
            // A writer must be told of what has not arrived, also if it was cancelled here.
            self.failed = Some(match is_cancelled(why) {
                // Nobody but this module cancels them so: also to end a stall.
                true if ended || why == ENOENT => EIO,
                true => ENODEV,
                false => why,
            });
        }
    }
}
