// SPDX-License-Identifier: GPL-2.0

//! Using a service of other nodes.

pub(crate) mod connect;
pub(crate) mod connector;
pub(crate) mod datagram_link;
pub(crate) mod datagrams;
pub(crate) mod destination;
pub(crate) mod exchange;
pub(crate) mod incoming;
pub(crate) mod link;
pub(crate) mod link_state;
pub(crate) mod outbound;
pub(crate) mod receive;
pub(crate) mod request;
pub(crate) mod send;
pub(crate) mod send_lock;
pub(crate) mod slot_guard;

use crate::client::{
    destination::{
        Destination,
        UserBuffer, //
    },
    exchange::PendingCall,
    link::Link,
    request::Request, //
};
use kernel::{
    fmt,
    prelude::*,
    sync::{
        atomic::{
            Atomic,
            Relaxed, //
        },
        Arc,
        Mutex,
        SetOnce, //
    },
    uaccess::UserPtr, //
};
use linux::{
    crypto,
    datagram::{
        Datagram,
        DatagramSource, //
    },
    deadline::Deadline,
    work::WorkQueue, //
};
use pin_init::init_array_from_fn;
use virgo_config::{
    Config,
    Node,
    Reloaded,
    Subscription, //
};
use virgo_proto::{
    config::MAX_NODES,
    datagram::DatagramHeader,
    vuid::NodeId, //
};

/// Reaches one service on all nodes: one connection to each, made when it is needed.
///
/// All methods may be called from any task.
///
/// Fields are dropped in order: first reloads do not reach the links any more.
#[pin_data]
pub struct Client {
    _subscription: Subscription,
    links: Arc<Links>,
}

/// The links of a client. A reload reaches them without the client.
#[pin_data]
struct Links {
    node: Arc<Node>,
    port: u16,
    /// Random number of this client's incarnation: with another one servers begin to count anew.
    boot: u64,
    /// Whether this node takes datagrams on the port: replies come there, too.
    takes_datagrams: Arc<Atomic<bool>>,
    /// Where connections are made. Most of that time is waiting for other nodes.
    queue: Arc<WorkQueue>,
    /// Once there a link stays, so that finding it takes no lock.
    links: [SetOnce<Arc<Link>>; MAX_NODES],
    /// Whether calls are refused. Held while a link is made, and while all are told.
    #[pin]
    stopped: Mutex<bool>,
}

impl Reloaded for Links {
    fn reloaded(&self, config: &Config) {
        self.for_each(|_, link| link.reloaded(config));
    }
}

