// SPDX-License-Identifier: GPL-2.0

//! What the datagrams that go beside one connection have in common, at the client: keys, the way, and the
//! round trip. Any context but hard interrupts.

use crate::{
    client::request::{
        Data,
        Request, //
    },
    clock,
    datagram, //
};
use kernel::{
    prelude::*,
    sync::atomic::{
        Atomic,
        Relaxed, //
    }, //
};
use linux::{
    datagram::{
        Datagram,
        DatagramSource,
        Route, //
    },
    deadline::{
        now_ns,
        Deadline, //
    },
    secret::wipe, //
};
use virgo_proto::{
    clock::Hybrid,
    datagram::{
        signed_part,
        DatagramHeader,
        DatagramKind,
        Keys,
        RoundTrip, //
    },
    frame::RequestId,
    vuid::NodeId, //
};

/// Datagrams after which no more are signed with the same key: the connection that comes next has others.
const MAX_COUNTER: u64 = 1 << 40;

/// One round trip of so many is measured.
const MEASURED: u64 = 8;

/// More repetitions make no difference: see [`RoundTrip::timeout_us`].
const MAX_REPEATS: u32 = 8;

/// A bit beside the word of a probe.
const AWAITED: u64 = 1 << 32;

/// What the datagrams that belong to one connection have in common.
pub(crate) struct DatagramLink {
    keys: Keys,
    me: NodeId,
    route: Route,
    port: u16,
    /// Of the next datagram that is sent.
    counter: Atomic<u64>,
    /// As [`RoundTrip::to_bits`]. Of two tasks that change it at once one is lost.
    round_trip: Atomic<u64>,
    /// How often the last requests were repeated, together: the next one waits for as long as if it had been
    /// itself, until a round trip is measured. That may have become longer than is waited for, so that it could
    /// never be measured otherwise. Of two tasks that change it at once one is lost.
    repeats: Atomic<u32>,
    /// The word of the probe that was sent last, and [`AWAITED`]; 0 if it was answered. An answer that comes
    /// once more, as somebody may send it again who cannot sign, is none.
    probe: Atomic<u64>,
    /// A probe was answered, and nobody has heeded that yet.
    is_answered: Atomic<bool>,
    /// The connection is lost.
    over: Atomic<bool>,
}

impl Drop for DatagramLink {
    fn drop(&mut self) {
        wipe(&mut self.keys.to_server);
        wipe(&mut self.keys.to_client);
    }
}

impl DatagramLink {
    /// Without keys: see [`Self::keys`].
    pub(crate) fn new(me: NodeId, route: Route, port: u16) -> Self {
        DatagramLink {
            keys: Keys::none(),
            me,
            route,
            port,
            counter: Atomic::new(0),
            round_trip: Atomic::new(RoundTrip::unknown().to_bits()),
            repeats: Atomic::new(0),
            probe: Atomic::new(0),
            is_answered: Atomic::new(false),
            over: Atomic::new(false),
        }
    }

    /// Where the keys are to be derived, once this is where it stays: what is moved leaves a copy.
    pub(crate) fn keys(&mut self) -> &mut Keys {
        &mut self.keys
    }

    /// Whether no more may be sent.
    pub(crate) fn is_used_up(&self) -> bool {
        self.counter.load(Relaxed) >= MAX_COUNTER
    }

    fn round_trip(&self) -> RoundTrip {
        RoundTrip::from_bits(self.round_trip.load(Relaxed))
    }

    /// How long to wait for the reply to a request that was sent for the `repeats`-th time again, in
    /// microseconds.
    pub(crate) fn timeout_us(&self, repeats: u32) -> u32 {
        let repeats = repeats.saturating_add(self.repeats.load(Relaxed));
        self.round_trip().timeout_us(repeats)
    }

    /// A request was answered when it had been repeated so often more: nobody knows to which of them that
    /// belongs.
    pub(crate) fn repeated(&self, repeats: u32) {
        let all = self.repeats.load(Relaxed).saturating_add(repeats);
        self.repeats.store(all.min(MAX_REPEATS), Relaxed);
    }

