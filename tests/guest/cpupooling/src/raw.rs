// SPDX-License-Identifier: GPL-2.0
//! System calls with any arguments at all.
//!
//! The addresses among them come from [`crate::region`], where nothing of Rust's can be hurt.

use crate::region::{Address, PAGE, Region};
use virgo::abi::{self, CancelArgs, CloneArgs, WaitArgs, nr};

use virgo_test_support::invoke::invoke;
pub(crate) use virgo_test_support::invoke::{Outcome, as_uid};

/// `virgo_clone`, the call of 2017.
pub(crate) fn clone(func: Address) -> Outcome {
    invoke(nr::CLONE, func.number(), 0)
}

/// `virgo_clone` of a line.
pub(crate) fn clone_line(line: &str) -> Outcome {
    let region = Region::new(line.len() + 1);
    clone(region.put_bytes(0, line.as_bytes()))
}

/// The calls that take a structure and its size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sized {
    Clone,
    Wait,
    Cancel,
}

impl Sized {
    pub(crate) const ALL: [Self; 3] = [Self::Clone, Self::Wait, Self::Cancel];

    /// Makes the call.
    pub(crate) fn call(self, args: Address, size: usize) -> Outcome {
        let number = match self {
            Self::Clone => nr::CLONE2,
            Self::Wait => nr::WAIT,
            Self::Cancel => nr::CANCEL,
        };
        invoke(number, args.number(), size as u64)
    }

    /// Makes the call with these arguments.
    pub(crate) fn with<T: Copy>(self, args: T) -> Outcome {
        let region = Region::new(PAGE);
        self.call(region.put(0, args), size_of::<T>())
    }

    /// Size of the structure.
    pub(crate) fn size(self) -> usize {
        match self {
            Self::Clone => size_of::<CloneArgs>(),
            Self::Wait => size_of::<WaitArgs>(),
            Self::Cancel => size_of::<CancelArgs>(),
        }
    }
}

/// One call, in memory that the kernel may do anything to.
pub(crate) struct One {
    pub(crate) region: Region,
    pub(crate) call: abi::CallArgs,
}

/// Where in its region a [`One`] has the words and the output.
const ARGV: usize = PAGE;
const OUTPUT: usize = 2 * PAGE;

impl One {
    /// A call of these words, each ended by NUL.
    pub(crate) fn new(words: &str) -> Self {
        let region = Region::new(3 * PAGE);
        let call = abi::CallArgs {
            argv: region.put_bytes(ARGV, words.as_bytes()).number(),
            argv_len: words.len() as u32,
            output: region.at(OUTPUT).number(),
            output_len: PAGE as u32,
            ..abi::CallArgs::default()
        };
        Self { region, call }
    }

    /// Arguments for it.
    pub(crate) fn args(&self) -> CloneArgs {
        CloneArgs {
            calls: self.region.put(0, self.call).number(),
            count: 1,
            call_size: size_of::<abi::CallArgs>() as u32,
            ..CloneArgs::default()
        }
    }

    /// Makes the call.
    pub(crate) fn run(&self) -> Outcome {
        Sized::Clone.with(self.args())
    }

    /// The state and the value that the kernel has filled in.
    pub(crate) fn ended(&self) -> (u32, i64) {
        let state = self
            .region
            .bytes(std::mem::offset_of!(abi::CallArgs, state), 4);
        let value = self
            .region
            .number(std::mem::offset_of!(abi::CallArgs, value));
        let state = u32::from_ne_bytes(state.try_into().unwrap_or_default());
        (state, value as i64)
    }

    /// The job that the kernel has filled in.
    pub(crate) fn job(&self) -> u64 {
        self.region.number(std::mem::offset_of!(abi::CallArgs, job))
    }
}
