// SPDX-License-Identifier: GPL-2.0

//! What nodes ask of each other's processors.

use super::{Suite, suite};
use crate::{
    calls::{assert_here, done, here, results, run},
    node::{CPUPOOLING, Node},
    peer::{Number, Peer},
    text::Text,
};
use std::io;
use virgo_proto::{
    clone::{MAX_ARGV, MAX_CALLS, PickArgs, op, state},
    errno::Errno,
};
use zerocopy::IntoBytes as _;

pub(super) const SUITE: Suite = suite![
    quick_functions_are_answered_at_once,
    slow_functions_are_said_to_run,
    calls_are_refused_one_by_one,
    a_full_run_is_answered,
    malformed_runs_are_refused,
    random_bodies_are_survived,
    a_repeated_run_is_done_once,
    a_run_of_an_old_number_is_refused,
    a_new_life_ends_the_calls_of_the_old_one,
    cancel_ends_a_call,
    malformed_cancels_are_refused,
    cancel_of_the_nodes_own_calls_does_nothing,
    malformed_results_are_refused,
    results_of_nothing_are_ignored,
    results_from_where_it_does_not_run_are_ignored,
    loads_have_one_length,
    malformed_picks_are_refused,
    picks_are_among_the_nodes_asked_for,
    unknown_operations_are_refused,
];

const LONG: &[u8] = b"sleep\x0060000\0";

fn quick_functions_are_answered_at_once(node: &Node) -> io::Result<()> {
    let mut peer = Peer::open_pool(node)?;
    let answers = peer.run(
        1000,
        &[(7, b"noop\0"), (u64::MAX, b"node\0"), (7, b"noop\0")],
    )?;
    assert_eq!(answers[0], (7, state::RETURNED, 0, vec![]));
    let (key, state, value, output) = &answers[1];
    assert_eq!((*key, *state), (u64::MAX, state::RETURNED));
    assert!(
        *value > 0 && output.starts_with(b"processors="),
        "{output:?}"
    );
    assert_eq!(answers[2], answers[0], "keys are the client's business");
    Ok(())
}

fn slow_functions_are_said_to_run(node: &Node) -> io::Result<()> {
    let mut peer = Peer::open_pool(node)?;
    let answers = peer.run(1000, &[(1, b"echo\0x\0"), (2, b"sleep\x0010\0")])?;
    let running = |key| (key, state::RUNNING, 0, vec![]);
    assert_eq!(answers, [running(1), running(2)]);
    assert_here(node, 0)
}

fn calls_are_refused_one_by_one(node: &Node) -> io::Result<()> {
    let mut peer = Peer::open_pool(node)?;
    let long = [&[b'x'; 10_240][..], b"\0"].concat();
    let cases: [(&[u8], i64); 9] = [
        (b"nothing\0", 2),
        (&long, 2),
        (b"", 22),
        (b"noop", 22),
        (b"\0", 22),
        (b"\xff\0", 22),
        (b"sleep\0x\0", 22),
        (b"/bin/sh\0", 13),
        (b"/lib/x.so:y\0", 13),
    ];
    let calls: Vec<_> = (0..).zip(cases.map(|(argv, _)| argv)).collect();
    let answers = peer.run(1000, &calls)?;
    for ((key, state, value, reason), (argv, errno)) in answers.iter().zip(cases) {
        let name = argv.get(..20).unwrap_or(argv).escape_ascii();
        assert_eq!((*state, *value), (state::FAILED, errno), "{key}: {name}");
        assert!(!reason.is_empty(), "a reason for {name}");
    }
    Ok(())
}

fn a_full_run_is_answered(node: &Node) -> io::Result<()> {
    let mut peer = Peer::open_pool(node)?;
    let calls: Vec<_> = (0..MAX_CALLS as u64)
        .map(|key| (key, &b"noop\0"[..]))
        .collect();
    let answers = peer.run(1000, &calls)?;
    let keys: Vec<_> = answers.iter().map(|answer| answer.0).collect();
    assert!(keys.iter().copied().eq(0..MAX_CALLS as u64), "{keys:?}");
    Ok(())
}

