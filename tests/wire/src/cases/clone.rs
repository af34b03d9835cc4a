// SPDX-License-Identifier: GPL-2.0

//! The processor pool's text commands.

use super::{Suite, suite};
use crate::{
    calls::assert_here,
    node::{CPUPOOLING, Node},
    text::Text,
};
use std::{
    io, thread,
    time::{Duration, Instant},
};

pub(super) const SUITE: Suite = suite![
    a_bare_name_is_called,
    both_spellings_do_the_same,
    words_may_be_quoted,
    options_come_first,
    bad_options_are_refused,
    what_cannot_be_called_is_refused,
    a_call_ends_at_its_timeout,
    jobs_are_waited_for_once,
    jobs_are_cancelled,
    jobs_that_are_not,
    jobs_are_listed,
    output_in_json,
    functions_are_listed,
    help_names_every_command,
];

impl Text {
    /// Starts a call, and returns its job.
    pub(crate) fn start(&mut self, options: &str, call: &str) -> io::Result<u64> {
        let reply = self.ask(format!("clone {options} async {call}"))?;
        let job = reply
            .strip_prefix("job=")
            .and_then(|reply| reply.split_once(" node="))
            .and_then(|(job, _)| job.parse().ok());
        Ok(job.unwrap_or_else(|| panic!("reply to 'clone async': '{reply}'")))
    }
}

/// The reply behind `node=NUMBER `.
fn behind_node(reply: &str) -> &str {
    let behind = reply.strip_prefix("node=").and_then(|r| r.split_once(' '));
    behind.unwrap_or_else(|| panic!("no node in '{reply}'")).1
}

fn a_bare_name_is_called(node: &Node) -> io::Result<()> {
    let mut text = Text::open(node, CPUPOOLING)?;
    for (line, expected) in [
        ("noop", "returned=0"),
        (" noop  ", "returned=0"),
        ("echo hello", "returned=5 out=\"hello\""),
        (
            "virgo_cloud_test_kernelspace",
            "returned=0 out=\"virgo_cloud_test_kernelspace has run\"",
        ),
    ] {
        assert_eq!(behind_node(&text.ask(line)?), expected, "'{line}'");
    }
    Ok(())
}

fn both_spellings_do_the_same(node: &Node) -> io::Result<()> {
    let mut text = Text::open(node, CPUPOOLING)?;
    for line in [
        "clone noop",
        "virgo_clone noop",
        "clone(noop)",
        "virgo_clone(noop)",
    ] {
        assert_eq!(behind_node(&text.ask(line)?), "returned=0", "'{line}'");
    }
    Ok(())
}

fn words_may_be_quoted(node: &Node) -> io::Result<()> {
    let mut text = Text::open(node, CPUPOOLING)?;
    for (line, expected) in [
        ("echo \"two  words\"", "returned=10 out=\"two  words\""),
        ("echo \"\"", "returned=0"),
        ("echo a\"b", "returned=3 out=\"a\\\"b\""),
        ("clone echo \"on=1\"", "returned=4 out=\"on=1\""),
    ] {
        assert_eq!(behind_node(&text.ask(line)?), expected, "'{line}'");
    }
    text.ask_in_vain("echo two words", "EINVAL")
}

fn options_come_first(node: &Node) -> io::Result<()> {
    let mut text = Text::open(node, CPUPOOLING)?;
    let own = node.own;
    for options in [
        format!("on={own}"),
        format!("on={own} timeout=2000"),
        format!("timeout=300000  on={own}"),
    ] {
        let reply = text.ask(format!("clone {options} node"))?;
        let expected = format!("node={own} returned={own} ");
        assert!(reply.starts_with(&expected), "{options}: '{reply}'");
    }
    for policy in ["least-used", "random", "two-choices"] {
        let reply = text.ask(format!("clone on={policy} noop"))?;
        assert_eq!(behind_node(&reply), "returned=0", "{policy}");
    }
    // Behind the target they are arguments.
    let reply = text.ask("clone echo async")?;
    assert_eq!(behind_node(&reply), "returned=5 out=\"async\"");
    Ok(())
}

fn bad_options_are_refused(node: &Node) -> io::Result<()> {
    let mut text = Text::open(node, CPUPOOLING)?;
    for (options, errno) in [
        ("on=most", "EINVAL"),
        ("on=", "EINVAL"),
        ("on=-1", "EINVAL"),
        ("on=0", "ENODEV"),
        ("on=200", "ENODEV"),
        ("on=256", "ENODEV"),
        ("on=18446744073709551615", "ENODEV"),
        ("timeout=0", "EINVAL"),
        ("timeout=300001", "EINVAL"),
        ("timeout=2s", "EINVAL"),
        ("timeout=", "EINVAL"),
    ] {
        text.ask_in_vain(format!("clone {options} noop"), errno)?;
    }
    for line in ["clone", "clone ", "clone async", "clone()", "clone on=1"] {
        text.ask_in_vain(line, "EINVAL")?;
    }
    Ok(())
}

fn what_cannot_be_called_is_refused(node: &Node) -> io::Result<()> {
    let mut text = Text::open(node, CPUPOOLING)?;
    let long = "x".repeat(10 * 1024);
    for (line, errno) in [
        ("nothing", "ENOENT"),
        (&long, "ENOENT"),
        ("noop x", "EINVAL"),
        ("sleep", "EINVAL"),
        ("sleep x", "EINVAL"),
        ("/bin/sh -c ls", "EACCES"),
        ("/lib/libc.so.6:system ls", "EACCES"),
        (&"x".repeat(40_000), "E2BIG"),
    ] {
        text.ask_in_vain(line, errno)?;
    }
    Ok(())
}

