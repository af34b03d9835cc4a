// SPDX-License-Identifier: GPL-2.0

//! How loaded this node is.

use crate::learnt::Learnt;
use kernel::{
    prelude::*,
    sync::SpinLock,
    time::{
        Instant,
        Monotonic, //
    }, //
};
use virgo_proto::clone::Load;

/// How long a measurement is used, in milliseconds: it looks at each task.
const FRESH_MS: i64 = 250;

/// The last measurement.
#[pin_data]
pub(crate) struct OwnLoad {
    learnt: Learnt,
    #[pin]
    last: SpinLock<Last>,
}

struct Last {
    /// A task is at it; others use what there is.
    is_measuring: bool,
    at: Option<Instant<Monotonic>>,
    idle_us: u64,
    load: Load,
}

impl OwnLoad {
    /// `learnt` weighs it.
    pub(crate) fn new(learnt: Learnt) -> impl PinInit<Self> {
        let last = Last {
            is_measuring: false,
            at: None,
            idle_us: 0,
            load: Load {
                calls: 0.into(),
                runnable: 0.into(),
                processors: 1.into(),
                busy: 0.into(),
                free_mib: 0.into(),
            },
        };
        pin_init!(Self {
            learnt,
            last <- kernel::new_spinlock!(last, "virgo_load"),
        })
    }

    /// The load now; `calls` run or wait.
    pub(crate) fn get(&self, calls: usize) -> Load {
        let calls = u32::try_from(calls).unwrap_or(u32::MAX);
        let mut last = self.last.lock();
        let is_old = |last: &Last| {
            let age = last.at.map(|at| at.elapsed().as_micros_ceil());
            age.is_none_or(|us| us >= FRESH_MS * 1000)
        };
        if is_old(&last) && !last.is_measuring {
            last.is_measuring = true;
            drop(last);
            // Without the lock: it looks at each task.
            let now = linux::load::load();
            last = self.last.lock();
            let passed_us = last.at.map(|at| at.elapsed().as_micros_ceil());
            let all_us = u64::try_from(passed_us.unwrap_or(0))
                .unwrap_or(0)
                .saturating_mul(now.online.into());
            let idle_us = now.idle_us.saturating_sub(last.idle_us).min(all_us);
            let busy = (all_us - idle_us).saturating_mul(100).checked_div(all_us);
            *last = Last {
                is_measuring: false,
                at: Some(Instant::now()),
                idle_us: now.idle_us,
                load: Load {
                    calls: 0.into(),
                    runnable: now.runnable.into(),
                    processors: u16::try_from(now.online).unwrap_or(u16::MAX).into(),
                    busy: (busy.unwrap_or(0) as u16).into(),
                    free_mib: u32::try_from(now.free_mib).unwrap_or(u32::MAX).into(),
                },
            };
        }
        Load {
            calls: self.learnt.weighed(calls).into(),
            runnable: self.learnt.runnable(last.load.runnable.get()).into(),
            ..last.load
        }
    }
}
