// SPDX-License-Identifier: GPL-2.0
//! Answering requests.

use super::{
    message::{MAX_MESSAGE, Message},
    named::Queue,
    subscription::Subscription,
};
use crate::Result;
use libc::{EBADF, EEXIST, ENOENT, ENOSYS, ESHUTDOWN, ETIMEDOUT, c_int};
use virgo_proto::errno::Errno;

/// A reply that says that the request was not done: `ERR NAME REASON`, as text sessions and
/// KingCobra say it. Who has asked finds that out by [`told_error`].
pub fn refusal(errno: c_int, reason: &str) -> Vec<u8> {
    let name = Errno::from_wire(errno.unsigned_abs()).name();
    let mut reply = format!("ERR {name} {reason}").into_bytes();
    reply.truncate(MAX_MESSAGE);
    reply
}

/// The error that a reply tells instead of an answer.
pub fn told_error(reply: &[u8]) -> Option<c_int> {
    let errno = Errno::told_by(reply)?.to_wire();
    c_int::try_from(errno).ok()
}

/// Answers requests to the queue `name` of this node with what `answer` makes of them, for ever.
/// The queue is made if it is not there, and then all users may publish to it. Several programs that serve the same queue share the work.
///
/// A reply of more than [`MAX_MESSAGE`] bytes is not sent; who has asked gets a [`refusal`] that
/// says so. What goes wrong with one request does not end the service.
///
/// # Errors
///
/// What ends it: `ENOENT` if the queue is deleted, `ENOSYS` if virgo_queue is not loaded.
pub fn serve(name: &str, answer: impl FnMut(&Message) -> Vec<u8>) -> Result<()> {
    serve_queue(name, "mode=72", answer)
}

/// The same, with a queue that is made with these options.
pub(crate) fn serve_queue(
    name: &str,
    options: &str,
    mut answer: impl FnMut(&Message) -> Vec<u8>,
) -> Result<()> {
    match Queue::new(name).create(options) {
        Err(error) if error.errno() != EEXIST => return Err(error),
        _ => (),
    }
    let requests = Subscription::open(name, "ack")?;
    loop {
        let messages = match requests.take(16, None) {
            Err(error) if error.errno() == ETIMEDOUT => continue,
            messages => messages?,
        };
        for message in messages {
            let reply = within_limit(answer(&message));
            let said = match message.is_request {
                true => requests.reply(message.id, &reply),
                false => requests.ack(message.id),
            };
            match said {
                Err(error) if ends_service(error.errno()) => return Err(error),
                // Who has asked has gone, or another got the request because this one took long,
                // or there was no memory for the reply: who has asked finds out by the time-out.
                _ => (),
            }
        }
    }
}

/// The reply, or that it is too large.
fn within_limit(reply: Vec<u8>) -> Vec<u8> {
    match reply.len() {
        0..=MAX_MESSAGE => reply,
        len => {
            let reason = format!("the reply has {len} bytes, and may have {MAX_MESSAGE}");
            refusal(libc::EMSGSIZE, &reason)
        }
    }
}

/// Whether the next request would meet the same error.
fn ends_service(errno: c_int) -> bool {
    matches!(errno, EBADF | ENOENT | ENOSYS | ESHUTDOWN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_that_is_too_large_becomes_an_error() {
        let reply = vec![7; MAX_MESSAGE];
        assert_eq!(within_limit(reply.clone()), reply);
        let told = within_limit(vec![7; MAX_MESSAGE + 1]);
        assert_eq!(
            String::from_utf8_lossy(&told),
            "ERR EMSGSIZE the reply has 65537 bytes, and may have 65536"
        );
        assert_eq!(told_error(&told), Some(libc::EMSGSIZE));
    }

    #[test]
    fn refusals_are_told_from_answers() {
        let reply = refusal(libc::EIO, "it ended with status 1");
        assert_eq!(told_error(&reply), Some(libc::EIO));
        assert_eq!(told_error(b"ERR or not"), None);
        assert_eq!(
            refusal(libc::EIO, &"x".repeat(MAX_MESSAGE)).len(),
            MAX_MESSAGE
        );
    }
}
