// SPDX-License-Identifier: GPL-2.0

//! The queue of requests, for all modules: who has something to be done pushes it, and who does
//! such things takes it, now or later.
//!
//! The queue is that of virgo_queue; a module that only pushes need not wait for it to be loaded.

use crate::eventnet::{
    self,
    hooks, //
};
use core::net::Ipv4Addr;
use kernel::{
    prelude::*,
    sync::Arc, //
};
use linux::{
    deadline::Deadline,
    module::Pinned, //
};
use virgo_proto::{
    eventnet::event::EventKind,
    vuid::NodeId, //
};

/// Who waits for a reply, as the queue calls it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReplyTo(pub u64);

/// A request.
#[derive(Clone, Copy)]
pub struct QueueRequest<'a> {
    /// What is wanted.
    pub data: &'a [u8],
    /// Who wants it.
    pub from: Ipv4Addr,
    /// The uid there that wants it: it may do what that may.
    pub uid: u32,
    /// Who waits for a reply, if anybody.
    pub reply: Option<ReplyTo>,
}

/// What has the requests.
pub trait RequestQueue: Send + Sync {
    /// Publishes a request, whose reply nobody waits for, as `subject` on node `node`, 0 for this
    /// one. Sleeps until `deadline`.
    fn publish(
        &self,
        node: NodeId,
        subject: &[u8],
        request: &QueueRequest<'_>,
        deadline: Deadline,
    ) -> Result;
    /// Publishes a request to this node's queue `name` and waits for the reply. Sleeps until
    /// `deadline`.
    fn ask(&self, name: &[u8], request: &QueueRequest<'_>, deadline: Deadline) -> Result<KVec<u8>>;
    /// Gives a reply to who waits for it. May sleep.
    fn answer(&self, to: ReplyTo, data: &[u8]) -> Result;
    /// Takes a request in. Any context if it is root's; otherwise it may sleep.
    fn push(&self, request: &QueueRequest<'_>) -> Result;
    /// Hands the next request out for good. Any context.
    fn pop(&self) -> Option<KVec<u8>>;
    /// There is another handler, or none. Any context.
    fn handler_changed(&self);
}

/// Who does what is wanted.
pub trait Handler: Send + Sync {
    /// Does it, or sees to it that it is done. One at a time or several at once; may sleep.
    ///
    /// # Errors
    ///
    /// The request is not done and comes again.
    fn handle(&self, request: &QueueRequest<'_>) -> Result;
}

/// Something of another module, to be used while that stays loaded.
struct Offer<T: ?Sized> {
    offered: Arc<T>,
    module: &'static ThisModule,
}

impl<T: ?Sized> Offer<T> {
    fn take(&self) -> Option<Taken<T>> {
        Some(Taken {
            offered: self.offered.clone(),
            _pinned: Pinned::new(self.module)?,
        })
    }
}

/// Its fields are dropped in order: the module goes last.
struct Taken<T: ?Sized> {
    offered: Arc<T>,
    _pinned: Pinned,
}

struct Offers {
    queue: Option<Offer<dyn RequestQueue>>,
    handler: Option<Offer<dyn Handler>>,
}

kernel::sync::global_lock! {
    // SAFETY: Initialised by `init`, before any other module can use it: they load after this one.
    unsafe(uninit) static OFFERS: SpinLockIrq<Offers> = Offers {
        queue: None,
        handler: None,
    };
}

/// Makes this usable. Called once, in the module's initialisation.
pub(crate) fn init() {
    // SAFETY: Called once in the life of the module.
    unsafe { OFFERS.init() };
}

fn queue() -> Result<Taken<dyn RequestQueue>> {
    let offers = OFFERS.lock();
    let queue = offers.queue.as_ref().and_then(Offer::take);
    queue.ok_or(ENODEV)
}

/// Puts a request into the queue. Its user pays for it, so this may sleep, but for root's: those are
/// taken in any context.
///
/// # Errors
///
/// [`ENODEV`] if virgo_queue is not loaded; [`ENOBUFS`] if there is no room; [`EDQUOT`] if the user has
/// a user's share of the queue or of the memory for messages; [`EMSGSIZE`], [`ENOMEM`].
pub fn push_request(request: &QueueRequest<'_>) -> Result {
    eventnet::log_event(EventKind::Request, b"request pushed");
    queue()?.offered.push(request)
}

/// Takes the next request out of the queue; `None` if there is none. Any context.
pub fn pop_request() -> Option<KVec<u8>> {
    queue().ok()?.offered.pop()
}

/// Publishes a request, whose reply nobody waits for, as `subject` on node `node`, 0 for this one.
/// Sleeps until `deadline`.
///
/// # Errors
///
/// [`ENODEV`] if virgo_queue is not loaded; [`ENOENT`] if nobody wants it; those of the network.
pub fn publish(
    node: NodeId,
    subject: &[u8],
    request: &QueueRequest<'_>,
    deadline: Deadline,
) -> Result {
    eventnet::log_event(EventKind::Request, b"request published");
    queue()?.offered.publish(node, subject, request, deadline)
}

/// Publishes a request to this node's queue `name` and returns the reply. Sleeps until `deadline`.
///
/// # Errors
///
/// As for [`publish`]; [`ETIMEDOUT`].
pub fn ask(name: &[u8], request: &QueueRequest<'_>, deadline: Deadline) -> Result<KVec<u8>> {
    queue()?.offered.ask(name, request, deadline)
}

/// Gives a reply to who waits for it. May sleep.
///
/// # Errors
///
/// [`ESRCH`] if nobody waits any more; [`ENODEV`], [`EMSGSIZE`], [`ENOMEM`].
pub fn answer(to: ReplyTo, data: &[u8]) -> Result {
    eventnet::log_event(EventKind::Request, b"request answered");
    queue()?.offered.answer(to, data)
}

/// Has the handler do what is wanted, and returns what comes of it; `None` if there is no handler, or
/// its module is just being loaded or unloaded. May sleep.
pub fn handle(request: &QueueRequest<'_>) -> Option<Result> {
    let offers = OFFERS.lock();
    let handler = offers.handler.as_ref().and_then(Offer::take);
    drop(offers);
    let handler = handler?;
    let called = hooks::call(EventKind::Request, 0, "request handled");
    let result = handler.offered.handle(request);
    if let Some(called) = called {
        called.end(hooks::status(&result));
    }
    Some(result)
}

/// Whether there is a handler. Any context.
pub fn has_handler() -> bool {
    OFFERS.lock().handler.is_some()
}

/// Offers a queue; dropping it withdraws the offer.
pub struct RequestQueueRegistration(());

impl RequestQueueRegistration {
    /// Offers `queue` of `module`, which must hold this in its state. May sleep.
    ///
    /// # Errors
    ///
    /// [`EBUSY`] if there is one.
    pub fn new(module: &'static ThisModule, queue: Arc<dyn RequestQueue>) -> Result<Self> {
        let mut offers = OFFERS.lock();
        if offers.queue.is_some() {
            return Err(EBUSY);
        }
        offers.queue = Some(Offer {
            offered: queue,
            module,
        });
        Ok(RequestQueueRegistration(()))
    }
}

impl Drop for RequestQueueRegistration {
    fn drop(&mut self) {
        let old = OFFERS.lock().queue.take();
        // Not under the lock: what it holds may be dropped in process context only.
        drop(old);
    }
}

/// Offers a handler; dropping it withdraws the offer.
pub struct HandlerRegistration(());

impl HandlerRegistration {
    /// Offers `handler` of `module`, which must hold this in its state. May sleep.
    ///
    /// # Errors
    ///
    /// [`EBUSY`] if there is one.
    pub fn new(module: &'static ThisModule, handler: Arc<dyn Handler>) -> Result<Self> {
        let mut offers = OFFERS.lock();
        if offers.handler.is_some() {
            return Err(EBUSY);
        }
        offers.handler = Some(Offer {
            offered: handler,
            module,
        });
        drop(offers);
        if let Ok(queue) = queue() {
            queue.offered.handler_changed();
        }
        Ok(HandlerRegistration(()))
    }
}

impl Drop for HandlerRegistration {
    fn drop(&mut self) {
        let old = OFFERS.lock().handler.take();
        drop(old);
    }
}
