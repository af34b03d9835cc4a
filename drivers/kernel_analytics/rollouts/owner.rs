// SPDX-License-Identifier: GPL-2.0

//! Who rolls out at this node: begins, says that he is there, decides, or gives up.

use super::{
    record::{
        wall_ms,
        BegunRollout, //
    },
    report::RolloutError,
    Progress,
    Rollouts, //
};
use kernel::{
    prelude::*,
    sync::{
        atomic::Relaxed,
        Arc, //
    }, //
};
use linux::deadline::{
    now_ms,
    Deadline, //
};
use virgo_proto::{
    analytics::rollout::{
        coordinator::RolloutPhase,
        wire::MAX_ROLLOUT_TEXT, //
    },
    errno::Errno,
    vuid::{
        bit,
        NodeId, //
    }, //
};

/// What has come of what an owner wants.
type Outcome = Result<Result<(), RolloutError>>;

fn refused(errno: Errno, reason: kernel::fmt::Arguments<'_>) -> Outcome {
    RolloutError::new(errno, reason).map(Err)
}

impl Rollouts {
    /// Begins to roll out `text` to all nodes for user `uid`, who has chosen the number at random, and waits until
    /// all are ready and the canary, if there is one, has the values. If `is_wanted` they are then put in force
    /// everywhere, and that is waited for. Waits killably, and no longer than the machine does; whoever is
    /// killed has given up. May sleep.
    ///
    /// # Errors
    ///
    /// The outer one is of this node: [`EINTR`], [`ENOMEM`]. The inner one says why nothing has changed.
    pub(crate) fn begin(
        &self,
        number: u64,
        text: &[u8],
        canary: Option<NodeId>,
        uid: u32,
        is_wanted: bool,
    ) -> Outcome {
        if text.len() > MAX_ROLLOUT_TEXT {
            return refused(
                Errno::EMSGSIZE,
                fmt!("more than {MAX_ROLLOUT_TEXT} bytes at once"),
            );
        }
        let nodes = self.nodes();
        if let Some(canary) = canary.filter(|canary| nodes & bit(*canary) == 0) {
            return refused(Errno::ENODEV, fmt!("there is no node {canary}"));
        }
        let mut copy = KVVec::new();
        copy.extend_from_slice(text, GFP_KERNEL)?;
        let begun = BegunRollout {
            number,
            text: Arc::new(copy, GFP_KERNEL)?,
            uid,
            canary,
            ms: wall_ms(),
            is_wanted,
            refusal: None,
            disk: Ok(()),
        };
        let mut state = self.state.lock();
        let started = state.machine.begin(number, nodes, canary, now_ms());
        if let Err(other) = started {
            let number = other.number;
            return refused(
                Errno::EBUSY,
                fmt!("this node is rolling out {number:016x}; see 'virgo analytics rollouts'"),
            );
        }
        state.begun = Some(begun);
        self.current.store(number, Relaxed);
        self.progress.store(0, Relaxed);
        self.publish(&mut state);
        drop(state);
        let until = match is_wanted {
            true => Progress::Known,
            false => Progress::Ready,
        };
        self.wait(number, until).inspect_err(|_| {
            let mut state = self.state.lock();
            if let Some(coordinator) = state.machine.coordinated(number) {
                coordinator.abort(now_ms());
            }
            self.publish(&mut state);
        })?;
        self.outcome(number, is_wanted)
    }

    /// The owner of roll-out `number` is there. May sleep.
    ///
    /// # Errors
    ///
    /// As for [`Self::begin`]; the roll-out has ended then.
    pub(crate) fn keep(&self, number: u64) -> Outcome {
        let mut state = self.state.lock();
        if let Some(coordinator) = state.machine.coordinated(number) {
            coordinator.touch(now_ms());
        }
        drop(state);
        self.outcome(number, false)
    }

    /// Puts roll-out `number` in force on all nodes, and waits for that, killably: it goes on without who waits.
    /// May sleep.
    ///
    /// # Errors
    ///
    /// As for [`Self::begin`].
    pub(crate) fn commit(&self, number: u64) -> Outcome {
        let mut state = self.state.lock();
        if let Some(coordinator) = state.machine.coordinated(number) {
            coordinator.touch(now_ms());
        }
        if let Some(begun) = state.begun.as_mut().filter(|one| one.number == number) {
            begun.is_wanted = true;
        }
        self.publish(&mut state);
        drop(state);
        self.wait(number, Progress::Known)?;
        self.outcome(number, true)
    }

    /// Ends roll-out `number` with the old values, and waits until all know that, killably. May sleep.
    ///
    /// # Errors
    ///
    /// As for [`Self::begin`]; [`Errno::EALREADY`] if it is decided.
    pub(crate) fn abort(&self, number: u64) -> Outcome {
        let mut state = self.state.lock();
        let Some(coordinator) = state.machine.coordinated(number) else {
            return refused(Errno::ENOENT, fmt!("this node is not rolling out that"));
        };
        if !coordinator.abort(now_ms()) {
            return refused(Errno::EALREADY, fmt!("it is decided"));
        }
        self.publish(&mut state);
        drop(state);
        self.wait(number, Progress::Returned)?;
        Ok(Ok(()))
    }

    /// Waits until the roll-out has come so far, or there is another one.
    fn wait(&self, number: u64, until: Progress) -> Result {
        // Nothing that the machine waits for takes longer but the disk: owner and lease, then twice the lease.
        let timing = &self.timing;
        let patience = timing.owner_ms.saturating_add(3 * timing.lease_ms);
        self.changed.wait(Deadline::after_ms(patience), || {
            let is_past = self.current.load(Relaxed) != number;
            (is_past || self.progress.load(Relaxed) >= until as u32).then_some(())
        })?;
        Ok(())
    }

    fn outcome(&self, number: u64, is_wanted: bool) -> Outcome {
        let mut state = self.state.lock();
        let Some(phase) = state.machine.coordinated(number).map(|one| one.phase()) else {
            return refused(Errno::ENOENT, fmt!("this node is not rolling out that"));
        };
        match phase {
            RolloutPhase::Committed => Ok(Ok(())),
            RolloutPhase::Aborted(_) => match self.reason(&state)? {
                Some(error) => Ok(Err(error)),
                None => Ok(Ok(())),
            },
            _ if !is_wanted => Ok(Ok(())),
            _ => refused(
                Errno::ETIMEDOUT,
                fmt!("it is not decided yet; see 'virgo analytics rollouts'"),
            ),
        }
    }
}
