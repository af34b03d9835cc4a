// SPDX-License-Identifier: GPL-2.0

//! Locks of this node's programs.
//!
//! A program that waits sleeps on its session, and looks at its lock under the mutex of [`Names`] when that
//! is woken. A claim for another master is sent by the task that wants the lock, if it is the first; when
//! that fails, or the task goes away, the teller of that node sends it again.

use crate::{
    cluster::Cluster,
    name::{
        errno,
        Owner, //
    },
    names::{
        Names,
        Outgoing, //
    },
    remote,
    session::Session, //
};
use kernel::{
    prelude::*,
    sync::{
        atomic::{
            Atomic,
            Relaxed, //
        },
        Arc, //
    }, //
};
use linux::deadline::{
    now_ms,
    Deadline, //
};
use virgo_proto::cloudsync::{
    holder::{
        Fate,
        Refusal, //
    },
    is_name,
    Mode,
    Token,
    VALUE, //
};
use virgo_utils::budget::Budget;

/// How often a lock is tried again for which there is no room, and after how many milliseconds.
const ROOM_TRIES: u32 = 10;
const ROOM_MS: u32 = 20;

/// Locks of a session that are given back while the mutex is held.
const BATCH: usize = 64;

/// What a program asks for.
#[derive(Clone, Copy)]
pub(crate) struct Wanted {
    pub(crate) mode: Mode,
    /// Now or not at all.
    pub(crate) tries: bool,
    /// It is told by an event, and does not wait.
    pub(crate) by_event: bool,
    pub(crate) deadline: Deadline,
}

impl Wanted {
    /// When its wait ends, if ever, in milliseconds of this node's clock.
    fn until(&self) -> Option<u64> {
        match self.deadline.left_ms() {
            u32::MAX => None,
            left => Some(now_ms().saturating_add(left.into())),
        }
    }
}

/// A lock that a program has.
pub(crate) struct Granted {
    pub(crate) mode: Mode,
    pub(crate) token: Token,
    pub(crate) value: [u8; VALUE],
    pub(crate) is_valid: bool,
}

/// See the module.
pub(crate) struct Locks {
    pub(crate) cluster: Arc<Cluster>,
    sessions: Atomic<u64>,
    budget: Pin<KBox<Budget>>,
}

fn refused(refusal: Refusal) -> Error {
    match refusal {
        Refusal::Exists => EALREADY,
        Refusal::Missing => ENOENT,
        Refusal::Lost => ESTALE,
        Refusal::Waits => EBUSY,
        Refusal::Busy => EAGAIN,
        Refusal::Deadlock => EDEADLK,
        Refusal::NoMemory => ENOMEM,
        Refusal::Exhausted => EOVERFLOW,
    }
}

fn check(name: &[u8]) -> Result {
    match name.len() {
        _ if is_name(name) => Ok(()),
        0 => Err(EINVAL),
        _ => Err(ENAMETOOLONG),
    }
}

impl Locks {
    /// `max` local locks. May sleep.
    pub(crate) fn new(cluster: Arc<Cluster>, max: u64) -> Result<Self> {
        Ok(Locks {
            cluster,
            sessions: Atomic::new(0),
            budget: Budget::new(max)?,
        })
    }

    pub(crate) fn budget(&self) -> &Budget {
        &self.budget
    }

    /// A session of user `uid`. May sleep.
    pub(crate) fn open(&self, uid: u32) -> Result<Arc<Session>> {
        Session::new(self.sessions.fetch_add(1, Relaxed).wrapping_add(1), uid)
    }

    /// Locks `name`. Sleeps until it is granted. `None` if the session is told by an event.
    ///
    /// # Errors
    ///
    /// [`EAGAIN`] if it would have to wait and does not want to; [`ETIMEDOUT`]; [`EHOSTDOWN`] if that was
    /// because there is no majority of the cluster; [`EALREADY`], [`EDEADLK`], [`EINTR`], [`EDQUOT`],
    /// [`ENOMEM`], [`ESHUTDOWN`], [`EOVERFLOW`].
    pub(crate) fn lock(
        &self,
        session: &Arc<Session>,
        name: &[u8],
        wanted: Wanted,
    ) -> Result<Option<Granted>> {
        check(name)?;
        let mut left = if wanted.tries || wanted.by_event {
            0
        } else {
            ROOM_TRIES
        };
        loop {
            let locked = self.lock_once(session, name, wanted);
            match locked {
                Err(e) if left > 0 && (e == EDQUOT || e == ENOMEM) && !wanted.deadline.passed() => {
                    left -= 1;
                }
                locked => return locked,
            }
            // Names that nobody uses are being given back.
            session.wait(session.changes(), Deadline::after_ms(ROOM_MS))?;
        }
    }