fn malformed_runs_are_refused(node: &Node) -> io::Result<()> {
    let mut peer = Peer::open_pool(node)?;
    let good = run(1000, &[(1, b"noop\0")]);
    let spoiled = |at: usize, bytes: &[u8]| {
        let mut bad = good.clone();
        bad[at..at + bytes.len()].copy_from_slice(bytes);
        bad
    };
    let mut bad: Vec<_> = (0..good.len()).map(|len| good[..len].to_vec()).collect();
    for count in [0, 2, MAX_CALLS as u32 + 1, u32::MAX] {
        bad.push(spoiled(8, &count.to_le_bytes()));
    }
    bad.push(spoiled(12, &[1]));
    for len in [4, 6, 1 << 31, u32::MAX] {
        bad.push(spoiled(24, &u32::to_le_bytes(len)));
    }
    bad.push([&good[..], b"x"].concat());
    let calls = vec![(1, &b"noop\0"[..]); MAX_CALLS + 1];
    bad.push(run(1000, &calls));
    bad.push(run(1000, &[(1, &[b'x'; MAX_ARGV + 1])]));
    for body in bad {
        let answer = peer.ask(op::RUN, &body)?;
        let start = body.get(..40).unwrap_or(&body);
        assert_eq!(answer, Err(Errno::EINVAL), "{}", start.escape_ascii());
    }
    assert_eq!(here(node)?, 0, "calls that run");
    Ok(())
}

fn random_bodies_are_survived(node: &Node) -> io::Result<()> {
    let mut peer = Peer::open_pool(node)?;
    for _ in 0..500 {
        let len = fastrand::usize(..200);
        let body: Vec<u8> = (0..len).map(|_| fastrand::u8(..)).collect();
        for op in [op::RUN, op::DONE, op::CANCEL, op::PICK] {
            // Whatever it says, it says something.
            let _ = peer.ask(op, &body)?;
        }
    }
    assert_here(node, 0)
}

fn a_repeated_run_is_done_once(node: &Node) -> io::Result<()> {
    let life = fastrand::u64(..);
    let mut peer = Peer::open_at(node, CPUPOOLING, life)?;
    let number = Number::FIRST;
    let body = run(60_000, &[(1, LONG), (2, LONG)]);
    let first = peer.ask_numbered(number, op::RUN, &body)?;
    results(first.as_ref().expect("a good Run"));
    assert_eq!(peer.ask_numbered(number, op::RUN, &body)?, first);
    // On another connection, too.
    let mut beside = Peer::open_at(node, CPUPOOLING, life)?;
    assert_eq!(beside.ask_numbered(number, op::RUN, &body)?, first);
    assert_eq!(here(node)?, 2, "calls that run");
    // Nobody waits for its end.
    let keys = [1u64.to_le_bytes(), 2u64.to_le_bytes()].concat();
    beside
        .ask_numbered(number.next(), op::CANCEL, &keys)?
        .expect("cancel");
    assert_here(node, 0)
}

fn a_run_of_an_old_number_is_refused(node: &Node) -> io::Result<()> {
    let mut peer = Peer::open_pool(node)?;
    let late = Number {
        seq: 5,
        ..Number::FIRST
    };
    peer.ask_numbered(late, op::RUN, &run(1000, &[(1, b"noop\0")]))?
        .expect("run");
    let answer = peer.ask_numbered(Number::FIRST, op::RUN, &run(60_000, &[(1, LONG)]))?;
    assert_eq!(answer, Err(Errno::EALREADY));
    assert_eq!(here(node)?, 0, "calls that run");
    Ok(())
}

