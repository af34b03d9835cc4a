// SPDX-License-Identifier: GPL-2.0
//! A cluster as a whole.

use crate::{
    accel::Accel,
    failure::Failure,
    images::Images,
    network,
    node::Node,
    options::Options,
    owned::{self, Owned},
    run_dir::RunDir,
    state::{Launch, State},
    trial,
};
use anyhow::{Context, Result, ensure};
use std::{
    collections::BTreeSet,
    fs::{self, File},
    io::Read,
    sync::Arc,
};

/// A cluster that is up.
///
/// One that this process [brought up](Self::up) goes down when it is dropped, or when SIGINT,
/// SIGTERM or SIGHUP ends the process, unless it is [detached](Self::detach) before. One that it
/// [attached](Self::attach) to stays.
#[derive(Debug)]
pub struct Cluster {
    run_dir: RunDir,
    launch: Arc<Launch>,
    owned: Option<Owned>,
}

impl Cluster {
    /// Boots the nodes and returns when all of them answer.
    ///
    /// # Errors
    ///
    /// If there is a cluster in the run directory already ([`Failure::AlreadyUp`]), if what the
    /// guests are made of has not been built, or if a node does not come up. Then nothing of it
    /// is left running.
    pub fn up(options: &Options) -> Result<Self> {
        options.check()?;
        let run_dir = match &options.run_dir {
            Some(path) => RunDir::at(path)?,
            None => RunDir::find()?,
        };
        let images = Images::find(options.lane)?;
        let launch = Launch {
            images,
            accel: Accel::Tcg,
            lane: options.lane,
            nodes: options.nodes,
            icount: options.icount,
            smp: options.smp,
            memory: options.memory(),
            usb: options.usb,
        };
        let mut state = State {
            launch,
            cuts: BTreeSet::new(),
        };
        let (_lock, owned) = {
            let mut registry = owned::lock();
            registry.watch()?;
            let lock = run_dir.claim()?;
            state.save(&run_dir)?;
            for file in [run_dir.key_file(), run_dir.text_key_file()] {
                fs::write(file, new_key()?).context("cannot make a key")?;
            }
            (lock, registry.add(&run_dir))
        };
        if !options.icount {
            state.launch.accel = trial::accel(&state.launch.images, &run_dir)?;
            state.save(&run_dir)?;
        }
        let cluster = Self {
            run_dir,
            launch: Arc::new(state.launch),
            owned: Some(owned),
        };
        for node in cluster.nodes() {
            node.create()
                .with_context(|| format!("cannot start {}", node.name()))?;
        }
        for node in cluster.nodes() {
            node.wait_until_up()?;
        }
        Ok(cluster)
    }

    /// The cluster in the [default run directory](RunDir::find).
    ///
    /// # Errors
    ///
    /// If there is none ([`Failure::NotUp`]).
    pub fn attach() -> Result<Self> {
        Self::attach_in(RunDir::find()?)
    }

    /// The cluster in a run directory.
    ///
    /// # Errors
    ///
    /// If there is none ([`Failure::NotUp`]).
    pub fn attach_in(run_dir: RunDir) -> Result<Self> {
        let launch = Arc::new(State::load(&run_dir)?.launch);
        Ok(Self {
            run_dir,
            launch,
            owned: None,
        })
    }

    /// Lets the cluster outlive this process.
    pub fn detach(mut self) {
        if let Some(owned) = self.owned.take() {
            owned.release();
        }
    }

    /// Stops all nodes and removes everything about them, also their disks.
    ///
    /// # Errors
    ///
    /// If something cannot be stopped or removed.
    pub fn down(self) -> Result<()> {
        self.run_dir.down().map(drop)
    }

    /// How the processors of the nodes are run.
    pub fn accel(&self) -> Accel {
        self.launch.accel
    }

    /// The node of a number.
    ///
    /// # Panics
    ///
    /// If there is no such node.
    pub fn node(&self, number: u8) -> Node {
        let nodes = self.launch.nodes;
        assert!(
            (1..=nodes).contains(&number),
            "there is no node{number} among {nodes}"
        );
        Node::new(number, self.run_dir.clone(), Arc::clone(&self.launch))
    }

    /// All nodes.
    pub fn nodes(&self) -> impl Iterator<Item = Node> {
        (1..=self.launch.nodes).map(|number| self.node(number))
    }

    /// The node of a name.
    ///
    /// # Errors
    ///
    /// If there is no such node ([`Failure::NoSuchNode`]).
    pub fn find(&self, name: &str) -> Result<Node> {
        let nodes = self.launch.nodes;
        match network::number(name).filter(|number| (1..=nodes).contains(number)) {
            Some(number) => Ok(self.node(number)),
            None => Err(Failure::NoSuchNode {
                name: name.into(),
                nodes,
            }
            .into()),
        }
    }

    /// Cuts two nodes off from each other: packets between them are lost, and neither is told.
    /// A node that is dead or paused is cut off as soon as it is back.
    ///
    /// # Errors
    ///
    /// If it is the same node twice, or QEMU does not answer.
    ///
    /// # Panics
    ///
    /// If there is no such node.
    pub fn cut(&self, a: u8, b: u8) -> Result<()> {
        ensure!(a != b, "{} cannot be cut off from itself", network::name(a));
        let ends = [self.node(a), self.node(b)];
        let _lock = self.run_dir.lock()?;
        let mut state = State::load(&self.run_dir)?;
        state.cut(a, b);
        state.save(&self.run_dir)?;
        ends.iter().try_for_each(|node| node.update_links(&state))
    }

    /// Ends all cuts.
    ///
    /// # Errors
    ///
    /// If QEMU does not answer.
    pub fn heal(&self) -> Result<()> {
        let _lock = self.run_dir.lock()?;
        let mut state = State::load(&self.run_dir)?;
        state.cuts.clear();
        state.save(&self.run_dir)?;
        self.nodes().try_for_each(|node| node.update_links(&state))
    }
}

/// A key that nobody guesses, in hex.
fn new_key() -> std::io::Result<String> {
    let mut key = [0; 32];
    File::open("/dev/urandom")?.read_exact(&mut key)?;
    Ok(key.map(|byte| format!("{byte:02x}")).concat())
}
