// SPDX-License-Identifier: GPL-2.0

//! Files of the cluster as its users see them: by name, wherever they are.
//!
//! Who has a lease on a file there, or a delegation of a directory as clients of an NFS server have,
//! is asked to give it back: what needs it is tried again until it has come.

use crate::{
    closing::{
        RemoteHandle,
        RemoteNodes, //
    },
    fenced_file::{
        self,
        may_claim, //
    },
    fences::FileFences,
    file::{
        CloudFile,
        Location,
        OpenCost, //
    },
    local,
    opened::OpenedFiles,
    remote::RemoteFiles,
    workers::{
        FileLines,
        FileWorkers, //
    }, //
};
use kernel::{
    prelude::*,
    sync::Arc, //
};
use linux::crypto;
use virgo_config::Node;
use virgo_proto::{
    balance::{
        self,
        Policy, //
    },
    cloudfs::{
        open,
        At,
        FileName,
        StatReply, //
    },
    config::MAX_NODES,
    vuid::{
        bit,
        NodeId,
        NodeSetIter, //
    }, //
};
use virgo_utils::{
    budget::Budget,
    retry::until_ready,
    Attempt,
    LogLimit,
    NodeReports,
    Reservation,
    User, //
};

/// All state of the module.
pub(crate) struct Cloudfs {
    pub(crate) node: Arc<Node>,
    pub(crate) others: Arc<RemoteNodes>,
    /// Files that programs and sessions of this node have open, wherever they are, and those that
    /// other nodes have yet to close for them.
    pub(crate) files: Pin<KBox<Budget>>,
    /// Files of this node that others have open.
    pub(crate) opened: Arc<OpenedFiles>,
    /// The locks that guard files of this node.
    pub(crate) fences: Arc<FileFences>,
    /// Where what uses files of this node for others waits for the workers.
    pub(crate) lines: Arc<FileLines>,
    _workers: FileWorkers,
    /// Of lines that peers cause.
    pub(crate) log: Pin<KBox<LogLimit>>,
    /// Whether this node's own files are reached like another's.
    loopback: bool,
    /// How many files are open on the other nodes.
    loads: Pin<KBox<NodeReports>>,
}

impl Cloudfs {
    pub(crate) fn new(
        node: Arc<Node>,
        port: u16,
        max_files: u32,
        max_open: u32,
        loopback: bool,
    ) -> Result<Arc<Self>> {
        let workers = FileWorkers::new(c"virgo_files")?;
        let lines = workers.lines().clone();
        let this = Cloudfs {
            others: RemoteNodes::new(node.clone(), port)?,
            files: Budget::new(max_files.into())?,
            opened: Arc::pin_init(
                OpenedFiles::new(max_open, lines.clone(), node.config().nodes)?,
                GFP_KERNEL,
            )?,
            fences: FileFences::new()?,
            node,
            lines,
            _workers: workers,
            log: LogLimit::new()?,
            loopback,
            loads: KBox::pin_init(NodeReports::new(), GFP_KERNEL)?,
        };
        Ok(Arc::new(this, GFP_KERNEL)?)
    }

    /// Drops what was given up of all that workers are to do, and what `node` has given up of the rest. May
    /// sleep, not for the disk.
    pub(crate) fn drop_given_up(&self, node: NodeId) {
        self.lines.drop_given_up();
        self.opened.drop_given_up(node);
    }

    fn is_here(&self, user: &User<'_>, node: NodeId) -> bool {
        node == user.config.me && !self.loopback
    }