fn a_new_life_ends_the_calls_of_the_old_one(node: &Node) -> io::Result<()> {
    let life = fastrand::u64(..);
    let mut peer = Peer::open_at(node, CPUPOOLING, life)?;
    peer.run(60_000, &[(1, LONG), (2, LONG)])?;
    drop(peer);
    // A new connection is no new life.
    Peer::open_at(node, CPUPOOLING, life)?;
    assert_eq!(here(node)?, 2, "calls that run");
    let _new = Peer::open_pool(node)?;
    assert_here(node, 0)
}

/// Both at once: with the first result the node speaks to the one that we pose as, which is itself,
/// in another life than ours; and that ends what is left of ours.
fn cancel_ends_a_call(node: &Node) -> io::Result<()> {
    let mut peer = Peer::open_pool(node)?;
    peer.run(60_000, &[(1, LONG), (2, LONG)])?;
    // What is unknown is passed over.
    for body in [&b""[..], &3u64.to_le_bytes()] {
        assert_eq!(peer.ask(op::CANCEL, body)?, Ok(vec![]));
        assert_eq!(here(node)?, 2, "calls that run");
    }
    let keys = [3u64, 1, 2, 2].map(u64::to_le_bytes).concat();
    assert_eq!(peer.ask(op::CANCEL, &keys)?, Ok(vec![]));
    assert_here(node, 0)
}

fn malformed_cancels_are_refused(node: &Node) -> io::Result<()> {
    let mut peer = Peer::open_pool(node)?;
    peer.run(60_000, &[(1, LONG)])?;
    for len in [1, 7, 9, 15] {
        let mut body = vec![0; len];
        body[0] = 1;
        let answer = peer.ask(op::CANCEL, &body)?;
        assert_eq!(answer, Err(Errno::EINVAL), "{len} bytes");
    }
    assert_eq!(here(node)?, 1, "calls that run");
    assert_eq!(peer.ask(op::CANCEL, &1u64.to_le_bytes())?, Ok(vec![]));
    assert_here(node, 0)
}

/// The node's own calls and a peer's have different names, even if these are the same numbers.
fn cancel_of_the_nodes_own_calls_does_nothing(node: &Node) -> io::Result<()> {
    let mut text = Text::open(node, CPUPOOLING)?;
    let mut peer = Peer::open_pool(node)?;
    let job = text.start(&format!("on={} timeout=60000", node.own), "sleep 60000")?;
    assert_eq!(peer.ask(op::CANCEL, &job.to_le_bytes())?, Ok(vec![]));
    assert_eq!(here(node)?, 1, "calls that run");
    assert_eq!(text.ask(format!("cancel({job})"))?, "cancelled");
    text.ask_in_vain(format!("wait({job})"), "ECANCELED")?;
    assert_here(node, 0)
}

fn malformed_results_are_refused(node: &Node) -> io::Result<()> {
    let mut peer = Peer::open_pool(node)?;
    let good = done(1, state::RETURNED, 5, 3, b"out");
    let mut bad: Vec<_> = (1..good.len()).map(|len| good[..len].to_vec()).collect();
    bad.push([&good[..], b"x"].concat());
    for len in [4, 1 << 31, u32::MAX] {
        bad.push(done(1, state::RETURNED, 5, len, b"out"));
    }
    // What has not ended has no result.
    for state in [state::RUNNING, state::FAILED + 1, u32::MAX] {
        bad.push(done(1, state, 5, 3, b"out"));
    }
    for body in bad {
        let answer = peer.ask(op::DONE, &body)?;
        assert_eq!(answer, Err(Errno::EINVAL), "{} bytes", body.len());
    }
    Ok(())
}

fn results_of_nothing_are_ignored(node: &Node) -> io::Result<()> {
    let mut peer = Peer::open_pool(node)?;
    for key in [0, 1, u64::MAX] {
        let body = done(key, state::RETURNED, 5, 3, b"out");
        assert_eq!(peer.ask(op::DONE, &body)?, Ok(vec![]), "{key}");
    }
    Ok(())
}

