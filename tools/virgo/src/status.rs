// SPDX-License-Identifier: GPL-2.0
//! What the kernel modules of this machine say about themselves.
//!
//! They say it in files under `/sys/kernel/debug/virgo`, which only root may read:
//!
//! ```no_run
//! use virgo::status::Status;
//!
//! let status = Status::default();
//! for service in status.services()? {
//!     for operation in status.stats(&service)?.operations {
//!         println!("{service} {}: {} calls", operation.name, operation.calls);
//!     }
//! }
//! # Ok::<(), virgo::status::StatusError>(())
//! ```

mod analytics;
mod config;
mod cpupool;
mod memory;
mod peers;
mod queues;
mod sessions;
mod stats;

pub use analytics::{Analytics, Change, Declared, Variable};
pub use config::{Config, NodeAddress};
pub use cpupool::{Cpupool, Load, Made, Running, Seen};
pub use memory::{Lost, Memory, Object};
pub use peers::{Peer, Peers};
pub use queues::{Log, QueueStatus, Queues};
pub use sessions::{SessionStatus, Sessions};
pub use stats::{Operation, Stats};

use std::{
    fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
    str::FromStr,
};

/// Where the modules show themselves.
const ROOT: &str = "/sys/kernel/debug/virgo";

/// Reads what the modules say.
#[derive(Clone, Debug)]
pub struct Status {
    root: PathBuf,
}

impl Default for Status {
    fn default() -> Self {
        Self::at(ROOT)
    }
}

impl Status {
    /// Reads from another place than `/sys/kernel/debug/virgo`.
    pub fn at(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// The configuration in force.
    ///
    /// # Errors
    ///
    /// See [`StatusError`].
    pub fn config(&self) -> Result<Config, StatusError> {
        read(&self.config_file())
    }

    /// Has the configuration files read again.
    ///
    /// # Errors
    ///
    /// [`StatusError::Rejected`] if a file is bad: the configuration stays as it was.
    pub fn reload(&self) -> Result<(), StatusError> {
        let path = self.config_file();
        match fs::write(&path, "reload") {
            Ok(()) => Ok(()),
            Err(error) => {
                let rejected = self.config().ok().and_then(|config| config.rejected);
                Err(match rejected {
                    Some(why) if error.kind() == io::ErrorKind::InvalidInput => {
                        StatusError::Rejected(why)
                    }
                    _ => StatusError::io(&path, error),
                })
            }
        }
    }

    /// Names of the services that are loaded, sorted.
    ///
    /// # Errors
    ///
    /// See [`StatusError`].
    pub fn services(&self) -> Result<Vec<String>, StatusError> {
        let failed = |error| StatusError::io(&self.root, error);
        let mut services = Vec::new();
        for entry in fs::read_dir(&self.root).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            // Other modules have a directory, too.
            if entry.path().join("stats").exists() {
                services.push(entry.file_name().to_string_lossy().into_owned());
            }
        }
        services.sort();
        Ok(services)
    }

    /// The counters of a service.
    ///
    /// # Errors
    ///
    /// See [`StatusError`].
    pub fn stats(&self, service: &str) -> Result<Stats, StatusError> {
        read(&self.root.join(service).join("stats"))
    }

    /// How a service reaches itself on other nodes.
    ///
    /// # Errors
    ///
    /// See [`StatusError`].
    pub fn peers(&self, service: &str) -> Result<Peers, StatusError> {
        read(&self.root.join(service).join("peers"))
    }

    /// Who is connected to a service.
    ///
    /// # Errors
    ///
    /// See [`StatusError`].
    pub fn sessions(&self, service: &str) -> Result<Sessions, StatusError> {
        read(&self.root.join(service).join("sessions"))
    }

