// SPDX-License-Identifier: GPL-2.0

//! Calls, errors and time of every operation of a service, counted in one way.

use crate::{
    eventnet::hooks,
    service::Service, //
};
use kernel::{
    fmt,
    prelude::*,
    sync::{
        atomic::{
            Atomic,
            Relaxed, //
        },
        Arc, //
    },
    time::{
        Instant,
        Monotonic, //
    }, //
};
use virgo_proto::{
    eventnet::event::EventKind,
    histogram::{
        self,
        BUCKETS, //
    }, //
};

/// All calls are counted, one of so many is timed: reading the clock twice costs as much as a small
/// operation.
const TIMED: u64 = 8;

/// What is counted of one operation.
struct Entry {
    kind: &'static str,
    name: &'static str,
    calls: Atomic<u64>,
    errors: Atomic<u64>,
    /// Of the calls that were timed, as the buckets.
    nanos: Atomic<u64>,
    buckets: [Atomic<u64>; BUCKETS],
}

impl Entry {
    fn took(&self, nanos: u64) {
        self.nanos.fetch_add(nanos, Relaxed);
        if let Some(count) = self.buckets.get(histogram::bucket(nanos)) {
            count.fetch_add(1, Relaxed);
        }
    }
}

/// The counters of a service. Counting never blocks and may be done in any context.
pub struct Stats {
    entries: KVec<Entry>,
}

impl Stats {
    /// Counters at zero: for the commands of the service, then its operations, then its calls.
    ///
    /// # Errors
    ///
    /// [`ENOMEM`].
    pub fn new<S: Service>() -> Result<Arc<Self>> {
        let mut stats = Stats {
            entries: KVec::new(),
        };
        for command in S::COMMANDS {
            stats.add("text", command.names.first().unwrap_or(&"-"))?;
        }
        for operation in S::OPERATIONS {
            stats.add("frame", operation.name)?;
        }
        for name in S::CALLS {
            stats.add("call", name)?;
        }
        Ok(Arc::new(stats, GFP_KERNEL)?)
    }

    fn add(&mut self, kind: &'static str, name: &'static str) -> Result {
        let entry = Entry {
            kind,
            name,
            calls: Atomic::new(0),
            errors: Atomic::new(0),
            nanos: Atomic::new(0),
            buckets: [const { Atomic::new(0) }; BUCKETS],
        };
        Ok(self.entries.push(entry, GFP_KERNEL)?)
    }

    /// Runs `operation` and counts it as the one with this index.
    pub(crate) fn count<T, E>(
        &self,
        index: usize,
        operation: impl FnOnce() -> Result<T, E>,
    ) -> Result<T, E> {
        let Some(entry) = self.entries.get(index) else {
            return operation();
        };
        let timed = entry.calls.fetch_add(1, Relaxed) % TIMED == 0;
        let start = timed.then(Instant::<Monotonic>::now);
        let result = operation();
        if let Some(start) = start {
            entry.took(u64::try_from(start.elapsed().as_nanos()).unwrap_or(0));
        }
        if result.is_err() {
            entry.errors.fetch_add(1, Relaxed);
        }
        result
    }

    /// As [`Self::count`], but an operation that is not carried out is not counted.
    pub(crate) fn count_some<T, E>(
        &self,
        index: usize,
        operation: impl FnOnce() -> Option<Result<T, E>>,
    ) -> Option<Result<T, E>> {
        let Some(entry) = self.entries.get(index) else {
            return operation();
        };
        let timed = entry.calls.load(Relaxed) % TIMED == 0;
        let start = timed.then(Instant::<Monotonic>::now);
        let result = operation()?;
        entry.calls.fetch_add(1, Relaxed);
        if let Some(start) = start {
            entry.took(u64::try_from(start.elapsed().as_nanos()).unwrap_or(0));
        }
        if result.is_err() {
            entry.errors.fetch_add(1, Relaxed);
        }
        Some(result)
    }

    /// Runs a system call and counts it: `index` is its place in [`Service::CALLS`].
    pub fn count_call<S: Service, T>(
        &self,
        index: usize,
        call: impl FnOnce() -> Result<T>,
    ) -> Result<T> {
        let name = S::CALLS.get(index).copied().unwrap_or_default();
        let called = hooks::call(EventKind::of_port(S::PORT), index, name);
        let result = self.count(S::COMMANDS.len() + S::OPERATIONS.len() + index, call);
        if let Some(called) = called {
            called.end(hooks::status(&result));
        }
        result
    }

    /// Calls and errors of all operations together.
    pub(crate) fn totals(&self) -> (u64, u64) {
        self.entries.iter().fold((0, 0), |(calls, errors), entry| {
            (
                calls.wrapping_add(entry.calls.load(Relaxed)),
                errors.wrapping_add(entry.errors.load(Relaxed)),
            )
        })
    }

    /// One line an operation: kind, name, calls, errors; of every eighth call mean, median and 99th
    /// percentile in nanoseconds, `-` for none.
    pub(crate) fn show(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "# kind name calls errors mean_ns p50_ns p99_ns")?;
        for entry in &self.entries {
            let calls = entry.calls.load(Relaxed);
            let errors = entry.errors.load(Relaxed);
            write!(f, "{} {} {calls} {errors}", entry.kind, entry.name)?;
            let counts = entry.buckets.each_ref().map(|count| count.load(Relaxed));
            let timed = counts.iter().sum();
            let mean = entry.nanos.load(Relaxed).checked_div(timed);
            let p50 = histogram::percentile(&counts, 50);
            let p99 = histogram::percentile(&counts, 99);
            for value in [mean, p50, p99] {
                match value {
                    Some(value) => write!(f, " {value}")?,
                    None => write!(f, " -")?,
                }
            }
            writeln!(f)?;
        }
        Ok(())
    }
}
