// SPDX-License-Identifier: GPL-2.0
//! What goes wrong with the files of the modules.

use std::{
    io,
    path::{Path, PathBuf},
};

/// Why the state of the modules is not known, or was not changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StatusError {
    /// A file of the modules cannot be read or written. If it is not there, either the module is
    /// not loaded or debugfs is not mounted.
    #[error("{}: {error}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// A file does not say what this version understands.
    #[error("{}:{line}: {reason}", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// Line, from 1; 0 for the file as a whole.
        line: usize,
        /// What is wrong.
        reason: &'static str,
    },
    /// The configuration files were not taken: file, line and reason.
    #[error("{0}")]
    Rejected(String),
}

impl StatusError {
    pub(super) fn io(path: &Path, error: io::Error) -> Self {
        let path = path.to_owned();
        Self::Io { path, error }
    }
}