/// A job that runs on another node ends when that one says so: not when we do, and not with what
/// we say.
fn results_from_where_it_does_not_run_are_ignored(node: &Node) -> io::Result<()> {
    let other = if node.own == 1 { 2 } else { 1 };
    let mut text = Text::open(node, CPUPOOLING)?;
    let mut peer = Peer::open_pool(node)?;
    let job = text.start(&format!("on={other}"), "sleep 1000")?;
    let body = done(job, state::RETURNED, 42, 0, b"");
    assert_eq!(peer.ask(op::DONE, &body)?, Ok(vec![]));
    let reply = text.ask(format!("wait({job})"))?;
    assert_eq!(reply, format!("node={other} returned=0"));
    Ok(())
}

fn loads_have_one_length(node: &Node) -> io::Result<()> {
    let mut peer = Peer::open_pool(node)?;
    for len in (0..40).filter(|&len| len != 16) {
        let answer = peer.ask(op::TELL, &vec![1; len])?;
        assert_eq!(answer, Err(Errno::EINVAL), "{len} bytes");
    }
    // No processors, and more calls than can be: it has to be compared all the same.
    for byte in [0, 0xff] {
        assert_eq!(peer.ask(op::TELL, &[byte; 16])?, Ok(vec![]));
        peer.ask(op::PICK, &pick(u64::MAX, 100, 1))?
            .expect("a choice");
    }
    Ok(())
}

/// Body of a Pick.
fn pick(nodes: u64, count: u32, policy: u32) -> Vec<u8> {
    let args = PickArgs {
        nodes: nodes.into(),
        count: count.into(),
        policy: policy.into(),
    };
    args.as_bytes().to_vec()
}

fn malformed_picks_are_refused(node: &Node) -> io::Result<()> {
    let mut peer = Peer::open_pool(node)?;
    for len in (0..40).filter(|&len| len != 16) {
        let answer = peer.ask(op::PICK, &vec![0; len])?;
        assert_eq!(answer, Err(Errno::EINVAL), "{len} bytes");
    }
    for (nodes, count, policy, errno) in [
        (7, 1, 3, Errno::EINVAL),
        (7, 1, u32::MAX, Errno::EINVAL),
        (7, 1001, 0, Errno::EINVAL),
        (7, u32::MAX, 0, Errno::EINVAL),
        (0, 1, 0, Errno::ENODEV),
    ] {
        let answer = peer.ask(op::PICK, &pick(nodes, count, policy))?;
        assert_eq!(answer, Err(errno), "{count} of {nodes:#x} by {policy}");
    }
    assert_eq!(peer.ask(op::PICK, &pick(7, 0, 0))?, Ok(vec![]), "none");
    Ok(())
}

fn picks_are_among_the_nodes_asked_for(node: &Node) -> io::Result<()> {
    let mut peer = Peer::open_pool(node)?;
    for policy in 0..3 {
        for (nodes, allowed) in [(0b100, &[3][..]), (0b101, &[1, 3]), (1 << 63, &[64])] {
            let body = pick(nodes, 1000, policy);
            let picked = peer.ask(op::PICK, &body)?.expect("nodes");
            assert_eq!(picked.len(), 1000);
            let good = picked.iter().all(|node| allowed.contains(node));
            assert!(good, "{nodes:#x} by {policy}: {picked:?}");
        }
    }
    Ok(())
}

fn unknown_operations_are_refused(node: &Node) -> io::Result<()> {
    let mut peer = Peer::open_pool(node)?;
    for op in [0, op::PROBE + 1, 256 + op::RUN, u16::MAX] {
        for body in [&[][..], &[0; 16]] {
            let answer = peer.ask(op, body)?;
            assert_eq!(answer, Err(Errno::EOPNOTSUPP), "operation {op}");
        }
    }
    Ok(())
}
