// SPDX-License-Identifier: GPL-2.0
//! One machine of a cluster.

use crate::{
    agent::{self, Agent},
    failure::Failure,
    images::Images,
    monitor::Monitor,
    network, owned, pid_file, qemu,
    run_dir::{NodeDir, RunDir},
    state::{Launch, State},
};
use anyhow::{Context, Result, bail, ensure};
use std::{
    fs::{self, File},
    net::Ipv4Addr,
    path::Path,
    sync::Arc,
};

/// Size of a node's disk.
const DISK_SIZE: u64 = 64 << 20;

/// One machine of a cluster. A handle: it can be cloned and used by several threads, and outlive
/// the [`Cluster`](crate::Cluster), only that the machine is then gone.
#[derive(Clone, Debug)]
pub struct Node {
    number: u8,
    run_dir: RunDir,
    launch: Arc<Launch>,
}

impl Node {
    pub(crate) fn new(number: u8, run_dir: RunDir, launch: Arc<Launch>) -> Self {
        Self {
            number,
            run_dir,
            launch,
        }
    }

    /// Its number, from 1.
    pub fn number(&self) -> u8 {
        self.number
    }

    /// Its name, `node1` and so on.
    pub fn name(&self) -> String {
        network::name(self.number)
    }

    /// Its address in the cluster.
    pub fn address(&self) -> Ipv4Addr {
        network::address(self.number)
    }

    /// Makes the file `path`, or replaces what is in it; `mode` is its permissions.
    ///
    /// # Errors
    ///
    /// If the guest cannot write the file.
    pub fn put_bytes(&self, path: &str, content: &[u8], mode: u32) -> Result<()> {
        self.agent()?.write_file(path, content)?;
        let chmod = self.run(["chmod", &format!("{:o}", mode & 0o7777), path])?;
        chmod
            .text()
            .map(drop)
            .with_context(|| format!("cannot set the mode of {path}"))
    }

    /// What is in the file `path`.
    ///
    /// # Errors
    ///
    /// If the guest cannot read the file.
    pub fn get_bytes(&self, path: &str) -> Result<Vec<u8>> {
        self.agent()?.read_file(path)
    }

    /// What the guest wrote on its console since the cluster came up, over all restarts.
    ///
    /// # Errors
    ///
    /// If the host cannot read the file.
    pub fn console(&self) -> Result<String> {
        let path = self.dir().console();
        let text = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        Ok(String::from_utf8_lossy(&text).into())
    }

    /// What the guest has sent by its serial adapter since it was started; see
    /// [`Options::usb`](crate::Options::usb).
    ///
    /// # Errors
    ///
    /// If the host cannot read the file.
    pub fn usb_serial(&self) -> Result<Vec<u8>> {
        let path = self.dir().usb_serial();
        fs::read(&path).with_context(|| format!("cannot read {}", path.display()))
    }

    /// Stops the machine's processors. It then answers nobody, and its clock stands still.
    ///
    /// # Errors
    ///
    /// If the node is dead.
    pub fn pause(&self) -> Result<()> {
        let _lock = self.run_dir.lock()?;
        let mut monitor = self.monitor()?;
        // Packets to it are lost from now on. If they waited for it, the QEMU of who sends them
        // would wait in a busy loop.
        for peer in self.peers() {
            monitor.set_link(network::link(peer), false)?;
        }
        monitor.pause()
    }

    /// Lets the disk take this many bytes a second; 0: as many as it can.
    ///
    /// # Errors
    ///
    /// If the node is dead.
    pub fn throttle_disk(&self, bytes: u32) -> Result<()> {
        let _lock = self.run_dir.lock()?;
        self.monitor()?.throttle_disk(bytes)
    }

    /// Ends a pause.
    ///
    /// # Errors
    ///
    /// If the node is dead.
    pub fn resume(&self) -> Result<()> {
        let _lock = self.run_dir.lock()?;
        let mut monitor = self.monitor()?;
        self.set_links(&mut monitor, &State::load(&self.run_dir)?)?;
        monitor.resume()
    }

