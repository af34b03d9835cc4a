// SPDX-License-Identifier: GPL-2.0

//! What one node asks of another.

use linux::pages::Pages;
use virgo_proto::datagram::MAX_BODY;

/// A request to another node.
pub struct Request<'a> {
    /// Number of the operation.
    pub op: u16,
    /// Its arguments: at most 40 bytes.
    pub args: &'a [u8],
    /// What follows the arguments.
    pub data: Data<'a>,
    /// The user for whom it is made, whose share of the slots it takes and who waits for the send lock
    /// in turn with others; 0 for the node itself.
    pub uid: u32,
    /// Whether it is sent again to a node that has restarted, of which nobody knows whether it had done it
    /// before.
    pub retry_after_restart: bool,
    /// When to expect the reply.
    pub reply_deadline: ReplyDeadline,
    /// How many bytes the reply has at most, if the operation is [brief](crate::BriefOperation): then both
    /// may go as datagrams. Only of requests that are answered soon, and that may be sent again to a node
    /// that has restarted.
    pub brief: Option<usize>,
}

impl Request<'_> {
    /// Bytes of its body.
    pub(crate) fn size(&self) -> usize {
        self.args.len() + self.data.size()
    }

    /// Whether request and reply fit into datagrams, and may go like that.
    pub(crate) fn fits_datagram(&self) -> bool {
        self.brief.is_some_and(|reply| reply <= MAX_BODY)
            && self.size() <= MAX_BODY
            && matches!(self.data, Data::Bytes(_))
            && self.retry_after_restart
            && self.reply_deadline == ReplyDeadline::Soon
    }
}

/// Bytes of a request.
#[derive(Clone, Copy)]
pub enum Data<'a> {
    /// Few, or such as are somewhere anyway.
    Bytes(&'a [u8]),
    /// Such as are sent without a copy.
    Pages(&'a Pages),
}

impl Data<'_> {
    /// How many there are.
    pub fn size(&self) -> usize {
        match self {
            Data::Bytes(bytes) => bytes.len(),
            Data::Pages(pages) => pages.size(),
        }
    }
}

/// When to expect a reply. A node that is silent for longer may be dead.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum ReplyDeadline {
    /// When the requests before it are answered.
    Soon,
    /// It may be deferred for so many milliseconds.
    Within(u32),
    /// It may be deferred for as long as somebody waits for it. That the node's network layer
    /// acknowledges the request is all that shows that it lives.
    Sometime,
}

impl ReplyDeadline {
    /// For how many milliseconds it may be deferred, if there is a limit.
    pub(crate) fn within_ms(self) -> Option<u32> {
        match self {
            ReplyDeadline::Soon => Some(0),
            ReplyDeadline::Within(ms) => Some(ms),
            ReplyDeadline::Sometime => None,
        }
    }
}
