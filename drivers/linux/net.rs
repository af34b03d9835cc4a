// SPDX-License-Identifier: GPL-2.0

//! TCP over IPv4 in the initial network name space, never blocking on its own.
//!
//! A socket is either waited for by the task that needs it ([`Stream::wait_readable`]) or
//! watched: its news then run a piece of work ([`SocketWork`]).
//!
//! C header: [`include/linux/net.h`](srctree/include/linux/net.h)

use crate::{
    deadline::Deadline,
    helpers,
    pages::Pages,
    skbuff::SocketQueues,
    socket::Socket,
    work::{
        Run,
        Task,
        WorkQueue, //
    }, //
};
use core::{
    net::{
        Ipv4Addr,
        SocketAddrV4, //
    },
    ops::Deref,
    ptr::NonNull, //
};
use kernel::{
    alloc::Flags,
    bindings,
    error::to_result,
    prelude::*,
    sync::{
        atomic::Atomic,
        Arc,
        LockClassKey, //
    },
    types::Opaque,
    uaccess::UserPtr, //
};

/// The address as the kernel has it: network byte order.
fn to_be(address: Ipv4Addr) -> u32 {
    u32::from_ne_bytes(address.octets())
}

/// Whether `address` is one of this machine's.
pub fn is_local(address: Ipv4Addr) -> bool {
    // SAFETY: Plain look-up in the routing table.
    unsafe { helpers::virgo_addr_is_local(to_be(address)) }
}

/// A place in the bytes that were sent on a connection.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct StreamPosition(u32);

/// A connection.
pub struct Stream(Socket);

impl Stream {
    /// Connects. Sleeps until it is done, killably.
    ///
    /// # Errors
    ///
    /// [`ETIMEDOUT`] at the deadline, [`EINTR`] when the task is being killed, otherwise what the
    /// network says: [`ECONNREFUSED`], [`EHOSTUNREACH`] and the like.
    pub fn connect(to: SocketAddrV4, deadline: Deadline) -> Result<Self> {
        let socket = Socket::create()?;
        // SAFETY: The socket is live.
        match unsafe { helpers::virgo_sock_connect(socket.as_ptr(), to_be(*to.ip()), to.port()) } {
            0 => (),
            e if Error::from_errno(e) == EINPROGRESS => {
                if !socket.wait(helpers::virgo_sock_event_VIRGO_SOCK_CONNECTED, deadline)? {
                    return Err(ETIMEDOUT);
                }
                // SAFETY: The socket is live.
                to_result(unsafe { helpers::virgo_sock_error(socket.as_ptr()) })?;
            }
            e => return Err(Error::from_errno(e)),
        }
        Ok(Self::tuned(socket))
    }

    fn tuned(socket: Socket) -> Self {
        // SAFETY: The socket is live.
        unsafe { helpers::virgo_sock_tune(socket.as_ptr()) };
        Stream(socket)
    }

    /// The other end.
    ///
    /// # Errors
    ///
    /// [`ENOTCONN`] when the connection is gone.
    pub fn peer(&self) -> Result<SocketAddrV4> {
        let (mut address, mut port) = (0, 0);
        // SAFETY: The socket is live; the others are valid for writes.
        to_result(unsafe { helpers::virgo_sock_peer(self.0.as_ptr(), &mut address, &mut port) })?;
        Ok(SocketAddrV4::new(address.to_ne_bytes().into(), port))
    }

    /// Takes up to `max` bytes that have arrived, and puts them behind those in `to`. Returns how
    /// many, 0 at the end of the stream, `None` when there are none now. May sleep, but not for the
    /// peer.
    ///
    /// # Errors
    ///
    /// [`ENOMEM`]; what broke the connection.
    pub fn receive(&self, to: &mut KVVec<u8>, max: usize) -> Result<Option<usize>> {
        to.reserve(max, GFP_KERNEL)?;
        let mut part = bindings::kvec {
            iov_base: to.spare_capacity_mut().as_mut_ptr().cast(),
            iov_len: max,
        };
        let mut message = bindings::msghdr::default();
        // SAFETY: The socket is live; `part` describes memory of `to` behind its elements, which
        // `reserve` has made sure of and which is valid for writes.
        let n = unsafe {
            bindings::kernel_recvmsg(
                self.0.as_ptr(),
                &mut message,
                &mut part,
                1,
                max,
                bindings::MSG_DONTWAIT as c_int,
            )
        };
        let received = Self::moved(n)?;
        if let Some(n @ 1..) = received {
            // SAFETY: So many bytes have been written behind the elements of `to`, at most `max`.
            unsafe { to.inc_len(n) };
        }
        Ok(received)
    }