fn a_call_ends_at_its_timeout(node: &Node) -> io::Result<()> {
    let mut text = Text::open(node, CPUPOOLING)?;
    let start = Instant::now();
    text.ask_in_vain("clone timeout=300 sleep 60000", "ETIMEDOUT")?;
    let time = start.elapsed();
    assert!(time < Duration::from_secs(8), "after {time:?}");
    assert_here(node, 0)
}

fn jobs_are_waited_for_once(node: &Node) -> io::Result<()> {
    let mut text = Text::open(node, CPUPOOLING)?;
    for call in ["noop", "sleep 100"] {
        let job = text.start("", call)?;
        let reply = text.ask(format!("wait({job})"))?;
        assert_eq!(behind_node(&reply), "returned=0", "{call}");
        for command in ["wait", "cancel"] {
            text.ask_in_vain(format!("{command}({job})"), "ESRCH")?;
        }
    }
    // Another session, and a result that has come before it is asked for.
    let job = text.start("", "echo kept")?;
    drop(text);
    thread::sleep(Duration::from_millis(300));
    let reply = Text::open(node, CPUPOOLING)?.ask(format!("wait {job}"))?;
    assert_eq!(behind_node(&reply), "returned=4 out=\"kept\"");
    Ok(())
}

fn jobs_are_cancelled(node: &Node) -> io::Result<()> {
    let mut text = Text::open(node, CPUPOOLING)?;
    let job = text.start("timeout=60000", "sleep 60000")?;
    for _ in 0..2 {
        assert_eq!(text.ask(format!("cancel({job})"))?, "cancelled");
    }
    text.ask_in_vain(format!("wait({job})"), "ECANCELED")?;
    text.ask_in_vain(format!("wait({job})"), "ESRCH")?;
    assert_here(node, 0)
}

fn jobs_that_are_not(node: &Node) -> io::Result<()> {
    let mut text = Text::open(node, CPUPOOLING)?;
    for command in ["wait", "cancel"] {
        for (job, errno) in [
            ("1", "ESRCH"),
            ("18446744073709551615", "ESRCH"),
            ("18446744073709551616", "EINVAL"),
            ("-1", "EINVAL"),
            ("x", "EINVAL"),
            ("", "EINVAL"),
        ] {
            text.ask_in_vain(format!("{command}({job})"), errno)?;
        }
    }
    Ok(())
}

fn jobs_are_listed(node: &Node) -> io::Result<()> {
    let mut text = Text::open(node, CPUPOOLING)?;
    let own = node.own;
    let job = text.start(&format!("on={own} timeout=60000"), "sleep 60000")?;
    let listed = text.ask("jobs")?;
    let entry = format!("{job}:{own}:running");
    assert!(listed.split(' ').any(|shown| shown == entry), "'{listed}'");
    assert_eq!(text.ask(format!("cancel({job})"))?, "cancelled");
    let listed = text.ask("jobs")?;
    let entry = format!("{job}:{own}:failed");
    assert!(listed.split(' ').any(|shown| shown == entry), "'{listed}'");
    text.ask_in_vain(format!("wait({job})"), "ECANCELED")?;
    let listed = text.ask("jobs")?;
    assert!(!listed.contains(&job.to_string()), "'{listed}'");
    Ok(())
}

fn output_in_json(node: &Node) -> io::Result<()> {
    let mut text = Text::open(node, CPUPOOLING)?;
    let own = node.own;
    text.ask("json on")?;
    let reply = text.ask(format!("clone on={own} echo \"a b\""))?;
    let expected = format!("{{\"ok\":true,\"node\":{own},\"returned\":3,\"out\":\"a b\"}}");
    assert_eq!(reply, expected);
    let reply = text.ask("nothing")?;
    let expected = "{\"ok\":false,\"errno\":\"ENOENT\",\"reason\":\"node ";
    assert!(reply.starts_with(expected), "{reply}");
    let command = format!("clone on={own} echo ");
    let reply = text.ask_bytes([command.as_bytes(), &[0xff, 0x01]].concat())?;
    let expected = format!("{{\"ok\":true,\"node\":{own},\"returned\":2,\"out_hex\":\"ff01\"}}");
    assert_eq!(String::from_utf8_lossy(&reply), expected);
    Ok(())
}

fn functions_are_listed(node: &Node) -> io::Result<()> {
    let listed = Text::open(node, CPUPOOLING)?.ask("functions")?;
    for function in [
        "noop: ",
        "echo text: ",
        "node: ",
        "functions: ",
        "spin milliseconds: ",
        "sleep milliseconds: ",
        "virgo_cloud_test_kernelspace: ",
    ] {
        let found = listed.split("; ").any(|shown| shown.starts_with(function));
        assert!(found, "no {function} in '{listed}'");
    }
    Ok(())
}

fn help_names_every_command(node: &Node) -> io::Result<()> {
    let help = Text::open(node, CPUPOOLING)?.ask("help")?;
    for command in [
        "clone ",
        "wait(job)",
        "cancel(job)",
        "jobs",
        "functions",
        "stats",
    ] {
        assert!(help.contains(command), "no {command} in '{help}'");
    }
    Ok(())
}
