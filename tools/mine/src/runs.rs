// SPDX-License-Identifier: GPL-2.0
//! How long programs run, from records of their beginnings and ends.

use crate::line::ProgramEvent;
use sketches_ddsketch::{Config, DDSketch};
use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    slice, str,
};
use virgo_proto::analytics::pairs::{MAX_KEY, check_key};

/// Processes that are waited for; of more, the oldest are forgotten.
pub const MAX_RUNNING: usize = 65_536;

/// Programs that are kept apart; of more, the one that has not run for longest is forgotten.
pub const MAX_PROGRAMS: usize = 1024;

/// The relative error of a run time.
pub const ERROR: f64 = 0.01;

/// What the keys of run times begin with.
const PREFIX: &str = "run_ms.";

/// Buckets of a program's sketch.
const BUCKETS: u32 = 2048;

/// What is known of run times, in bounded memory.
#[derive(Default)]
pub struct Runs {
    programs: BTreeMap<String, Program>,
    /// Runs that have ended.
    ended: u64,
    /// By process: since when it runs what, and the number of that.
    running: HashMap<u32, (u64, String, u64)>,
    /// Processes in the order in which they began, with those numbers.
    order: VecDeque<(u32, u64)>,
    begun: u64,
}

/// A program.
struct Program {
    times: DDSketch,
    /// Number of its last run among all that have ended.
    last: u64,
}

impl Runs {
    /// Takes an event.
    pub fn add(&mut self, event: &ProgramEvent<'_>) {
        match *event {
            ProgramEvent::Exec {
                at_us,
                pid,
                program,
            } => {
                // A process that runs something else has ended the first.
                self.end(pid, at_us);
                let program = key(program);
                self.begun += 1;
                self.running.insert(pid, (at_us, program, self.begun));
                self.order.push_back((pid, self.begun));
                self.forget();
            }
            ProgramEvent::Exit { at_us, pid } => self.end(pid, at_us),
        }
    }

    fn end(&mut self, pid: u32, at_us: u64) {
        let Some((since, program, _)) = self.running.remove(&pid) else {
            return;
        };
        let Some(took) = at_us.checked_sub(since) else {
            return;
        };
        if self.programs.len() >= MAX_PROGRAMS && !self.programs.contains_key(&program) {
            let oldest = self.programs.iter().min_by_key(|(_, known)| known.last);
            if let Some(oldest) = oldest.map(|(name, _)| name.clone()) {
                self.programs.remove(&oldest);
            }
        }
        let new = || Program {
            times: DDSketch::new(Config::new(ERROR, BUCKETS, 1e-3)),
            last: 0,
        };
        self.ended += 1;
        let known = self.programs.entry(program).or_insert_with(new);
        known.last = self.ended;
        known.times.add(took as f64 / 1000.0);
    }

    /// Forgets the oldest while there are too many, and of the order what has ended.
    fn forget(&mut self) {
        if self.order.len() > 2 * MAX_RUNNING {
            let running = &self.running;
            let runs =
                |(pid, number): &(u32, u64)| running.get(pid).is_some_and(|run| run.2 == *number);
            self.order.retain(runs);
        }
        while self.running.len() > MAX_RUNNING {
            let Some((pid, number)) = self.order.pop_front() else {
                return;
            };
            if self.running.get(&pid).is_some_and(|run| run.2 == number) {
                self.running.remove(&pid);
            }
        }
    }

    /// A quantile of a program's run times, in milliseconds.
    #[must_use]
    pub fn quantile(&self, program: &str, q: f64) -> Option<f64> {
        self.programs.get(program)?.times.quantile(q).ok()?
    }

    /// Processes that are waited for.
    #[must_use]
    pub fn running(&self) -> usize {
        self.running.len()
    }

    /// Adds what is known as `key=value` pairs: `run_ms.PROGRAM=[P50 P90 P99]`.
    pub fn write(&self, pairs: &mut Vec<(String, String)>) {
        for (program, known) in &self.programs {
            let quantile = |q| known.times.quantile(q).ok().flatten().unwrap_or(0.0);
            let value = format!(
                "[{:.3} {:.3} {:.3}]",
                quantile(0.5),
                quantile(0.9),
                quantile(0.99)
            );
            pairs.push((format!("{PREFIX}{program}"), value));
        }
    }
}

/// A program as a part of a key: the last bytes of its path, as many as a key has room for, with `_` for
/// what no key has.
#[must_use]
pub fn key(program: &[u8]) -> String {
    let room = MAX_KEY - PREFIX.len();
    let last = &program[program.len().saturating_sub(room)..];
    let allowed = |b: &u8| str::from_utf8(slice::from_ref(b)).is_ok_and(|b| check_key(b).is_ok());
    last.iter()
        .map(|b| if allowed(b) { char::from(*b) } else { '_' })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_are_timed_by_process() {
        let mut runs = Runs::default();
        let exec = |at_us, pid, program| ProgramEvent::Exec {
            at_us,
            pid,
            program,
        };
        runs.add(&exec(0, 1, b"/bin/long"));
        runs.add(&exec(10, 2, b"/bin/short"));
        runs.add(&ProgramEvent::Exit {
            at_us: 1010,
            pid: 2,
        });
        runs.add(&ProgramEvent::Exit { at_us: 9, pid: 3 });
        runs.add(&ProgramEvent::Exit {
            at_us: 5_000_000,
            pid: 1,
        });
        let long = runs.quantile("/bin/long", 0.5).unwrap();
        let short = runs.quantile("/bin/short", 0.5).unwrap();
        assert!((long - 5000.0).abs() < 100.0 && (short - 1.0).abs() < 0.02);
        assert_eq!(runs.running(), 0);
    }

    #[test]
    fn what_never_ends_is_forgotten() {
        let mut runs = Runs::default();
        for pid in 0..200_000 {
            runs.add(&ProgramEvent::Exec {
                at_us: 0,
                pid,
                program: b"x",
            });
        }
        assert_eq!(runs.running(), MAX_RUNNING);
    }

    fn run(runs: &mut Runs, at_us: u64, pid: u32, program: &[u8]) {
        runs.add(&ProgramEvent::Exec {
            at_us,
            pid,
            program,
        });
        runs.add(&ProgramEvent::Exit {
            at_us: at_us + 1000,
            pid,
        });
    }

    #[test]
    fn what_runs_long_is_remembered_while_others_come_and_go() {
        let mut runs = Runs::default();
        runs.add(&ProgramEvent::Exec {
            at_us: 0,
            pid: 1,
            program: b"daemon",
        });
        for i in 0..200_000 {
            run(&mut runs, i, 2 + i as u32 % 1000, b"x");
            assert!(runs.order.len() <= 2 * MAX_RUNNING + 1);
        }
        assert_eq!(runs.running(), 1);
        runs.add(&ProgramEvent::Exit {
            at_us: 5_000_000,
            pid: 1,
        });
        assert!((runs.quantile("daemon", 0.5).unwrap() - 5000.0).abs() < 100.0);
    }

    #[test]
    fn programs_of_late_take_the_place_of_former_ones() {
        let mut runs = Runs::default();
        run(&mut runs, 0, 1, b"first");
        for i in 0..MAX_PROGRAMS {
            run(&mut runs, 0, 1, format!("p{i}").as_bytes());
            run(&mut runs, 0, 1, b"often");
        }
        assert_eq!(runs.programs.len(), MAX_PROGRAMS);
        assert!(runs.quantile("first", 0.5).is_none());
        assert!(runs.quantile("often", 0.5).is_some());
        assert!(runs.quantile("p1023", 0.5).is_some());
    }
}