    /// As [`Self::receive`], to `len` bytes of the current program's memory, as far as that is
    /// present: does not wait for the program.
    ///
    /// # Errors
    ///
    /// As there, and [`EFAULT`] if it is not; then nothing is lost.
    pub fn receive_user(&self, to: UserPtr, len: usize) -> Result<Option<usize>> {
        // SAFETY: The socket is live; the memory is checked when it is written to.
        let n = unsafe {
            helpers::virgo_sock_recv_user(self.0.as_ptr(), to.as_const_ptr().cast_mut(), len)
        };
        Self::moved(n)
    }

    /// Hands the bytes of `pages` from `sent` on to the network. Returns how many went, `None` when
    /// there is no room now. May sleep, but not for the peer.
    ///
    /// # Errors
    ///
    /// What broke the connection.
    pub fn send_pages(&self, pages: &Pages, sent: usize) -> Result<Option<usize>> {
        // SAFETY: The socket is live.
        let n = unsafe { pages.send(self.0.as_ptr(), sent) };
        Self::moved(n as c_int)
    }

    /// Hands bytes to the network, those of `head` first; with `more` they need not leave before
    /// others come. Returns how many went, `None` when there is no room now. May sleep, but not
    /// for the peer.
    ///
    /// # Errors
    ///
    /// What broke the connection.
    pub fn send(&self, head: &[u8], body: &[u8], more: bool) -> Result<Option<usize>> {
        let mut parts = [head, body].map(|part| bindings::kvec {
            iov_base: part.as_ptr().cast_mut().cast(),
            iov_len: part.len(),
        });
        let mut message = bindings::msghdr {
            msg_flags: bindings::MSG_DONTWAIT
                | bindings::MSG_NOSIGNAL
                | if more { bindings::MSG_MORE } else { 0 },
            ..Default::default()
        };
        // SAFETY: The socket is live; `parts` describes the slices, which sending only reads.
        let n = unsafe {
            bindings::kernel_sendmsg(
                self.0.as_ptr(),
                &mut message,
                parts.as_mut_ptr(),
                parts.len(),
                head.len() + body.len(),
            )
        };
        Self::moved(n)
    }

    fn moved(n: c_int) -> Result<Option<usize>> {
        match usize::try_from(n) {
            Ok(n) => Ok(Some(n)),
            Err(_) => match Error::from_errno(n) {
                EAGAIN => Ok(None),
                e => Err(e),
            },
        }
    }

    /// Whether there is something to receive now: bytes, the end, an error. Any context.
    pub fn is_readable(&self) -> bool {
        self.0
            .happened(helpers::virgo_sock_event_VIRGO_SOCK_READABLE)
    }

    /// Whether there is room to send, or an error. Any context.
    pub fn is_writable(&self) -> bool {
        self.0
            .happened(helpers::virgo_sock_event_VIRGO_SOCK_WRITABLE)
    }

    /// Whether the peer has ended the connection, or an error has. Any context.
    pub fn is_over(&self) -> bool {
        self.0.happened(helpers::virgo_sock_event_VIRGO_SOCK_OVER)
    }

    /// How many bytes that were sent the other end has taken. It takes no more than fit into its buffer,
    /// so that this grows for as long as somebody reads there. Any context.
    pub fn acked(&self) -> u64 {
        // SAFETY: The socket is live.
        unsafe { helpers::virgo_sock_acked(self.0.as_ptr()) }
    }

    /// The place behind the last byte that was sent so far. Any context.
    pub fn sent(&self) -> StreamPosition {
        // SAFETY: The socket is live.
        StreamPosition(unsafe { helpers::virgo_sock_sent(self.0.as_ptr()) })
    }

    /// Whether the other end has taken all bytes before `place`; not to be asked when more than 2 GiB
    /// have followed. Any context.
    pub fn has_acked(&self, place: StreamPosition) -> bool {
        // SAFETY: The socket is live.
        unsafe { helpers::virgo_sock_has_acked(self.0.as_ptr(), place.0) }
    }

    /// Sleeps until there is something to receive (bytes, the end, an error). False at the
    /// deadline.
    ///
    /// # Errors
    ///
    /// [`EINTR`] when the task is being killed.
    pub fn wait_readable(&self, deadline: Deadline) -> Result<bool> {
        self.0
            .wait(helpers::virgo_sock_event_VIRGO_SOCK_READABLE, deadline)
    }