impl Client {
    /// A client of the service on `port`. May sleep.
    ///
    /// # Errors
    ///
    /// [`ENOMEM`].
    pub fn new(node: Arc<Node>, port: u16) -> impl PinInit<Self, Error> {
        pin_init::pin_init_scope(move || {
            let links = Arc::pin_init(Links::new(node.clone(), port)?, GFP_KERNEL)?;
            Ok(try_pin_init!(Self {
                _subscription: node.subscribe(links.clone())?,
                links,
            }? Error))
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
        self.answer(peer, under_way, request, reply, deadline)?
    }

    /// As [`Self::call`], but keeps apart what the node answers, which is returned, and that it does
    /// not answer, which fails: some errors may be either.
    ///
    /// # Errors
    ///
    /// As for [`Self::call_with`], except what the other node answers; [`ENODEV`] if there is no such
    /// node.
    pub fn ask(
        &self,
        peer: NodeId,
        request: &Request<'_>,
        reply: &mut [u8],
        deadline: Deadline,
    ) -> Result<Result<usize>> {
        self.answer(peer, None, request, reply, deadline)
    }

    /// As [`Self::ask`], but shows the body to `take`, as [`Self::call_with`] does.
    ///
    /// # Errors
    ///
    /// As for [`Self::ask`].
    pub fn ask_with(
        &self,
        peer: NodeId,
        request: &Request<'_>,
        deadline: Deadline,
        take: &mut dyn FnMut(&[u8]),
    ) -> Result<Result> {
        let mut to = Destination::Function(take);
        self.link(peer)?.call(None, request, &mut to, deadline)
    }

    fn answer(
        &self,
        peer: NodeId,
        under_way: Option<PendingCall<'_>>,
        request: &Request<'_>,
        reply: &mut [u8],
        deadline: Deadline,
    ) -> Result<Result<usize>> {
        let mut len = 0;
        let mut take = |body: &[u8]| {
            len = body.len();
            let n = reply.len().min(len);
            if let (Some(to), Some(from)) = (reply.get_mut(..n), body.get(..n)) {
                to.copy_from_slice(from);
            }
        };
        let mut to = Destination::Function(&mut take);
        let link = self.link(peer)?;
        let answer = link.call(under_way, request, &mut to, deadline)?;
        Ok(answer.map(|()| len))
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
        self.link(peer)?
            .call(under_way, request, &mut to, deadline)?
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
        let mut room = UserBuffer::new(to, len);
        let mut to = Destination::User(&mut room);
        self.link(peer)?
            .call(under_way, request, &mut to, deadline)??;
        room.finish()
    }

    /// Whether a reply of node `peer` has come within the last `ms` milliseconds, on the connection that there
    /// is. Task context.
    pub(crate) fn was_heard_within(&self, peer: NodeId, ms: u32) -> bool {
        let link = self.links.existing(peer);
        link.is_some_and(|link| link.was_heard_within(ms))
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
        let mut stopped = self.links.stopped.lock();
        *stopped = now;
        self.links.for_each(|_, link| link.set_stopped(now));
    }

    /// One line a node that was used: number, state, connections made, calls under way, calls whose reply
    /// has come as a datagram.
    pub fn show(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut result = writeln!(f, "# node state connections calls by_datagram");
        self.links.for_each(|peer, link| {
            let state = link.state();
            result = result.and_then(|()| {
                let up = if state.up { "up" } else { "down" };
                let (connections, calls) = (state.connections, state.calls);
                writeln!(f, "{peer} {up} {connections} {calls} {}", state.by_datagram)
            });
        });
        result
    }

    /// The port takes datagrams from now on, or not any more: connections are made accordingly.
    pub(crate) fn set_datagrams(&self, is_open: bool) {
        self.links.takes_datagrams.store(is_open, Relaxed);
    }

    /// A datagram has come that says to be a node's answer. Softirq.
    pub(crate) fn receive(
        &self,
        header: &DatagramHeader,
        tag: u64,
        datagram: Datagram,
        source: &DatagramSource,
    ) {
        let index = usize::from(header.node).checked_sub(1);
        let place = index.and_then(|index| self.links.links.get(index));
        if let Some(link) = place.and_then(SetOnce::as_ref) {
            link.receive_datagram(header, tag, datagram, source);
        }
    }

    fn link(&self, peer: NodeId) -> Result<&Link> {
        self.links.get(peer)
    }
}

impl Links {
    fn new(node: Arc<Node>, port: u16) -> Result<impl PinInit<Self>> {
        let queue = WorkQueue::unbound(c"virgo_connect", MAX_NODES as c_int)?;
        let takes_datagrams = Arc::new(Atomic::new(false), GFP_KERNEL)?;
        Ok(pin_init!(Self {
            node,
            port,
            boot: crypto::random_u64(),
            takes_datagrams,
            queue,
            // In place: a kilobyte would be on the stack of whoever loads a module.
            links <- init_array_from_fn(|_| SetOnce::new()),
            stopped <- linux::new_mutex!(false, "virgo_links"),
        }))
    }

    /// The link to node `peer`, if that was used.
    fn existing(&self, peer: NodeId) -> Option<&Link> {
        let index = usize::from(peer).checked_sub(1)?;
        Some(self.links.get(index)?.as_ref()?)
    }

    /// The link to node `peer`.
    fn get(&self, peer: NodeId) -> Result<&Link> {
        let index = usize::from(peer).checked_sub(1).ok_or(ENODEV)?;
        let place = self.links.get(index).ok_or(ENODEV)?;
        if let Some(link) = place.as_ref() {
            return Ok(link);
        }
        let stopped = self.stopped.lock();
        if place.as_ref().is_none() {
            let (node, queue) = (self.node.clone(), self.queue.clone());
            let datagrams = self.takes_datagrams.clone();
            let link = Link::new(node, queue, peer, self.port, self.boot, datagrams, *stopped)?;
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
