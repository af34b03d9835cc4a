// SPDX-License-Identifier: GPL-2.0

//! One of several requests that may be made for a user, to one node after the other: how much of the
//! user's time it may take, and what its failure says about the node.

use crate::{
    client::Client,
    user::User, //
};
use kernel::prelude::*;
use linux::deadline::{
    now_ms,
    Deadline, //
};
use virgo_proto::vuid::NodeId;

/// A node that has not answered for so many milliseconds is taken to be out of order, even if the user
/// would have waited longer. Those of the configuration count for a quarter if that is less.
const PATIENCE_MS: u32 = 1000;

/// A request that is about to be made.
pub struct Attempt<'a> {
    /// For whom it is, with the time that it may take.
    pub user: User<'a>,
    /// A failure for want of time before this says nothing about the node.
    patience: Deadline,
    begun_ms: u64,
}

impl<'a> Attempt<'a> {
    /// One that may take all the time that `user` has.
    pub fn last(user: &User<'a>) -> Self {
        Self::until(user, user.deadline)
    }

    /// One that leaves half of the time that `user` has for other nodes.
    pub fn before_others(user: &User<'a>) -> Self {
        Self::until(user, Deadline::after_ms(user.deadline.left_ms() / 2))
    }

    /// One that every node in order answers within `ms` milliseconds.
    pub fn within(user: &User<'a>, ms: u32) -> Self {
        let end = Deadline::after_ms(ms);
        let this = Self::until(user, end);
        Attempt {
            patience: this.patience.min(end),
            ..this
        }
    }

    fn until(user: &User<'a>, deadline: Deadline) -> Self {
        let config = user.config;
        Attempt {
            user: User {
                uid: user.uid,
                deadline: deadline.min(user.deadline),
                config,
                claim: user.claim,
            },
            patience: Deadline::after_ms(PATIENCE_MS.min(config.deadline_ms / 4)),
            begun_ms: now_ms(),
        }
    }

    /// Whether the request has failed with error `e` because `node`, which `client` has asked, is not
    /// reached or does not answer, so that others had better not ask it for a while. It is not if the user
    /// had little time, nor if the node has answered others meanwhile: then the user has waited behind
    /// requests of his own. Nobody may keep others from a node.
    pub fn is_nodes_fault(&self, client: &Client, node: NodeId, e: Error) -> bool {
        match e {
            EHOSTDOWN | EKEYREJECTED | EPERM | EPROTO | ECONNRESET => true,
            ETIMEDOUT => {
                let took_ms = now_ms().saturating_sub(self.begun_ms);
                let took_ms = u32::try_from(took_ms).unwrap_or(u32::MAX);
                self.patience.passed() && !client.was_heard_within(node, took_ms)
            }
            _ => false,
        }
    }
}
