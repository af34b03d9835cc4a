// SPDX-License-Identifier: GPL-2.0
//! System calls with any arguments at all.
//!
//! The addresses among them come from [`crate::region`], where nothing of Rust's can be hurt.

use crate::region::Address;
use libc::c_long;
use virgo::abi::{DataArgs, FreeArgs, MallocArgs, nr};

use virgo_test_support::invoke::invoke;
pub(crate) use virgo_test_support::invoke::{Outcome, as_uid};

/// A system call without arguments that mean anything.
pub(crate) fn bare(number: c_long) -> Outcome {
    invoke(number, 0, 0)
}

pub(crate) fn malloc(size: i64, id: Address) -> Outcome {
    invoke(nr::MALLOC, size as u64, id.number())
}

pub(crate) fn set(id: u64, data: Address) -> Outcome {
    invoke(nr::SET, id, data.number())
}

pub(crate) fn get(id: u64, data: Address) -> Outcome {
    invoke(nr::GET, id, data.number())
}

pub(crate) fn free(id: u64) -> Outcome {
    invoke(nr::FREE, id, 0)
}

/// The calls that take a structure and its size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Call {
    Malloc,
    Set,
    Get,
    Free,
}

impl Call {
    pub(crate) const ALL: [Self; 4] = [Self::Malloc, Self::Set, Self::Get, Self::Free];

    /// Makes the call.
    pub(crate) fn call(self, args: Address, size: usize) -> Outcome {
        let number = match self {
            Self::Malloc => nr::MALLOC2,
            Self::Set => nr::SET2,
            Self::Get => nr::GET2,
            Self::Free => nr::FREE2,
        };
        invoke(number, args.number(), size as u64)
    }

    /// Size of the structure's first version.
    pub(crate) fn first_size(self) -> usize {
        match self {
            Self::Malloc => 32,
            Self::Set | Self::Get => 40,
            Self::Free => 16,
        }
    }

    /// Size of the structure.
    pub(crate) fn size(self) -> usize {
        match self {
            Self::Malloc => size_of::<MallocArgs>(),
            Self::Set | Self::Get => size_of::<DataArgs>(),
            Self::Free => size_of::<FreeArgs>(),
        }
    }
}