    /// As [`Self::wait_readable`], but also until `counter` is not `before` any more, if [`Self::poke`]
    /// comes after that.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn wait_readable_or(
        &self,
        counter: &Atomic<u32>,
        before: u32,
        deadline: Deadline,
    ) -> Result<bool> {
        let event = helpers::virgo_sock_event_VIRGO_SOCK_READABLE;
        self.0.wait_or(event, counter, before, deadline)
    }

    /// As [`Self::wait_readable_or`], but also until there is room to send.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn wait_usable_or(
        &self,
        counter: &Atomic<u32>,
        before: u32,
        deadline: Deadline,
    ) -> Result<bool> {
        let event = helpers::virgo_sock_event_VIRGO_SOCK_USABLE;
        self.0.wait_or(event, counter, before, deadline)
    }

    /// Has tasks that wait for this socket look again. Any context.
    pub fn poke(&self) {
        // SAFETY: The socket is live.
        unsafe { helpers::virgo_sock_poke(self.0.as_ptr()) };
    }

    /// Sleeps until there is room to send, or an error. False at the deadline.
    ///
    /// # Errors
    ///
    /// [`EINTR`] when the task is being killed.
    pub fn wait_writable(&self, deadline: Deadline) -> Result<bool> {
        self.0
            .wait(helpers::virgo_sock_event_VIRGO_SOCK_WRITABLE, deadline)
    }

    /// Sleeps until there is something to receive or room to send, or an error. False at the
    /// deadline.
    ///
    /// # Errors
    ///
    /// [`EINTR`] when the task is being killed.
    pub fn wait_usable(&self, deadline: Deadline) -> Result<bool> {
        self.0
            .wait(helpers::virgo_sock_event_VIRGO_SOCK_USABLE, deadline)
    }

    /// Ends the connection in both directions; who waits on it wakes up.
    pub fn shutdown(&self) {
        self.0.shutdown(bindings::sock_shutdown_cmd_SHUT_RDWR);
    }

    /// What lies in its queues.
    ///
    /// Any context but hard interrupts; does not sleep.
    ///
    /// # Errors
    ///
    /// [`ENOMEM`].
    pub fn queues(&self, flags: Flags) -> Result<SocketQueues> {
        // SAFETY: The socket is live.
        unsafe { SocketQueues::of(self.0.as_ptr(), flags) }
    }

    /// Writes what lies in its queues to the kernel's log, as often as `net_ratelimit()` of the kernel
    /// lets it.
    ///
    /// Any context but hard interrupts; does not sleep.
    pub fn log_queues(&self) {
        // SAFETY: The socket is live.
        unsafe { helpers::virgo_skbuff_log(self.0.as_ptr()) };
    }

    /// Tells the peer that nothing more will be sent.
    pub fn finish(&self) {
        self.0.shutdown(bindings::sock_shutdown_cmd_SHUT_WR);
    }
}

/// A socket that takes connections.
pub struct Listener(Socket);

impl Listener {
    /// Listens on `port` of all addresses.
    ///
    /// # Errors
    ///
    /// [`EADDRINUSE`] when somebody does already.
    pub fn bind(port: u16, backlog: c_int) -> Result<Self> {
        let socket = Socket::create()?;
        // SAFETY: The socket is live.
        to_result(unsafe {
            helpers::virgo_sock_bind(socket.as_ptr(), to_be(Ipv4Addr::UNSPECIFIED), port)
        })?;
        // SAFETY: The socket is live.
        to_result(unsafe { bindings::kernel_listen(socket.as_ptr(), backlog) })?;
        Ok(Listener(socket))
    }

    /// Takes the next connection, `None` when there is none now.
    ///
    /// # Errors
    ///
    /// [`ENOMEM`], [`ECONNABORTED`] and the like; the listener stays usable.
    pub fn accept(&self) -> Result<Option<Stream>> {
        let mut new = core::ptr::null_mut();
        // SAFETY: The socket is live and listens; `new` is valid for writes.
        let result = to_result(unsafe {
            bindings::kernel_accept(self.0.as_ptr(), &mut new, bindings::O_NONBLOCK as c_int)
        });
        match result {
            Ok(()) => {
                let new = NonNull::new(new).ok_or(ECONNABORTED)?;
                // SAFETY: Just accepted, and nobody else knows it.
                let socket = unsafe { self.0.accepted(new) }?;
                Ok(Some(Stream::tuned(socket)))
            }
            Err(EAGAIN) => Ok(None),
            Err(e) => Err(e),
        }
    }
}

