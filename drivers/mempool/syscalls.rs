// SPDX-License-Identifier: GPL-2.0

//! The memory pool's system calls.

use crate::{
    cluster::Mempool,
    target::AllocTarget, //
};
use core::mem::size_of;
use kernel::{
    prelude::*,
    sync::Arc,
    uaccess::{
        UserPtr,
        UserSlice, //
    }, //
};
use linux::user;
use virgo_abi::{
    args::{
        self,
        place,
        DataArgs,
        FreeArgs,
        MallocArgs, //
    },
    calls::MempoolCalls,
    fence, //
};
use virgo_config::Config;
use virgo_proto::{
    balance::Policy,
    mempool::MAX_DATA,
    scan, //
};
use virgo_utils::{
    buffer::{
        Buffer,
        SMALL, //
    },
    pieces::through_buffer,
    Stats,
    User, //
};

/// Bytes that call 562 reads at a time: enough that of what lies in small pieces on two nodes each
/// is asked for as much as a request may have.
const GET_STEP: usize = 2 * MAX_DATA;

/// Longest string of call 550, with its end.
const MAX_STRING: usize = 64 * 1024;

/// By how much buffers of strings grow, whose length is known only when they are read: a short one does not
/// cost the memory of the longest.
const GROWTH: usize = 64;

/// Serves the calls; counts each.
pub(crate) struct MempoolSyscalls {
    pub(crate) mempool: Arc<Mempool>,
    pub(crate) stats: Arc<Stats>,
}

/// Names of the calls, in the order of the indices below.
pub(crate) const NAMES: &[&str] = &[
    "malloc", "set", "get", "free", "malloc2", "set2", "get2", "free2",
];

impl MempoolCalls for MempoolSyscalls {
    fn malloc(&self, size: c_int, id: UserPtr) -> Result<usize> {
        self.stats.count_call::<Mempool, _>(0, || {
            let size = u64::try_from(size).map_err(|_| EINVAL)?;
            let config = self.config();
            let user = User::of_call(&config, 0)?;
            let target = AllocTarget::Policy(user.config.place);
            let mut writer = UserSlice::new(id, size_of::<u64>()).writer();
            self.give(&user, size, false, target, |id| writer.write(&id))
        })
    }

    fn set(&self, id: u64, data: UserPtr) -> Result<usize> {
        self.stats.count_call::<Mempool, _>(1, || {
            let config = self.config();
            let user = User::of_call(&config, 0)?;
            let mut len = SMALL;
            let (mut buffer, n) = loop {
                let mut buffer = Buffer::new(len)?;
                let text = UserSlice::new(data, len)
                    .reader()
                    .strcpy_into_buf(buffer.bytes())?;
                let n = text.to_bytes().len();
                // One that fills the buffer may have been cut.
                if n + 1 < len {
                    break (buffer, n);
                }
                if len > MAX_STRING {
                    return Err(EMSGSIZE);
                }
                len = (len * GROWTH).min(MAX_STRING + 1);
            };
            let text = buffer.bytes().get(..n).unwrap_or_default();
            self.mempool.write(&user, id, 0, text, true)?;
            Ok(0)
        })
    }

    fn get(&self, id: u64, data: UserPtr) -> Result<usize> {
        self.stats.count_call::<Mempool, _>(2, || {
            let config = self.config();
            let user = User::of_call(&config, 0)?;
            let mut done = 0;
            let mut len = SMALL;
            loop {
                let mut buffer = Buffer::new(len)?;
                let bytes = buffer.bytes();
                let n = self.mempool.read(&user, id, done as u64, bytes)?;
                let bytes = bytes.get(..n).unwrap_or_default();
                let end = scan::find(bytes, [0]);
                let text = end.and_then(|end| bytes.get(..=end)).unwrap_or(bytes);
                let to = data.wrapping_byte_add(done);
                UserSlice::new(to, text.len()).writer().write_slice(text)?;
                if end.is_some() || n < len {
                    return Ok(0);
                }
                done += n;
                len = (len * GROWTH).min(MAX_DATA);
            }
        })
    }

    fn free(&self, id: u64) -> Result<usize> {
        self.stats.count_call::<Mempool, _>(3, || {
            let config = self.config();
            self.mempool.free(&User::of_call(&config, 0)?, id)?;
            Ok(0)
        })
    }

