// SPDX-License-Identifier: GPL-2.0
//! Tests that need a cluster: boots three nodes once, runs the tests one after the other, and
//! takes the nodes down again. `VIRGO_LANE=debug` runs them on the debug kernel,
//! `VIRGO_LANE=stock` those of [`stock`] on Debian's own, and those of [`lockdown`].
//!
//! Each test leaves the cluster as it found it: all nodes up, all links whole; after one that fails
//! that is put right. The last one looks at what the kernels have said meanwhile. How much they do depends on the lane, and on
//! `VIRGO_SOAK=1`: see [`rounds`].

mod admission;
mod analytics;
mod cli;
mod clone;
mod console;
mod copies;
mod datagrams;
mod doctor;
mod durable;
mod eventnet;
mod exports;
mod faults;
mod file_workers;
mod files;
mod functions;
mod guest;
mod kingcobra;
mod links;
mod lockdown;
mod locks;
mod modules;
mod net;
mod pool;
mod programs;
mod queue;
mod quiet;
mod rollouts;
mod stock;
mod support;
mod usb;

use anyhow::{Result, bail};
use libtest_mimic::{Arguments, Failed, Trial};
use std::{env, process::ExitCode, sync::Arc, time::Instant};
use virgo_cluster::{Cluster, Lane, Options};
use virgo_test_support::rounds;

/// A test: gets the cluster, and fails by an error.
type Test = fn(&Cluster) -> Result<()>;

fn main() -> Result<ExitCode> {
    let mut arguments = Arguments::from_args();
    // They share the cluster, and some take a node of it down.
    arguments.test_threads = Some(1);
    let lane = match env::var("VIRGO_LANE").as_deref() {
        Ok("debug") => Lane::Debug,
        Ok("stock") => Lane::Stock,
        Ok("slim") | Err(_) => Lane::Slim,
        Ok(other) => bail!("VIRGO_LANE is '{other}'; there are slim, debug and stock"),
    };
    let mut tests = [
        // First, while nothing has happened.
        quiet::TESTS,
        guest::TESTS,
        pool::TESTS,
        clone::TESTS,
        cli::TESTS,
        doctor::TESTS,
        files::TESTS,
        exports::TESTS,
        file_workers::TESTS,
        copies::TESTS,
        functions::TESTS,
        programs::TESTS,
        queue::TESTS,
        durable::TESTS,
        kingcobra::TESTS,
        eventnet::TESTS,
        analytics::TESTS,
        rollouts::TESTS,
        modules::TESTS,
        net::TESTS,
        admission::TESTS,
        links::TESTS,
        datagrams::TESTS,
        locks::TESTS,
        usb::TESTS,
        faults::TESTS,
    ]
    .concat();
    if lane == Lane::Stock {
        tests.retain(|(name, _)| stock::CHOSEN.contains(name));
        // The kernels of the other lanes know no signatures.
        tests.extend(lockdown::TESTS);
    }
    if arguments.list {
        libtest_mimic::run(&arguments, trials(&tests, None)).exit();
    }
    let cluster = Arc::new(Cluster::up(&Options {
        lane,
        usb: true,
        ..Options::default()
    })?);
    support::take_ballast(&cluster)?;
    let conclusion = libtest_mimic::run(&arguments, trials(&tests, Some(&cluster)));
    // What the kernels have said is part of every run, whatever was selected.
    let clean = console::check(&cluster);
    if let Some(cluster) = Arc::into_inner(cluster) {
        cluster.down()?;
    }
    clean?;
    Ok(conclusion.exit_code())
}

fn trials(tests: &[(&'static str, Test)], cluster: Option<&Arc<Cluster>>) -> Vec<Trial> {
    let trial = |&(name, test): &(&'static str, Test)| {
        let cluster = cluster.cloned();
        Trial::test(name, move || match cluster {
            Some(cluster) => {
                let start = Instant::now();
                let result = test(&cluster).map_err(|e| Failed::from(format!("{e:#}")));
                print!("{:.1} s ", start.elapsed().as_secs_f64());
                if result.is_err() {
                    support::repair(&cluster);
                }
                result
            }
            None => Ok(()),
        })
    };
    tests.iter().map(trial).collect()
}
