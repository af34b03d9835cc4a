// SPDX-License-Identifier: GPL-2.0

//! Files that a text session has open: it has numbers of its own, from 0, as a process has
//! descriptors.

use crate::file::CloudFile;
use kernel::{
    prelude::*,
    sync::{
        Arc,
        Mutex, //
    }, //
};
use virgo_utils::Attachment;

/// Most files that a session may have open.
const MAX_FILES: usize = 64;

/// The files of one session; a number is an index.
#[pin_data]
pub(crate) struct SessionFiles {
    #[pin]
    files: Mutex<KVec<Option<Arc<CloudFile>>>>,
}

impl SessionFiles {
    pub(crate) fn new() -> Result<Arc<Self>> {
        Arc::pin_init(
            pin_init!(Self {
                files <- kernel::new_mutex!(KVec::new(), "virgo_session_files"),
            }),
            GFP_KERNEL,
        )
    }

    /// Keeps `file` under the lowest number that is free. May sleep.
    ///
    /// # Errors
    ///
    /// [`EMFILE`], [`ENOMEM`].
    pub(crate) fn add(&self, file: CloudFile) -> Result<u64> {
        let file = Arc::new(file, GFP_KERNEL)?;
        let mut files = self.files.lock();
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

    /// The file of this number. May sleep.
    pub(crate) fn get(&self, number: u64) -> Option<Arc<CloudFile>> {
        let index = usize::try_from(number).ok()?;
        self.files.lock().get(index)?.clone()
    }

    /// Takes the file of this number away, which closes it when dropped. May sleep.
    pub(crate) fn remove(&self, number: u64) -> Option<Arc<CloudFile>> {
        let index = usize::try_from(number).ok()?;
        self.files.lock().get_mut(index)?.take()
    }
}

impl Attachment for SessionFiles {}
