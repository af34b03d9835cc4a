// SPDX-License-Identifier: GPL-2.0

//! What nodes say to each other about locks: integers in little-endian order, without padding.
//!
//! | op      | request body                                    | reply body | repeated |
//! |---------|--------------------------------------------------|--------|----------|
//! | Member  | an [`Ask`]                                        | a [`Told`] | done again |
//! | Claim   | view, uid (4 bytes), name, a [`Claim`]            | an [`Answer`] | done again |
//! | Notices | view, then name and [`Notice`], as often as there are | empty | done again |
//! | Reports | view, 1 if these are the last, then name and [`Report`] | empty | done again |
//!
//! A view is a number of 8 bytes: `ESTALE` answers one that has passed, `EAGAIN` one that has not come
//! yet. A name is a byte with its length and its bytes. All of these may be done twice: claims and what
//! follows from them have numbers. A record that means nothing is refused with `EINVAL`.
//!
//! [`Ask`]: super::membership::Ask
//! [`Told`]: super::membership::Told
//! [`Claim`]: super::resource::Claim
//! [`Answer`]: super::resource::Answer
//! [`Notice`]: super::resource::Notice
//! [`Report`]: super::resource::Report

mod read;
#[cfg(test)]
mod tests;
mod write;

pub use read::In;
pub use write::Out;

use super::{MAX_NAME, VALUE};

/// Operation numbers in [`crate::frame::FrameHeader::op`].
pub mod op {
    /// Views and the lease.
    pub const MEMBER: u16 = 1;
    /// What a node keeps and wants of a name.
    pub const CLAIM: u16 = 2;
    /// What the master of names says by itself.
    pub const NOTICES: u16 = 3;
    /// What a node has of names that another one masters now.
    pub const REPORTS: u16 = 4;
}

/// Bytes of the longest grant.
const MAX_GRANT: usize = 8 + 2 + 9 + MAX_VALUE;

const MAX_VALUE: usize = VALUE + 8 + 1;

/// Bytes of the longest answer.
pub const MAX_ANSWER: usize = 1 + MAX_GRANT;

/// Bytes of the longest request for a claim.
pub const MAX_CLAIM: usize = 8 + 4 + 1 + MAX_NAME + 8 + 3 + 9 + MAX_VALUE;

/// Bytes of the longest name with a notice or report.
pub const MAX_RECORD: usize = 1 + MAX_NAME + 1 + MAX_GRANT;

/// Bytes of the longest request or reply about views of `nodes` nodes.
pub const fn max_member(nodes: usize) -> usize {
    let view = 8 + 8 + 4 + 4 + 2;
    nodes.saturating_mul(17).saturating_add(view + 48)
}
