// SPDX-License-Identifier: GPL-2.0

//! What lies in the queues of a socket.
//!
//! C side: `skbuff.c`, which says what is locked. Programs see the same structure:
//! `include/uapi/linux/virgo_skbuff.h`.

use crate::helpers;
use kernel::{
    alloc::Flags,
    bindings,
    prelude::*, //
};

/// A queue of a socket.
#[derive(Clone, Copy)]
#[repr(usize)]
pub enum SocketQueue {
    /// What was not sent yet.
    Send = helpers::VIRGO_SKBUFF_SEND as usize,
    /// What was sent and is not acknowledged.
    Retransmit = helpers::VIRGO_SKBUFF_RETRANSMIT as usize,
    /// What has arrived and was not read.
    Receive = helpers::VIRGO_SKBUFF_RECEIVE as usize,
    /// What has arrived with a gap before it.
    OutOfOrder = helpers::VIRGO_SKBUFF_OUT_OF_ORDER as usize,
    /// What has arrived while a task used the socket.
    Backlog = helpers::VIRGO_SKBUFF_BACKLOG as usize,
}

/// A buffer at the head of a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BufferReport {
    /// Numbers of TCP: of the first byte, and behind the last one.
    pub sequence: Option<(u32, u32)>,
    /// Its bytes.
    pub len: u32,
    /// Free bytes before them.
    pub headroom: u32,
    /// Free bytes behind them.
    pub tailroom: u32,
    /// Nanoseconds since it was sent last, or arrived, if the kernel has stamped it.
    pub age_ns: Option<u64>,
}

/// What a queue had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueReport {
    /// Buffers.
    pub length: u32,
    /// Whether it has more of them than were looked at.
    pub has_more: bool,
    /// Bytes of those that were looked at.
    pub bytes: u64,
    /// The first buffer.
    pub head: Option<BufferReport>,
}

/// What the queues of a socket had at one moment.
pub struct SocketQueues(KBox<helpers::virgo_skbuff_report>);

impl SocketQueues {
    /// Any context but hard interrupts, and NMI; does not sleep, unless allocating by `flags` does.
    ///
    /// # Errors
    ///
    /// [`ENOMEM`].
    ///
    /// # Safety
    ///
    /// The socket is live, and is not released meanwhile.
    pub(crate) unsafe fn of(socket: *mut bindings::socket, flags: Flags) -> Result<Self> {
        let mut report = KBox::<helpers::virgo_skbuff_report>::new_uninit(flags)?;
        // SAFETY: The socket is live by the caller's promise. The report is valid for writes, and is
        // written whole.
        let report = unsafe {
            helpers::virgo_skbuff_read(socket, report.as_mut_ptr());
            report.assume_init()
        };
        Ok(SocketQueues(report))
    }

    /// A queue; `None` if somebody used the socket, so that it could not be looked at.
    pub fn get(&self, which: SocketQueue) -> Option<QueueReport> {
        let queue = self.0.queues.get(which as usize)?;
        if queue.flags & helpers::VIRGO_SKBUFF_READ == 0 {
            return None;
        }
        let head = &queue.head;
        let sequence = head.flags & helpers::VIRGO_SKBUFF_SEQUENCED != 0;
        Some(QueueReport {
            length: queue.length,
            has_more: queue.flags & helpers::VIRGO_SKBUFF_MORE != 0,
            bytes: queue.bytes,
            head: (queue.length > 0).then(|| BufferReport {
                sequence: sequence.then_some((head.seq, head.end_seq)),
                len: head.len,
                headroom: head.headroom,
                tailroom: head.tailroom,
                age_ns: u64::try_from(head.age_ns).ok(),
            }),
        })
    }

    /// Bytes that were written and are not acknowledged. TCP only.
    pub fn unacknowledged(&self) -> u32 {
        self.0.write_seq.wrapping_sub(self.0.snd_una)
    }

    /// Bytes of these that were not sent. TCP only.
    pub fn unsent(&self) -> u32 {
        self.0.write_seq.wrapping_sub(self.0.snd_nxt)
    }

    /// Bytes that have arrived and were not read. TCP only.
    pub fn unread(&self) -> u32 {
        self.0.rcv_nxt.wrapping_sub(self.0.copied_seq)
    }
}
