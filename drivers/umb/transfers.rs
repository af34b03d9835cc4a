// SPDX-License-Identifier: GPL-2.0

//! The URBs of an interface: which of them are with the device, and what has become of the others.
//!
//! URBs to and from the device are told apart by their tokens: those below [`INPUTS`] are for input. The
//! lock is taken in any context, for a few instructions.

use kernel::{
    new_spinlock_irq,
    prelude::*,
    sync::{
        Arc,
        SpinLockIrq, //
    }, //
};
use linux::{
    new_wait_queue,
    wait::WaitQueue, //
};
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
    #[pin]
    pub(crate) waiters: WaitQueue,
}

struct State {
    /// The interface is not bound any more.
    gone: bool,
    suspended: bool,
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
    submitted: u64,
    completed: u64,
    failed: Option<Error>,
    stalled: bool,
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
    /// Nothing yet.
    Nothing,
}

/// Whether a status says that the URB was cancelled here, or the device unplugged.
fn is_cancelled(error: Error) -> bool {
    error == ENOENT || error == ECONNRESET || error == ESHUTDOWN || error == ENODEV
}

impl Transfers {
    pub(crate) fn new() -> Result<Arc<Self>> {
        let state = State {
            gone: false,
            suspended: false,
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
                submitted: 0,
                completed: 0,
                failed: None,
                stalled: false,
            },
        };
        Arc::pin_init(
            pin_init!(Self {
                state <- new_spinlock_irq!(state, "umb_transfers"),
                waiters <- new_wait_queue!("umb_transfers"),
            }),
            GFP_KERNEL,
        )
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
        let input = &state.input;
        match state.gone || state.suspended || input.failed.is_some() || input.stalled {
            true => 0,
            false => core::mem::take(&mut state.input.idle),
        }
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
        input.count > 0 || state.gone || input.failed.is_some() || input.stalled
    }

    /// Nobody reads any more: what has come is dropped. All input URBs have been cancelled.
    pub(crate) fn drop_input(&self) {
        let mut state = self.state.lock();
        state.input.count = 0;
        state.input.idle = ALL_INPUTS;
        state.input.failed = None;
    }

    /// Whether input is stalled; the caller is to end that.
    pub(crate) fn take_input_stall(&self) -> bool {
        core::mem::take(&mut self.state.lock().input.stalled)
    }

    /// As [`Self::take_input_stall`].
    pub(crate) fn take_output_stall(&self) -> bool {
        core::mem::take(&mut self.state.lock().output.stalled)
    }

    /// A stall could not be ended.
    pub(crate) fn put_back_input_stall(&self) {
        self.state.lock().input.stalled = true;
    }

    /// As [`Self::put_back_input_stall`].
    pub(crate) fn put_back_output_stall(&self) {
        self.state.lock().output.stalled = true;
    }

    /// An URB to write with.
    pub(crate) fn take_output(&self) -> WriteReady {
        let mut state = self.state.lock();
        if state.gone {
            return WriteReady::Failed(ENODEV);
        }
        if let Some(why) = state.output.failed.take() {
            return WriteReady::Failed(why);
        }
        let token = state.output.idle.trailing_zeros();
        if state.suspended || token >= OUTPUTS as u32 {
            return WriteReady::Nothing;
        }
        state.output.idle &= !(1 << token);
        WriteReady::Urb(token as usize)
    }

    /// The URB is about to be submitted.
    pub(crate) fn output_begins(&self) {
        self.state.lock().output.submitted += 1;
    }

    /// It was not used.
    pub(crate) fn put_back_output(&self, token: usize) {
        self.state.lock().output.idle |= 1 << token;
        self.waiters.wake_all();
    }

    /// It could not be submitted.
    pub(crate) fn output_refused(&self, token: usize) {
        let mut state = self.state.lock();
        state.output.idle |= 1 << token;
        state.output.completed += 1;
        drop(state);
        self.waiters.wake_all();
    }

    /// Whether a write would not block.
    pub(crate) fn is_writable(&self) -> bool {
        let state = self.state.lock();
        let output = &state.output;
        state.gone || output.failed.is_some() || output.idle != 0 && !state.suspended
    }

    /// How many URBs were submitted for output so far.
    pub(crate) fn output_submitted(&self) -> u64 {
        self.state.lock().output.submitted
    }

    /// Once so many are complete: how that went, which is told once.
    pub(crate) fn output_completed(&self, submitted: u64) -> Option<Result> {
        let mut state = self.state.lock();
        let gone = state.gone;
        let output = &mut state.output;
        match output.failed.take() {
            _ if gone => Some(Err(ENODEV)),
            Some(why) => Some(Err(why)),
            None => (output.completed >= submitted).then_some(Ok(())),
        }
    }

    /// Whether all that was submitted for output is complete.
    pub(crate) fn output_is_drained(&self) -> bool {
        let state = self.state.lock();
        state.output.completed >= state.output.submitted
    }

    /// The interface is not bound any more.
    pub(crate) fn set_gone(&self) {
        self.state.lock().gone = true;
        self.waiters.wake_all();
    }

    pub(crate) fn is_gone(&self) -> bool {
        self.state.lock().gone
    }

    /// URBs cannot be submitted for a while, or can be again.
    pub(crate) fn set_suspended(&self, suspended: bool) {
        self.state.lock().suspended = suspended;
        self.waiters.wake_all();
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
        self.waiters.wake_all();
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
        self.completed += 1;
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
