// SPDX-License-Identifier: GPL-2.0

//! The lock that guards a channel: who publishes to its name, empties it or deletes it may have to hold it.
//!
//! [`virgo_proto::fence`] decides who may. What comes to a channel in other ways is not asked: copies of what
//! is published to a name that it is bound to, dead letters, what is restored, and requests of modules. Nor
//! is who takes and acknowledges: a message that is taken has a delivery of its own, whose number a late
//! consumer cannot use.
//!
//! Locking: a fence is asked and changed under the lock of the channel's state, under the hold under which
//! happens what it lets in. That of a durable channel changes under the lock of the log's writer only, so that
//! the log has it before what it lets in, and that whoever has that lock may ask before it appends.

use super::{
    Channel,
    State, //
};
use crate::log::LogWriter;
use kernel::prelude::*;
use linux::deadline::Deadline;
use virgo_proto::{
    fence::{
        Fence,
        FenceClaim, //
    },
    queue::record::{
        Record,
        RecordKind,
        MAX_FENCE, //
    }, //
};
use virgo_utils::from_wire;

/// Whether the fence of a channel is asked.
#[derive(Clone, Copy)]
pub(crate) enum FenceCheck {
    /// It is, by who says that it has this lock, or none.
    Claim(Option<FenceClaim>),
    /// It is not.
    Exempt,
}

impl State {
    /// The fence as it is when that is done which is asked for.
    ///
    /// # Errors
    ///
    /// Those of [`Fence::admit`].
    pub(super) fn admit(&self, check: FenceCheck) -> Result<Fence> {
        let mut fence = self.fence;
        if let FenceCheck::Claim(claim) = check {
            let admitted = fence.admit(claim);
            admitted.map_err(|errno| from_wire(errno.to_wire()))?;
        }
        Ok(fence)
    }
}

impl Channel {
    /// The lock that guards it, and the largest token that it has seen.
    pub(crate) fn fence(&self) -> Fence {
        self.state.lock().fence
    }

    /// Whether that may be done now. Changes nothing. Any context.
    ///
    /// # Errors
    ///
    /// Those of [`Fence::admit`].
    pub(crate) fn ask_fence(&self, check: FenceCheck) -> Result {
        self.state.lock().admit(check).map(drop)
    }

    /// Raises the fence to the token of who has the lock `claim`, or none. Returns the LSN that has to be
    /// committed before anybody is told; 0 if there is nothing to commit. May sleep if this is durable.
    ///
    /// # Errors
    ///
    /// Those of [`Fence::admit`]; of a durable channel those of [`Log::append`](crate::log::Log::append), for whose room
    /// it waits until `deadline`, and [`ENOENT`] if it is deleted.
    pub(crate) fn raise_fence(&self, claim: Option<FenceClaim>, deadline: Deadline) -> Result<u64> {
        let check = FenceCheck::Claim(claim);
        match &self.log {
            Some(durable) => {
                let mut writer = durable.log.lock_for(MAX_FENCE, deadline)?;
                self.raise_fence_logged(&mut writer, check)
            }
            None => {
                let mut state = self.state.lock();
                state.fence = state.admit(check)?;
                Ok(0)
            }
        }
    }

    /// The same of a durable channel, by who has the writer's lock.
    pub(super) fn raise_fence_logged(
        &self,
        writer: &mut LogWriter,
        check: FenceCheck,
    ) -> Result<u64> {
        let durable = self.log.as_ref().ok_or(EINVAL)?;
        let state = self.state.lock();
        // What is written behind that would be of another queue of this name.
        if state.over {
            return Err(ENOENT);
        }
        let fence = state.admit(check)?;
        let is_raised = fence != state.fence;
        // Nobody else changes it while we may write.
        drop(state);
        let Some(claim) = fence.seen().filter(|_| is_raised) else {
            return Ok(0);
        };
        let token = claim.to_wire();
        let record = Record {
            queue: &self.name,
            data: token.as_bytes(),
            ..Record::new(RecordKind::Fence)
        };
        let lsn = durable.log.append(writer, &record)?;
        self.state.lock().fence = fence;
        Ok(lsn)
    }

    /// The fence is what the log says. Before anybody else knows the channel.
    pub(crate) fn restore_fence(&self, fence: Fence) {
        self.state.lock().fence = fence;
    }
}
