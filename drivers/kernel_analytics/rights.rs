// SPDX-License-Identifier: GPL-2.0

//! Who may set variables, and which.

use crate::stream_input;
use virgo_config::Config;
use virgo_proto::{
    analytics::rollout::wire::MAX_ROLLOUT_PAIRS,
    config::{
        lists_uid,
        Statement, //
    },
    errno::Errno, //
};
use virgo_utils::{
    variables::SourceRules,
    Failure, //
};

/// What a `callers` line calls the right to set variables.
const RIGHT: &str = "kernel_analytics";

/// What others than root may set.
pub(crate) const OTHERS: SourceRules = SourceRules {
    max_pairs: usize::MAX,
    may_set: stream_input::may_set,
};

/// Root may set variables, and whom a `callers` line names for that.
pub(crate) fn may_set(config: &Config, uid: u32) -> bool {
    let mut listed = uid == 0;
    config.for_each(|item| {
        if let Statement::Callers { target, uids } = item {
            listed |= target == RIGHT && lists_uid(uids, uid);
        }
    });
    listed
}

/// Whether user `uid` may set variables here.
///
/// # Errors
///
/// [`Errno::EACCES`].
pub(crate) fn check(config: &Config, uid: u32) -> Result<(), Failure> {
    match may_set(config, uid) {
        true => Ok(()),
        false => Err(Failure::new(
            Errno::EACCES,
            "only root sets variables, and uids of a line 'callers = kernel_analytics UID,UID'",
        )),
    }
}

/// What may be rolled out by user `uid`.
pub(crate) fn of_rollout(uid: u32) -> SourceRules {
    SourceRules {
        max_pairs: MAX_ROLLOUT_PAIRS,
        may_set: match uid {
            0 => |_| true,
            _ => stream_input::may_set,
        },
    }
}
