// SPDX-License-Identifier: GPL-2.0

//! For whom something is done.

use crate::service::Caller;
use kernel::prelude::*;
use linux::{
    deadline::Deadline,
    user, //
};
use virgo_config::Config;
use virgo_proto::{
    config::MAX_DEADLINE_MS,
    fence::FenceClaim, //
};

/// Who wants something done, by when, and the configuration that holds for it.
pub struct User<'a> {
    /// The uid, in the initial user name space.
    pub uid: u32,
    /// By when it has to be done.
    pub deadline: Deadline,
    /// The configuration in force when it began.
    pub config: &'a Config,
    /// The lock that this user has of what is to be changed, if it was told one.
    pub claim: Option<FenceClaim>,
}

impl<'a> User<'a> {
    /// The task that makes a system call, which gives it `timeout_ms` milliseconds; 0 stands for
    /// the configured deadline.
    ///
    /// # Errors
    ///
    /// [`EINVAL`] for more than [`MAX_DEADLINE_MS`].
    pub fn of_call(config: &'a Config, timeout_ms: u32) -> Result<Self> {
        let ms = match timeout_ms {
            0 => config.deadline_ms,
            1..=MAX_DEADLINE_MS => timeout_ms,
            _ => return Err(EINVAL),
        };
        Ok(User {
            uid: user::current_uid(),
            deadline: Deadline::after_ms(ms),
            config,
            claim: None,
        })
    }

    /// The same, with the lock that it says it has.
    pub fn with_lock(self, claim: Option<FenceClaim>) -> Self {
        User { claim, ..self }
    }

    /// This node itself, with the configured deadline.
    pub fn of_node(config: &'a Config) -> Self {
        User {
            uid: 0,
            deadline: Deadline::after_ms(config.deadline_ms),
            config,
            claim: None,
        }
    }

    /// Whom a text session acts as, with the configured deadline.
    pub fn of_text(caller: &Caller<'a>) -> Self {
        User {
            uid: caller.uid,
            deadline: Deadline::after_ms(caller.config.deadline_ms),
            config: caller.config,
            claim: None,
        }
    }
}
