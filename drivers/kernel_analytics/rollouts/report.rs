// SPDX-License-Identifier: GPL-2.0

//! What people are told: why a roll-out has failed, and what this node has.

use super::{
    record::ShownNodes,
    Rollouts,
    State, //
};
use kernel::{
    fmt,
    prelude::*,
    str::CString, //
};
use virgo_proto::{
    analytics::rollout::{
        coordinator::{
            RolloutFailure,
            RolloutPhase, //
        },
        participant::RolloutStage,
        RolloutAnswer, //
    },
    errno::Errno, //
};
use virgo_utils::to_wire;

/// Why a roll-out is refused, or has failed.
pub(crate) struct RolloutError {
    pub(crate) errno: Errno,
    pub(crate) reason: CString,
}

impl RolloutError {
    pub(super) fn new(errno: Errno, reason: fmt::Arguments<'_>) -> Result<Self> {
        Ok(RolloutError {
            errno,
            reason: CString::try_from_fmt(reason)?,
        })
    }
}

impl Rollouts {
    /// Why the roll-out that this node coordinates is or was not put in force.
    pub(super) fn reason(&self, state: &State) -> Result<Option<RolloutError>> {
        let (Some(begun), Some(one)) = (&state.begun, state.machine.coordinator()) else {
            return Ok(None);
        };
        let RolloutPhase::Aborted(failure) = one.phase() else {
            return Ok(None);
        };
        let error = match failure {
            RolloutFailure::Refused(node) => match &begun.refusal {
                Some((node, errno, reason)) => {
                    RolloutError::new(*errno, fmt!("node {node}: {}", **reason))
                }
                None => RolloutError::new(Errno::EINVAL, fmt!("node {node} refuses")),
            },
            RolloutFailure::Silent(node) => {
                RolloutError::new(Errno::EHOSTDOWN, fmt!("node {node} does not answer"))
            }
            RolloutFailure::Lost(node) => RolloutError::new(
                Errno::EHOSTDOWN,
                fmt!("node {node} has restarted, or was out of reach"),
            ),
            RolloutFailure::Owner => RolloutError::new(Errno::ECANCELED, fmt!("it was given up")),
            RolloutFailure::OwnerGone => RolloutError::new(
                Errno::ECANCELED,
                fmt!("nobody has asked for it for {} ms", self.timing.owner_ms),
            ),
            RolloutFailure::Disk => {
                let errno = begun.disk.err().map_or(Errno::EIO, to_wire);
                RolloutError::new(errno, fmt!("/var/log/virgo_analytics: {}", errno.text()))
            }
        };
        error.map(Some)
    }

    /// Lines whose fields have tabs between them, which no field has:
    ///
    /// - `coordinated NUMBER PHASE UID MS CANARY NODES UNTOLD REASON`: what this node has begun last;
    /// - `held NUMBER NODE STAGE UID MS`: what it takes part in; and for each variable
    ///   `value NUMBER KEY SOURCE NEW OLD`, where source and former value are `-` and empty if there is none;
    /// - `ended NUMBER NODE OUTCOME UID MS`, the oldest first.
    pub(super) fn show(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.state.lock();
        if let (Some(begun), Some(one)) = (&state.begun, state.machine.coordinator()) {
            let (number, uid, ms) = (begun.number, begun.uid, begun.ms);
            write!(f, "coordinated\t{number:016x}\t{}", phase_name(one.phase()))?;
            write!(f, "\t{uid}\t{ms}\t{}", begun.canary.unwrap_or(0))?;
            let untold = if one.is_decided() { one.untold() } else { 0 };
            let (nodes, untold) = (ShownNodes(one.nodes()), ShownNodes(untold));
            f.write_fmt(fmt!("\t{nodes}\t{untold}\t"))?;
            match self.reason(&state) {
                Ok(Some(error)) => f.write_fmt(fmt!("{}\n", *error.reason))?,
                _ => writeln!(f, "-")?,
            }
        }
        if let Some(held) = &state.held {
            let (number, node) = (held.id.number, held.id.coordinator);
            let stage = match state.machine.participant().map(|one| one.stage()) {
                Some(RolloutStage::Trial) => "trial",
                Some(RolloutStage::Doubt) => "doubt",
                _ => "prepared",
            };
            let (uid, ms) = (held.uid, held.ms);
            writeln!(f, "held\t{number:016x}\t{node}\t{stage}\t{uid}\t{ms}")?;
            held.changes.try_for_each(|key, old, new| {
                let source = old.map_or("-", |old| old.origin.source.name());
                let (old, new) = (old.map_or("", |old| old.text()), new.text());
                writeln!(f, "value\t{number:016x}\t{key}\t{source}\t{new}\t{old}")
            })?;
        }
        for ended in &state.ended {
            let (number, node) = (ended.id.number, ended.id.coordinator);
            let outcome = match ended.answer {
                RolloutAnswer::Committed => "committed",
                _ => "aborted",
            };
            let (uid, ms) = (ended.uid, ended.ms);
            writeln!(f, "ended\t{number:016x}\t{node}\t{outcome}\t{uid}\t{ms}")?;
        }
        Ok(())
    }
}

fn phase_name(phase: RolloutPhase) -> &'static str {
    match phase {
        RolloutPhase::Preparing => "preparing",
        RolloutPhase::Trying => "trying",
        RolloutPhase::Ready => "ready",
        RolloutPhase::Deciding => "deciding",
        RolloutPhase::Committed => "committed",
        RolloutPhase::Aborted(_) => "aborted",
    }
}