    fn lock_once(
        &self,
        session: &Arc<Session>,
        name: &[u8],
        wanted: Wanted,
    ) -> Result<Option<Granted>> {
        let charge = self.budget.charge(session.uid, 1)?;
        let owner = Owner::new(session.clone(), charge, wanted.by_event, now_ms());
        // What is charged to the program's memory cgroup may wait for memory to be found there: not under the mutex.
        let owner = KBox::new(owner, GFP_KERNEL_ACCOUNT)?;
        let mut names = self.cluster.names.lock();
        if names.is_stopped {
            return Err(ESHUTDOWN);
        }
        let at = names.find_or_make(name, session.uid)?;
        if let Err(e) = Self::note(&names, session, at) {
            names.settle(at, false);
            return Err(e);
        }
        let result = names.get_mut(at).ok_or(EINVAL).and_then(|known| {
            known.owners.reserve(1, GFP_KERNEL)?;
            let requested = known.holder.request(session.id, wanted.mode, wanted.tries);
            requested.map_err(refused)?;
            let _ = known.owners.push_within_capacity(owner);
            Ok(())
        });
        match result {
            Ok(()) => {
                names.users += 1;
                if names.users == 1 {
                    self.cluster.watch_lease();
                }
            }
            Err(e) => {
                names.settle(at, false);
                return Err(e);
            }
        }
        drop(names);
        self.finish(session, name, wanted)
    }

    /// Changes the mode of a lock that the session has. As [`Self::lock`]; if it fails the lock is as it
    /// was.
    ///
    /// # Errors
    ///
    /// As there; [`ENOENT`] if the session does not have it, [`ESTALE`] if it was lost, [`EBUSY`] if it waits.
    pub(crate) fn convert(
        &self,
        session: &Arc<Session>,
        name: &[u8],
        wanted: Wanted,
        value: Option<&[u8; VALUE]>,
    ) -> Result<Option<Granted>> {
        check(name)?;
        let mut names = self.cluster.names.lock();
        let at = names.find(name).ok_or(ENOENT)?;
        names.lapse_at(at);
        let known = names.get_mut(at).ok_or(ENOENT)?;
        if let Some(value) = value {
            known.holder.write(session.id, value);
        }
        let converted = known.holder.convert(session.id, wanted.mode, wanted.tries);
        converted.map_err(refused)?;
        if let Some(owner) = known.owner_mut(session.id) {
            owner.wait(wanted.by_event, now_ms());
        }
        // That of a conversion before.
        names.set_until(at, session.id, None)?;
        drop(names);
        self.finish(session, name, wanted)
    }

    /// Waits for what the session has asked for.
    fn finish(&self, session: &Session, name: &[u8], wanted: Wanted) -> Result<Option<Granted>> {
        self.cluster.be_active();
        let mut names = self.cluster.names.lock();
        // What has failed once the teller does, which waits in between; and what nobody waits for.
        let mut direct = !wanted.by_event;
        loop {
            // Another thread of the session may have ended the wait. That is looked at first: a claim that is
            // taken out has to be sent.
            let at = names.find(name).ok_or(ECANCELED)?;
            names.local(at, session.id).ok_or(ECANCELED)?;
            let out = names.settle(at, direct);
            let Some((local, value)) = names.local(at, session.id) else {
                if let Some(out) = out {
                    names.sent(&out, Err(ECANCELED));
                }
                return Err(ECANCELED);
            };
            let is_over = local.want.is_none() || local.fate == Fate::Lost;
            if let (true, Fate::Fine, Some(mode)) = (is_over, local.fate, local.held) {
                match out {
                    Some(out) => drop(self.send(names, &out, wanted.deadline)),
                    None => drop(names),
                }
                return Ok(Some(Granted {
                    mode,
                    token: local.token,
                    value: value.bytes,
                    is_valid: value.is_valid,
                }));
            }
            if let Some(out) = out {
                (names, direct) = self.send(names, &out, wanted.deadline);
                continue;
            }
            let failure = match local.fate {
                Fate::Refused(answer) if is_over => errno(&answer),
                Fate::Lost => ESTALE,
                _ if names.is_stopped => ESHUTDOWN,
                _ if wanted.by_event => match names.set_until(at, session.id, wanted.until()) {
                    Ok(()) => return Ok(None),
                    Err(e) => e,
                },
                _ if wanted.deadline.passed() && names.has_lease() => ETIMEDOUT,
                _ if wanted.deadline.passed() => EHOSTDOWN,
                _ => {
                    let changes = session.changes();
                    drop(names);
                    let waited = session.wait(changes, wanted.deadline);
                    names = self.cluster.names.lock();
                    match waited {
                        Ok(_) => continue,
                        Err(e) => e,
                    }
                }
            };
            self.give_up(&mut names, session, at);
            return Err(failure);
        }
    }

