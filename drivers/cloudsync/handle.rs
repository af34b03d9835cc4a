// SPDX-License-Identifier: GPL-2.0

//! A program's session: what stands behind its descriptor.

use crate::{
    events::{
        Event,
        EventName,
        Kind, //
    },
    locks::Locks,
    session::Session, //
};
use core::mem::size_of;
use kernel::{
    prelude::*,
    sync::Arc,
    uaccess::UserSliceWriter, //
};
use linux::{
    descriptor::{
        Pollable,
        Readable, //
    },
    wait::WaitQueue, //
};
use virgo_abi::args::{
    lock,
    LockEvent, //
};
use virgo_proto::cloudsync::MAX_NAME;

/// See the module. When the last descriptor of it is closed, the session's locks are given back.
pub(crate) struct Handle {
    pub(crate) locks: Arc<Locks>,
    pub(crate) session: Arc<Session>,
}

fn event(event: &Event, name: &EventName) -> LockEvent {
    let (kind, error) = match event.kind {
        Kind::Granted => (lock::GRANTED, 0),
        Kind::Blocks => (lock::BLOCKS, 0),
        Kind::Refused(errno) => (lock::REFUSED, errno.unsigned_abs()),
        Kind::Lost => (lock::LOST, 0),
        Kind::Missed => (lock::MISSED, 0),
    };
    let mut out = LockEvent {
        token: event.token.0,
        kind,
        mode: event.mode.map_or(0, |mode| mode.to_wire().into()),
        error,
        name_len: event.name_len as u32,
        name: [0; 256],
    };
    for (to, from) in out.name.iter_mut().zip(name.iter().take(event.name_len)) {
        *to = *from;
    }
    out
}

impl Pollable for Handle {
    fn is_readable(&self) -> bool {
        self.session.has_event()
    }

    fn waiters(&self) -> &WaitQueue {
        self.session.waiters()
    }
}

impl Readable for Handle {
    fn read(&self, to: &mut UserSliceWriter, len: usize, waits: bool) -> Result<usize> {
        const SIZE: usize = size_of::<LockEvent>();
        if len < SIZE {
            return Err(EINVAL);
        }
        let mut done = 0;
        while len - done >= SIZE {
            let mut name = [0; MAX_NAME];
            let Some(next) = self.session.take_event(&mut name) else {
                if done > 0 || !waits {
                    break;
                }
                // Another thread may be faster.
                self.session.wait_event()?;
                continue;
            };
            to.write(&event(&next, &name))?;
            done += SIZE;
        }
        match done {
            0 => Err(EAGAIN),
            done => Ok(done),
        }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.locks.close(&self.session);
    }
}