    fn malloc2(&self, args: UserPtr, size: usize) -> Result<usize> {
        self.stats.count_call::<Mempool, _>(4, || {
            let a = user::read_args::<MallocArgs>(args, size)?;
            if a.flags & !args::MALLOC_SHARED != 0 || (a.node != 0) != (a.place == place::NODE) {
                return Err(EINVAL);
            }
            let config = self.config();
            let user = User::of_call(&config, a.timeout_ms)?;
            let target = match a.place {
                place::DEFAULT => AllocTarget::Policy(user.config.place),
                place::RANDOM => AllocTarget::Policy(Policy::Random),
                place::LEAST_USED => AllocTarget::Policy(Policy::LeastUsed),
                place::NODE => AllocTarget::Node(u8::try_from(a.node).map_err(|_| ENODEV)?),
                _ => return Err(EINVAL),
            };
            let shared = a.flags & args::MALLOC_SHARED != 0;
            self.give(&user, a.size, shared, target, |id| args::write_id(args, id))
        })
    }

    fn set2(&self, args: UserPtr, size: usize) -> Result<usize> {
        self.stats.count_call::<Mempool, _>(5, || {
            let a = user::read_args::<DataArgs>(args, size)?;
            let config = self.config();
            let (user, len) = Self::range(&config, &a)?;
            let user = user.with_lock(fence::read(a.fence)?);
            if len > MAX_DATA {
                // More than one request: see that the end fits before anything is changed.
                self.mempool
                    .write(&user, a.id, a.offset + a.len, b"", false)?;
            }
            let data = UserPtr::from_addr(a.data as usize);
            through_buffer(data, a.offset, len, MAX_DATA, |offset, at, part| {
                UserSlice::new(at, part.len()).reader().read_slice(part)?;
                self.mempool.write(&user, a.id, offset, part, false)?;
                Ok(part.len())
            })
        })
    }

    fn get2(&self, args: UserPtr, size: usize) -> Result<usize> {
        self.stats.count_call::<Mempool, _>(6, || {
            let a = user::read_args::<DataArgs>(args, size)?;
            if a.fence != 0 {
                return Err(EINVAL);
            }
            let config = self.config();
            let (user, len) = Self::range(&config, &a)?;
            let data = UserPtr::from_addr(a.data as usize);
            through_buffer(data, a.offset, len, GET_STEP, |offset, at, part| {
                let n = self.mempool.read(&user, a.id, offset, part)?;
                let part = part.get(..n).unwrap_or_default();
                UserSlice::new(at, n).writer().write_slice(part)?;
                Ok(n)
            })
        })
    }

    fn free2(&self, args: UserPtr, size: usize) -> Result<usize> {
        self.stats.count_call::<Mempool, _>(7, || {
            let a = user::read_args::<FreeArgs>(args, size)?;
            if a.flags != 0 {
                return Err(EINVAL);
            }
            let config = self.config();
            let user = User::of_call(&config, a.timeout_ms)?;
            let user = user.with_lock(fence::read(a.fence)?);
            self.mempool.free(&user, a.id)?;
            Ok(0)
        })
    }
}

impl MempoolSyscalls {
    fn config(&self) -> Arc<Config> {
        self.mempool.node.config()
    }

    /// Allocates, and tells the caller the id; if that fails nothing stays allocated.
    fn give(
        &self,
        user: &User<'_>,
        size: u64,
        shared: bool,
        target: AllocTarget,
        tell: impl FnOnce(u64) -> Result,
    ) -> Result<usize> {
        let id = self.mempool.malloc(user, size, shared, target)?;
        match tell(id) {
            Ok(()) => Ok(0),
            Err(e) => {
                self.mempool.abandon(user, id);
                Err(e)
            }
        }
    }

    fn range<'a>(config: &'a Config, a: &DataArgs) -> Result<(User<'a>, usize)> {
        if a.flags != 0 || a.offset.checked_add(a.len).is_none() {
            return Err(EINVAL);
        }
        let len = usize::try_from(a.len).map_err(|_| EINVAL)?;
        Ok((User::of_call(config, a.timeout_ms)?, len))
    }
}
