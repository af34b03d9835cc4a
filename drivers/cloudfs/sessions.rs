// SPDX-License-Identifier: GPL-2.0

//! Files that text sessions have open: each session has numbers of its own, from 0, as a process
//! has descriptors.

use crate::file::File;
use kernel::{
    prelude::*,
    sync::{
        Arc,
        Mutex, //
    }, //
};

/// Most files that a session may have open.
const MAX_FILES: usize = 64;

/// The files of one session; a number is an index.
struct Session {
    number: u64,
    files: KVec<Option<Arc<File>>>,
}

/// The sessions that have files.
#[pin_data]
pub(crate) struct Sessions {
    #[pin]
    sessions: Mutex<KVec<Session>>,
}

impl Sessions {
    pub(crate) fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            sessions <- kernel::new_mutex!(KVec::new(), "virgo_fs_sessions"),
        })
    }

    /// Keeps `file` for a session, under the lowest number that is free. May sleep.
    ///
    /// # Errors
    ///
    /// [`EMFILE`], [`ENOMEM`].
    pub(crate) fn add(&self, session: u64, file: File) -> Result<u64> {
        let file = Arc::new(file, GFP_KERNEL)?;
        let mut sessions = self.sessions.lock();
        let at = match sessions.iter().position(|known| known.number == session) {
            Some(at) => at,
            None => {
                let new = Session {
                    number: session,
                    files: KVec::new(),
                };
                sessions.push(new, GFP_KERNEL)?;
                sessions.len() - 1
            }
        };
        let files = &mut sessions.get_mut(at).ok_or(ENOMEM)?.files;
        let number = match files.iter().position(Option::is_none) {
            Some(free) => free,
            None if files.len() < MAX_FILES => {
                files.push(None, GFP_KERNEL)?;
                files.len() - 1
            }
            None => return Err(EMFILE),
        };
        *files.get_mut(number).ok_or(EMFILE)? = Some(file);
        Ok(number as u64)
    }

    /// The file that a session knows by this number. May sleep.
    ///
    /// # Errors
    ///
    /// [`EBADF`].
    pub(crate) fn get(&self, session: u64, number: u64) -> Result<Arc<File>> {
        let mut sessions = self.sessions.lock();
        place(&mut sessions, session, number)?.clone().ok_or(EBADF)
    }

    /// Closes the file that a session knows by this number. May sleep.
    ///
    /// # Errors
    ///
    /// [`EBADF`].
    pub(crate) fn close(&self, session: u64, number: u64) -> Result {
        let mut sessions = self.sessions.lock();
        let file = place(&mut sessions, session, number)?.take();
        drop(sessions);
        file.map(drop).ok_or(EBADF)
    }

    /// Closes all that a session has. May sleep.
    pub(crate) fn end(&self, session: u64) {
        let mut sessions = self.sessions.lock();
        let at = sessions.iter().position(|known| known.number == session);
        let ended = at.and_then(|at| sessions.remove(at).ok());
        if sessions.is_empty() {
            *sessions = KVec::new();
        }
        drop(sessions);
        drop(ended);
    }
}

fn place(
    sessions: &mut KVec<Session>,
    session: u64,
    number: u64,
) -> Result<&mut Option<Arc<File>>> {
    let mut known = sessions.iter_mut();
    let session = known.find(|known| known.number == session).ok_or(EBADF)?;
    let index = usize::try_from(number).map_err(|_| EBADF)?;
    session.files.get_mut(index).ok_or(EBADF)
}
