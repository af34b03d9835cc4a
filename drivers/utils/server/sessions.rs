// SPDX-License-Identifier: GPL-2.0

//! The sessions of a server, and the reaper: the only ones who own sessions.
//!
//! # Lifetime
//!
//! [`Sessions`] are the data of a task, whose work is the reaper's. The server has that task, and the listener, which
//! the server drops first. Sessions wake the reaper by a handle and use the hub; neither has a session, and no
//! session has the reaper. So the server's reference is the last one, and is never dropped by a work that it would
//! wait for. When it is dropped, the reaper is stopped first; then all sessions are ended; then each is
//! dropped, which waits for its work; then the hub is, unless others use it.
//!
//! # Locking
//!
//! The table has a mutex, for the listener and the reaper. The work of sessions does not take it. Sessions that have
//! ended are dropped without it all the same, so that the listener does not wait for that.

use crate::{
    params,
    server::{
        hub::Hub,
        session::ServerSession, //
    },
    service::Service, //
};
use kernel::{
    prelude::*,
    sync::{
        atomic::Relaxed,
        Arc,
        Mutex, //
    }, //
};
use linux::{
    net::{
        SocketWork,
        Stream, //
    },
    work::{
        Run,
        Task,
        WorkQueue, //
    }, //
};

/// A session and its connection.
type Connected<S> = SocketWork<ServerSession<S>>;

/// Sessions, the oldest first.
type Table<S> = KVVec<Pin<KBox<Connected<S>>>>;

/// The sessions of a server, and what drops them.
pub(crate) type Reaper<S> = Task<Sessions<S>>;

/// The sessions of a server. Fields are dropped in order: what sessions use goes after them.
#[pin_data(PinnedDrop)]
pub(crate) struct Sessions<S: Service> {
    #[pin]
    table: Mutex<Table<S>>,
    pub(crate) hub: Arc<Hub<S>>,
    /// Runs the work of the sessions.
    queue: Arc<WorkQueue>,
}

impl<S: Service> Sessions<S> {
    /// None yet; their work and the reaper's run on `queue`. May sleep.
    ///
    /// # Errors
    ///
    /// [`ENOMEM`].
    pub(crate) fn new(hub: Arc<Hub<S>>, queue: Arc<WorkQueue>) -> Result<Arc<Reaper<S>>> {
        let of_reaper = queue.clone();
        let sessions = pin_init!(Self {
            table <- linux::new_mutex!(KVVec::new(), "virgo_sessions"),
            hub,
            queue,
        });
        Arc::pin_init(
            linux::new_task!(of_reaper, sessions, "virgo_reaper"),
            GFP_KERNEL,
        )
    }

    /// Begins a session, for which another may have to make room. Only one task does at a time. May sleep.
    ///
    /// # Errors
    ///
    /// [`ENOMEM`]; [`ENOTCONN`] if the peer is gone; [`EUSERS`] if too many sessions have ended whose
    /// work is still busy.
    pub(crate) fn admit(reaper: &Reaper<S>, stream: Stream) -> Result {
        reaper.table.lock().reserve(1, GFP_KERNEL)?;
        let stream = Arc::new(stream, GFP_KERNEL)?;
        let session = ServerSession::new(reaper.hub.clone(), stream.clone(), reaper.handle()?)?;
        let session = KBox::pin_init(
            linux::new_socket_work!(reaper.queue.clone(), stream, session, "virgo_session"),
            GFP_KERNEL,
        )?;
        // There is room. If the session is over already, it has woken the reaper too early: the caller does
        // it again.
        let _ = reaper.table.lock().push_within_capacity(session);
        Ok(())
    }

    /// Ends the sessions whose time is over, and takes those that have ended and are idle out of the
    /// table, so that they can be dropped without its lock. The second value says whether one of the
    /// others is to be looked at again.
    fn ended(&self) -> (Table<S>, bool) {
        let (mut ended, mut limited) = (KVVec::new(), false);
        let mut table = self.table.lock();
        let mut at = 0;
        while let Some(session) = table.get(at) {
            session.end_if_due();
            let is_limited = session.limited();
            let is_idle = session.is_idle();
            if session.is_over() && !is_idle {
                // It gives back what it has before it is dropped.
                session.schedule();
            }
            // Without memory it stays until the next sweep.
            if is_idle && ended.reserve(1, GFP_KERNEL).is_ok() {
                if let Ok(session) = table.remove(at) {
                    let _ = ended.push_within_capacity(session);
                    continue;
                }
            }
            limited |= is_limited;
            at += 1;
        }
        (ended, limited)
    }
}

impl<S: Service> Run for Sessions<S> {
    /// The reaper: ends sessions whose time is over and drops those that have ended and are idle.
    fn run(reaper: &Reaper<S>) {
        reaper.hub.runs.fetch_add(1, Relaxed);
        let (ended, limited) = reaper.ended();
        // All make room before the first is waited for.
        for session in &ended {
            session.leave();
        }
        drop(ended);
        if limited {
            reaper.schedule_after_ms(params::SWEEP_MS);
        }
    }
}

#[pinned_drop]
impl<S: Service> PinnedDrop for Sessions<S> {
    fn drop(self: Pin<&mut Self>) {
        // All before the first is waited for: what they wait for ends.
        for session in &*self.table.lock() {
            session.end();
        }
    }
}
