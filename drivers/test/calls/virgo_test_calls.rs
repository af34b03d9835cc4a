// SPDX-License-Identifier: GPL-2.0

//! Serves the memory pool's system calls in its stead, for the tests of the system call stubs:
//! loads only while nobody else serves them, and holds callers inside for as long as they ask.

use kernel::{
    prelude::*,
    time::{
        delay::fsleep,
        Delta, //
    },
    uaccess::UserPtr, //
};
use virgo_abi::calls::{
    MempoolCalls,
    MempoolRegistration, //
};

module! {
    type: Module,
    name: "virgo_test_calls",
    authors: ["The VIRGO developers"],
    description: "VIRGO: stand-in for the tests of the system call stubs",
    license: "GPL",
}

struct Calls;

impl MempoolCalls for Calls {
    /// Sleeps `size` milliseconds and returns that number.
    fn malloc(&self, size: c_int, _id: UserPtr) -> Result<usize> {
        let ms = u32::try_from(size).map_err(|_| EINVAL)?;
        fsleep(Delta::from_millis(ms.into()));
        Ok(ms as usize)
    }

    fn set(&self, _id: u64, _data: UserPtr) -> Result<usize> {
        Err(EOPNOTSUPP)
    }

    fn get(&self, _id: u64, _data: UserPtr) -> Result<usize> {
        Err(EOPNOTSUPP)
    }

    fn free(&self, _id: u64) -> Result<usize> {
        Err(EOPNOTSUPP)
    }

    fn malloc2(&self, _args: UserPtr, _size: usize) -> Result<usize> {
        Err(EOPNOTSUPP)
    }

    fn set2(&self, _args: UserPtr, _size: usize) -> Result<usize> {
        Err(EOPNOTSUPP)
    }

    fn get2(&self, _args: UserPtr, _size: usize) -> Result<usize> {
        Err(EOPNOTSUPP)
    }

    fn free2(&self, _args: UserPtr, _size: usize) -> Result<usize> {
        Err(EOPNOTSUPP)
    }
}

#[pin_data]
struct Module {
    #[pin]
    _calls: MempoolRegistration<Calls>,
}

impl kernel::InPlaceModule for Module {
    fn init(module: &'static ThisModule) -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            _calls <- MempoolRegistration::new(module, Calls),
        }? Error)
    }
}
