// SPDX-License-Identifier: GPL-2.0
//! The directory that holds everything about a running cluster.

use crate::{failure::Failure, images, network, pid_file};
use anyhow::{Context, Result, bail, ensure};
use rustix::{
    fs::{FlockOperation, flock},
    io::Errno,
    process::getuid,
};
use std::{
    env,
    fs::{self, DirBuilder, File},
    io::ErrorKind,
    os::unix::fs::{DirBuilderExt, MetadataExt},
    path::{Path, PathBuf},
};

/// The longest path that a Unix socket can have.
const SOCKET_PATH_MAX: usize = 107;

/// The directory that holds everything about a running cluster: its state, and a directory for
/// each node. Of two clusters each has one of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunDir(PathBuf);

/// The part of a run directory that belongs to one node.
#[derive(Clone, Debug)]
pub(crate) struct NodeDir(PathBuf);

impl RunDir {
    /// The run directory of this user for this repository, or `VIRGO_RUN_DIR`.
    ///
    /// # Errors
    ///
    /// If there is no repository to find it for, or its path is too long.
    pub fn find() -> Result<Self> {
        if let Some(path) = env::var_os("VIRGO_RUN_DIR") {
            return Self::at(Path::new(&path));
        }
        let base = env::var_os("XDG_RUNTIME_DIR")
            .map(PathBuf::from)
            .filter(|dir| dir.is_dir())
            .unwrap_or_else(|| "/tmp".into());
        let top = images::repository()?;
        let top = fs::canonicalize(&top)
            .with_context(|| format!("cannot find the repository {}", top.display()))?;
        let hash = fnv1a(top.as_os_str().as_encoded_bytes());
        Self::at(&base.join(format!("virgo-{}-{hash:08x}", getuid().as_raw())))
    }

    /// A run directory at `path`.
    ///
    /// # Errors
    ///
    /// If the path is too long for the sockets in it.
    pub fn at(path: &Path) -> Result<Self> {
        let path = std::path::absolute(path)?;
        let dir = Self(path);
        let longest = dir.node(network::MAX_NODES).link(network::MAX_NODES);
        let excess = longest.as_os_str().len().saturating_sub(SOCKET_PATH_MAX);
        ensure!(
            excess == 0,
            "the run directory {} has a path that is {excess} characters too long for the sockets \
             in it: name a shorter one in VIRGO_RUN_DIR",
            dir.0.display()
        );
        ensure!(
            dir.0.to_str().is_some_and(|path| !path.contains(',')),
            "the run directory {} has a comma in its path, or is not UTF-8, which QEMU does not \
             take: name another one in VIRGO_RUN_DIR",
            dir.0.display()
        );
        Ok(dir)
    }

    /// The path of the directory.
    pub fn path(&self) -> &Path {
        &self.0
    }

    pub(crate) fn node(&self, number: u8) -> NodeDir {
        NodeDir(self.0.join(network::name(number)))
    }

    /// Where the trial boot of [`trial`](crate::trial) happens.
    pub(crate) fn trial(&self) -> NodeDir {
        NodeDir(self.0.join("trial"))
    }

    pub(crate) fn state_file(&self) -> PathBuf {
        self.0.join("state.json")
    }

    /// What the state file is called while it is written.
    pub(crate) fn new_state_file(&self) -> PathBuf {
        self.0.join("state.new")
    }

    /// The key that the nodes share: made for this cluster and worth nothing elsewhere.
    pub(crate) fn key_file(&self) -> PathBuf {
        self.0.join("key")
    }

    /// The key of text sessions.
    pub(crate) fn text_key_file(&self) -> PathBuf {
        self.0.join("text-key")
    }

    /// Waits until no other program changes the cluster, and keeps others from it while the
    /// returned file is open.
    pub(crate) fn lock(&self) -> Result<File> {
        let file = File::open(&self.0).map_err(|e| match e.kind() {
            ErrorKind::NotFound => Failure::NotUp(self.0.clone()).into(),
            _ => anyhow::Error::new(e).context(format!("cannot open {}", self.0.display())),
        })?;
        flock(&file, FlockOperation::LockExclusive)
            .with_context(|| format!("cannot lock {}", self.0.display()))?;
        ensure!(self.state_file().exists(), Failure::NotUp(self.0.clone()));
        Ok(file)
    }

