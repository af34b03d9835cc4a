// SPDX-License-Identifier: GPL-2.0

//! UDP datagrams between kernels, over IPv4 in the initial network name space, without sockets' queues:
//! what arrives is handed on at once, in softirq, and nothing that is sent waits for a socket.
//!
//! C side: `datagram.c`.

use crate::{
    deadline::{
        wait_result,
        Deadline, //
    },
    helpers, //
};
use core::{
    marker::PhantomData,
    net::{
        Ipv4Addr,
        SocketAddrV4, //
    },
    ptr::NonNull, //
};
use kernel::{
    bindings,
    error::to_result,
    prelude::*,
    sync::{
        atomic::Atomic,
        Arc, //
    },
    types::{
        NotThreadSafe,
        Opaque, //
    }, //
};

/// Shows that its owner runs in softirq: it does not sleep, and no task of its processor runs meanwhile.
pub struct Softirq(NotThreadSafe);

/// A datagram that has arrived.
///
/// # Invariants
///
/// The pointer is a linear `sk_buff` that is this object's.
pub struct Datagram(NonNull<bindings::sk_buff>);

// SAFETY: An `sk_buff` may be used and freed by any thread.
unsafe impl Send for Datagram {}

impl Datagram {
    /// Its bytes, without the headers of UDP and IP.
    pub fn bytes(&self) -> &[u8] {
        let mut len = 0;
        // SAFETY: By the invariant the buffer is live, and all its bytes are in one place, which nobody
        // writes to while others may read them.
        unsafe {
            let bytes = helpers::virgo_skb_bytes(self.0.as_ptr(), &mut len);
            core::slice::from_raw_parts(bytes.cast(), len)
        }
    }

    fn into_raw(self) -> *mut bindings::sk_buff {
        let ptr = self.0.as_ptr();
        core::mem::forget(self);
        ptr
    }
}

impl Drop for Datagram {
    fn drop(&mut self) {
        // SAFETY: By the invariant the buffer is ours.
        unsafe { helpers::virgo_skb_free(self.0.as_ptr()) };
    }
}

/// Where a datagram has come from, and to which address of this machine.
#[derive(Clone, Copy)]
pub struct DatagramSource {
    /// The source.
    pub from: SocketAddrV4,
    /// One of this machine's addresses.
    pub to: Ipv4Addr,
}

/// Who takes the datagrams of a port.
pub trait Receive: Send + Sync + 'static {
    /// A datagram has come. Several may at a time, on different processors.
    fn receive(&self, context: &Softirq, datagram: Datagram, source: DatagramSource);
}

/// A UDP port of all addresses of this machine.
///
/// Dropping it waits until nobody is called any more; sleeps.
///
/// # Invariants
///
/// `socket` is a UDP socket of this object's, listed by `number`, whose hook is `hook`, and that calls
/// [`receive`] with a pointer to `receiver`.
pub struct Port<R: Receive> {
    socket: NonNull<bindings::socket>,
    number: u32,
    _hook: KBox<Opaque<helpers::virgo_udp_hook>>,
    _receiver: Arc<R>,
}

// SAFETY: Kernel sockets may be closed by any thread, and the receiver is `Send` and `Sync`.
unsafe impl<R: Receive> Send for Port<R> {}
// SAFETY: As above. Nothing can be done with a shared reference.
unsafe impl<R: Receive> Sync for Port<R> {}

impl<R: Receive> Port<R> {
    /// Has `receiver` take the datagrams of `port`, of up to `max` bytes. May sleep.
    ///
    /// # Errors
    ///
    /// [`EADDRINUSE`] if somebody has the port; [`ENOMEM`].
    pub fn open(port: u16, max: usize, receiver: Arc<R>) -> Result<Self> {
        let hook = helpers::virgo_udp_hook {
            receive: Some(receive::<R>),
            data: (&raw const *receiver).cast_mut().cast(),
            max,
        };
        let hook = KBox::new(Opaque::new(hook), GFP_KERNEL)?;
        let mut socket = core::ptr::null_mut();
        // SAFETY: `socket` is valid for writes; the hook and the receiver live for as long as this
        // object, and `drop` closes the socket before they go.
        to_result(unsafe { helpers::virgo_udp_open(port, hook.get(), &mut socket) })?;
        let socket = NonNull::new(socket).ok_or(ENOMEM)?;
        let mut number = 0;
        // SAFETY: The socket is live, and `drop` unlists it before it closes it; `number` is valid for
        // writes.
        let listed = unsafe { helpers::virgo_own_sock_add(socket.as_ptr(), &mut number) };
        let listed = to_result(listed);
        if let Err(e) = listed {
            // SAFETY: It is ours; the hook and the receiver are dropped after this.
            unsafe { helpers::virgo_udp_close(socket.as_ptr()) };
            return Err(e);
        }
        // INVARIANT: Just made so.
        Ok(Port {
            socket,
            number,
            _hook: hook,
            _receiver: receiver,
        })
    }
}