    /// Ends a session of a service; false if there is none with this number.
    ///
    /// # Errors
    ///
    /// See [`StatusError`].
    pub fn end_session(&self, service: &str, number: u64) -> Result<bool, StatusError> {
        let path = self.root.join(service).join("sessions");
        // Not created if it is missing: no such session is not no such service.
        let file = fs::OpenOptions::new().write(true).open(&path);
        let mut file = file.map_err(|error| StatusError::io(&path, error))?;
        match file.write_all(format!("end {number}").as_bytes()) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(StatusError::io(&path, error)),
        }
    }

    /// The processor pool: calls made here, calls that run here, and the nodes' loads.
    ///
    /// # Errors
    ///
    /// See [`StatusError`].
    pub fn cpupool(&self) -> Result<Cpupool, StatusError> {
        read(&self.root.join("cpupooling").join("state"))
    }

    /// What the memory pools of all nodes hold. Asks them, and waits for their answers as long as is
    /// configured.
    ///
    /// # Errors
    ///
    /// See [`StatusError`].
    pub fn memory(&self) -> Result<Memory, StatusError> {
        read(&self.root.join("mempool").join("state"))
    }

    /// The queues and topics of this node.
    ///
    /// # Errors
    ///
    /// See [`StatusError`].
    pub fn queues(&self) -> Result<Queues, StatusError> {
        read(&self.root.join("queue").join("state"))
    }

    fn config_file(&self) -> PathBuf {
        self.root.join("config")
    }
}

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
    fn io(path: &Path, error: io::Error) -> Self {
        let path = path.to_owned();
        Self::Io { path, error }
    }
}

/// What is wrong with a text, and in which line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {reason}")]
pub struct FormatError {
    line: usize,
    reason: &'static str,
}

fn read<T: FromStr<Err = FormatError>>(path: &Path) -> Result<T, StatusError> {
    let text = fs::read_to_string(path).map_err(|error| StatusError::io(path, error))?;
    text.parse().map_err(|FormatError { line, reason }| {
        let path = path.to_owned();
        StatusError::Format { path, line, reason }
    })
}

/// Calls `each` with the words of every line that is neither empty nor a comment.
fn lines<'a>(
    text: &'a str,
    mut each: impl FnMut(&[&'a str]) -> Result<(), &'static str>,
) -> Result<(), FormatError> {
    for (line, text) in (1..).zip(text.lines()) {
        let words: Vec<_> = text.split_whitespace().collect();
        if words.first().is_some_and(|word| *word != "#") {
            each(&words).map_err(|reason| FormatError { line, reason })?;
        }
    }
    Ok(())
}

/// Reads a number.
fn number<T: FromStr>(word: &str) -> Result<T, &'static str> {
    word.parse().map_err(|_| "expected a number")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process;

    /// A folder in place of debugfs.
    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("virgo-status-{name}-{}", process::id()));
            fs::create_dir_all(path.join("mempool")).unwrap();
            Self(path)
        }

        fn put(&self, file: &str, content: &str) {
            fs::write(self.0.join(file), content).unwrap();
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            fs::remove_dir_all(&self.0).unwrap();
        }
    }

    #[test]
    fn folders_with_counters_are_services() {
        let folder = Folder::new("services");
        folder.put("config", "self 1\n");
        fs::create_dir(folder.0.join("echo")).unwrap();
        folder.put("echo/stats", "");
        folder.put("mempool/stats", "");
        fs::create_dir(folder.0.join("umb")).unwrap();
        let status = Status::at(&folder.0);
        assert_eq!(status.services().unwrap(), ["echo", "mempool"]);
    }

    #[test]
    fn faults_name_file_and_line() {
        let folder = Folder::new("faults");
        folder.put(
            "mempool/peers",
            "# node state connections calls\n2 up x 0\n",
        );
        let error = Status::at(&folder.0).peers("mempool").unwrap_err();
        let expected = format!("{}/mempool/peers:2: expected a number", folder.0.display());
        assert_eq!(error.to_string(), expected);
    }

    #[test]
    fn a_missing_file_is_named() {
        let folder = Folder::new("missing");
        let error = Status::at(&folder.0).stats("mempool").unwrap_err();
        assert!(
            matches!(error, StatusError::Io { ref path, .. } if path.ends_with("mempool/stats"))
        );
    }

    #[test]
    fn reload_writes_the_word() {
        let folder = Folder::new("reload");
        folder.put("config", "");
        Status::at(&folder.0).reload().unwrap();
        assert_eq!(
            fs::read_to_string(folder.0.join("config")).unwrap(),
            "reload"
        );
    }
}