    /// Whether the round trip of the datagram with this number is to be measured.
    pub(crate) fn is_measured(&self, counter: u64) -> bool {
        counter % MEASURED == 0 || self.repeats.load(Relaxed) != 0
    }

    /// A round trip has taken so many microseconds.
    pub(crate) fn measured(&self, us: u32) {
        let round_trip = self.round_trip().measured(us);
        self.round_trip.store(round_trip.to_bits(), Relaxed);
        self.repeats.store(0, Relaxed);
    }

    fn header(&self, kind: DatagramKind) -> DatagramHeader {
        DatagramHeader {
            kind,
            op: 0,
            session: self.keys.session,
            counter: self.counter.fetch_add(1, Relaxed),
            id: RequestId { slot: 0, seq: 0 },
            taken: 0,
            stamp: Hybrid::default(),
            word: 0,
            node: self.me,
        }
    }

    /// Asks whether datagrams get through. Nobody waits for the answer. Any context but hard interrupts.
    pub(crate) fn probe(&self) {
        let word = now_us();
        self.probe.store(AWAITED | u64::from(word), Relaxed);
        let header = DatagramHeader {
            word,
            ..self.header(DatagramKind::Probe)
        };
        // If it does not get away it is as good as lost.
        let _ = datagram::begin(0).and_then(|mut datagram| {
            datagram::sign(&mut datagram, header, &self.keys.to_server)?;
            datagram.send(&self.route, self.port)
        });
    }

    /// A probe with this word was answered.
    pub(crate) fn echoed(&self, word: u32) {
        let awaited = AWAITED | u64::from(word);
        if self.probe.cmpxchg(awaited, 0, Relaxed).is_err() {
            return;
        }
        self.measured(now_us().wrapping_sub(word));
        self.is_answered.store(true, Relaxed);
    }

    /// Whether a probe was answered since this was asked last.
    pub(crate) fn take_answered(&self) -> bool {
        let is_answered = self.is_answered.load(Relaxed);
        if is_answered {
            self.is_answered.store(false, Relaxed);
        }
        is_answered
    }

    /// The connection is lost.
    pub(crate) fn end(&self) {
        self.over.store(true, Relaxed);
    }

    /// Whether the connection is lost.
    pub(crate) fn over(&self) -> &Atomic<bool> {
        &self.over
    }

    /// Whether the other node has sent this.
    pub(crate) fn accepts(
        &self,
        header: &DatagramHeader,
        tag: u64,
        datagram: &Datagram,
        source: &DatagramSource,
    ) -> bool {
        let signed = signed_part(datagram.bytes()).map(|(signed, _)| signed);
        header.session == self.keys.session
            && self.route.is_way_of(source)
            && signed.is_some_and(|signed| datagram::is_signed(signed, tag, &self.keys.to_client))
    }

    /// Sends the request with this id; `taken` is the last number in its slot whose reply was taken. Returns
    /// the number of the datagram.
    ///
    /// # Errors
    ///
    /// [`ENOMEM`]; [`EMSGSIZE`] if it is too long for the network there; what the network says.
    pub(crate) fn send(
        &self,
        (id, taken): (RequestId, u64),
        request: &Request<'_>,
        deadline: Deadline,
    ) -> Result<u64> {
        let Data::Bytes(data) = request.data else {
            return Err(EINVAL);
        };
        let mut datagram = datagram::begin(request.size())?;
        datagram.put(request.args)?;
        datagram.put(data)?;
        let header = DatagramHeader {
            op: request.op,
            id,
            taken,
            stamp: clock::now(),
            word: deadline.left_ms(),
            ..self.header(DatagramKind::Request)
        };
        datagram::sign(&mut datagram, header, &self.keys.to_server)?;
        datagram.send(&self.route, self.port)?;
        Ok(header.counter)
    }
}

/// The low bits of a clock, in microseconds.
fn now_us() -> u32 {
    (now_ns() / 1000) as u32
}