    /// Has the machine gone at once, as by a power failure. Its disk stays.
    ///
    /// # Errors
    ///
    /// If it does not go away.
    pub fn kill(&self) -> Result<()> {
        pid_file::kill(&self.dir().pid_file()).map(drop)
    }

    /// Kills the machine if it runs, boots it again with the same disk, and returns when it
    /// answers. Cuts stay.
    ///
    /// # Errors
    ///
    /// If it does not come up.
    pub fn restart(&self) -> Result<()> {
        {
            let _lock = self.run_dir.lock()?;
            let _not_while_ending = owned::lock();
            self.kill()?;
            qemu::start_node(&self.run_dir, &self.launch, self.number)?;
            self.set_links(&mut self.monitor()?, &State::load(&self.run_dir)?)?;
        }
        self.wait_until_up()
    }

    /// Makes the node's directory and starts it for the first time.
    pub(crate) fn create(&self) -> Result<()> {
        let _not_while_ending = owned::lock();
        let dir = self.dir();
        dir.create()?;
        agent::create_fifos(&dir)?;
        create_disk(&dir.disk(), &self.launch.images)?;
        qemu::start_node(&self.run_dir, &self.launch, self.number)
    }

    /// Waits until the node has booted and answers.
    pub(crate) fn wait_until_up(&self) -> Result<()> {
        let timeout = self.launch.lane.boot_timeout();
        match Agent::connect(&self.dir(), self.name(), timeout) {
            Ok(_) => Ok(()),
            Err(error) => {
                let console = self.console()?;
                let lines: Vec<_> = console.lines().collect();
                let end = lines[lines.len().saturating_sub(20)..].join("\n  ");
                let name = self.name();
                Err(error.context(format!(
                    "the console of {name} ends with\n  {end}\nvirgo: {name} did not come up"
                )))
            }
        }
    }

    /// Makes this node's ends of the links what the cluster's state says, once it can be done: a
    /// dead node gets there when it is restarted, a paused one when it goes on.
    pub(crate) fn update_links(&self, state: &State) -> Result<()> {
        if self.is_alive()? {
            let mut monitor = self.monitor()?;
            if !monitor.is_paused()? {
                self.set_links(&mut monitor, state)?;
            }
        }
        Ok(())
    }

    fn set_links(&self, monitor: &mut Monitor, state: &State) -> Result<()> {
        self.peers().try_for_each(|peer| {
            monitor.set_link(network::link(peer), !state.is_cut(self.number, peer))
        })
    }

    fn peers(&self) -> impl Iterator<Item = u8> {
        network::peers(self.number, self.launch.nodes)
    }

    fn is_alive(&self) -> Result<bool> {
        self.dir().alive()
    }

    fn dir(&self) -> NodeDir {
        self.run_dir.node(self.number)
    }

    fn monitor(&self) -> Result<Monitor> {
        ensure!(self.is_alive()?, Failure::Dead(self.name()));
        Monitor::connect(&self.dir().monitor(), self.name())
    }

    /// Whether the node is stopped by [`Self::pause`].
    pub(crate) fn is_paused(&self) -> Result<bool> {
        self.monitor()?.is_paused()
    }

    /// Connects to the agent; not if it is known that it will not answer.
    pub(crate) fn agent(&self) -> Result<Agent> {
        ensure!(!self.is_paused()?, Failure::Paused(self.name()));
        Agent::connect(&self.dir(), self.name(), agent::TIMEOUT)
    }
}

fn create_disk(path: &Path, images: &Images) -> Result<()> {
    let cannot = || format!("cannot make the disk {}", path.display());
    File::create_new(path)
        .and_then(|file| file.set_len(DISK_SIZE))
        .with_context(cannot)?;
    let mut mkfs = images.program("usr/sbin/mkfs.ext4");
    let output = mkfs
        .args(["-q", "-b", "4096"])
        .arg(path)
        .output()
        .with_context(cannot)?;
    if !output.status.success() {
        bail!(
            "{}: {}",
            cannot(),
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    Ok(())
}
