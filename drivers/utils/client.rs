// SPDX-License-Identifier: GPL-2.0

//! Using a service of other nodes.

use crate::link::Link;
use kernel::{
    fmt,
    new_spinlock,
    prelude::*,
    sync::{
        Arc,
        SpinLock, //
    }, //
};
use linux::deadline::Deadline;
use virgo_config::Node;
use virgo_proto::{
    config::MAX_NODES,
    vuid::NodeId, //
};

/// A request to another node.
pub struct Request<'a> {
    /// Number of the operation.
    pub op: u16,
    /// Its arguments: at most 32 bytes.
    pub args: &'a [u8],
    /// Bytes after the arguments.
    pub data: &'a [u8],
    /// Whether it changes nothing, so that it may be done again by a node that has restarted.
    pub again: bool,
}

/// Reaches one service on all nodes: one connection to each, made when it is needed.
///
/// All methods may be called from any task.
#[pin_data]
pub struct Client {
    node: Arc<Node>,
    port: u16,
    #[pin]
    links: SpinLock<[Option<Arc<Link>>; MAX_NODES]>,
}

impl Client {
    /// A client of the service on `port`.
    pub fn new(node: Arc<Node>, port: u16) -> impl PinInit<Self> {
        pin_init!(Self {
            node,
            port,
            links <- new_spinlock!([const { None }; MAX_NODES], "virgo_links"),
        })
    }

    /// Sends `request` to node `peer`, waits for the reply, and writes its body to `reply`.
    /// Returns the body's length; what does not fit is lost. Sleeps, killably.
    ///
    /// The request is carried out once at most, however often the connection breaks.
    ///
    /// # Errors
    ///
    /// What the other node answers; [`ETIMEDOUT`] at the deadline; [`EHOSTDOWN`] if it cannot be
    /// reached; [`ECONNRESET`] if it has restarted in between, so that nobody knows whether it was
    /// done; [`EINTR`] if the task is being killed; [`ESHUTDOWN`] after [`Self::stop`];
    /// [`EMSGSIZE`].
    pub fn call(
        &self,
        peer: NodeId,
        request: &Request<'_>,
        reply: &mut [u8],
        deadline: Deadline,
    ) -> Result<usize> {
        self.link(peer)?.call(request, reply, deadline)
    }

    /// Ends all calls under way and refuses new ones until [`Self::start`].
    pub fn stop(&self) {
        self.for_each(|_, link| link.set_stopped(true));
    }

    /// Allows calls again.
    pub fn start(&self) {
        self.for_each(|_, link| link.set_stopped(false));
    }

    /// One line a node that was used: number, state, connections made, calls under way.
    pub fn show(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut result = writeln!(f, "# node state connections calls");
        self.for_each(|peer, link| {
            let state = link.state();
            result = result.and_then(|()| {
                let up = if state.up { "up" } else { "down" };
                writeln!(f, "{peer} {up} {} {}", state.connections, state.calls)
            });
        });
        result
    }

    fn link(&self, peer: NodeId) -> Result<Arc<Link>> {
        let index = usize::from(peer).checked_sub(1).ok_or(ENODEV)?;
        if let Some(Some(link)) = self.links.lock().get(index) {
            return Ok(link.clone());
        }
        let new = Link::new(self.node.clone(), peer, self.port)?;
        let mut links = self.links.lock();
        let place = links.get_mut(index).ok_or(ENODEV)?;
        // Somebody may have been faster.
        let link = place.get_or_insert(new).clone();
        drop(links);
        Ok(link)
    }

    fn for_each(&self, mut f: impl FnMut(NodeId, &Link)) {
        for peer in 1..=MAX_NODES as u8 {
            let link = self.links.lock().get(usize::from(peer) - 1).cloned();
            if let Some(Some(link)) = link {
                f(peer, &link);
            }
        }
    }
}