    fn there<'a>(&'a self, user: &'a User<'a>, node: NodeId) -> RemoteFiles<'a> {
        self.others.there(user, node)
    }

    /// Opens the file of this name; `flags` are those of [`virgo_proto::cloudfs::open`]. What is done with it
    /// is done by who has the lock of `user`, if there is one. May sleep, killably.
    ///
    /// # Errors
    ///
    /// As open(2); those of [`FileFence::change`](crate::fences::FileFence::change), and [`EINVAL`] for a lock if
    /// it is not opened for writing; [`EACCES`] if it is in no export; [`EINVAL`] if copies are to be changed;
    /// [`ENODEV`] for a node that is not there; [`EDQUOT`] and [`ENFILE`] if too many files are
    /// open, of this user or of all; what calls to other nodes fail with.
    pub(crate) fn open(
        &self,
        user: &User<'_>,
        name: &FileName<'_>,
        flags: u32,
        mode: u16,
        timeout_ms: u32,
    ) -> Result<CloudFile> {
        if !may_claim(flags, user.claim) {
            return Err(EINVAL);
        }
        let (mut nodes, policy) = match name.at {
            At::Here => (bit(user.config.me), Policy::LeastUsed),
            At::Node(node) => (bit(node), Policy::LeastUsed),
            At::Policy(policy) => (user.config.used, policy),
            At::Copies(nodes) => {
                if flags & (open::WRITE | open::CREATE | open::TRUNCATE) != 0 {
                    return Err(EINVAL);
                }
                (nodes, Policy::LeastUsed)
            }
        };
        let charge = self.files.charge(user.uid, 1).map_err(|e| match e {
            ENOMEM => ENFILE,
            e => e,
        })?;
        let room = Reservation::new(GFP_KERNEL_ACCOUNT)?;
        let cost = OpenCost { charge, room };
        let configured = user.config.nodes.iter();
        nodes &= configured.fold(0, |all, (node, _)| all | bit(node));
        let mut error = ENODEV;
        loop {
            let Some(node) = self.choose(user, nodes, policy) else {
                return Err(error);
            };
            nodes &= !bit(node);
            let attempt = match nodes {
                0 => Attempt::last(user),
                _ => Attempt::before_others(user),
            };
            error = match self.open_on(&attempt, node, name.path, flags, mode) {
                Ok(at) => {
                    let append = flags & open::APPEND != 0;
                    let others = self.others.clone();
                    let at = at.held(&self.lines, cost);
                    return Ok(CloudFile::new(others, at, append, timeout_ms));
                }
                Err(e) => e,
            };
            // Another one may do it instead, if it is sure that this one has not, or has changed nothing.
            let elsewhere = match (name.at, error) {
                (At::Copies(_), _) | (_, EHOSTDOWN | EKEYREJECTED | EPERM) => true,
                (_, ETIMEDOUT | ECONNRESET) => flags & (open::CREATE | open::TRUNCATE) == 0,
                _ => false,
            };
            if !elsewhere || user.deadline.passed() {
                return Err(error);
            }
        }
    }

    /// Opens the file of this name as the original did: for reading and writing, created if it is
    /// not there; but nothing is appended. What may only be read is opened for reading. May sleep,
    /// killably.
    ///
    /// # Errors
    ///
    /// As for [`Self::open`].
    pub(crate) fn open_as_original(
        &self,
        user: &User<'_>,
        name: &FileName<'_>,
    ) -> Result<CloudFile> {
        const BOTH: u32 = open::READ | open::WRITE | open::CREATE;
        match self.open(user, name, BOTH, 0o644, 0) {
            Err(EROFS | EACCES | EISDIR) => self.open(user, name, open::READ, 0, 0),
            result => result,
        }
    }

    fn open_on(
        &self,
        attempt: &Attempt<'_>,
        node: NodeId,
        path: &[u8],
        flags: u32,
        mode: u16,
    ) -> Result<Location> {
        let user = &attempt.user;
        if self.is_here(user, node) {
            let how = (flags, mode);
            let open = || fenced_file::open(&self.fences, user.config, path, how, user.claim);
            return Ok(Location::Local(until_ready(user.deadline, open)?));
        }
        self.others.prepare(node)?;
        let there = self.there(user, node);
        let opened = until_ready(user.deadline, || there.open(path, flags, mode));
        let (handle, load) = opened.inspect_err(|&e| {
            // Its file system may say EPERM, too.
            if e != EPERM && attempt.is_nodes_fault(&self.others.client, node, e) {
                self.loads.lost(node);
            }
        })?;
        self.loads.told(node, load);
        Ok(Location::Remote(RemoteHandle { node, handle }))
    }

    /// Whether node `node` could not be reached lately.
    fn is_down(&self, user: &User<'_>, node: NodeId) -> bool {
        node != user.config.me && self.loads.is_down(node)
    }

    /// One of `nodes` by `policy`: the fewer files are open the better. Those that could not be reached
    /// lately come last. `None` if there is none.
    fn choose(&self, user: &User<'_>, nodes: u64, policy: Policy) -> Option<NodeId> {
        let up = NodeSetIter(nodes).filter(|&node| !self.is_down(user, node));
        let nodes = match up.fold(0, |all, node| all | bit(node)) {
            0 => nodes,
            up => up,
        };
        let room_of = |node| match node == user.config.me {
            true => Some(u64::MAX - self.opened.len() as u64),
            false => self.loads.of(node).map(|load| u64::MAX - load),
        };
        let unknown = balance::unknown_room(NodeSetIter(nodes).filter_map(room_of));
        let mut candidates = [0; MAX_NODES];
        let mut room = [0; MAX_NODES];
        let mut count = 0;
        for (node, (to, free)) in NodeSetIter(nodes).zip(candidates.iter_mut().zip(&mut room)) {
            *to = node;
            *free = room_of(node).unwrap_or(unknown);
            count += 1;
        }
        let chosen = balance::choose(policy, room.get(..count)?, crypto::random_u32())?;
        candidates.get(chosen).copied()
    }

    /// The one node that `name` is on.
    ///
    /// # Errors
    ///
    /// [`EINVAL`] if it names several, [`ENODEV`] if it names none that is there.
    pub(crate) fn node_of(&self, user: &User<'_>, name: &FileName<'_>) -> Result<NodeId> {
        let node = match name.at {
            At::Here => user.config.me,
            At::Node(node) => node,
            At::Copies(_) | At::Policy(_) => return Err(EINVAL),
        };
        user.config.nodes.address(node).ok_or(ENODEV)?;
        Ok(node)
    }

    /// What is known of the file of this name; of a symbolic link itself unless `follow`. May
    /// sleep, killably.
    ///
    /// # Errors
    ///
    /// As for [`Self::open`].
    pub(crate) fn stat(
        &self,
        user: &User<'_>,
        name: &FileName<'_>,
        follow: bool,
    ) -> Result<StatReply> {
        let node = self.node_of(user, name)?;
        match self.is_here(user, node) {
            true => local::stat(user.config, name.path, follow),
            false => self.there(user, node).stat(0, name.path, follow),
        }
    }

    /// Removes a name. May sleep, killably.
    ///
    /// # Errors
    ///
    /// As for [`Self::open`]; [`EBUSY`] for the exported directory itself.
    pub(crate) fn unlink(&self, user: &User<'_>, name: &FileName<'_>, is_dir: bool) -> Result {
        let node = self.node_of(user, name)?;
        until_ready(user.deadline, || match self.is_here(user, node) {
            true => local::unlink(user.config, name.path, is_dir),
            false => self.there(user, node).unlink(name.path, is_dir),
        })
    }

    /// Changes a name. May sleep, killably.
    ///
    /// # Errors
    ///
    /// As for [`Self::unlink`]; [`EXDEV`] if the new one is on another node or in another export.
    pub(crate) fn rename(
        &self,
        user: &User<'_>,
        from: &FileName<'_>,
        to: &FileName<'_>,
        replace: bool,
    ) -> Result {
        let node = self.node_of(user, from)?;
        if self.node_of(user, to)? != node {
            return Err(EXDEV);
        }
        until_ready(user.deadline, || match self.is_here(user, node) {
            true => local::rename(user.config, from.path, to.path, replace),
            false => self.there(user, node).rename(from.path, to.path, replace),
        })
    }

    /// Makes a directory. May sleep, killably.
    ///
    /// # Errors
    ///
    /// As for [`Self::unlink`].
    pub(crate) fn mkdir(&self, user: &User<'_>, name: &FileName<'_>, mode: u16) -> Result {
        let node = self.node_of(user, name)?;
        until_ready(user.deadline, || match self.is_here(user, node) {
            true => local::mkdir(user.config, name.path, mode),
            false => self.there(user, node).mkdir(name.path, mode),
        })
    }

    /// Entries of a directory, see [`local::read_dir`]. May sleep, killably.
    ///
    /// # Errors
    ///
    /// As for [`Self::open`].
    pub(crate) fn read_dir(
        &self,
        user: &User<'_>,
        name: &FileName<'_>,
        from: u64,
        with_stat: bool,
        to: &mut [u8],
    ) -> Result<(usize, u64)> {
        let node = self.node_of(user, name)?;
        match self.is_here(user, node) {
            true => local::read_dir(user.config, name.path, from, with_stat, to),
            false => self
                .there(user, node)
                .read_dir(name.path, from, with_stat, to),
        }
    }
}
