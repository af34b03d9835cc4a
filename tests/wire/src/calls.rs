// SPDX-License-Identifier: GPL-2.0

//! Requests to a processor pool.

use crate::{
    node::{CPUPOOLING, Node},
    peer::Peer,
    text::Text,
};
use std::{
    io, thread,
    time::{Duration, Instant},
};
use virgo_proto::clone::{CallHeader, Load, OutcomeHeader, RunArgs, next_outcome, op};
use zerocopy::{FromBytes as _, IntoBytes as _};

/// Body of a Run: names and arguments as a node has them, with the keys that we give them.
pub(crate) fn run(timeout_ms: u32, calls: &[(u64, &[u8])]) -> Vec<u8> {
    let args = RunArgs {
        uid: 65534.into(),
        timeout_ms: timeout_ms.into(),
        count: (calls.len() as u32).into(),
        reserved: 0.into(),
    };
    let mut body = args.as_bytes().to_vec();
    for &(key, argv) in calls {
        let call = CallHeader {
            key: key.into(),
            len: (argv.len() as u32).into(),
            reserved: 0.into(),
        };
        body.extend_from_slice(call.as_bytes());
        body.extend_from_slice(argv);
    }
    body
}

/// Body of a Done.
pub(crate) fn done(key: u64, state: u32, value: i64, out_len: u32, output: &[u8]) -> Vec<u8> {
    let outcome = OutcomeHeader {
        key: key.into(),
        value: value.into(),
        state: state.into(),
        out_len: out_len.into(),
        err_len: 0.into(),
        flags: 0.into(),
    };
    [outcome.as_bytes(), output].concat()
}

/// A result: key, state, value, output.
pub(crate) type Ended = (u64, u32, i64, Vec<u8>);

/// The results in the answer to a Run.
pub(crate) fn results(body: &[u8]) -> Vec<Ended> {
    let (load, mut rest) = Load::read_from_prefix(body).expect("a load");
    assert!(load.processors.get() > 0, "{load:?}");
    let mut results = Vec::new();
    while let Some((outcome, output)) = next_outcome(&mut rest) {
        results.push((
            outcome.key.get(),
            outcome.state.get(),
            outcome.value.get(),
            output.to_vec(),
        ));
    }
    assert_eq!(rest, b"", "what follows the results");
    results
}

impl Peer {
    /// Connects to the processor pool in a new life.
    pub(crate) fn open_pool(node: &Node) -> io::Result<Self> {
        Self::open_at(node, CPUPOOLING, fastrand::u64(..))
    }

    /// Makes calls and returns what the answer says of them.
    pub(crate) fn run(
        &mut self,
        timeout_ms: u32,
        calls: &[(u64, &[u8])],
    ) -> io::Result<Vec<Ended>> {
        let answer = self.ask(op::RUN, &run(timeout_ms, calls))?;
        Ok(results(&answer.expect("a good Run")))
    }
}

/// Calls that run or wait on the node.
pub(crate) fn here(node: &Node) -> io::Result<u64> {
    Ok(Text::open(node, CPUPOOLING)?.stats()?["here"])
}

/// Waits until `count` calls run or wait on the node.
pub(crate) fn assert_here(node: &Node, count: u64) -> io::Result<()> {
    let start = Instant::now();
    loop {
        let here = here(node)?;
        if here == count {
            return Ok(());
        }
        let waited = start.elapsed();
        assert!(
            waited < Duration::from_secs(10),
            "{here} calls run, expected {count}"
        );
        thread::sleep(Duration::from_millis(50));
    }
}
