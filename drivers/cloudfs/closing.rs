// SPDX-License-Identifier: GPL-2.0

//! Files of other nodes that nobody here uses any more: their nodes are told, later.

use crate::{
    remote::RemoteFiles,
    window::READ_WINDOW, //
};
use kernel::{
    prelude::*,
    sync::Arc, //
};
use virgo_config::Node;
use virgo_proto::{
    cloudfs::{
        FileHandle,
        MAX_CLOSE, //
    },
    vuid::NodeId, //
};
use virgo_utils::{
    budget::Charge,
    variables::Variable,
    Backlog,
    Client,
    Reservation,
    RetryWork,
    User, //
};

/// The largest value of the parameter `max_files`.
pub(crate) const MAX_FILES: u32 = 1 << 20;

/// An open file of another node.
#[derive(Clone, Copy)]
pub(crate) struct RemoteHandle {
    pub(crate) node: NodeId,
    pub(crate) handle: u64,
}

/// The file services of other nodes: those who have files there hold it.
pub(crate) struct RemoteNodes {
    pub(crate) client: Arc<Client>,
    closing: Pin<KBox<Backlog<Closing>>>,
    window: Variable,
}

impl RemoteNodes {
    pub(crate) fn new(node: Arc<Node>, port: u16) -> Result<Arc<Self>> {
        let client = Arc::pin_init(Client::new(node.clone(), port), GFP_KERNEL)?;
        let closing = Closing {
            node,
            client: client.clone(),
        };
        let nodes = RemoteNodes {
            client,
            closing: Backlog::new(c"virgo_closing", closing)?,
            window: Variable::declare(&READ_WINDOW)?,
        };
        Ok(Arc::new(nodes, GFP_KERNEL)?)
    }

    /// Pieces of a read or write that are under way at a time.
    pub(crate) fn window(&self) -> usize {
        usize::try_from(self.window.get()).unwrap_or(1)
    }

    /// The one of `node`, for `user`.
    pub(crate) fn there<'a>(&'a self, user: &'a User<'a>, node: NodeId) -> RemoteFiles<'a> {
        RemoteFiles {
            client: &self.client,
            user,
            node,
        }
    }

    /// Sees to it that a file of `node` can be closed, before it is opened. May sleep.
    ///
    /// # Errors
    ///
    /// [`ENOMEM`].
    pub(crate) fn prepare(&self, node: NodeId) -> Result {
        self.closing.prepare(node)
    }

    /// Has a file closed, without waiting for it; until it is, `charge` is kept.
    pub(crate) fn close(&self, room: Reservation<Closed>, remote: RemoteHandle, charge: Charge) {
        let closed = Closed {
            remote,
            _charge: charge,
        };
        self.closing.add_at(room, closed);
    }
}

/// A file that nobody here uses any more, and who has to pay until its node knows that.
pub(crate) struct Closed {
    remote: RemoteHandle,
    _charge: Charge,
}

/// Closes them.
struct Closing {
    node: Arc<Node>,
    client: Arc<Client>,
}

impl RetryWork for Closing {
    type Item = Closed;

    /// All have places of their own.
    const MAX: usize = 0;

    const AT_ONCE: usize = MAX_CLOSE;

    fn node(closed: &Closed) -> NodeId {
        closed.remote.node
    }

    fn attempt(&self, node: NodeId, closed: &[Closed]) -> Result {
        let config = self.node.config();
        let there = RemoteFiles {
            client: &self.client,
            user: &User::of_node(&config),
            node,
        };
        let mut handles = [FileHandle::ZERO; MAX_CLOSE];
        for (handle, closed) in handles.iter_mut().zip(closed) {
            *handle = closed.remote.handle.into();
        }
        // What it cannot close it does not have.
        let _ = there.close(handles.get(..closed.len()).unwrap_or(&handles))?;
        Ok(())
    }
}
