// SPDX-License-Identifier: GPL-2.0

use super::{grammar::UNKNOWN_KEY, *};
use crate::balance::Policy;
use core::net::Ipv4Addr;
use proptest::prelude::*;
use std::{vec, vec::Vec};

fn items(text: &str) -> Result<Vec<Statement<'_>>, Fault> {
    let mut items = vec![];
    parse(text.as_bytes(), |_, item| {
        items.push(item);
        Ok(())
    })?;
    Ok(items)
}

const A: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 1);
const B: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 2);

#[test]
fn callers_are_uids() {
    let mut seen = None;
    let text = b"callers = /usr/bin/du  0, 1000,1001";
    let parsed = parse(text, |_, item| {
        seen = Some(item);
        Ok(())
    });
    assert_eq!(parsed, Ok(()));
    let Some(Statement::Callers { target, uids }) = seen else {
        panic!("{seen:?}");
    };
    assert_eq!(target, "/usr/bin/du");
    let listed = |uid| lists_uid(uids, uid);
    assert!(listed(0) && listed(1000) && listed(1001) && !listed(100) && !listed(10));
}

#[test]
fn the_original_single_line_is_read() {
    assert_eq!(
        items("10.9.0.1,10.9.0.2\n"),
        Ok(vec![Statement::Node(A), Statement::Node(B)])
    );
}

#[test]
fn every_key_is_read() {
    let text = "# a comment\n\nnodes = 10.9.0.1, 10.9.0.2 # two\nself=10.9.0.2\nauth = none\n\
        key_file = /etc/k\nremote_text = yes\ndatagrams = no\ntext_uid = 7\ndeadline_ms = 100\n\
        text_key = 0 /etc/a b\ntext_key=1000\t/c\n\
        place = least-used\nexport = /a b rw\nexport = /c ro 7:8\nexecutable = /x\nlibrary = /y\n";
    let expected = vec![
        Statement::Node(A),
        Statement::Node(B),
        Statement::SelfAddress(B),
        Statement::Auth(false),
        Statement::KeyFile("/etc/k"),
        Statement::RemoteText(true),
        Statement::Datagrams(false),
        Statement::TextUid(7),
        Statement::DeadlineMs(100),
        Statement::TextKey {
            uid: 0,
            path: "/etc/a b",
        },
        Statement::TextKey {
            uid: 1000,
            path: "/c",
        },
        Statement::Place(Policy::LeastUsed),
        Statement::Export {
            path: "/a b",
            writable: true,
            owner: ExportUser::NOBODY,
        },
        Statement::Export {
            path: "/c",
            writable: false,
            owner: ExportUser { uid: 7, gid: 8 },
        },
        Statement::Executable {
            path: "/x",
            patterns: "",
        },
        Statement::Library("/y"),
    ];
    assert_eq!(items(text), Ok(expected));
}

#[test]
fn faults_say_where_and_what_is_expected() {
    let key = "expected 'key = value', or IPv4 addresses";
    for (text, line, reason) in [
        (
            "nodes = 10.9.0.1\nnodes = 10.9.0\n",
            2,
            "nodes: expected IPv4",
        ),
        ("nodes =", 1, "nodes: expected IPv4"),
        ("10.9.0.1,,10.9.0.2", 1, key),
        ("10.9.0.1 10.9.0.2", 1, key),
        ("\nauth none", 2, key),
        ("\n\nbogus = 1", 3, "unknown key; there are nodes,"),
        ("= 1", 1, "unknown key"),
        ("self = node1", 1, "self: expected an IPv4"),
        ("auth = maybe", 1, "auth: expected 'key' or 'none'"),
        ("key_file = virgo.key", 1, "expected an absolute path"),
        ("key_file = /a\0b", 1, "expected an absolute path"),
        ("remote_text = 1", 1, "remote_text: expected 'yes' or 'no'"),
        ("datagrams = 1", 1, "datagrams: expected 'yes' or 'no'"),
        ("text_uid = -1", 1, "text_uid: expected 0 to"),
        ("text_uid = 4294967295", 1, "text_uid: expected 0 to"),
        ("text_key = /k", 1, "text_key: expected a uid from 0"),
        ("text_key = 7 k", 1, "text_key: expected a uid from 0"),
        ("text_key = -1 /k", 1, "text_key: expected a uid from 0"),
        (
            "text_key = 4294967295 /k",
            1,
            "text_key: expected a uid from 0",
        ),
        ("deadline_ms = 0", 1, "deadline_ms: expected 1 to 300000"),
        (
            "deadline_ms = 300001",
            1,
            "deadline_ms: expected 1 to 300000",
        ),
        (
            "place = here",
            1,
            "place: expected 'random', 'least-used' or",
        ),
        ("export = /a", 1, "export: expected a directory, then"),
        ("export = /a ro 0", 1, "export: expected a directory, then"),
        ("export = /a rx 7", 1, "export: expected a directory, then"),
        ("export = /a ro 7:", 1, "export: expected a directory, then"),
        ("export = a ro", 1, "expected an absolute path"),
        ("callers = noop", 1, "callers: expected"),
        ("callers = noop 1,x", 1, "callers: expected"),
        ("callers = noop 4294967295", 1, "callers: expected"),
        ("callers = noop 1,", 1, "callers: expected"),
        ("executable = bin/sh", 1, "expected an absolute path"),
        ("library =", 1, "expected an absolute path"),
    ] {
        let fault = items(text).unwrap_err();
        assert_eq!(fault.line, line, "{text}");
        assert!(fault.reason.starts_with(reason), "{text}: {fault:?}");
    }
}

