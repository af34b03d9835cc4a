// SPDX-License-Identifier: GPL-2.0

//! The system call of locks.

use crate::{
    handle::Handle,
    locks::{
        Granted,
        Wanted, //
    },
    service::Cloudsync, //
};
use kernel::{
    prelude::*,
    sync::Arc,
    uaccess::{
        UserPtr,
        UserSlice, //
    }, //
};
use linux::{
    deadline::Deadline,
    descriptor::FdType,
    user, //
};
use virgo_abi::{
    args::{
        self,
        lock,
        LockArgs, //
    },
    calls::CloudsyncCalls, //
};
use virgo_proto::cloudsync::{
    Mode,
    Token,
    MAX_NAME,
    VALUE, //
};
use virgo_utils::{
    Stats,
    User, //
};

/// Names of the operations, in the order of their numbers, from 1 on.
pub(crate) const NAMES: &[&str] = &["open", "lock", "convert", "unlock"];

/// Serves the call; counts each operation.
pub(crate) struct Calls {
    pub(crate) service: Arc<Cloudsync>,
    pub(crate) stats: Arc<Stats>,
    pub(crate) handles: Pin<KBox<FdType<Handle>>>,
}

impl CloudsyncCalls for Calls {
    fn lock(&self, at: UserPtr, size: usize) -> Result<usize> {
        let args = user::read_args::<LockArgs>(at, size)?;
        let index = (args.op as usize).checked_sub(1).ok_or(EINVAL)?;
        if index >= NAMES.len() {
            return Err(EINVAL);
        }
        self.stats
            .count_call::<Cloudsync, _>(index, || match args.op {
                lock::OPEN => self.open(&args),
                lock::LOCK | lock::CONVERT => self.lock_or_convert(at, &args),
                _ => self.unlock(&args),
            })
    }
}

fn read_value(at: u64) -> Result<Option<[u8; VALUE]>> {
    if at == 0 {
        return Ok(None);
    }
    let mut value = [0; VALUE];
    let at = UserPtr::from_addr(at as usize);
    UserSlice::new(at, VALUE).reader().read_slice(&mut value)?;
    Ok(Some(value))
}

/// The name that the program gives.
fn with_name<T>(args: &LockArgs, f: impl FnOnce(&[u8]) -> Result<T>) -> Result<T> {
    let mut bytes = [0; MAX_NAME];
    let name = match args.name_len as usize {
        0 => return Err(EINVAL),
        len => bytes.get_mut(..len).ok_or(ENAMETOOLONG)?,
    };
    let at = UserPtr::from_addr(args.name as usize);
    UserSlice::new(at, name.len()).reader().read_slice(name)?;
    f(name)
}

impl Calls {
    fn open(&self, args: &LockArgs) -> Result<usize> {
        if args.flags != 0 {
            return Err(EINVAL);
        }
        let session = self.service.locks.open(user::current_uid())?;
        let handle = Handle {
            locks: self.service.locks.clone(),
            session,
        };
        Ok(self.handles.install(handle, true)? as usize)
    }

    fn wanted(&self, args: &LockArgs) -> Result<Wanted> {
        if args.flags & !(lock::TRY | lock::ASYNC) != 0 {
            return Err(EINVAL);
        }
        let mode = u8::try_from(args.mode).ok().and_then(Mode::from_wire);
        let deadline = match args.timeout_ms {
            lock::FOREVER => Deadline::never(),
            ms => User::of_call(&self.service.locks.cluster.node.config(), ms)?.deadline,
        };
        Ok(Wanted {
            mode: mode.ok_or(EINVAL)?,
            tries: args.flags & lock::TRY != 0,
            by_event: args.flags & lock::ASYNC != 0,
            deadline,
        })
    }

    fn lock_or_convert(&self, at: UserPtr, args: &LockArgs) -> Result<usize> {
        let wanted = self.wanted(args)?;
        let handle = self.handles.get(args.fd)?;
        let (locks, session) = (&self.service.locks, &handle.session);
        let granted = with_name(args, |name| match args.op {
            lock::LOCK => locks.lock(session, name, wanted),
            _ => {
                let held = locks.of(session, name).and_then(|(held, _)| held);
                let weaker = held.is_some_and(|held| held.writes() && !wanted.mode.writes());
                let value = match weaker {
                    true => read_value(args.value)?,
                    false => None,
                };
                locks.convert(session, name, wanted, value.as_ref())
            }
        })?;
        let Some(granted) = granted else {
            return Err(EINPROGRESS);
        };
        let told = self.tell(at, args, &granted);
        if told.is_err() && args.op == lock::LOCK {
            // The program does not know that it has it.
            let _ = with_name(args, |name| locks.unlock(session, name, None, None));
        }
        told
    }

    fn tell(&self, at: UserPtr, args: &LockArgs, granted: &Granted) -> Result<usize> {
        let valid = if granted.is_valid { lock::VALID } else { 0 };
        args::write_lock(at, granted.token.0, args.flags | valid)?;
        if args.value != 0 {
            let to = UserPtr::from_addr(args.value as usize);
            UserSlice::new(to, VALUE)
                .writer()
                .write_slice(&granted.value)?;
        }
        Ok(0)
    }

    fn unlock(&self, args: &LockArgs) -> Result<usize> {
        if args.flags != 0 {
            return Err(EINVAL);
        }
        let handle = self.handles.get(args.fd)?;
        let value = read_value(args.value)?;
        let token = (args.token != 0).then_some(Token(args.token));
        with_name(args, |name| {
            self.service
                .locks
                .unlock(&handle.session, name, token, value.as_ref())
        })?;
        Ok(0)
    }
}
