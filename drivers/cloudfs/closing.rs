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
    budget::Charge,
    Backlog,
    RetryWork,
    Client,
    User, //
};

/// The largest value of the parameter `max_files`.
pub(crate) const MAX_FILES: u32 = 1 << 20;

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

    /// Has a file closed, without waiting for it; until it is, `charge` is kept.
    pub(crate) fn close(&self, remote: Remote, charge: Charge) {
        let closed = Closed {
            remote,
            _charge: charge,
        };
        Backlog::add(&self.closing, closed);
    }
}

/// A file that nobody here uses any more, and who has to pay until its node knows that.
struct Closed {
    remote: Remote,
    _charge: Charge,
}

/// Closes them.
struct Closing {
    node: Arc<Node>,
    client: Arc<Client>,
}

impl RetryWork for Closing {
    type Item = Closed;

    /// No bound of its own: they are charged as when they were open, see [`MAX_FILES`].
    const MAX: usize = MAX_FILES as usize;

    const AT_ONCE: usize = MAX_CLOSE;

    fn node(closed: &Closed) -> NodeId {
        closed.remote.node
    }

    fn attempt(&self, node: NodeId, closed: &[Closed]) -> Result {
        let config = self.node.config();
        let there = There {
            client: &self.client,
            user: &User::of_node(&config),
            node,
        };
        let mut handles = [Handle::ZERO; MAX_CLOSE];
        for (handle, closed) in handles.iter_mut().zip(closed) {
            *handle = closed.remote.handle.into();
        }
        there.close(handles.get(..closed.len()).unwrap_or(&handles))
    }
}
