// SPDX-License-Identifier: GPL-2.0
//! The functions that each node has, on each node and by each policy.

use crate::{pool, raw};
use rustix::io::Errno;
use std::time::{Duration, Instant};
use virgo::{Call, Ended, On};

crate::tests![
    noop_everywhere,
    node_says_where_it_is,
    functions_lists_itself,
    echo_gives_back_any_bytes,
    echo_of_nearly_all_that_may_be,
    output_without_room_is_cut,
    spin_and_sleep_take_their_time,
    spin_and_sleep_end_at_the_deadline,
    the_function_of_another_module,
    every_policy_finds_a_node,
    random_finds_every_node,
    the_call_of_2017,
    the_call_of_2017_runs_programs,
];

fn noop_everywhere() {
    pool::ends_everywhere("noop", &[], Ended::Returned(0));
}

fn node_says_where_it_is() {
    for node in pool::nodes() {
        let outcome = pool::run(&Call::new("node").on(On::Node(node)));
        assert_eq!(outcome.ended, Ended::Returned(node.into()));
        let said = String::from_utf8_lossy(&outcome.stdout).into_owned();
        assert!(said.starts_with("processors="), "'{said}'");
        assert!(!outcome.truncated);
    }
}

fn functions_lists_itself() {
    for node in pool::nodes() {
        let outcome = pool::run(&Call::new("functions").on(On::Node(node)));
        let said = String::from_utf8_lossy(&outcome.stdout).into_owned();
        let lines = said.lines().count();
        assert_eq!(outcome.ended, Ended::Returned(lines as i64));
        for begin in [
            "functions: ",
            "echo text=text: ",
            "sleep milliseconds=number: ",
        ] {
            assert!(
                said.lines().any(|line| line.starts_with(begin)),
                "no {begin} in '{said}'"
            );
        }
    }
}

/// The call, and what it must print.
fn echo(bytes: &[u8], node: u32) {
    let outcome = pool::run(&Call::new("echo").arg(bytes).on(On::Node(node)));
    assert_eq!(outcome.ended, Ended::Returned(bytes.len() as i64));
    assert!(outcome.stdout == bytes, "{} bytes on {node}", bytes.len());
    assert_eq!((outcome.stderr.len(), outcome.truncated), (0, false));
}

fn echo_gives_back_any_bytes() {
    let all: Vec<u8> = (1..=255).collect();
    for node in pool::nodes() {
        for bytes in [&b""[..], b"x", b"two words", b" \n\r\t\"", &all] {
            echo(bytes, node);
        }
    }
}

/// Around what fits a reply, and what fits a page; and the longest.
fn echo_of_nearly_all_that_may_be() {
    let longest = 32 * 1024 - "echo\0\0".len();
    for node in pool::nodes() {
        for len in [255, 256, 257, 4095, 4096, 4097, 20_000, longest] {
            let bytes: Vec<u8> = (0..len).map(|at| (at % 251) as u8 + 1).collect();
            echo(&bytes, node);
        }
    }
}

fn output_without_room_is_cut() {
    for node in pool::nodes() {
        for (room, len) in [(0, 5), (4, 5), (300, 301), (5, 5)] {
            let text = vec![b'x'; len];
            let call = Call::new("echo").arg(&text).on(On::Node(node));
            let outcome = pool::run(&call.max_output(room));
            assert_eq!(outcome.ended, Ended::Returned(len as i64));
            assert_eq!(outcome.stdout, text[..room.min(len)]);
            assert_eq!(outcome.truncated, room < len, "{room} of {len}");
        }
    }
}

fn spin_and_sleep_take_their_time() {
    let time = Duration::from_millis(300);
    for node in pool::nodes() {
        for name in ["spin", "sleep"] {
            let start = Instant::now();
            let outcome = pool::run(&Call::new(name).arg("300").on(On::Node(node)));
            assert_eq!(outcome.ended, Ended::Returned(0), "{name} on {node}");
            assert!(start.elapsed() >= time, "{name} on {node}");
        }
    }
}

fn spin_and_sleep_end_at_the_deadline() {
    for node in pool::nodes() {
        for name in ["spin", "sleep"] {
            let call = Call::new(name).arg("60000").on(On::Node(node));
            let start = Instant::now();
            let outcome = virgo::within(Duration::from_millis(500)).run(&call);
            let took = start.elapsed();
            let ended = outcome.map(|outcome| outcome.ended);
            assert_eq!(
                ended,
                Ok(Ended::Failed(libc::ETIMEDOUT)),
                "{name} on {node}"
            );
            assert!(took < pool::PATIENCE, "{name} on {node} took {took:?}");
        }
    }
}

fn the_function_of_another_module() {
    let name = "virgo_cloud_test_kernelspace";
    for node in pool::nodes() {
        let outcome = pool::run(&Call::new(name).on(On::Node(node)));
        assert_eq!(outcome.ended, Ended::Returned(0));
        assert_eq!(outcome.stdout, b"virgo_cloud_test_kernelspace has run");
    }
}

fn every_policy_finds_a_node() {
    let nodes = pool::nodes();
    for on in [On::Configured, On::Least, On::Random, On::Two] {
        for _ in 0..20 {
            let outcome = pool::run(&Call::new("node").on(on));
            assert_eq!(outcome.ended, Ended::Returned(outcome.node.into()));
            assert!(nodes.contains(&outcome.node), "{on:?}: {}", outcome.node);
        }
    }
}

/// That one of three is missed in 100 tries happens once in 10^17 runs.
fn random_finds_every_node() {
    let calls = vec![Call::new("noop").on(On::Random); 100];
    let outcomes = virgo::run_all(&calls).expect("run");
    for node in pool::nodes() {
        let found = outcomes.iter().any(|outcome| outcome.node == node);
        assert!(found, "no call of 100 went to node {node}");
    }
}

fn the_call_of_2017() {
    for line in [
        "noop",
        " noop ",
        "echo hello",
        "echo \"two words\"",
        "sleep 10",
        "virgo_cloud_test_kernelspace",
    ] {
        assert_eq!(raw::clone_line(line), Ok(0), "'{line}'");
    }
}

fn the_call_of_2017_runs_programs() {
    let program = "/usr/lib/virgo/test/virgo_cloud_test_main";
    let library = "/usr/lib/virgo/test/libvirgo_test.so";
    for line in [
        program.to_owned(),
        format!("{program} exit 0"),
        format!("{program} args \"two words\" x"),
        format!("{library}:virgo_cloud_test text"),
        format!("{library}:virgo_test_sum 40 2"),
    ] {
        assert_eq!(raw::clone_line(&line), Ok(0), "'{line}'");
    }
    for line in [
        format!("{program} exit 3"),
        format!("{program} crash"),
        format!("{library}:virgo_test_nothing"),
    ] {
        assert_eq!(raw::clone_line(&line), Err(Errno::IO), "'{line}'");
    }
}