mod private {
    #[expect(
        unreachable_pub,
        reason = "the trait is sealed: other crates must not name it"
    )]
    pub trait Sealed {
        fn socket(&self) -> &super::Socket;
    }
}
use private::Sealed;

impl Sealed for Stream {
    fn socket(&self) -> &Socket {
        &self.0
    }
}

impl Sealed for Listener {
    fn socket(&self) -> &Socket {
        &self.0
    }
}

/// A socket that others use, too: it is closed with the last reference.
impl<S: Sealed> Sealed for Arc<S> {
    fn socket(&self) -> &Socket {
        (**self).socket()
    }
}

/// Who is told of a watched socket's news.
pub trait SocketHandler: Send + Sync + Sized + 'static {
    /// What kind of socket.
    type Socket: Sealed + Send + Sync + 'static;

    /// The socket has news: bytes, connections, room, the end. Also called once at the start.
    ///
    /// Runs in process context, never twice at once for one socket. May sleep.
    fn socket_ready(watch: &Task<WatchedSocket<Self>>);
}

/// A handler and its socket.
pub struct WatchedSocket<W: SocketHandler> {
    /// The socket.
    pub socket: W::Socket,
    handler: W,
}

impl<W: SocketHandler> Run for WatchedSocket<W> {
    fn run(task: &Task<Self>) {
        W::socket_ready(task);
    }
}

impl<W: SocketHandler> Deref for WatchedSocket<W> {
    type Target = W;

    fn deref(&self) -> &W {
        &self.handler
    }
}

/// A socket whose news run its [`SocketHandler`].
///
/// Dropping it takes the hook off the socket, cancels the handler's work and waits for it, then
/// drops the socket, which closes it unless others have it, and the handler, in this order.
///
/// A socket that is shared is put into one of these only: a second one would take its news.
///
/// # Invariants
///
/// `hook` points at the task's work and queue. The socket has it until this is dropped, or another hook, or none.
#[pin_data(PinnedDrop)]
pub struct SocketWork<W: SocketHandler> {
    #[pin]
    task: Task<WatchedSocket<W>>,
    #[pin]
    hook: Opaque<helpers::virgo_hook>,
}

// SAFETY: The hook does not change once the socket knows it; the task is `Send`.
unsafe impl<W: SocketHandler> Send for SocketWork<W> {}
// SAFETY: As above; the task is `Sync`.
unsafe impl<W: SocketHandler> Sync for SocketWork<W> {}

impl<W: SocketHandler> SocketWork<W> {
    /// Puts `handler` on `socket`. Use [`crate::new_socket_work!`].
    pub fn new(
        queue: Arc<WorkQueue>,
        socket: W::Socket,
        handler: W,
        name: &'static CStr,
        work_key: Pin<&'static LockClassKey>,
        timer_key: Pin<&'static LockClassKey>,
    ) -> impl PinInit<Self, Error> {
        let watch = WatchedSocket { socket, handler };
        try_pin_init!(Self {
            task <- Task::new(queue, watch, name, work_key, timer_key),
            hook: Opaque::zeroed(),
        }? Error)
        .pin_chain(|this| {
            let hook = this.hook.get();
            // SAFETY: The socket does not know the hook yet, so nobody reads it.
            unsafe {
                (*hook).queue = this.task.queue().as_ptr();
                (*hook).work = this.task.work_ptr();
            }
            // SAFETY: Hook, work and queue are pinned in `this` or held by it; `drop` unhooks.
            // INVARIANT: The socket has the hook from here on.
            unsafe { this.task.socket.socket().hook(hook) };
            this.task.schedule();
            Ok(())
        })
    }
}

impl<W: SocketHandler> Deref for SocketWork<W> {
    type Target = Task<WatchedSocket<W>>;

    fn deref(&self) -> &Self::Target {
        &self.task
    }
}

#[pinned_drop]
impl<W: SocketHandler> PinnedDrop for SocketWork<W> {
    fn drop(self: Pin<&mut Self>) {
        self.task.socket.socket().unhook();
    }
}

/// Initialises a [`SocketWork`] with lockdep classes of its own.
#[macro_export]
macro_rules! new_socket_work {
    ($queue:expr, $socket:expr, $handler:expr, $name:literal) => {
        $crate::net::SocketWork::new(
            $queue,
            $socket,
            $handler,
            $crate::lock_name!($name),
            ::kernel::static_lock_class!(),
            ::kernel::static_lock_class!(),
        )
    };
}