impl<R: Receive> Drop for Port<R> {
    fn drop(&mut self) {
        // SAFETY: By the invariant the number is this socket's, which is ours. The other fields are
        // dropped after this.
        unsafe {
            helpers::virgo_own_sock_remove(self.number);
            helpers::virgo_udp_close(self.socket.as_ptr());
        }
    }
}

/// # Safety
///
/// Called in softirq; `data` points at an `R`, `skb` is a linear `sk_buff` that is this function's, and
/// `received` is valid.
unsafe extern "C" fn receive<R: Receive>(
    data: *mut c_void,
    skb: *mut bindings::sk_buff,
    received: *const helpers::virgo_received,
) {
    // SAFETY: By the caller's promise. It lives until the port is closed, which waits for this.
    let (receiver, received) = unsafe { (&*data.cast::<R>(), &*received) };
    let Some(skb) = NonNull::new(skb) else {
        return;
    };
    let from = Ipv4Addr::from(received.from.to_ne_bytes());
    let source = DatagramSource {
        from: SocketAddrV4::new(from, received.port),
        to: received.to.to_ne_bytes().into(),
    };
    // INVARIANT: By the caller's promise.
    receiver.receive(&Softirq(NotThreadSafe), Datagram(skb), source);
}

/// The way from a port of this machine to another machine.
pub struct Route {
    inner: Opaque<helpers::virgo_route>,
    from: Ipv4Addr,
    to: Ipv4Addr,
}

// SAFETY: What changes in it is exchanged atomically, and read under RCU.
unsafe impl Send for Route {}
// SAFETY: As above.
unsafe impl Sync for Route {}

impl Route {
    /// From address `from` and `port` to address `to`.
    pub fn new(from: Ipv4Addr, port: u16, to: Ipv4Addr) -> Self {
        let be = |address: Ipv4Addr| u32::from_ne_bytes(address.octets());
        let inner = helpers::virgo_route {
            from: be(from),
            to: be(to),
            port,
            dst: core::ptr::null_mut(),
        };
        Route {
            inner: Opaque::new(inner),
            from,
            to,
        }
    }

    /// The address of the other machine.
    pub fn to(&self) -> Ipv4Addr {
        self.to
    }

    /// Whether a datagram has come the other way.
    pub fn is_way_of(&self, source: &DatagramSource) -> bool {
        *source.from.ip() == self.to && source.to == self.from
    }
}

impl Drop for Route {
    fn drop(&mut self) {
        // SAFETY: Nobody else uses the route any more.
        unsafe { helpers::virgo_route_put(self.inner.get()) };
    }
}

/// A datagram to be sent.
///
/// # Invariants
///
/// The pointer is a linear `sk_buff` that is this object's, and was made by `virgo_skb_new`.
pub struct OutgoingDatagram {
    skb: NonNull<bindings::sk_buff>,
    /// Most bytes that it may have; the buffer may have room for some more.
    max: usize,
}

impl OutgoingDatagram {
    /// An empty one that can have up to `max` bytes. Any context.
    ///
    /// # Errors
    ///
    /// [`ENOMEM`].
    pub fn new(max: usize) -> Result<Self> {
        // SAFETY: May be called in any context.
        let skb = unsafe { helpers::virgo_skb_new(max) };
        // INVARIANT: Just made.
        Ok(OutgoingDatagram {
            skb: NonNull::new(skb).ok_or(ENOMEM)?,
            max,
        })
    }

    /// Appends bytes.
    ///
    /// # Errors
    ///
    /// [`EMSGSIZE`] if there is no room for them.
    pub fn put(&mut self, bytes: &[u8]) -> Result {
        if bytes.len() > self.max.saturating_sub(self.bytes().len()) {
            return Err(EMSGSIZE);
        }
        // SAFETY: By the invariant the buffer is ours; the pointer is valid for the length.
        let fits = unsafe {
            helpers::virgo_skb_put(self.skb.as_ptr(), bytes.as_ptr().cast(), bytes.len())
        };
        match fits {
            true => Ok(()),
            false => Err(EMSGSIZE),
        }
    }

    /// Takes the bytes behind the first `len` away.
    pub fn truncate(&mut self, len: usize) {
        // SAFETY: By the invariant the buffer is ours. Where there are fewer bytes nothing happens.
        unsafe { helpers::virgo_skb_trim(self.skb.as_ptr(), len) };
    }

    /// The bytes so far.
    pub fn bytes(&self) -> &[u8] {
        let mut len = 0;
        // SAFETY: By the invariant the buffer is ours, and its bytes are in one place.
        unsafe {
            let bytes = helpers::virgo_skb_bytes(self.skb.as_ptr(), &mut len);
            core::slice::from_raw_parts(bytes.cast(), len)
        }
    }

