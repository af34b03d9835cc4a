// SPDX-License-Identifier: GPL-2.0

//! The processor pool's system calls.

use crate::{
    job::Job,
    outcome::Outcome,
    pool::{
        Cpupool,
        PoolContext, //
    },
    request::{
        CallRequest,
        Placement, //
    }, //
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
use linux::{
    bytes::Fill,
    user, //
};
use virgo_abi::{
    args::{
        self,
        run,
        CancelArgs,
        CloneArgs,
        WaitArgs,
        CLONE_ASYNC, //
    },
    calls::CpupoolCalls,
    device, //
};
use virgo_config::Config;
use virgo_proto::{
    balance::Policy,
    clone::{
        share_room,
        state,
        text_to_argv,
        MAX_ARGV, //
    }, //
};
use virgo_utils::{
    from_wire,
    Stats,
    User, //
};

/// Most bytes of names and arguments in one call.
const MAX_ALL_ARGV: usize = 1 << 20;

/// Flag of `struct virgo_call`: not all output is there.
const TRUNCATED: u32 = virgo_proto::clone::TRUNCATED;

/// Serves the calls; counts each.
pub(crate) struct CpupoolSyscalls {
    pub(crate) pool: Arc<Cpupool>,
    pub(crate) stats: Arc<Stats>,
}

/// Names of the calls, in the order of the indices below.
pub(crate) const NAMES: &[&str] = &["clone", "clone2", "wait", "cancel"];

impl CpupoolCalls for CpupoolSyscalls {
    fn clone(&self, func: UserPtr) -> Result<usize> {
        self.stats.count_call::<Cpupool, _>(0, || {
            let mut text = KVVec::new();
            // Room for one byte more: what fills it all was cut.
            text.put_zeros(MAX_ARGV + 1, GFP_KERNEL_ACCOUNT)?;
            let text = UserSlice::new(func, MAX_ARGV + 1)
                .reader()
                .strcpy_into_buf(&mut text)?;
            if text.to_bytes().len() >= MAX_ARGV {
                return Err(E2BIG);
            }
            let mut argv = KVVec::new();
            text_to_argv(text.to_bytes(), |bytes| {
                argv.extend_from_slice(bytes, GFP_KERNEL_ACCOUNT)
            })?;
            device::check_caller()?;
            let config = self.pool.node.config();
            let user = User::of_call(&config, 0)?;
            let call = CallRequest {
                argv: &argv,
                place: Placement::Policy(config.balance),
            };
            let started = self.pool.start(&user, &[call])?;
            started.wait(user.deadline)?;
            let job = started.jobs.first().ok_or(EIO)?;
            let outcome = job.outcome().ok_or(EIO)?;
            match (outcome.state, outcome.value) {
                (state::RETURNED, _) | (state::EXITED, 0) => Ok(0),
                (state::FAILED, e) => Err(from_wire(u32::try_from(e).unwrap_or(0))),
                _ => Err(EIO),
            }
        })
    }

    fn clone2(&self, args: UserPtr, size: usize) -> Result<usize> {
        self.stats.count_call::<Cpupool, _>(1, || {
            let a = user::read_args::<CloneArgs>(args, size)?;
            if a.flags & !CLONE_ASYNC != 0 {
                return Err(EINVAL);
            }
            device::check_caller()?;
            let config = self.pool.node.config();
            let user = User::of_call(&config, a.timeout_ms)?;
            let mut array = Array::read(a.calls, a.count, a.call_size)?;
            let words = Argvs::read(&array)?;
            let mut calls = KVVec::with_capacity(array.calls.len(), GFP_KERNEL_ACCOUNT)?;
            for (call, argv) in array.calls.iter().zip(words.iter(&array)) {
                let place = place(call, &config)?;
                calls.push(CallRequest { argv, place }, GFP_KERNEL_ACCOUNT)?;
            }
            let mut started = self.pool.start(&user, &calls)?;
            drop(calls);
            if a.flags & CLONE_ASYNC == 0 {
                started.wait(user.deadline)?;
            }
            for (index, job) in started.jobs.iter().enumerate() {
                array.change(index, |call| {
                    call.node = job.node().into();
                    if a.flags & CLONE_ASYNC == 0 {
                        return give(job.outcome().ok_or(EIO)?, call);
                    }
                    call.job = job.id;
                    call.state = state::RUNNING;
                    Ok(())
                })?;
            }
            if a.flags & CLONE_ASYNC != 0 {
                started.keep();
            }
            Ok(started.jobs.len())
        })
    }

    fn wait(&self, args: UserPtr, size: usize) -> Result<usize> {
        self.stats.count_call::<Cpupool, _>(2, || {
            let a = user::read_args::<WaitArgs>(args, size)?;
            if a.flags != 0 {
                return Err(EINVAL);
            }
            device::check_caller()?;
            let config = self.pool.node.config();
            let user = User::of_call(&config, a.timeout_ms)?;
            let mut array = Array::read(a.calls, a.count, a.call_size)?;
            let jobs = self.pool.wanted(&array.calls, user.uid)?;
            if !self.pool.jobs.wait_any(&jobs, user.deadline)? {
                return Err(ETIMEDOUT);
            }
            let mut ended = 0;
            for (index, job) in jobs.iter().enumerate() {
                let Some(job) = job.as_ref().filter(|job| job.has_ended()) else {
                    continue;
                };
                match (self.take(job, index, &mut array), ended) {
                    (Ok(()), _) => ended += 1,
                    (Err(e), 0) => return Err(e),
                    // The caller has to know of those that are gone; of this one he hears next time.
                    (Err(_), _) => break,
                }
            }
            Ok(ended)
        })
    }

    fn cancel(&self, args: UserPtr, size: usize) -> Result<usize> {
        self.stats.count_call::<Cpupool, _>(3, || {
            let a = user::read_args::<CancelArgs>(args, size)?;
            if a.flags != 0 {
                return Err(EINVAL);
            }
            let config = self.pool.node.config();
            let user = User::of_call(&config, a.timeout_ms)?;
            let job = self.pool.jobs.find(a.job, user.uid)?;
            self.pool.executor.give_up(&job, ECANCELED);
            Ok(0)
        })
    }
}

impl CpupoolSyscalls {
    /// Gives the caller the result of `job`, which has ended, as the call with this index. It is kept
    /// if he cannot get it.
    ///
    /// # Errors
    ///
    /// [`EFAULT`]; [`ESRCH`] if somebody else was given it meanwhile.
    fn take(&self, job: &Job, index: usize, array: &mut Array) -> Result {
        let outcome = job.outcome().ok_or(ESRCH)?;
        outcome.cause.waited_for();
        array.change(index, |call| {
            call.node = job.node().into();
            give(outcome, call)
        })?;
        match self.pool.jobs.remove(job.id) {
            true => Ok(()),
            false => Err(ESRCH),
        }
    }
}

impl PoolContext {
    /// The jobs of `calls` that user `uid` waits for; `None` for those that have ended.
    fn wanted(&self, calls: &[args::CallArgs], uid: u32) -> Result<KVVec<Option<Arc<Job>>>> {
        let wait = self.jobs.next_wait();
        let mut jobs = KVVec::with_capacity(calls.len(), GFP_KERNEL_ACCOUNT)?;
        let mut running = 0;
        for call in calls {
            let job = match (call.state, call.flags) {
                (state::RUNNING, 0) => {
                    running += 1;
                    Some(self.jobs.find(call.job, uid)?)
                }
                (state::RUNNING, _) => return Err(EINVAL),
                _ => None,
            };
            // One that is there twice would be taken once, and be gone.
            if job
                .as_ref()
                .is_some_and(|job| job.is_waited_for_twice(wait))
            {
                return Err(EINVAL);
            }
            jobs.push(job, GFP_KERNEL_ACCOUNT)?;
        }
        match running {
            0 => Err(EINVAL),
            _ => Ok(jobs),
        }
    }
}

/// The caller's array of calls.
struct Array {
    at: UserPtr,
    calls: KVVec<args::CallArgs>,
}

impl Array {
    fn read(at: u64, count: u32, call_size: u32) -> Result<Self> {
        // A later version may take others.
        let known = call_size as usize == size_of::<args::CallArgs>();
        if !known || count == 0 || count > args::MAX_CALLS {
            return Err(EINVAL);
        }
        let at = UserPtr::from_addr(at as usize);
        let calls = user::read_array(at, count as usize)?;
        Ok(Array { at, calls })
    }

    /// Changes the call with this index, here and in the caller's memory.
    fn change(
        &mut self,
        index: usize,
        change: impl FnOnce(&mut args::CallArgs) -> Result,
    ) -> Result {
        let call = self.calls.get_mut(index).ok_or(EIO)?;
        change(call)?;
        let size = size_of::<args::CallArgs>();
        let at = self.at.wrapping_byte_add(index * size);
        UserSlice::new(at, size).writer().write(call)
    }
}

/// Names and arguments of all calls.
struct Argvs {
    bytes: KVVec<u8>,
}

impl Argvs {
    fn read(array: &Array) -> Result<Self> {
        let mut all = 0;
        for call in &array.calls {
            let len = call.argv_len as usize;
            all += len;
            if len > MAX_ARGV || all > MAX_ALL_ARGV {
                return Err(E2BIG);
            }
        }
        let mut bytes = KVVec::new();
        bytes.put_zeros(all, GFP_KERNEL_ACCOUNT)?;
        let mut rest = bytes.as_mut_slice();
        for call in &array.calls {
            let (argv, behind) = rest
                .split_at_mut_checked(call.argv_len as usize)
                .ok_or(EIO)?;
            UserSlice::new(UserPtr::from_addr(call.argv as usize), argv.len())
                .reader()
                .read_slice(argv)?;
            rest = behind;
        }
        Ok(Argvs { bytes })
    }

    /// Those of `array`, which this was read by.
    fn iter<'a>(&'a self, array: &'a Array) -> impl Iterator<Item = &'a [u8]> {
        let mut rest = self.bytes.as_slice();
        array.calls.iter().map(move |call| {
            let split = rest.split_at_checked(call.argv_len as usize);
            let (argv, behind) = split.unwrap_or((rest, b""));
            rest = behind;
            argv
        })
    }
}

/// Where the caller wants a call to run.
fn place(call: &args::CallArgs, config: &Config) -> Result<Placement> {
    if call.flags != 0 || (call.node != 0) != (call.place == run::NODE) {
        return Err(EINVAL);
    }
    Ok(match call.place {
        run::DEFAULT => Placement::Policy(config.balance),
        run::LEAST => Placement::Policy(Policy::LeastUsed),
        run::RANDOM => Placement::Policy(Policy::Random),
        run::TWO => Placement::Policy(Policy::TwoChoices),
        run::NODE => Placement::Node(u8::try_from(call.node).map_err(|_| ENODEV)?),
        _ => return Err(EINVAL),
    })
}

/// Gives the caller what came of a call.
fn give(outcome: &Outcome, call: &mut args::CallArgs) -> Result {
    let (out, err) = outcome.streams();
    let (out_len, err_len) = share_room(call.output_len as usize, out.len(), err.len());
    let mut at = UserPtr::from_addr(call.output as usize);
    for (stream, len) in [(out, out_len), (err, err_len)] {
        // Most calls have none.
        if let Some(shown @ [_, ..]) = stream.get(..len) {
            UserSlice::new(at, len).writer().write_slice(shown)?;
            at = at.wrapping_byte_add(len);
        }
    }
    call.state = outcome.state;
    call.value = outcome.value;
    // At most the room, which is a number of 32 bits.
    call.out_len = out_len as u32;
    call.err_len = err_len as u32;
    let whole = !outcome.truncated && (out_len, err_len) == (out.len(), err.len());
    call.flags = if whole { 0 } else { TRUNCATED };
    Ok(())
}
