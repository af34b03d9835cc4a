// SPDX-License-Identifier: GPL-2.0
//! Many calls in one submission.

use crate::pool;
use virgo::{Call, Ended, On};

crate::tests![
    a_thousand_quick_calls,
    a_thousand_calls_that_wait_their_turn,
    results_come_in_the_order_of_the_calls,
    calls_fail_for_themselves,
    no_calls_and_too_many,
    a_mebibyte_of_words,
];

fn a_thousand_quick_calls() {
    for on in pool::nodes().into_iter().map(On::Node).chain([On::Least]) {
        let calls = vec![Call::new("noop").on(on).max_output(0); 1000];
        let outcomes = virgo::run_all(&calls).expect("run");
        assert_eq!(outcomes.len(), 1000);
        for outcome in outcomes {
            assert_eq!(outcome.ended, Ended::Returned(0), "{on:?}");
        }
    }
}

/// More than run at a time, with results that do not come with the reply.
fn a_thousand_calls_that_wait_their_turn() {
    let calls: Vec<_> = (0..1000)
        .map(|number: i32| Call::new("echo").arg(number.to_string()).max_output(8))
        .collect();
    let time = std::time::Duration::from_secs(120);
    let outcomes = virgo::within(time).run_all(&calls).expect("run");
    for (number, outcome) in outcomes.iter().enumerate() {
        let expected = number.to_string();
        assert_eq!(outcome.stdout, expected.as_bytes(), "{outcome:?}");
        assert_eq!(outcome.ended, Ended::Returned(expected.len() as i64));
    }
}

fn results_come_in_the_order_of_the_calls() {
    let nodes = pool::nodes();
    let on = |index: usize| nodes[index % nodes.len()];
    let calls: Vec<_> = (0..100)
        .map(|index| Call::new("node").on(On::Node(on(index))))
        .collect();
    let outcomes = virgo::run_all(&calls).expect("run");
    for (index, outcome) in outcomes.iter().enumerate() {
        let node = on(index);
        assert_eq!(
            (outcome.ended, outcome.node),
            (Ended::Returned(node.into()), node)
        );
    }
}

fn calls_fail_for_themselves() {
    for node in pool::nodes() {
        let call = |name: &str| Call::new(name).on(On::Node(node));
        let calls = [
            call("noop"),
            call("nothing"),
            call("echo").arg("a"),
            call("/bin/sh"),
            call("sleep").arg("60000"),
            call("sleep").arg("x"),
            Call::new("noop").on(On::Node(200)),
            call("noop"),
        ];
        let time = std::time::Duration::from_secs(2);
        let outcomes = virgo::within(time).run_all(&calls).expect("run");
        let ended: Vec<_> = outcomes.iter().map(|outcome| outcome.ended).collect();
        let expected = [
            Ended::Returned(0),
            Ended::Failed(libc::ENOENT),
            Ended::Returned(1),
            Ended::Failed(libc::EACCES),
            Ended::Failed(libc::ETIMEDOUT),
            Ended::Failed(libc::EINVAL),
            Ended::Failed(libc::ENODEV),
            Ended::Returned(0),
        ];
        assert_eq!(ended, expected, "on {node}");
    }
}

fn no_calls_and_too_many() {
    for count in [0, 1001, 5000] {
        let calls = vec![Call::new("noop"); count];
        let error = virgo::run_all(&calls).expect_err("a bad number of calls");
        assert_eq!(error.errno(), libc::EINVAL, "{count}");
    }
}

fn a_mebibyte_of_words() {
    let text = "x".repeat(32 * 1024 - "echo\0\0".len());
    let call = Call::new("echo")
        .arg(&text)
        .on(On::Node(pool::other_node()));
    let time = std::time::Duration::from_secs(60);
    let outcomes = virgo::within(time).run_all(&vec![call.clone(); 32]);
    for outcome in outcomes.expect("32 times 32 KiB") {
        assert_eq!(outcome.ended, Ended::Returned(text.len() as i64));
        assert!(outcome.stdout == text.as_bytes());
    }
    let error = virgo::run_all(&vec![call; 33]).expect_err("more than a mebibyte");
    assert_eq!(error.errno(), libc::E2BIG);
}