    /// The bytes so far, to be changed.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        let mut len = 0;
        // SAFETY: By the invariant the buffer is ours alone, and its bytes are in one place.
        unsafe {
            let bytes = helpers::virgo_skb_bytes(self.skb.as_ptr(), &mut len);
            core::slice::from_raw_parts_mut(bytes.cast(), len)
        }
    }

    /// Sends it on `route` to `port`. It may be lost on the way all the same. Any context but hard
    /// interrupts.
    ///
    /// # Errors
    ///
    /// [`EMSGSIZE`] if it is too long for the network there; what the network says.
    pub fn send(self, route: &Route, port: u16) -> Result {
        let skb = self.skb.as_ptr();
        core::mem::forget(self);
        // SAFETY: By the invariant the buffer was ours, and is given away here; the route is valid.
        to_result(unsafe { helpers::virgo_skb_send(route.inner.get(), port, skb) })
    }
}

impl Drop for OutgoingDatagram {
    fn drop(&mut self) {
        // SAFETY: By the invariant the buffer is ours.
        unsafe { helpers::virgo_skb_free(self.skb.as_ptr()) };
    }
}

/// Where tasks wait, one at a time, each for one datagram.
#[pin_data(PinnedDrop)]
pub struct Mailbox {
    #[pin]
    inner: Opaque<helpers::virgo_mailbox>,
}

// SAFETY: The box has a lock of its own.
unsafe impl Send for Mailbox {}
// SAFETY: As above.
unsafe impl Sync for Mailbox {}

impl Mailbox {
    /// Nobody waits.
    pub fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            // SAFETY: `slot` is valid for writes.
            inner <- Opaque::ffi_init(|slot| unsafe { helpers::virgo_mailbox_init(slot) }),
        })
    }

    /// The current task waits for the datagram that is called `name`, which is not 0. It is the only one
    /// that uses the box.
    pub fn open(&self, name: u64) -> OpenMailbox<'_> {
        // SAFETY: The box is initialised.
        unsafe { helpers::virgo_mailbox_open(self.inner.get(), name) };
        OpenMailbox {
            mailbox: self,
            _task: PhantomData,
        }
    }

    /// Gives `datagram` to the task that waits for `name`. Returns it if none does. Any context but hard
    /// interrupts.
    pub fn put(&self, name: u64, datagram: Datagram) -> Option<Datagram> {
        let skb = datagram.into_raw();
        // SAFETY: The box is initialised, and the buffer ours; it is the box's if this says so.
        let is_taken = unsafe { helpers::virgo_mailbox_put(self.inner.get(), name, skb) };
        match is_taken {
            true => None,
            // INVARIANT: It is ours still.
            false => NonNull::new(skb).map(Datagram),
        }
    }

    /// Has the task that waits look whether it is over. Any context but hard interrupts.
    pub fn poke(&self) {
        // SAFETY: The box is initialised.
        unsafe { helpers::virgo_mailbox_poke(self.inner.get()) };
    }
}

#[pinned_drop]
impl PinnedDrop for Mailbox {
    fn drop(self: Pin<&mut Self>) {
        // SAFETY: The box is initialised. Nobody waits: that would borrow it.
        let skb = unsafe { helpers::virgo_mailbox_close(self.inner.get()) };
        // INVARIANT: The box has given it away.
        drop(NonNull::new(skb).map(Datagram));
    }
}

/// The current task waits for a datagram; it does not any more when this is dropped.
pub struct OpenMailbox<'a> {
    mailbox: &'a Mailbox,
    /// The box is closed by the task that has opened it.
    _task: PhantomData<NotThreadSafe>,
}

impl OpenMailbox<'_> {
    /// Waits until the datagram is there, or `over` is true and [`Mailbox::poke`] comes after that. False
    /// after `us` microseconds, or at the deadline.
    ///
    /// # Errors
    ///
    /// [`EINTR`] when the task is being killed.
    pub fn wait(&self, over: &Atomic<bool>, us: u32, deadline: Deadline) -> Result<bool> {
        // SAFETY: Plain arithmetic. One more, since the present jiffy is over soon.
        let jiffies = unsafe { bindings::__usecs_to_jiffies(us) }.saturating_add(1);
        let left = c_long::try_from(jiffies).unwrap_or(c_long::MAX);
        let left = left.min(deadline.left_jiffies());
        // SAFETY: The box is initialised, and open for this task; `over` is valid for reads.
        wait_result(unsafe {
            helpers::virgo_mailbox_wait(self.mailbox.inner.get(), over.as_ptr().cast(), left)
        })
    }

    /// The datagram, if it has come. The box is closed.
    pub fn close(self) -> Option<Datagram> {
        let this = core::mem::ManuallyDrop::new(self);
        this.take()
    }

    fn take(&self) -> Option<Datagram> {
        // SAFETY: The box is initialised, and was opened by this task.
        let skb = unsafe { helpers::virgo_mailbox_close(self.mailbox.inner.get()) };
        // INVARIANT: The box has given it away.
        NonNull::new(skb).map(Datagram)
    }
}

impl Drop for OpenMailbox<'_> {
    fn drop(&mut self) {
        drop(self.take());
    }
}
