// SPDX-License-Identifier: GPL-2.0

//! Ends waits of programs that are told by an event: no task waits that would see its deadline pass.

use crate::{
    cluster::Cluster,
    names::Names,
    sweep::STEP, //
};
use kernel::{
    prelude::*,
    sync::Arc, //
};
use linux::{
    deadline::now_ms,
    work::{
        Run,
        Task, //
    }, //
};

impl Names {
    /// From now on the wait of a session for the name at `at` ends then, or never. May sleep.
    ///
    /// # Errors
    ///
    /// [`ENOENT`] if it has no part in it; [`ENOMEM`], and it never ends.
    pub(crate) fn set_until(&mut self, at: usize, session: u64, until: Option<u64>) -> Result {
        let name = self.get_mut(at).ok_or(ENOENT)?;
        let owner = name.owner_mut(session).ok_or(ENOENT)?;
        if let Some(before) = owner.until.take() {
            self.expiries.remove(before, at, session);
        }
        let Some(until) = until else {
            return Ok(());
        };
        self.expiries.add(until, at, session)?;
        let name = self.get_mut(at).ok_or(ENOENT)?;
        name.owner_mut(session).ok_or(ENOENT)?.until = Some(until);
        Ok(())
    }

    /// Ends waits that have lasted for long enough, some at a time. Returns when to do so again, if any have a
    /// deadline.
    fn expire(&mut self, now: u64) -> Option<u64> {
        for _ in 0..STEP {
            let (until, at, session) = self.expiries.first()?;
            if until > now {
                return Some(until);
            }
            let at = at as usize;
            self.expiries.remove(until, at, session);
            // As a task that waits for the lock is told.
            let error = match self.has_lease() {
                true => ETIMEDOUT,
                false => EHOSTDOWN,
            };
            let name = self.get_mut(at);
            let gone = name.and_then(|name| name.refuse_wait(session, error));
            self.forget(at, gone);
            self.settle(at, false);
        }
        Some(now)
    }
}

/// The work that ends such waits.
pub(crate) struct Expirer(pub(crate) Arc<Cluster>);

impl Run for Expirer {
    fn run(task: &Task<Self>) {
        let now = now_ms();
        let next = task.0.names.lock().expire(now);
        if let Some(at) = next {
            let ms = at.saturating_sub(now).try_into().unwrap_or(u32::MAX);
            // Who was woken meanwhile looks at once.
            task.schedule_after_ms(ms);
        }
    }
}
