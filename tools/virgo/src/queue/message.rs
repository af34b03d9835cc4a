// SPDX-License-Identifier: GPL-2.0
//! Messages that are taken, and what the calls for them have in common.

use crate::{
    Error, Result,
    abi::{self, MESSAGE_REQUEST, queue_op as op},
    call,
    error::Tried,
};
use libc::{EINVAL, EMSGSIZE, ETIMEDOUT, c_int};
use std::cell::RefCell;
use virgo_proto::{
    config::MAX_DEADLINE_MS,
    errno::Errno,
    queue::{MAX_NAME, reasons},
};

/// Most bytes of a message, of a request and of a reply.
pub const MAX_MESSAGE: usize = virgo_proto::queue::MAX_MESSAGE;

/// A message that was taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// By what it is acknowledged: another one each time that the message is taken.
    pub id: u64,
    /// Number in the queue or topic that it was published to; 0 if there is none of that name.
    pub position: u64,
    /// What it was published as.
    pub subject: String,
    /// The bytes.
    pub data: Vec<u8>,
    /// How often it was taken, this time included.
    pub deliveries: u32,
    /// Somebody waits for a reply.
    pub is_request: bool,
}

/// What [`take`] does.
pub(super) const TAKE: &str = "take messages";

/// Why an operation has failed. The kernel says it by number; the reason for `EINVAL` and
/// `EMSGSIZE` is found by judging what was passed as the kernel does, with the same code: `wrong`
/// does that.
pub(super) fn explained(
    what: &'static str,
    errno: c_int,
    wrong: impl FnOnce() -> Option<&'static str>,
) -> Error {
    explained_by(reasons::explain, what, errno, wrong)
}

/// The same, with reasons of the kernel for what was done.
pub(super) fn explained_by(
    explain: fn(Errno) -> &'static str,
    what: &'static str,
    errno: c_int,
    wrong: impl FnOnce() -> Option<&'static str>,
) -> Error {
    let known = Errno::from_wire(errno.unsigned_abs());
    let reason = match errno {
        EINVAL | EMSGSIZE => wrong(),
        ETIMEDOUT if what == TAKE => Some("no message in time"),
        libc::ENOSYS => None,
        _ => Some(explain(known)).filter(|&reason| reason != known.text()),
    };
    Error::new(Tried::Queue { what }, errno).because(reason)
}

pub(super) fn wrong_timeout(timeout_ms: u32) -> Option<&'static str> {
    (timeout_ms > MAX_DEADLINE_MS).then_some("a timeout is at most 300 s")
}

/// Does something with one message.
pub(super) fn one<'a>(
    mut call: call::QueueCall<'a>,
    op: u32,
    id: u64,
    data: &'a [u8],
    delay_ms: u32,
) -> Result<(), c_int> {
    let message = abi::MessageArgs {
        id,
        delay_ms,
        ..abi::MessageArgs::default()
    };
    call.push(message, data);
    call.call(op).map(drop)
}

/// Room for a message.
pub(super) struct Room {
    pub(super) data: Vec<u8>,
    pub(super) subject: [u8; MAX_NAME],
}

/// Lends rooms, which stay with the thread: making them costs more than most messages do.
pub(super) fn with_rooms<T>(count: usize, f: impl FnOnce(&mut [Room]) -> T) -> T {
    thread_local! {
        static ROOMS: RefCell<Vec<Room>> = const { RefCell::new(Vec::new()) };
    }
    ROOMS.with_borrow_mut(|rooms| {
        while rooms.len() < count {
            rooms.push(Room {
                data: vec![0; MAX_MESSAGE],
                subject: [0; MAX_NAME],
            });
        }
        f(&mut rooms[..count])
    })
}

/// Takes messages, and says how many were lost.
pub(super) fn take(
    call: call::QueueCall<'_>,
    count: usize,
    lost: impl FnOnce(u64),
) -> Result<Vec<Message>, c_int> {
    with_rooms(count.clamp(1, abi::MAX_MESSAGES), |rooms| {
        let mut call = call;
        for Room { data, subject } in rooms.iter_mut() {
            call.push_room(data, subject);
        }
        let taken = call.call(op::TAKE);
        lost(call.lost());
        let taken = taken?;
        let messages = call.into_messages();
        let message = |(message, room): (&abi::MessageArgs, &Room)| {
            let len = |len: u32, room: &[u8]| (len as usize).min(room.len());
            let subject = &room.subject[..len(message.subject_len, &room.subject)];
            Message {
                id: message.id,
                position: message.position,
                subject: String::from_utf8_lossy(subject).into_owned(),
                data: room.data[..len(message.len, &room.data)].to_vec(),
                deliveries: message.deliveries,
                is_request: message.flags & MESSAGE_REQUEST != 0,
            }
        };
        let all = messages.iter().zip(rooms.iter()).map(message);
        Ok(all.take(taken).collect())
    })
}
