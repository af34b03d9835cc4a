// SPDX-License-Identifier: GPL-2.0

//! Text that is handed to the queue instead of being carried out, while the configuration says
//! `use_as_kingcobra_service`.

use crate::{
    functions::{
        self,
        Call,
        Output, //
    },
    reply::{
        Failure,
        Reply, //
    },
    service::Caller,
    user::User, //
};
use kernel::{
    prelude::*,
    sync::atomic::Atomic, //
};
use virgo_proto::errno::Errno;

/// The function of the queue's module that takes text.
const FUNCTION: &[u8] = b"kingcobra_push";

/// Hands `line` to the queue. May sleep.
///
/// # Errors
///
/// `ENODEV` if there is no queue; those of the queue.
pub fn divert(caller: &Caller<'_>, line: &[u8], reply: &mut Reply<'_>) -> Result<(), Failure> {
    let queue = functions::find(FUNCTION).ok_or(Failure::new(
        Errno::ENODEV,
        "use_as_kingcobra_service is on, but no queue is loaded",
    ))?;
    let user = User::of_text(caller);
    queue.run(&mut Call {
        state: None,
        uid: user.uid,
        deadline: user.deadline,
        cancelled: &Atomic::new(false),
        args: &[line],
        output: &mut Output::new(0),
    })?;
    reply.text(b"queued")
}