    /// Sends a claim to its master, without the mutex. Returns whether it was answered.
    fn send<'a>(
        &'a self,
        names: NamesGuard<'a>,
        out: &Outgoing,
        deadline: Deadline,
    ) -> (NamesGuard<'a>, bool) {
        drop(names);
        let answer = remote::claim(&self.cluster, out, deadline);
        let is_answered = answer.is_ok();
        let mut names = self.cluster.names.lock();
        names.sent(out, answer);
        (names, is_answered)
    }

    /// The session does not wait any more; what it holds it keeps.
    fn give_up(&self, names: &mut Names, session: &Session, at: usize) {
        let Some(known) = names.get_mut(at) else {
            return;
        };
        let gone = known.end_wait(session.id);
        names.forget(at, gone);
        names.settle(at, false);
    }

    /// Gives a lock back, or stops waiting for it. With a token only if it is that one's.
    ///
    /// # Errors
    ///
    /// [`ENOENT`] if the session does not have it; [`ESTALE`] if it was lost (it is gone then), or has
    /// another token.
    pub(crate) fn unlock(
        &self,
        session: &Session,
        name: &[u8],
        token: Option<Token>,
        value: Option<&[u8; VALUE]>,
    ) -> Result {
        check(name)?;
        let mut names = self.cluster.names.lock();
        let at = names.find(name).ok_or(ENOENT)?;
        names.lapse_at(at);
        let known = names.get_mut(at).ok_or(ENOENT)?;
        let local = known.holder.local(session.id).ok_or(ENOENT)?;
        if local.fate != Fate::Lost && token.is_some_and(|token| token != local.token) {
            return Err(ESTALE);
        }
        if let Some(value) = value {
            known.holder.write(session.id, value);
        }
        known.holder.unlock(session.id);
        let gone = known.remove_owner(session.id);
        names.forget(at, gone);
        names.settle(at, false);
        drop(names);
        // Another thread may wait for it.
        session.wake();
        match local.fate {
            Fate::Lost => Err(ESTALE),
            _ => Ok(()),
        }
    }

    /// The session is over: gives back all that it has.
    pub(crate) fn close(&self, session: &Session) {
        let places = core::mem::take(&mut *session.places.lock());
        for places in places.chunks(BATCH) {
            self.close_some(session, places);
        }
    }

    fn close_some(&self, session: &Session, places: &[u32]) {
        let mut names = self.cluster.names.lock();
        for at in places {
            let at = *at as usize;
            let Some(known) = names.get_mut(at) else {
                continue;
            };
            if known.holder.unlock(session.id).is_some() {
                let gone = known.remove_owner(session.id);
                names.forget(at, gone);
                names.settle(at, false);
            }
        }
    }

    /// Notes that the session has something of the name at `at`.
    fn note(names: &Names, session: &Session, at: usize) -> Result {
        let mut places = session.places.lock();
        if places.len() == places.capacity() {
            // What it has no more, or is there twice, is forgotten, at most every other time that the list
            // would grow.
            places.sort_unstable();
            let mut last = None;
            places.retain(|at| {
                let known = names.get(*at as usize);
                let is_new = last.replace(*at) != Some(*at);
                is_new && known.is_some_and(|known| known.holder.local(session.id).is_some())
            });
            let more = places.len().max(4);
            places.reserve(more, GFP_KERNEL)?;
        }
        match places.last() {
            Some(last) if *last as usize == at => Ok(()),
            _ => Ok(places.push(at as u32, GFP_KERNEL)?),
        }
    }

    /// What the session has of a name.
    pub(crate) fn of(&self, session: &Session, name: &[u8]) -> Option<(Option<Mode>, Token)> {
        let names = self.cluster.names.lock();
        let known = names.get(names.find(name)?)?;
        let local = known.holder.local(session.id)?;
        Some((local.held, local.token))
    }

    /// Ends all waits, and with `stopped` takes the locks from those who have them.
    pub(crate) fn set_stopped(&self, stopped: bool) {
        let mut names = self.cluster.names.lock();
        names.set_stopped(stopped);
    }
}

/// The names while they are locked.
pub(crate) type NamesGuard<'a> =
    kernel::sync::lock::Guard<'a, KBox<Names>, kernel::sync::lock::mutex::MutexBackend>;