#[test]
fn what_is_no_text_is_refused_where_it_stands() {
    let fault = parse(b"auth = key\n# \xff\n", |_, _| Ok(())).unwrap_err();
    assert_eq!((fault.line, fault.reason), (2, "not UTF-8 text"));
}

#[test]
fn a_file_has_at_most_its_limit() {
    let mut file = vec![b'\n'; FILE_LIMIT.bytes];
    assert_eq!(parse(&file, |_, _| Ok(())), Ok(()));
    file.push(b'\n');
    let fault = Fault::of_file("longer than 64 KiB");
    assert_eq!(parse(&file, |_, _| Ok(())), Err(fault));
}

#[test]
fn the_list_of_keys_has_only_keys() {
    let keys = UNKNOWN_KEY.split_once("are ").unwrap().1;
    for key in keys.split(", ") {
        let text = std::format!("{key} = ?");
        assert_ne!(items(&text).unwrap_err().reason, UNKNOWN_KEY, "{key}");
    }
}

#[test]
fn nodes_are_numbered_from_one_without_repetition() {
    let mut nodes = Nodes::new();
    for a in [A, A, B] {
        nodes.add(a).unwrap();
    }
    assert_eq!(nodes.len(), 2);
    assert_eq!(nodes.number(B), Some(2));
    assert_eq!(nodes.address(2), Some(B));
    assert_eq!(nodes.address(0), None);
    assert_eq!(nodes.address(3), None);
    assert!(nodes.add(Ipv4Addr::UNSPECIFIED).is_err());
}

#[test]
fn a_65th_node_is_refused() {
    let mut nodes = Nodes::new();
    for i in 1..=64 {
        nodes.add(Ipv4Addr::new(10, 0, 0, i)).unwrap();
    }
    assert_eq!(
        nodes.add(Ipv4Addr::new(10, 0, 0, 65)),
        Err("more than 64 nodes")
    );
}

#[test]
fn patterns_limit_the_arguments() {
    let allowed =
        |patterns, args: &[&str]| args_match(patterns, args.iter().map(|arg| arg.as_bytes()));
    assert!(allowed("", &["any", "thing"]));
    assert!(allowed("-n * --to=*", &["-n", "", "--to=x y"]));
    assert!(allowed("a*b*c", &["aXbYbZc"]));
    for (patterns, args) in [
        ("-n", &["-n", "more"][..]),
        ("-n *", &["-n"]),
        ("-n", &["-m"]),
        ("a*a", &["a"]),
        ("a*b*c", &["aXcYb"]),
    ] {
        assert!(!allowed(patterns, args), "{patterns} {args:?}");
    }
}

#[test]
fn programs_have_direct_paths() {
    for bad in ["/a/../b", "/a//b", "/./b", "/a/", "b", "/"] {
        let line = std::format!("executable = {bad}");
        assert!(parse(line.as_bytes(), |_, _| Ok(())).is_err(), "{bad}");
    }
}

proptest! {
    #[test]
    fn any_bytes_are_taken_or_refused(file in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = parse(&file, |_, _| Ok(()));
    }
}
