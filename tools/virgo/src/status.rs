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
mod error;
mod format;
mod memory;
mod peers;
mod queues;
mod rollouts;
mod sessions;
mod stats;

pub use analytics::{Analytics, Change, Declared, Variable};
pub use config::{Config, NodeAddress};
pub use cpupool::{Cpupool, Load, Made, Running, Seen};
pub use error::StatusError;
pub use format::FormatError;
pub use memory::{Lost, Memory, Object};
pub use peers::{Peer, Peers};
pub use queues::{Log, QueueStatus, Queues};
pub use rollouts::{Coordinated, EndedRollout, HeldRollout, RolloutValue, Rollouts};
pub use sessions::{SessionStatus, Sessions};
pub use stats::{Operation, Stats};

use format::read;
use std::{
    fs,
    io::{self, Write as _},
    path::PathBuf,
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

    /// The variables of this node.
    ///
    /// # Errors
    ///
    /// See [`StatusError`].
    pub fn analytics(&self) -> Result<Analytics, StatusError> {
        read(&self.analytics_file())
    }

    /// Sets all variables of `pairs`, `key=value,key=value`, or none.
    ///
    /// # Errors
    ///
    /// [`StatusError::Rejected`] if a value is refused.
    pub fn set_analytics(&self, pairs: &str) -> Result<(), StatusError> {
        self.tell_analytics(&format!("set {pairs}"))
    }

    /// Gives a variable its default back; one that no module has declared is gone then.
    ///
    /// # Errors
    ///
    /// [`StatusError::Rejected`] if nobody has set it.
    pub fn reset_analytics(&self, key: &str) -> Result<(), StatusError> {
        self.tell_analytics(&format!("reset {key}"))
    }

    /// Has `/etc/virgo_kernel_analytics.conf` read again.
    ///
    /// # Errors
    ///
    /// [`StatusError::Rejected`] if it is bad: nothing has changed.
    pub fn reload_analytics(&self) -> Result<(), StatusError> {
        self.tell_analytics("reload")
    }

    fn tell_analytics(&self, text: &str) -> Result<(), StatusError> {
        let path = self.analytics_file();
        // Not created if it is missing.
        let told = fs::OpenOptions::new()
            .write(true)
            .open(&path)
            .and_then(|mut file| file.write_all(text.as_bytes()));
        told.map_err(|error| {
            let rejected = self.analytics().ok().and_then(|all| all.rejected);
            match rejected {
                Some(why) => StatusError::Rejected(why),
                None => StatusError::io(&path, error),
            }
        })
    }

    /// The roll-outs that this node knows.
    ///
    /// # Errors
    ///
    /// See [`StatusError`].
    pub fn rollouts(&self) -> Result<Rollouts, StatusError> {
        read(&self.root.join("rollouts"))
    }

    /// Sets the variables of `text`, in the grammar of the file, on all nodes or on none, as roll-out `number`,
    /// which is to be random. Waits until all have them that answer.
    ///
    /// # Errors
    ///
    /// [`StatusError::Rejected`] says which node refuses, or does not answer: nothing has changed.
    pub fn apply_rollout(&self, number: u64, text: &str) -> Result<(), StatusError> {
        self.tell_rollouts(&format!("apply {number:016x} {text}"))
    }

    /// Begins roll-out `number`: all nodes are ready for the variables of `text`, and the canary has them. It ends
    /// with the old values unless it is [kept](Self::keep_rollout) again and again.
    ///
    /// # Errors
    ///
    /// As for [`Self::apply_rollout`].
    pub fn begin_rollout(&self, number: u64, canary: u8, text: &str) -> Result<(), StatusError> {
        self.tell_rollouts(&format!("begin {number:016x} {canary} {text}"))
    }

    /// Goes on with a roll-out that was begun.
    ///
    /// # Errors
    ///
    /// [`StatusError::Rejected`] says why it has ended: all have the old values.
    pub fn keep_rollout(&self, number: u64) -> Result<(), StatusError> {
        self.tell_rollouts(&format!("keep {number:016x}"))
    }

    /// Has all nodes have the variables of a roll-out that was begun, and waits until all do that answer.
    ///
    /// # Errors
    ///
    /// As for [`Self::keep_rollout`].
    pub fn commit_rollout(&self, number: u64) -> Result<(), StatusError> {
        self.tell_rollouts(&format!("commit {number:016x}"))
    }

    /// Ends a roll-out that was begun, and waits until all that answer have the old values.
    ///
    /// # Errors
    ///
    /// [`StatusError::Rejected`] if it is decided already.
    pub fn abort_rollout(&self, number: u64) -> Result<(), StatusError> {
        self.tell_rollouts(&format!("abort {number:016x}"))
    }

    fn tell_rollouts(&self, text: &str) -> Result<(), StatusError> {
        let path = self.root.join("rollouts");
        // Not created if it is missing. In one piece: the module takes each write by itself.
        let told = fs::OpenOptions::new()
            .write(true)
            .open(&path)
            .and_then(|mut file| file.write(text.as_bytes()));
        match told {
            Ok(_) => Ok(()),
            Err(error) => Err(match self.rollouts().ok().and_then(|all| all.rejected) {
                Some(why) => StatusError::Rejected(why),
                None => StatusError::io(&path, error),
            }),
        }
    }

    fn analytics_file(&self) -> PathBuf {
        self.root.join("analytics")
    }

    fn config_file(&self) -> PathBuf {
        self.root.join("config")
    }
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
