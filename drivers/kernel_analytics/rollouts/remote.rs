// SPDX-License-Identifier: GPL-2.0

//! Asking other nodes. See [`virgo_proto::analytics::rollout::wire`].

use kernel::{
    prelude::*,
    str::CString, //
};
use linux::deadline::Deadline;
use virgo_proto::{
    analytics::rollout::{
        wire::{
            op,
            say,
            RolloutReply,
            RolloutRequest,
            MAX_ANSWER_LEN,
            PREPARE_HEAD, //
        },
        RolloutAnswer,
        RolloutMessage, //
    },
    errno::Errno,
    vuid::NodeId, //
};
use virgo_utils::{
    to_wire,
    Client,
    Data,
    ReplyDeadline,
    Request, //
};

/// What has come of a message.
pub(crate) enum Said {
    /// This was answered.
    Answer(RolloutAnswer),
    /// It was refused; why, as a number, and for people.
    Refused(Errno, CString),
    /// Nothing was answered.
    Silent,
}

impl Said {
    /// As an answer says it.
    pub(super) fn of_reply(reply: &RolloutReply<'_>) -> Self {
        match reply {
            RolloutReply::Answer(answer) => Said::Answer(*answer),
            RolloutReply::Refused(errno, reason) => {
                let reason = core::str::from_utf8(reason).unwrap_or_default();
                Said::refused(*errno, reason)
            }
        }
    }

    fn refused(errno: Errno, reason: &str) -> Self {
        match CString::try_from_fmt(fmt!("{reason}")) {
            Ok(reason) => Said::Refused(errno, reason),
            // It is not said why.
            Err(_) => Said::Silent,
        }
    }
}

fn ask(client: &Client, node: NodeId, (op, data): (u16, &[u8]), ms: u32) -> Said {
    let request = Request {
        brief: None,
        op,
        args: b"",
        data: Data::Bytes(data),
        uid: 0,
        // Nothing that is said twice is done twice.
        retry_after_restart: true,
        reply_deadline: ReplyDeadline::Soon,
    };
    let mut reply = [0; MAX_ANSWER_LEN];
    match client.ask(node, &request, &mut reply, Deadline::after_ms(ms)) {
        Err(_) => Said::Silent,
        Ok(Err(e)) => {
            let errno = to_wire(e);
            Said::refused(errno, errno.text())
        }
        Ok(Ok(len)) => match RolloutReply::read(reply.get(..len).unwrap_or_default()) {
            Some(reply) => Said::of_reply(&reply),
            None => Said::refused(Errno::EPROTO, Errno::EPROTO.text()),
        },
    }
}

/// Asks `node` to be ready, and waits for the answer for `ms` milliseconds at most.
pub(super) fn prepare(
    client: &Client,
    node: NodeId,
    request: &RolloutRequest<'_>,
    ms: u32,
) -> Said {
    let mut data = KVVec::new();
    let size = PREPARE_HEAD + request.text.len();
    let filled = data.reserve(size, GFP_KERNEL).and_then(|()| {
        data.extend_from_slice(&request.head(), GFP_KERNEL)?;
        data.extend_from_slice(request.text, GFP_KERNEL)
    });
    match filled {
        Ok(()) => ask(client, node, (op::PREPARE, &data), ms),
        Err(_) => Said::refused(Errno::ENOMEM, Errno::ENOMEM.text()),
    }
}

/// Says anything else to `node`, and waits for the answer for `ms` milliseconds at most.
pub(super) fn tell(client: &Client, node: NodeId, (id, what): &RolloutMessage, ms: u32) -> Said {
    match say(*id, what) {
        Some(data) => ask(client, node, (op::SAY, &data), ms),
        None => Said::Silent,
    }
}
