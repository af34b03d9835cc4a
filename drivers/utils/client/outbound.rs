// SPDX-License-Identifier: GPL-2.0

//! Requests that wait until the connection has room for them, or until whoever sends now is done.
//!
//! A short request need not wait for the send lock: its task leaves it here, and goes to sleep until
//! the reply comes. Whoever has the lock sends all that have gathered, at once. What a task leaves
//! that gives up in the middle of a long request is here, too.

use crate::client::request::Data;
use core::mem::{
    replace,
    take, //
};
use kernel::prelude::*;
use linux::bytes::Fill;
use virgo_proto::{
    frame::HEADER_LEN,
    slots::SLOTS, //
};

/// Bytes of requests that can wait.
const CAPACITY: usize = 16 * 1024;

/// Bytes beyond these for headers of requests that do nothing: see [`Outbound::push_header`].
const RESERVE: usize = SLOTS * HEADER_LEN;

/// The longest request that waits here.
const LONGEST: usize = 512;

/// See the module's documentation. Guarded by the lock of the link.
pub(crate) struct Outbound {
    /// The rest of a request: to be sent before anything else.
    rest: Option<SendBuffer>,
    /// Requests that wait.
    waiting: KVVec<u8>,
    /// Room for others while those are being sent.
    spare: KVVec<u8>,
    /// Bytes that were ever put here.
    queued: u64,
    /// How many of them were sent.
    sent: u64,
    /// How many of them are being sent.
    leaving: u64,
    /// The connection that was lost last, and how many bytes may have been sent by then.
    lost: (u64, u64),
}

/// Bytes on their way to the network.
pub(crate) struct SendBuffer {
    bytes: KVVec<u8>,
    done: usize,
    /// It consists of requests that have waited, not of the rest of one.
    is_counted: bool,
}

impl Outbound {
    pub(crate) const fn new() -> Self {
        Outbound {
            rest: None,
            waiting: KVVec::new(),
            spare: KVVec::new(),
            queued: 0,
            sent: 0,
            leaving: 0,
            lost: (0, 0),
        }
    }

    /// Memory for requests that wait. May sleep.
    pub(crate) fn room() -> Result<[KVVec<u8>; 2]> {
        let one = || KVVec::with_capacity(CAPACITY + RESERVE, GFP_KERNEL);
        Ok([one()?, one()?])
    }

    /// Whether requests can wait here.
    pub(crate) fn has_room(&self) -> bool {
        self.waiting.capacity() > 0
    }

    /// From now on requests can wait here. Returns memory that is not needed.
    pub(crate) fn set_room(&mut self, room: [KVVec<u8>; 2]) -> Option<[KVVec<u8>; 2]> {
        if self.has_room() {
            return Some(room);
        }
        let [one, two] = room;
        // There is a spare one if what was to be sent has come back.
        Some([
            replace(&mut self.waiting, one),
            replace(&mut self.spare, two),
        ])
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rest.is_none() && self.waiting.is_empty()
    }

    /// Whether a request of so many bytes can wait here, if there is room.
    pub(crate) fn takes(size: usize) -> bool {
        size <= LONGEST
    }

    /// Has a request wait, if there is room. Returns its position.
    pub(crate) fn push(&mut self, head: &[u8], data: Data<'_>) -> Option<u64> {
        let Data::Bytes(data) = data else {
            return None;
        };
        let size = head.len() + data.len();
        if self.waiting.len() + size > CAPACITY || !self.has_room() {
            return None;
        }
        let position = self.queued;
        // There is room, so no memory is taken.
        let put = |bytes: &mut KVVec<u8>, part| bytes.put_bytes(part, GFP_NOWAIT);
        put(&mut self.waiting, head).ok()?;
        put(&mut self.waiting, data).ok()?;
        self.queued += size as u64;
        Some(position)
    }

    /// Has a request wait that is a header only, of a task that gives up what it has sent as a datagram. False
    /// if there is no room; there is for one of each slot, and it has no other until that one is answered:
    /// until then what uses the slot goes behind it.
    pub(crate) fn push_header(&mut self, header: &[u8; HEADER_LEN]) -> bool {
        let free = self.waiting.capacity() - self.waiting.len();
        // There is room, so no memory is taken.
        let has_put = free >= HEADER_LEN && self.waiting.put_bytes(header, GFP_NOWAIT).is_ok();
        if has_put {
            self.queued += HEADER_LEN as u64;
        }
        has_put
    }

    /// Has the rest of a request be sent before anything else.
    pub(crate) fn push_rest(&mut self, bytes: KVVec<u8>) {
        self.rest = Some(SendBuffer {
            bytes,
            done: 0,
            is_counted: false,
        });
    }

    /// What is to be sent now. It comes back by [`Self::put_back`] or [`Self::put_away`].
    pub(crate) fn take(&mut self) -> Option<SendBuffer> {
        let batch = match self.rest.take() {
            Some(rest) => rest,
            None if self.waiting.is_empty() => return None,
            None => {
                let spare = take(&mut self.spare);
                SendBuffer {
                    bytes: replace(&mut self.waiting, spare),
                    done: 0,
                    is_counted: true,
                }
            }
        };
        if batch.is_counted {
            self.leaving = batch.left().len() as u64;
        }
        Some(batch)
    }

    /// Takes back what was to be sent, of which `now` more bytes were. Returns memory to be given back.
    pub(crate) fn put_back(&mut self, mut batch: SendBuffer, now: usize) -> Option<KVVec<u8>> {
        batch.done += now;
        if batch.is_counted {
            self.sent += now as u64;
            self.leaving = 0;
        }
        if batch.left().is_empty() {
            return self.put_away(batch);
        }
        self.rest = Some(batch);
        None
    }

    /// Takes the memory back of what was sent, or was to be sent by a connection that is lost. Returns
    /// what is to be given back.
    pub(crate) fn put_away(&mut self, batch: SendBuffer) -> Option<KVVec<u8>> {
        let mut bytes = batch.bytes;
        if !batch.is_counted {
            return Some(bytes);
        }
        bytes.clear();
        Some(replace(&mut self.spare, bytes))
    }

    /// Connection `serial` is lost, and with it all that waits. Returns memory to be given back.
    pub(crate) fn clear(&mut self, serial: u64) -> Option<KVVec<u8>> {
        self.lost = (serial, self.sent + self.leaving);
        self.sent = self.queued;
        self.leaving = 0;
        self.waiting.clear();
        let rest = self.rest.take()?;
        self.put_away(rest)
    }

    /// Whether something of the request at `position` may have been sent by connection `serial`, which
    /// is lost.
    pub(crate) fn was_sent(&self, serial: u64, position: u64) -> bool {
        let (lost, sent) = self.lost;
        serial != lost || position < sent
    }
}

impl SendBuffer {
    /// What is to be sent.
    pub(crate) fn left(&self) -> &[u8] {
        self.bytes.get(self.done..).unwrap_or_default()
    }
}
