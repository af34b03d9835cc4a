// SPDX-License-Identifier: GPL-2.0

//! Using a service of other nodes.

use crate::{
    destination::{
        Destination,
        Room, //
    },
    exchange::PendingCall,
    link::Link, //
};
use kernel::{
    fmt,
    prelude::*,
    sync::{
        Arc,
        Mutex,
        SetOnce, //
    },
    uaccess::UserPtr, //
};
use linux::{
    crypto,
    deadline::Deadline,
    pages::Pages, //
};
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
    /// What follows the arguments.
    pub data: Data<'a>,
    /// Whether a node that has restarted may do it, though it may have done so before.
    pub again: bool,
    /// When to expect the reply.
    pub expect: ReplyDeadline,
}

/// Bytes of a request.
#[derive(Clone, Copy)]
pub enum Data<'a> {
    /// Few, or such as are somewhere anyway.
    Bytes(&'a [u8]),
    /// Such as are sent without a copy.
    Pages(&'a Pages),
}

impl Data<'_> {
    /// How many there are.
    pub fn size(&self) -> usize {
        match self {
            Data::Bytes(bytes) => bytes.len(),
            Data::Pages(pages) => pages.size(),
        }
    }
}

/// When to expect a reply. A node that is silent for longer may be dead.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum ReplyDeadline {
    /// When the requests before it are answered.
    Soon,
    /// It may be deferred for so many milliseconds.
    Within(u32),
    /// It may be deferred for as long as somebody waits for it.
    Sometime,
}

impl ReplyDeadline {
    /// For how many milliseconds it may be deferred, if there is a limit.
    pub(crate) fn within_ms(self) -> Option<u32> {
        match self {
            ReplyDeadline::Soon => Some(0),
            ReplyDeadline::Within(ms) => Some(ms),
            ReplyDeadline::Sometime => None,
        }
    }
}

/// Reaches one service on all nodes: one connection to each, made when it is needed.
///
/// All methods may be called from any task.
#[pin_data]
pub struct Client {
    node: Arc<Node>,
    port: u16,
    /// Random number of this client's life: with another one servers begin to count anew.
    boot: u64,
    /// Once there a link stays, so that finding it takes no lock.
    links: [SetOnce<Arc<Link>>; MAX_NODES],
    /// Whether calls are refused. Held while a link is made, and while all are told.
    #[pin]
    stopped: Mutex<bool>,
}

impl Client {
    /// A client of the service on `port`.
    pub fn new(node: Arc<Node>, port: u16) -> impl PinInit<Self> {
        pin_init!(Self {
            node,
            port,
            boot: crypto::random_u64(),
            links: [const { SetOnce::new() }; MAX_NODES],
            stopped <- linux::new_mutex!(false, "virgo_links"),
        })
    }

    /// As [`Self::call_with`], but writes the body to `reply`. Returns its length; what does not
    /// fit is lost.
    ///
    /// # Errors
    ///
    /// As for [`Self::call_with`].
    pub fn call(
        &self,
        peer: NodeId,
        request: &Request<'_>,
        reply: &mut [u8],
        deadline: Deadline,
    ) -> Result<usize> {
        self.complete(peer, None, request, reply, deadline)
    }

    /// As [`Self::call`], of a request that may be under way already.
    ///
    /// # Errors
    ///
    /// As for [`Self::call_with`].
    pub fn complete(
        &self,
        peer: NodeId,
        under_way: Option<PendingCall<'_>>,
        request: &Request<'_>,
        reply: &mut [u8],
        deadline: Deadline,
    ) -> Result<usize> {
        let mut len = 0;
        let mut take = |body: &[u8]| {
            len = body.len();
            let n = reply.len().min(len);
            if let (Some(to), Some(from)) = (reply.get_mut(..n), body.get(..n)) {
                to.copy_from_slice(from);
            }
        };
        let mut to = Destination::Function(&mut take);
        self.link(peer)?
            .call(under_way, request, &mut to, deadline)?;
        Ok(len)
    }