    /// Makes the directory for a new cluster, locked, empty, and readable by nobody else. What a
    /// cluster left whose machines are all gone, for example after a reboot of the host, is removed.
    pub(crate) fn claim(&self) -> Result<File> {
        let path = self.0.display();
        DirBuilder::new()
            .mode(0o700)
            .recursive(true)
            .create(&self.0)
            .with_context(|| format!("cannot make the run directory {path}"))?;
        let file = File::open(&self.0).with_context(|| format!("cannot open {path}"))?;
        let owner = file.metadata()?.uid();
        ensure!(
            owner == getuid().as_raw(),
            "the run directory {path} belongs to user {owner}: name another one in VIRGO_RUN_DIR"
        );
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => (),
            Err(Errno::WOULDBLOCK) => bail!("another command is at work on the cluster in {path}"),
            Err(e) => return Err(e).context(format!("cannot lock {path}")),
        }
        if self.state_file().exists() {
            for node in self.node_dirs() {
                ensure!(!node.alive()?, Failure::AlreadyUp(self.0.clone()));
            }
            self.empty()?;
        }
        ensure!(
            fs::read_dir(&self.0)?.next().is_none(),
            "{path} is not empty and no cluster's run directory: name another one in VIRGO_RUN_DIR"
        );
        Ok(file)
    }

    /// Stops the cluster and removes everything about it, as soon as no other program changes it.
    /// Says whether there was one.
    ///
    /// # Errors
    ///
    /// If something cannot be stopped or removed.
    pub fn down(&self) -> Result<bool> {
        let _lock = match self.lock() {
            Ok(lock) => lock,
            Err(error) if matches!(error.downcast_ref(), Some(Failure::NotUp(_))) => {
                return Ok(false);
            }
            Err(error) => return Err(error),
        };
        self.remove()
    }

    /// Kills every QEMU process of the cluster and removes the directory. Says whether there was
    /// one. Works with whatever is there, however far the start of the cluster got.
    pub(crate) fn remove(&self) -> Result<bool> {
        if !self.state_file().exists() {
            return Ok(false);
        }
        for node in self.node_dirs() {
            pid_file::kill(&node.pid_file())?;
        }
        self.empty()?;
        fs::remove_dir(&self.0).with_context(|| format!("cannot remove {}", self.0.display()))?;
        Ok(true)
    }

    /// What there is of [`Self::node`] and [`Self::trial`].
    fn node_dirs(&self) -> impl Iterator<Item = NodeDir> {
        let nodes = (1..=network::MAX_NODES).map(|number| self.node(number));
        nodes.chain([self.trial()]).filter(|dir| dir.0.exists())
    }

    /// Removes what is in the directory; last the state, by which it is known to be ours.
    fn empty(&self) -> Result<()> {
        self.node_dirs().try_for_each(|node| node.remove())?;
        for file in [
            self.key_file(),
            self.text_key_file(),
            self.new_state_file(),
            self.state_file(),
        ] {
            match fs::remove_file(&file) {
                Err(e) if e.kind() != ErrorKind::NotFound => {
                    return Err(e).context(format!("cannot remove {}", file.display()));
                }
                _ => (),
            }
        }
        Ok(())
    }
}

impl NodeDir {
    pub(crate) fn create(&self) -> Result<()> {
        fs::create_dir(&self.0).with_context(|| format!("cannot make {}", self.0.display()))
    }

    /// Waits until no other program talks to the node's agent, and keeps others from it while the
    /// returned file is open.
    pub(crate) fn lock(&self) -> Result<File> {
        File::open(&self.0)
            .and_then(|dir| {
                flock(&dir, FlockOperation::LockExclusive)?;
                Ok(dir)
            })
            .with_context(|| format!("cannot lock {}", self.0.display()))
    }

    pub(crate) fn remove(&self) -> Result<()> {
        fs::remove_dir_all(&self.0).with_context(|| format!("cannot remove {}", self.0.display()))
    }

    /// Where QEMU has its process number, locked while it lives.
    pub(crate) fn pid_file(&self) -> PathBuf {
        self.0.join("pid")
    }

    /// Whether this node's QEMU lives.
    pub(crate) fn alive(&self) -> Result<bool> {
        pid_file::alive(&self.pid_file())
    }

    /// What the guest wrote on its console, since the cluster came up.
    pub(crate) fn console(&self) -> PathBuf {
        self.0.join("console")
    }

    /// What QEMU itself complained about.
    pub(crate) fn qemu_log(&self) -> PathBuf {
        self.0.join("qemu.log")
    }

    /// What the guest sends by its serial adapter.
    pub(crate) fn usb_serial(&self) -> PathBuf {
        self.0.join("usb-serial")
    }

    /// Socket of the QEMU monitor.
    pub(crate) fn monitor(&self) -> PathBuf {
        self.0.join("monitor")
    }

    /// The pair of FIFOs that lead to the guest's agent, less `.in` and `.out`.
    pub(crate) fn agent(&self) -> PathBuf {
        self.0.join("agent")
    }

    /// The disk, kept over a restart.
    pub(crate) fn disk(&self) -> PathBuf {
        self.0.join("disk")
    }

    /// Socket at this node's end of the link to node `peer`.
    pub(crate) fn link(&self, peer: u8) -> PathBuf {
        self.0.join(network::link(peer))
    }
}

/// A short name for a path; that it is the same in every program is all that matters.
fn fnv1a(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0x811c_9dc5, |hash, &byte| {
        (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hash_is_fnv1a() {
        assert_eq!(fnv1a(b""), 0x811c_9dc5);
        assert_eq!(fnv1a(b"foobar"), 0xbf9c_f968);
    }

    #[test]
    fn socket_paths_fit() {
        assert!(RunDir::at(&Path::new("/").join("x".repeat(80))).is_ok());
        assert!(RunDir::at(&Path::new("/").join("x".repeat(100))).is_err());
        assert!(RunDir::at(Path::new("/tmp/a,b")).is_err());
    }

    #[test]
    fn foreign_directories_are_left_alone() {
        let path = env::temp_dir().join(format!("virgo-test-{}", std::process::id()));
        fs::create_dir(&path).unwrap();
        fs::write(path.join("precious"), "").unwrap();
        let dir = RunDir::at(&path).unwrap();
        assert!(dir.claim().is_err());
        assert!(!dir.remove().unwrap());
        assert!(path.join("precious").exists());
        fs::remove_dir_all(&path).unwrap();
    }
}
