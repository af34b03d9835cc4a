// SPDX-License-Identifier: GPL-2.0

//! Files of other nodes that nobody here uses any more: their nodes are told, later.

use crate::there::There;
use kernel::{
    prelude::*,
    sync::Arc, //
};
use linux::work::{
    Queue,
    Task, //
};
use virgo_config::Node;
use virgo_proto::{
    cloudfs::{
        Handle,
        MAX_CLOSE, //
    },
    vuid::NodeId, //
};
use virgo_utils::{
    Backlog,
    Chore,
    Client,
    User, //
};

/// An open file of another node.
#[derive(Clone, Copy)]
pub(crate) struct Remote {
    pub(crate) node: NodeId,
    pub(crate) handle: u64,
}

/// The file services of other nodes: those who have files there hold it.
pub(crate) struct Others {
    pub(crate) client: Arc<Client>,
    closing: Pin<KBox<Task<Backlog<Closing>>>>,
}

impl Others {
    pub(crate) fn new(node: Arc<Node>, port: u16) -> Result<Arc<Self>> {
        let client = Arc::pin_init(Client::new(node.clone(), port), GFP_KERNEL)?;
        let closing = Backlog::new(Closing {
            node,
            client: client.clone(),
        });
        let queue = Queue::new(c"virgo_closing", 1)?;
        let closing = KBox::pin_init(
            linux::new_task!(queue, closing, "virgo_closing"),
            GFP_KERNEL,
        )?;
        Ok(Arc::new(Others { client, closing }, GFP_KERNEL)?)
    }

    /// The one of `node`, for `user`.
    pub(crate) fn there<'a>(&'a self, user: &'a User<'a>, node: NodeId) -> There<'a> {
        There {
            client: &self.client,
            user,
            node,
        }
    }

    /// Has a file closed, without waiting for it.
    pub(crate) fn close(&self, remote: Remote) {
        Backlog::add(&self.closing, remote);
    }
}

/// Closes them.
struct Closing {
    node: Arc<Node>,
    client: Arc<Client>,
}

impl Chore for Closing {
    type Item = Remote;

    /// More than that stay open until this node restarts.
    const MAX: usize = 1 << 16;

    const AT_ONCE: usize = MAX_CLOSE;

    fn node(remote: Remote) -> NodeId {
        remote.node
    }

    fn attempt(&self, node: NodeId, remotes: &[Remote]) -> Result {
        let config = self.node.config();
        let there = There {
            client: &self.client,
            user: &User::of_node(&config),
            node,
        };
        let mut handles = [Handle::ZERO; MAX_CLOSE];
        for (handle, remote) in handles.iter_mut().zip(remotes) {
            *handle = remote.handle.into();
        }
        there.close(handles.get(..remotes.len()).unwrap_or(&handles))
    }
}