    /// Sends `request` to node `peer`, waits for the reply, and shows its body to `take`, which
    /// may sleep but not wait for another node. Sleeps, killably.
    ///
    /// The request is carried out once at most, however often the connection breaks.
    ///
    /// # Errors
    ///
    /// What the other node answers; [`ETIMEDOUT`] at the deadline; [`EHOSTDOWN`],
    /// [`EKEYREJECTED`], [`EPERM`] if it was not reached, so that nothing was done;
    /// [`ECONNRESET`] if the connection was lost afterwards, so that nobody knows; [`EINTR`] if the
    /// task is being killed; [`ESHUTDOWN`] after [`Self::stop`]; [`EMSGSIZE`].
    pub fn call_with(
        &self,
        peer: NodeId,
        request: &Request<'_>,
        deadline: Deadline,
        take: &mut dyn FnMut(&[u8]),
    ) -> Result {
        self.complete_with(peer, None, request, deadline, take)
    }

    /// As [`Self::call_with`], of a request that may be under way already.
    ///
    /// # Errors
    ///
    /// As for [`Self::call_with`].
    pub fn complete_with(
        &self,
        peer: NodeId,
        under_way: Option<PendingCall<'_>>,
        request: &Request<'_>,
        deadline: Deadline,
        take: &mut dyn FnMut(&[u8]),
    ) -> Result {
        let mut to = Destination::Function(take);
        self.link(peer)?.call(under_way, request, &mut to, deadline)
    }

    /// Sends `request` without waiting for the reply, if that can be done without waiting for other
    /// requests; [`Self::complete`] or [`Self::call_to_user`] of the same request takes the reply.
    /// Only for requests that may be done twice: `None` does not mean that it was not sent. May
    /// sleep, killably.
    pub fn begin(
        &self,
        peer: NodeId,
        request: &Request<'_>,
        deadline: Deadline,
    ) -> Option<PendingCall<'_>> {
        self.link(peer).ok()?.begin(request, deadline)
    }

    /// As [`Self::call_with`], but has the body written to `len` bytes of the current program's
    /// memory, without a buffer in between if it is large. Returns its length. The same request may
    /// be under way already.
    ///
    /// # Errors
    ///
    /// As for [`Self::call_with`]; [`EFAULT`]. Some bytes may have been written in any case.
    pub fn call_to_user(
        &self,
        peer: NodeId,
        under_way: Option<PendingCall<'_>>,
        request: &Request<'_>,
        to: UserPtr,
        len: usize,
        deadline: Deadline,
    ) -> Result<usize> {
        let mut room = Room::new(to, len);
        let mut to = Destination::User(&mut room);
        self.link(peer)?
            .call(under_way, request, &mut to, deadline)?;
        room.finish()
    }

    /// Ends all calls under way and refuses new ones until [`Self::start`].
    pub fn stop(&self) {
        self.set_stopped(true);
    }

    /// Allows calls again.
    pub fn start(&self) {
        self.set_stopped(false);
    }

    fn set_stopped(&self, now: bool) {
        let mut stopped = self.stopped.lock();
        *stopped = now;
        self.for_each(|_, link| link.set_stopped(now));
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

    fn link(&self, peer: NodeId) -> Result<&Link> {
        let index = usize::from(peer).checked_sub(1).ok_or(ENODEV)?;
        let place = self.links.get(index).ok_or(ENODEV)?;
        if let Some(link) = place.as_ref() {
            return Ok(link);
        }
        let stopped = self.stopped.lock();
        if place.as_ref().is_none() {
            let link = Link::new(self.node.clone(), peer, self.port, self.boot, *stopped)?;
            place.populate(link);
        }
        drop(stopped);
        Ok(place.as_ref().ok_or(ENODEV)?)
    }

    fn for_each(&self, mut f: impl FnMut(NodeId, &Link)) {
        for (peer, place) in (1..).zip(&self.links) {
            if let Some(link) = place.as_ref() {
                f(peer, link);
            }
        }
    }
}
