// SPDX-License-Identifier: GPL-2.0

//! What tells another node what concerns locks: one for each node. First come the reports after a
//! change of view, then notices and claims.

use crate::{
    cluster::Cluster,
    remote, //
};
use kernel::{
    prelude::*,
    sync::{
        atomic::{
            Atomic,
            Relaxed, //
        },
        Arc, //
    }, //
};
use linux::{
    bytes::Fill,
    deadline::Deadline,
    work::{
        Run,
        Task, //
    }, //
};
use virgo_proto::{
    cloudsync::{
        resource::Notice,
        wire::{
            Out,
            MAX_RECORD, //
        }, //
    },
    vuid::NodeId, //
};

/// Bytes of one message.
const BATCH: usize = 32 * 1024;

/// Notices in one message.
const MAX_NOTICES: usize = 64;

/// What could not be sent is sent again after so long, in milliseconds, each time after twice as long, up to
/// the second; after so many times it waits for somebody to ask, unless it has reports.
const RETRY_MS: (u32, u32) = (10, 1000);
const RETRIES: u32 = 20;

/// See the module.
pub(crate) struct Teller {
    pub(crate) cluster: Arc<Cluster>,
    pub(crate) node: NodeId,
    /// How often in a row it has failed.
    pub(crate) failures: Atomic<u32>,
}

impl Teller {
    /// Tells everything that there is to tell.
    fn tell(&self) -> Result {
        self.report()?;
        let mut bytes = KVVec::new();
        bytes.put_zeros(BATCH, GFP_KERNEL)?;
        loop {
            let mut told: KVec<(usize, Notice)> = KVec::with_capacity(MAX_NOTICES, GFP_KERNEL)?;
            let mut claim = None;
            let mut names = self.cluster.names.lock();
            let mut out = Out::new(&mut bytes);
            out.u64(names.view().number);
            while told.len() < MAX_NOTICES && claim.is_none() && out.room() >= MAX_RECORD {
                let Some(at) = names.next_for(self.node) else {
                    break;
                };
                if let Some((notice, name)) = names.notice_for(self.node, at) {
                    out.name(name);
                    out.notice(&notice);
                    let _ = told.push_within_capacity((at, notice));
                }
                claim = names.claim_for(self.node, at);
            }
            let Some(len) = out.finish() else {
                if let Some(out) = claim {
                    names.sent(&out, Err(EINVAL));
                }
                return Err(EINVAL);
            };
            drop(names);
            let is_over = told.is_empty() && claim.is_none();
            let mut result = Ok(());
            if !told.is_empty() {
                result = remote::notices(
                    &self.cluster,
                    self.node,
                    bytes.get(..len).unwrap_or_default(),
                );
                let mut names = self.cluster.names.lock();
                for (at, notice) in &told {
                    match result {
                        Ok(()) => names.notified(self.node, *at, notice),
                        Err(_) => drop(names.settle(*at, false)),
                    }
                }
            }
            if let Some(out) = claim {
                let answer = remote::claim(&self.cluster, &out, Deadline::never());
                result = result.and(answer.as_ref().map(drop).map_err(|e| *e));
                self.cluster.names.lock().sent(&out, answer);
            }
            result?;
            if is_over {
                return Ok(());
            }
        }
    }

    /// Reports what this node has of names that the other one masters since the last change of view.
    fn report(&self) -> Result {
        let mut bytes = KVVec::new();
        let mut next = 0;
        let mut view = None;
        loop {
            let names = self.cluster.names.lock();
            let number = names.view().number;
            if !names.reports_to(self.node) {
                return Ok(());
            }
            if view != Some(number) {
                view = Some(number);
                next = 0;
            }
            drop(names);
            if bytes.is_empty() {
                bytes.put_zeros(BATCH, GFP_KERNEL)?;
            }
            let names = self.cluster.names.lock();
            if view != Some(names.view().number) {
                continue;
            }
            let mut records = Out::new(bytes.get_mut(9..).unwrap_or_default());
            let mut is_last = true;
            while let Some((at, name)) = names.next_report(self.node, next) {
                if records.room() < 2 * MAX_RECORD {
                    is_last = false;
                    break;
                }
                for report in [name.former, name.holder.report()].into_iter().flatten() {
                    records.name(&name.bytes);
                    records.report(&report);
                }
                next = at + 1;
            }
            drop(names);
            let len = records.finish().ok_or(EINVAL)?;
            let mut head = Out::new(bytes.get_mut(..9).unwrap_or_default());
            head.u64(number);
            head.put(&[u8::from(is_last)]);
            remote::reports(
                &self.cluster,
                self.node,
                bytes.get(..9 + len).unwrap_or_default(),
            )?;
            if is_last {
                self.cluster.names.lock().all_told(self.node, number);
            }
        }
    }
}

impl Run for Teller {
    fn run(task: &Task<Self>) {
        match task.tell() {
            Ok(()) => task.failures.store(0, Relaxed),
            Err(_) => {
                let failures = task.failures.fetch_add(1, Relaxed);
                // A new master waits for all reports.
                let reports = task.cluster.names.lock().reports_to(task.node);
                if failures < RETRIES || reports {
                    let wait = RETRY_MS.0.saturating_mul(1 << failures.min(10));
                    task.reschedule_after_ms(wait.min(RETRY_MS.1));
                } else {
                    task.failures.store(0, Relaxed);
                }
            }
        }
    }
}
